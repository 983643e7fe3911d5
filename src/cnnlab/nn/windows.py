"""Sliding windows over maps: margins, padding, and the views that convolution and pooling read."""

from math import prod
from typing import Annotated

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cnnlab.nn.layer import Array, Shape
from cnnlab.nn.options import Limit

Pair = Annotated[
    int | tuple[int, int],
    Limit("1 or more, for both axes or as (rows, columns)", lambda value: np.min(value) >= 1),
]
Margins = tuple[tuple[int, int], tuple[int, int]]
Padding = Annotated[
    str | int | Margins,
    Limit(
        "valid, same, full, a number from 0 up or ((top, bottom), (left, right))",
        lambda value: value in ("valid", "same", "full") if isinstance(value, str) else np.min(value) >= 0,
    ),
]


def pair(value: Pair) -> tuple[int, int]:
    """One number for both axes, or (rows, columns), as two."""
    rows, columns = (value, value) if isinstance(value, (int, np.integer)) else value
    return int(rows), int(columns)


def margins(padding: Padding, kernel: tuple[int, int]) -> Margins:
    """Rows (top, bottom) and columns (left, right) that a padding adds around a map.

    "valid" adds none; "same" keeps the size at stride 1, the odd row or column going below or to the right; "full" is
    as wide as a kernel can go while it overlaps the map by a pixel.
    """
    rows, columns = kernel[0] - 1, kernel[1] - 1
    if padding == "same":
        return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)
    if padding == "full":
        return (rows, rows), (columns, columns)
    if isinstance(padding, (str, int, np.integer)):
        around = 0 if isinstance(padding, str) else int(padding)
        return (around, around), (around, around)
    (top, bottom), (left, right) = padding
    return (top, bottom), (left, right)


def pad(x: Array, around: Margins, value: float = 0.0) -> Array:
    """The maps with margins filled by `value`; the same array if there are no margins."""
    (top, bottom), (left, right) = around
    if not (top or bottom or left or right):
        return x
    rows, channels, columns, batch = x.shape
    padded = np.empty((top + rows + bottom, channels, left + columns + right, batch), x.dtype)
    padded.fill(value)
    padded[top : top + rows, :, left : left + columns] = x
    return padded


def crop(x: Array, around: Margins) -> Array:
    """The maps without their margins, a view."""
    (top, bottom), (left, right) = around
    return x[top : x.shape[0] - bottom, :, left : x.shape[2] - right]


def refuse_vectors(shape: Shape) -> None:
    """A ValueError unless the shape is that of maps."""
    if len(shape) != 3:
        raise ValueError(f"needs maps (H, C, W), but is given a vector {shape}")


def window_grid(shape: Shape, kernel: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
    """How many windows fit down and across; a remainder is dropped, and no window at all is a ValueError."""
    refuse_vectors(shape)
    (rows, _, columns), (down, across) = shape, kernel
    if rows < down or columns < across:
        raise ValueError(f"a {down}x{across} window does not fit a {rows}x{columns} map")
    return (rows - down) // stride[0] + 1, (columns - across) // stride[1] + 1


def shifted_columns(x: Array, kernel: int, stride: int, columns: int) -> Array:
    """The maps shifted by 0..kernel-1 columns: `[H, C, kernel, columns, N]`, a view of contiguous maps.

    A copy of this unrolls the width; the height's windows need no copy (see `overlapping_rows`).
    """
    *outer, column, image = x.strides
    shape = (*x.shape[:2], kernel, columns, x.shape[3])
    return as_strided(x, shape, (*outer, column, stride * column, image))


def overlapping_rows(unrolled: Array, kernel: int, stride: int, rows: int) -> Array:
    """One matrix per output row, `[rows, kernel * K, M]`: a view whose matrices overlap in memory.

    `unrolled` is contiguous, with a matrix `K x M` for each row of the maps. The `kernel` of them that an output row
    needs lie one after another, and the next output row's matrix begins `stride` of them further on.
    """
    _, *inner, columns, batch = unrolled.shape
    depth, width, item = prod(inner), columns * batch, unrolled.itemsize
    steps = (stride * depth * width * item, width * item, item)
    return as_strided(unrolled, (rows, kernel * depth, width), steps)


def diagonals(x: Array) -> Array:
    """Each map with its row t moved t columns to the right: element (t, q) of the view is x's (t, q - t).

    `x` is `[R, C, T, L, N]`, contiguous, its last T - 1 columns zero: those of the row before are what the view shows
    where q < t.
    """
    *outer, row, column, image = x.strides
    return as_strided(x, x.shape, (*outer, row - column, column, image))


def dilated(x: Array, step: tuple[int, int], margin: int = 0) -> tuple[Array, Array]:
    """Zeros with room for the maps, `step - 1` rows and columns between theirs, and a view of the maps' places.

    `margin` is so many rows of zeros above and below. For step 1 without a margin both are the maps' own array.
    """
    if step == (1, 1) and not margin:
        return x, x
    (down, across), (rows, channels, columns, batch) = step, x.shape
    height = (rows - 1) * down + 1
    spread = np.zeros((margin + height + margin, channels, (columns - 1) * across + 1, batch), x.dtype)
    return spread, spread[margin : margin + height : down, :, ::across]
