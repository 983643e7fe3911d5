"""Digits of another size: what is drawn in an image, scaled by area averaging, with or without a frame.

LeCun et al. 1989 normalised zip-code digits of about 40x60 pixels to 16x16 by a linear transformation that keeps
the aspect ratio: each new pixel is the mean of as many old ones as fall into it, so that black and white become grey.
The same is done here, exactly, to MNIST's digits, whose longer side has 20 pixels. In 1998 (section III-C) LeNet-1 saw
digits of 16x16 in the middle of 28x28, which is size 16 with a margin of 6.
"""

import numpy as np
from numpy.typing import NDArray

from cnnlab.data.dataset import Images
from cnnlab.data.warping import Bytes

LARGEST = 99
CHUNK = 1000  # images at a time


def scaled(images: Images, size: int | None, margin: int = 0) -> Images:
    """What each image shows, its longer side `size` pixels long (None: all of it as it is), within a margin of 0.

    The middle of what is shown comes to the middle of the new image. Raises ValueError unless the size is from 1
    to 99 and the margin from 0 to 99.
    """
    for word, value, least in (("size", size, 1), ("margin", margin, 0)):
        if value is not None and not least <= value <= LARGEST:
            raise ValueError(f"{word}={value}: choose a whole number from {least} to {LARGEST}")
    pixels = images.pixels if size is None else _resized(images.pixels, size)
    return Images(np.pad(pixels, ((0, 0), *((margin, margin),) * 2)), images.labels) if margin or size else images


def _resized(pixels: Bytes, size: int) -> Bytes:
    """Every image, those whose longer sides are alike together."""
    result = np.empty((len(pixels), size, size), np.uint8)
    tops, lefts, sides = _squares(pixels)
    frame = (max(pixels.shape[1:]),) * 2
    for side in np.unique(sides):
        alike = np.flatnonzero(sides == side)
        for chunk in (alike[start : start + CHUNK] for start in range(0, len(alike), CHUNK)):
            framed, number = np.pad(pixels[chunk], ((0, 0), frame, frame)), np.arange(len(chunk))[:, None, None]
            rows, columns = ((first[chunk, None] + np.arange(side)) for first in (tops, lefts))
            result[chunk] = _averaged(framed[number, rows[:, :, None], columns[:, None]], size)
    return result


def _squares(pixels: Bytes) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The smallest square around each image's content: first row and column (the frame counted), and side."""
    spans = [_span(pixels.max(axis) > 0) for axis in (2, 1)]
    sides = np.maximum(*(end - start for start, end in spans))
    tops, lefts = (start - (sides - (end - start)) // 2 + max(pixels.shape[1:]) for start, end in spans)
    return tops, lefts, sides


def _span(drawn: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first true place of each row, and the one behind the last; all of them where there is none."""
    return drawn.argmax(1), drawn.shape[1] - drawn[:, ::-1].argmax(1)


def _averaged(squares: Bytes, size: int) -> Bytes:
    """Means over areas, rounded. The sums are whole numbers below 2^24, which float32 adds up without error."""
    side = squares.shape[1]
    shares = _shares(side, size)
    sums = shares @ squares.astype(np.float32) @ shares.T
    return ((2 * sums.astype(np.int64) + side**2) // (2 * side**2)).astype(np.uint8)


def _shares(side: int, size: int) -> NDArray[np.float32]:
    """How much of each of `side` old pixels lies in each of `size` new ones, (size, side), in 1/size of an old one."""
    old, new = size * np.arange(side), side * np.arange(size)[:, None]
    overlap = np.minimum(old + size, new + side) - np.maximum(old, new)
    return overlap.clip(0).astype(np.float32)
