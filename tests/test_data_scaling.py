"""Digits of another size, against means over enlarged pixels; and how many of them a run takes."""

from fractions import Fraction

import numpy as np
import pytest

from cnnlab.data import Dataset, Images
from cnnlab.data.choices import Choices
from cnnlab.data.scaling import scaled

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


@pytest.mark.parametrize(
    ("size", "margin", "reason"), [(0, 0, "size=0: .* 1 to 99"), (5, 100, "margin=100: .* 0 to 99")]
)
def test_sizes_that_cannot_be_are_one_line(size: int, margin: int, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^{reason}$"):
        scaled(images(np.zeros((2, 6, 4))), size, margin)


def chosen(**words: int) -> Dataset:
    training, test = (images(np.random.default_rng(1).integers(0, 256, (count, 6, 4))) for count in (60, 40))
    return Choices("standardised", **{"validation": 10, **words}).dataset(
        "made up", training, test, tuple("0123456789")
    )


def test_the_first_images_are_taken_of_either_part() -> None:
    few, all_ = chosen(train=30, test=12), chosen()
    assert [len(split) for split in (few.train, few.val, few.test)] == [20, 10, 12]
    assert few.test.digest == all_.test[:12].digest
    for count in (0, 41):
        with pytest.raises(ValueError, match=rf"^test={count}: choose a whole number from 1 to 40$"):
            chosen(test=count)


def test_all_splits_are_scaled_and_normalised_after_that() -> None:
    data = chosen(size=3, margin=1)
    assert data.shape == (5, 1, 5)
    assert {split.pixels.shape[1:] for split in (data.train, data.val, data.test)} == {(5, 5)}
    assert data.batch(data.train, slice(None)).mean(dtype=np.float64) == pytest.approx(0, abs=1e-6)
    assert len({chosen(size=3).digest, data.digest, chosen().digest}) == 3
