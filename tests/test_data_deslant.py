"""Deslanting: second moments without a cross term, nothing else moved, and 20x20 pixels at the end."""

import numpy as np
import pytest

from cnnlab.data import Dataset, Images
from cnnlab.data.deslant import _moments, deslanted, upright


def stroke(slant: float, side: int = 28) -> np.ndarray:
    """A bar three pixels wide that drifts by `slant` columns per row, uint8 (1, side, side)."""
    rows, columns = np.mgrid[:side, :side]
    middle = (side - 1) / 2
    ink = (abs(rows - middle) < 9) * np.clip(2 - abs(columns - middle - slant * (rows - middle)), 0, 1)
    return np.rint(255 * ink).astype(np.uint8)[None]


@pytest.mark.parametrize("slant", [-0.7, -0.2, 0.35, 0.6])
def test_a_slanted_bar_stands_up(slant: float) -> None:
    assert _moments(stroke(slant))[1] == pytest.approx(slant, abs=0.02)
    straight = upright(stroke(slant))
    assert _moments(straight)[1] == pytest.approx(0, abs=0.02)
    assert abs(straight.astype(int) - stroke(0)).max() <= 40  # of 255: what linear interpolation blurs


def test_what_is_upright_stays_as_it_is() -> None:
    symmetric = stroke(0)
    assert (upright(symmetric) == symmetric).all()
    assert (upright(np.zeros((2, 5, 4), np.uint8)) == 0).all()


def test_digits_stand_up_and_keep_their_ink(digits: Dataset) -> None:
    pixels = digits.test.pixels
    straight = upright(pixels)
    before, after = (abs(_moments(images)[1]) for images in (pixels, straight))
    assert before.mean() > 0.1 and np.quantile(after, 0.99) < 0.005  # a few are so flat that they leave the image
    lost = pixels.sum(2, dtype=float) - straight.sum(2, dtype=float)
    assert np.quantile(abs(lost), 0.999) < 14  # rounding: at most half a level in each of 28 pixels
    assert straight.dtype == np.uint8


def test_each_image_is_its_own(digits: Dataset) -> None:
    some = digits.test.pixels[:5]
    assert (upright(some) == np.concatenate([upright(image[None]) for image in some])).all()


def test_the_middle_is_cut_out(digits: Dataset) -> None:
    images = deslanted(digits.test)
    assert images.pixels.shape == (1000, 20, 20)
    assert (images.pixels == upright(digits.test.pixels)[:, 4:24, 4:24]).all()
    assert (images.labels == digits.test.labels).all()
    assert images.pixels.sum() > 0.95 * digits.test.pixels.sum()


def test_no_images_are_no_images() -> None:
    assert deslanted(Images(np.empty((0, 28, 28), np.uint8), np.empty(0, np.int64))).pixels.shape == (0, 20, 20)


def test_small_images_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^deslant=true: needs at least 20x20 pixels, but these images have 8x24$"):
        deslanted(Images(np.zeros((3, 8, 24), np.uint8), np.zeros(3, np.int64)))


def test_colour_images_are_refused_in_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"^deslant=true: a slant is that of ink, in grey images, but these are in colo"
    ):
        deslanted(Images(np.zeros((3, 28, 28, 3), np.uint8), np.zeros(3, np.int64)))
