"""Bilinear resampling of images at places between their pixels."""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def warp(pixels: Bytes, rows: Floats, columns: Floats) -> Bytes:
    """Images whose pixels are taken from those places, interpolated bilinearly between four pixels.

    Images are (N, H, W) or (N, H, W, 3), places (N, H, W); outside an image is 0.
    """
    from cv2 import INTER_LINEAR, remap, setNumThreads

    setNumThreads(1)  # others would wait for work that images this small do not have
    drawn = [remap(*each, INTER_LINEAR) for each in zip(pixels, columns, rows, strict=True)]
    return np.array(drawn, np.uint8).reshape(pixels.shape)
