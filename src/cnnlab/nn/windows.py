"""Sliding windows over maps: margins, padding, and the views that convolution and pooling read."""

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .layer import Array, Shape

Pair = int | tuple[int, int]
Margins = tuple[tuple[int, int], tuple[int, int]]
Padding = str | int | Sequence[Sequence[int]]


def pair(value: Pair, name: str = "size") -> tuple[int, int]:
    """One number for both axes, or (rows, columns); ValueError, which names the option, unless both are 1 or more."""
    both = (value, value) if isinstance(value, (int, np.integer)) else tuple(value)
    if len(both) != 2 or min(both) < 1:
        raise ValueError(f"{name}={value}: choose 1 or more, for both axes or as (rows, columns)")
    return int(both[0]), int(both[1])


def margins(padding: Padding, kernel: tuple[int, int]) -> Margins:
    """Rows (top, bottom) and columns (left, right) that a padding adds around a map.

    "valid" adds none; "same" keeps the size at stride 1, the odd row or column going below or right;
    "full" lets the kernel overlap the map by a single pixel.
    """
    choices = "valid, same, full, a number from 0 up or ((top, bottom), (left, right))"
    if isinstance(padding, (int, np.integer)):
        padding = ((int(padding),) * 2,) * 2
    if not isinstance(padding, str):
        if np.shape(padding) != (2, 2) or np.min(padding) < 0:
            raise ValueError(f"padding={padding}: choose {choices}")
        (top, bottom), (left, right) = padding
        return (top, bottom), (left, right)
    if padding == "valid":
        return (0, 0), (0, 0)
    rows, columns = kernel[0] - 1, kernel[1] - 1
    if padding == "full":
        return (rows, rows), (columns, columns)
    if padding == "same":
        return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)
    raise ValueError(f"padding={padding}: choose {choices}")


def pad(x: Array, around: Margins, value: float = 0.0) -> Array:
    """The maps with margins filled by ``value``; the same array where the margins are empty."""
    (top, bottom), (left, right) = around
    if not (top or bottom or left or right):
        return x
    rows, channels, columns, batch = x.shape
    padded = np.empty((top + rows + bottom, channels, left + columns + right, batch), x.dtype)
    padded.fill(value)
    padded[top : top + rows, :, left : left + columns] = x
    return padded


def crop(x: Array, around: Margins) -> Array:
    """What pad was given, cut out again."""
    (top, bottom), (left, right) = around
    return x[top : x.shape[0] - bottom, :, left : x.shape[2] - right]


def window_grid(shape: Shape, kernel: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
    """How many windows fit down and across; a remainder is dropped, none at all is a ValueError."""
    if len(shape) != 3:
        raise ValueError(f"needs maps (H, C, W), but is given a vector {shape}")
    (rows, _, columns), (down, across) = shape, kernel
    if rows < down or columns < across:
        raise ValueError(f"a {down}x{across} window does not fit a {rows}x{columns} map")
    return (rows - down) // stride[0] + 1, (columns - across) // stride[1] + 1


def shifted_columns(x: Array, kernel: int, stride: int, columns: int) -> Array:
    """The maps shifted by 0..kernel-1 columns: ``[H, C, kernel, columns, N]``, a view of contiguous maps.

    The width alone is unrolled, by a copy of this; ``overlapping_rows`` finds the height's windows without one.
    """
    *outer, column, image = x.strides
    shape = (*x.shape[:2], kernel, columns, x.shape[3])
    return as_strided(x, shape, (*outer, column, stride * column, image))


def overlapping_rows(unrolled: Array, kernel: int, stride: int, rows: int) -> Array:
    """One matrix per output row, ``[rows, kernel * K, M]``: a view whose matrices overlap in memory.

    ``unrolled`` is contiguous, one ``K x M`` matrix to a row; the ``kernel`` rows that an output row
    needs lie one after another, so the next output row's matrix starts only ``stride`` rows further on.
    """
    _, *inner, columns, batch = unrolled.shape
    depth, width, item = prod(inner), columns * batch, unrolled.itemsize
    steps = (stride * depth * width * item, width * item, item)
    return as_strided(unrolled, (rows, kernel * depth, width), steps)


def diagonals(x: Array) -> Array:
    """Each map with its row t moved t columns to the right: element (t, q) of the view is x's (t, q - t).

    ``x`` is ``[R, C, T, L, N]``, contiguous, its last T - 1 columns zero: where q < t, the view shows the end
    of the row before.
    """
    *outer, row, column, image = x.strides
    return as_strided(x, x.shape, (*outer, row - column, column, image))


def dilated(x: Array, step: tuple[int, int]) -> tuple[Array, Array]:
    """Room for the maps with ``step - 1`` rows and columns of zeros between their own, and where those lie in it.

    For step 1 that is the maps' own array, twice.
    """
    if step == (1, 1):
        return x, x
    (down, across), (rows, channels, columns, batch) = step, x.shape
    spread = np.zeros(((rows - 1) * down + 1, channels, (columns - 1) * across + 1, batch), x.dtype)
    return spread, spread[::down, :, ::across]
