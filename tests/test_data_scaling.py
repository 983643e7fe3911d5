"""Images of another size, against means over enlarged pixels: grey or colour, square or not."""

from fractions import Fraction

import numpy as np
import pytest

from cnnlab.data import Images, scaling
from cnnlab.data.scaling import enlarged, scaled

RNG = np.random.default_rng(0)


def images(pixels: np.ndarray) -> Images:
    return Images(np.asarray(pixels, np.uint8), np.arange(len(pixels)) % 10)


def drawn(rows: slice, columns: slice, shape: tuple[int, int] = (28, 28)) -> np.ndarray:
    """An image with something everywhere in a rectangle, and nothing outside."""
    image = np.zeros(shape, np.uint8)
    image[rows, columns] = RNG.integers(1, 256, image[rows, columns].shape)
    return image


def mean_over_areas(square: np.ndarray, size: int) -> np.ndarray:
    """Each pixel cut into size x size, then put together again in other squares."""
    side = len(square)
    fine = square.repeat(size, 0).repeat(size, 1).astype(int)
    sums = fine.reshape(size, side, size, side).sum((1, 3))
    return np.array([[int(Fraction(int(s), side**2) + Fraction(1, 2)) for s in row] for row in sums], np.uint8)


@pytest.mark.parametrize("size", [1, 7, 16, 20, 31])
def test_a_new_pixel_is_the_mean_over_its_area(size: int) -> None:
    image = drawn(np.s_[3:23], np.s_[6:26])
    expected = mean_over_areas(image[3:23, 6:26], size)
    np.testing.assert_array_equal(scaled(images(image[None]), size).pixels[0], expected)


def test_the_aspect_ratio_is_kept_and_the_middle_stays_in_the_middle() -> None:
    tall, wide = drawn(np.s_[0:20], np.s_[18:28]), drawn(np.s_[20:28], np.s_[2:22])
    squares = np.pad(tall[:20, 18:], ((0, 0), (5, 5))), np.pad(wide[20:, 2:22], ((6, 6), (0, 0)))
    for image, square in zip(scaled(images(np.stack([tall, wide])), 10).pixels, squares, strict=True):
        np.testing.assert_array_equal(image, mean_over_areas(square, 10))


def test_each_image_is_scaled_by_its_own_longer_side() -> None:
    pixels = np.stack([drawn(np.s_[2:14], np.s_[5:9]), drawn(np.s_[:], np.s_[:]), drawn(np.s_[9:10], np.s_[4:9])])
    given = images(pixels)
    result = scaled(given, 12)
    assert result.pixels.shape == (3, 12, 12) and (result.labels == given.labels).all()
    np.testing.assert_array_equal(result.pixels[0, :, 4:8], pixels[0, 2:14, 5:9])
    for one in range(3):
        np.testing.assert_array_equal(scaled(given[one : one + 1], 12).pixels[0], result.pixels[one])


def test_nothing_stays_nothing_and_none_stays_none() -> None:
    assert not scaled(images(np.zeros((2, 6, 4))), 5).pixels.any()
    assert scaled(images(np.zeros((0, 6, 4))), 5, 2).pixels.shape == (0, 9, 9)
    whole = images(RNG.integers(0, 256, (3, 6, 4)))
    assert scaled(whole, None) is whole
    framed = scaled(whole, None, 2).pixels
    np.testing.assert_array_equal(framed[:, 2:-2, 2:-2], whole.pixels)
    assert framed.shape == (3, 10, 8) and not framed[:, [0, 1, -1, -2]].any() and not framed[:, :, [0, 1, -1, -2]].any()


@pytest.mark.parametrize("shape", [(20, 3), (3, 20), (9, 5)])
@pytest.mark.parametrize("corner", [np.s_[:, :1], np.s_[:, -1:], np.s_[:1, :], np.s_[-1:, :], np.s_[:, :]])
def test_pictures_that_are_not_square_are_framed_on_all_sides(shape: tuple[int, int], corner: object) -> None:
    """What is shown may touch any edge, however long: the square around it reaches beyond the picture."""
    image = np.zeros(shape, np.uint8)
    image[corner] = RNG.integers(1, 256, image[corner].shape)
    rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    shown = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(shown.shape)
    above, left = ((side - length) // 2 for length in shown.shape)
    square = np.zeros((side, side), np.uint8)
    square[above : above + len(shown), left : left + shown.shape[1]] = shown
    for size in (4, 21):
        np.testing.assert_array_equal(scaled(images(image[None]), size).pixels[0], mean_over_areas(square, size))


def test_colours_are_scaled_together_and_averaged_apart() -> None:
    pixels = np.zeros((2, 12, 9, 3), np.uint8)
    pixels[0, 2:7, 3:6, 0], pixels[0, 4:10, 3:5, 2] = 200, 90  # together they take rows 2 to 9
    pixels[1] = RNG.integers(1, 256, (12, 9, 3))
    result = scaled(images(pixels), 5, margin=2).pixels
    assert result.shape == (2, 9, 9, 3) and not result[:, [0, 1, -1, -2]].any()
    squares = np.pad(pixels[0, 2:10, 3:6], ((0, 0), (2, 3), (0, 0))), np.pad(pixels[1], ((0, 0), (1, 2), (0, 0)))
    for image, square in zip(result, squares, strict=True):
        for colour in range(3):
            np.testing.assert_array_equal(image[2:7, 2:7, colour], mean_over_areas(square[..., colour], 5))


def test_a_whole_image_is_interpolated_where_that_is_asked_for() -> None:
    """Half as large, each new pixel is the mean of the four in the middle of what falls into it."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    found = scaled(Images(pixels, np.arange(3)), 4, 1, "bilinear").pixels
    four = sum(pixels[:, i::2, j::2].astype(float) for i in (0, 1) for j in (0, 1))
    assert found.shape == (3, 6, 6) and np.abs(found[:, 1:-1, 1:-1] - four / 4).max() <= 0.5
    assert not found[:, 0].any() and not found[:, :, -1].any()
    with pytest.raises(ValueError, match=r"^resize=cubic: choose area or bilinear$"):
        scaled(Images(pixels, np.arange(3)), 4, how="cubic")


def test_large_pictures_are_averaged_without_error() -> None:
    pixels = np.full((1, 300, 300), 255, np.uint8)
    pixels[0, :150] = 254
    assert np.unique(scaled(images(pixels), 98).pixels).tolist() == [254, 255]
    np.testing.assert_array_equal(scaled(images(pixels), 7).pixels[0], mean_over_areas(pixels[0], 7))


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 3)])
def test_each_pixel_becomes_a_square(shape: tuple[int, ...]) -> None:
    small = images(RNG.integers(0, 256, shape))
    assert enlarged(small, 1) is small
    large = enlarged(small, 3)
    assert large.pixels.shape == (3, 12, 15, *shape[3:]) and large.labels is small.labels
    for row, column in np.ndindex(12, 15):
        assert (large.pixels[:, row, column] == small.pixels[:, row // 3, column // 3]).all()


@pytest.mark.parametrize(
    ("size", "margin", "reason"),
    [
        (0, 0, "size=0: .* 1 to 99"),
        (100, 0, "size=100: .* 1 to 99"),
        (5, 100, "margin=100: .* 0 to 99"),
        (None, -1, "margin=-1: .* 0 to 99"),
    ],
)
def test_sizes_that_cannot_be_are_one_line(size: int | None, margin: int, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^{reason}$"):
        scaled(images(np.zeros((2, 6, 4))), size, margin)


@pytest.mark.parametrize("factor", [0, 100, 1000])
def test_an_enlargement_that_cannot_be_is_one_line(factor: int) -> None:
    with pytest.raises(ValueError, match=rf"^enlarge={factor}: choose a whole number from 1 to 99$"):
        enlarged(images(np.zeros((2, 6, 4))), factor)
    assert scaled(images(np.ones((1, 6, 4))), 99, 99).pixels.shape == (1, 297, 297)
    assert enlarged(images(np.ones((1, 2, 1))), 99).pixels.shape == (1, 198, 99)


def test_more_than_fits_into_memory_is_refused_before_it_is_made() -> None:
    many = Images(np.broadcast_to(np.uint8(0), (60_000, 28, 28)), np.zeros(60_000, np.int64))
    found = "60000 images of {}x{} pixels are more than 1024 MiB; choose smaller ones, or fewer by train and test"
    for call, words, side in (
        (lambda: enlarged(many, 99), "enlarge=99", 2772),
        (lambda: scaled(many, 99, 99), "size=99 margin=99", 297),
        (lambda: scaled(many, None, 99), "size=None margin=99", 226),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert str(caught.value) == f"{words}: {found.format(side, side)}"


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 3)])
def test_what_just_fits_is_made(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    given = images(np.ones(shape))
    monkeypatch.setattr(scaling, "LARGEST", given.pixels.size * 4)
    assert enlarged(given, 2).pixels.size == given.pixels.size * 4
    monkeypatch.setattr(scaling, "LARGEST", given.pixels.size * 4 - 1)
    with pytest.raises(ValueError, match=r"^enlarge=2: 2 images of 6x10 pixels are more than 0 MiB; "):
        enlarged(given, 2)
