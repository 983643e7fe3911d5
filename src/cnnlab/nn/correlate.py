"""Correlation of maps with kernels, and its gradients, as matrix products over overlapping rows (no im2col).

Maps are ``[H, C, W, N]``, kernels ``[F, K_h, C, K_w]``, and a window moves by ``s`` rows and columns.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from .layer import Array
from .windows import diagonals, dilate, overlapping_rows, unroll_columns, window_grid

Gradient = Callable[[Array], Array]


def correlate(x: Array, K: Array, step: tuple[int, int]) -> tuple[Array, Gradient, Gradient]:
    """``y[h, f, w] = sum_icj K[f, i, c, j] x[h s + i, c, w s + j]``, and the functions from dy to dK and dx.

    ``[H_out, F, W_out, N]``: one product for each output row, or for a few of them together.
    """
    (filters, kernel_rows, _, kernel_columns), batch = K.shape, x.shape[3]
    rows, columns = window_grid(x.shape[:3], (kernel_rows, kernel_columns), step)
    together = _rows_together(rows, kernel_rows, filters)
    unrolled = unroll_columns(x, kernel_columns, step[1], columns)
    reach = kernel_rows + (together - 1) * step[0]
    patches = overlapping_rows(unrolled, reach, together * step[0], rows // together)
    y = np.matmul(_band(K, together, step[0]), patches).reshape(rows, filters, columns, batch)

    def kernel_gradient(dy: Array) -> Array:
        """``dK[f, i, c, j] = sum_hwn dy[h, f, w] x[h s + i, c, w s + j]``."""
        errors = dy.reshape(len(patches), together * filters, -1)
        dband = np.add.reduce(np.matmul(patches, errors.transpose(0, 2, 1))).T
        return _unband(dband, K, together, step[0])

    def input_gradient(dy: Array) -> Array:
        """``dx[r, c, q] = sum_hwf dy[h, f, w] K[f, r - h s, c, q - w s]``.

        The products give what each kernel column j contributes, ``parts[r, c, j, w]``; what belongs to the
        same q = w + j lies on a diagonal. Strides are zeros between the errors.
        """
        dy = dilate(dy, step)
        rows, columns, channels = dy.shape[0], dy.shape[2], K.shape[2]
        reach, across = rows + kernel_rows - 1, columns + kernel_columns - 1
        parts = np.empty((reach, channels, kernel_columns, across, batch), x.dtype)
        parts[:, :, :, columns:] = 0
        flat = parts.reshape(reach, channels * kernel_columns, -1)[:, :, : columns * batch]
        _products_with_rows(K[:, ::-1].transpose(2, 3, 1, 0), dy, out=flat)
        dx = np.zeros(x.shape, x.dtype)
        np.einsum("rcjqn->rcqn", diagonals(parts), out=dx[:reach, :, :across])
        return dx

    return y, kernel_gradient, input_gradient


@cache
def _rows_together(rows: int, kernel_rows: int, filters: int) -> int:
    """How many output rows one product computes, a divisor of all rows.

    BLAS first copies the patches, and a handful of filters are not enough work to make up for that. Rows
    that are computed together share most of their patches, at the price of zeros among the weights.
    """
    most = min(24 // filters, kernel_rows - 1)
    return max((n for n in range(1, most + 1) if rows % n == 0), default=1)


def _band(K: Array, times: int, step: int) -> Array:
    """The kernels as a matrix, ``times`` over, each time ``step`` rows further down: (times * F, ...)."""
    filters, rows, *rest = K.shape
    if times == 1:
        return K.reshape(filters, -1)
    band = np.zeros((times, filters, rows + (times - 1) * step, *rest), K.dtype)
    for n in range(times):
        band[n, :, n * step : n * step + rows] = K
    return band.reshape(times * filters, -1)


def _unband(dband: Array, K: Array, times: int, step: int) -> Array:
    """The kernels' gradient from that of their band: the sum of what was put there."""
    filters, rows, *rest = K.shape
    copies = dband.reshape(times, filters, -1, *rest)
    dK = copies[0, :, :rows]
    for n in range(1, times):
        dK = dK + copies[n, :, n * step : n * step + rows]
    return dK


def _products_with_rows(weights: Array, dy: Array, out: Array) -> None:
    """Products of ``[C, K_w, K_h, F]`` with every K_h rows of dy in sequence, and with the fewer at either edge."""
    rows, filters = dy.shape[:2]
    taps, flat = weights.shape[2], dy.reshape(rows * filters, -1)
    weights = weights.reshape(-1, taps * filters)
    if rows >= taps:
        np.matmul(weights, overlapping_rows(dy, taps, 1, rows - taps + 1), out=out[taps - 1 : rows])
    for n in range(1, taps):
        seen, last = min(n, rows) * filters, n * filters
        first = taps * filters - last
        np.matmul(weights[:, first : first + seen], flat[:seen], out=out[n - 1])
        np.matmul(weights[:, last - seen : last], flat[-seen:], out=out[-n])
