"""The deslanted digits of 1998: each sheared until its principal axis is upright, then cropped.

LeCun, Bottou, Bengio and Haffner 1998, section III-A: lines are shifted horizontally by second moments, and the
images end as 20x20 pixels. The paper does not say how a shifted line falls between two pixels (here: linear
interpolation), nor which 20x20 pixels are kept (here: those in the middle, where the centre of mass is).
"""

import numpy as np
from numpy.typing import NDArray

from cnnlab.data.dataset import Images
from cnnlab.data.warping import Bytes, warp

SIDE = 20
CHUNK = 2000  # images at a time: a dozen megabytes of temporaries instead of a gigabyte


def deslanted(images: Images, side: int = SIDE) -> Images:
    """The grey images upright and cropped to `side` x `side`; ValueError where they are smaller, or in colour."""
    if images.pixels.ndim == 4:
        raise ValueError("deslant=true: a slant is that of ink, in grey images, but these are in colour")
    height, width = images.pixels.shape[1:]
    if side > min(height, width):
        raise ValueError(f"deslant=true: needs at least {side}x{side} pixels, but these images have {height}x{width}")
    top, left = (height - side) // 2, (width - side) // 2
    middle = np.s_[:, top : top + side, left : left + side]
    parts = [upright(images.pixels[start : start + CHUNK])[middle] for start in range(0, len(images) or 1, CHUNK)]
    return Images(np.concatenate(parts), images.labels)


def upright(pixels: Bytes) -> Bytes:
    """Images uint8 (N, H, W), each line shifted by its distance from the centre of mass times the slant."""
    centre, slant = _moments(pixels)
    rows, columns = (grid.astype(np.float32) for grid in np.indices(pixels.shape)[1:])
    shift = slant[:, None] * (np.arange(pixels.shape[1]) - centre[:, None])
    return warp(pixels, rows, columns + shift[:, :, None].astype(np.float32))


def _moments(pixels: Bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each image's row of the centre of mass, and its slant: columns that ink drifts by, per row."""
    _, height, width = pixels.shape
    rows, columns = np.arange(height), np.arange(width)
    by_row = pixels.sum(2, dtype=np.float64)
    mass = np.maximum(by_row.sum(1), 1)
    centre = by_row @ rows / mass
    above = rows - centre[:, None]
    cross = np.einsum("nhw,nh,w->n", pixels, above, columns, optimize=True)  # columns from anywhere: above sums to 0
    spread = (by_row * above**2).sum(1)
    return centre, cross / np.maximum(spread, 1)
