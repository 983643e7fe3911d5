"""Images of another size: pixels repeated, or what an image shows scaled by area averaging; and a frame around it.

LeCun et al. 1989 normalised zip-code digits of about 40x60 pixels to 16x16 by a linear transformation that keeps
the aspect ratio: each new pixel is the mean of as many old ones as fall into it, so that black and white become grey.
The same is done here, exactly, to MNIST's digits, whose longer side has 20 pixels. In 1998 (section III-C) LeNet-1 saw
digits of 16x16 in the middle of 28x28, which is size 16 with a margin of 6.
"""

import math

import numpy as np
from numpy.typing import NDArray

from cnnlab.data.dataset import LARGEST, Images, whole
from cnnlab.data.warping import Bytes

SIDE = 99  # the largest size, margin and enlargement
CHUNK = 1000  # images at a time


def enlarged(images: Images, factor: int) -> Images:
    """Each pixel a square of `factor` x `factor`. Raises ValueError unless it is from 1 to 99 and there is room."""
    whole("enlarge", factor, 1, SIDE)
    height, width = images.pixels.shape[1:3]
    _has_room(images, f"enlarge={factor}", height * factor, width * factor)
    return Images(images.pixels.repeat(factor, 1).repeat(factor, 2), images.labels) if factor > 1 else images


def scaled(images: Images, size: int | None, margin: int = 0, how: str = "area") -> Images:
    """What each image shows, its longer side `size` pixels long (None: all of it as it is), within a margin of 0.

    The middle of what is shown comes to the middle of the new image. If `how` is "bilinear", the whole image is scaled,
    frame and all, by interpolation between four pixels. Raises ValueError unless the size is from 1
    to 99, the margin from 0 to 99, and there is room for the result.
    """
    whole("margin", margin, 0, SIDE)
    if how not in ("area", "bilinear"):
        raise ValueError(f"resize={how}: choose area or bilinear")
    height, width = images.pixels.shape[1:3] if size is None else 2 * [whole("size", size, 1, SIDE)]
    _has_room(images, f"size={size} margin={margin}", height + 2 * margin, width + 2 * margin)
    resized = _resized if how == "area" else _interpolated
    pixels = images.pixels if size is None else resized(images.pixels, size)
    return Images(_framed(pixels, margin), images.labels) if margin or size else images


def _has_room(images: Images, words: str, height: int, width: int) -> None:
    """ValueError where the images would take more than `LARGEST` bytes at that size."""
    if len(images) * height * width * math.prod(images.pixels.shape[3:]) > LARGEST:
        found = f"{len(images)} images of {height}x{width} pixels are more than {LARGEST // 2**20} MiB"
        raise ValueError(f"{words}: {found}; choose smaller ones, or fewer by train and test")


def _framed(pixels: Bytes, margin: int) -> Bytes:
    """The images with so many empty pixels on each side."""
    return np.pad(pixels, ((0, 0), (margin, margin), (margin, margin), (0, 0))[: pixels.ndim])


def _resized(pixels: Bytes, size: int) -> Bytes:
    """Every image, those whose longer sides are alike together."""
    result = np.empty((len(pixels), size, size, *pixels.shape[3:]), np.uint8)
    frame = max(pixels.shape[1:3])  # a square around what is shown may reach so far beyond the image
    tops, lefts, sides = _squares(pixels if pixels.ndim == 3 else pixels.max(3))
    for side in np.unique(sides):
        alike = np.flatnonzero(sides == side)
        for chunk in (alike[start : start + CHUNK] for start in range(0, len(alike), CHUNK)):
            framed, number = _framed(pixels[chunk], frame), np.arange(len(chunk))[:, None, None]
            rows, columns = (frame + first[chunk, None] + np.arange(side) for first in (tops, lefts))
            result[chunk] = _averaged(framed[number, rows[:, :, None], columns[:, None]], size)
    return result


def _interpolated(pixels: Bytes, size: int) -> Bytes:
    from cv2 import INTER_LINEAR, resize

    resized = [resize(image, (size, size), interpolation=INTER_LINEAR) for image in pixels]
    return np.array(resized, np.uint8).reshape(len(pixels), size, size, *pixels.shape[3:])


def _squares(pixels: Bytes) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The smallest square around what each grey image shows: first row and column (which may be < 0), and side."""
    spans = [_span(pixels.max(axis) > 0) for axis in (2, 1)]
    sides = np.maximum(*(end - start for start, end in spans))
    tops, lefts = (start - (sides - (end - start)) // 2 for start, end in spans)
    return tops, lefts, sides


def _span(drawn: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first true place of each row, and the one behind the last; all of them where there is none."""
    return drawn.argmax(1), drawn.shape[1] - drawn[:, ::-1].argmax(1)


def _averaged(squares: Bytes, size: int) -> Bytes:
    """Means over areas along axes 1 and 2, rounded. The sums are whole numbers, which float64 adds up without error."""
    side = squares.shape[1]
    shares = _shares(side, size)
    sums = shares @ np.moveaxis(squares, (1, 2), (-2, -1)).astype(np.float64) @ shares.T
    means = (2 * sums.astype(np.int64) + side**2) // (2 * side**2)
    return np.moveaxis(means, (-2, -1), (1, 2)).astype(np.uint8)


def _shares(side: int, size: int) -> NDArray[np.float64]:
    """How much of each of `side` old pixels lies in each of `size` new ones, (size, side), in 1/size of an old one."""
    old, new = size * np.arange(side), side * np.arange(size)[:, None]
    overlap = np.minimum(old + size, new + side) - np.maximum(old, new)
    return overlap.clip(0).astype(np.float64)
