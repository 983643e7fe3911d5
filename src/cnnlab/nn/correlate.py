"""Correlation of maps with kernels, and its gradients, as matrix products over overlapping rows (no im2col).

Maps are ``[H, C, W, N]``, kernels ``[F, K_h, C, K_w]``, and a window moves by ``s`` rows and columns.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from .layer import Array
from .windows import diagonals, dilated, overlapping_rows, shifted_columns, window_grid

Run = Callable[[], None]


class Correlation:
    """``y[h, f, w] = sum_icj K[f, i, c, j] x[h s + i, c, w s + j]`` over arrays made once, to be run often.

    ``forward`` fills y, ``[H_out, F, W_out, N]``, from x and K as they now are: one product for each output row,
    or for a few of them together. The gradients are laid out on demand; they read dy. Where x has margins, ``corner``
    is where the maps within begin, to which alone the input's gradient belongs.
    """

    def __init__(self, x: Array, K: Array, step: tuple[int, int], corner: tuple[int, int] = (0, 0)) -> None:
        (filters, kernel_rows, _, kernel_columns), batch = K.shape, x.shape[3]
        rows, columns = window_grid(x.shape[:3], (kernel_rows, kernel_columns), step)
        self.K, self.step, self.corner, self.together = K, step, corner, _rows_together(rows, kernel_rows, filters)
        self.y = np.empty((rows, filters, columns, batch), x.dtype)
        self.dy = np.empty_like(self.y)
        shifted = shifted_columns(x, kernel_columns, step[1], columns)
        unrolled = np.empty(shifted.shape, x.dtype)
        reach = kernel_rows + (self.together - 1) * step[0]
        self.patches = overlapping_rows(unrolled, reach, self.together * step[0], rows // self.together)
        band = np.zeros((self.together, filters, reach, *K.shape[2:]), x.dtype)
        copies = list(_copies(band, K, step[0]))
        if self.together == 1 and K.flags.c_contiguous:
            band, copies = K, []
        weights, products = band.reshape(self.together * filters, -1), self._by_product(self.y)

        def forward() -> None:
            np.copyto(unrolled, shifted)
            for copy in copies:
                np.copyto(copy, K)
            np.matmul(weights, self.patches, out=products)

        self.forward = forward

    def _by_product(self, y: Array) -> Array:
        """Outputs, or their errors, one matrix for each product."""
        return y.reshape(len(self.patches), self.together * y.shape[1], -1)

    def kernel_gradient(self, dK: Array) -> Run:
        """What fills ``dK[f, i, c, j] = sum_hwn dy[h, f, w] x[h s + i, c, w s + j]``, summed over the band's copies."""
        errors = self._by_product(self.dy).transpose(0, 2, 1)
        products = np.empty((*self.patches.shape[:2], errors.shape[2]), dK.dtype)
        total = np.empty(products.shape[1:], dK.dtype)
        dband = total.reshape(-1, *dK.shape[2:], self.together, len(dK)).transpose(3, 4, 0, 1, 2)
        first, *others = _copies(dband, dK, self.step[0])

        def run() -> None:
            np.matmul(self.patches, errors, out=products)
            np.add.reduce(products, out=total)
            np.copyto(dK, first)
            for other in others:
                np.add(dK, other, out=dK)

        return run

    def input_gradient(self, dx: Array) -> Run:
        """What fills ``dx[r, c, q] = sum_hwf dy[h, f, w] K[f, r - h s, c, q - w s]``, from the ``corner`` on.

        The products give what each kernel column j contributes, ``parts[r, c, j, w]``; what belongs to the
        same q = w + j lies on a diagonal. Strides are zeros between the errors.
        """
        spread, errors = dilated(self.dy, self.step)
        (filters, kernel_rows, channels, kernel_columns), batch = self.K.shape, dx.shape[3]
        rows, columns, (top, left) = spread.shape[0], spread.shape[2], self.corner
        parts = np.zeros(
            (rows + kernel_rows - 1, channels, kernel_columns, columns + kernel_columns - 1, batch), dx.dtype
        )
        flat = parts.reshape(len(parts), channels * kernel_columns, -1)[:, :, : columns * batch]
        weights = np.empty((channels, kernel_columns, kernel_rows, filters), dx.dtype)
        turned = self.K[:, ::-1].transpose(2, 3, 1, 0)
        products = list(_products_with_rows(weights, spread, flat))
        seen = diagonals(parts)[top : top + dx.shape[0], :, :, left : left + dx.shape[2]]
        reached = dx[: seen.shape[0], :, : seen.shape[3]]

        def run() -> None:
            if spread is not self.dy:
                np.copyto(errors, self.dy)
            np.copyto(weights, turned)
            for a, b, out in products:
                np.matmul(a, b, out=out)
            if reached.size < dx.size:
                dx.fill(0)
            np.einsum("rcjqn->rcqn", seen, out=reached)

        return run


class Product:
    """``y = K x`` and its gradients, over arrays made once: a correlation whose kernels cover the whole of the maps.

    K is ``[F, ...]`` and x ``[..., N]``, contiguous, with the same values between in the same order; y and dy are
    ``[F, N]``.
    """

    def __init__(self, x: Array, K: Array) -> None:
        self.K = K.reshape(len(K), -1)
        self.x = x.reshape(self.K.shape[1], -1)
        self.y = np.empty((len(K), x.shape[-1]), x.dtype)
        self.dy = np.empty_like(self.y)

    def forward(self) -> None:
        """Fills y from x and K as they now are."""
        np.matmul(self.K, self.x, out=self.y)

    def kernel_gradient(self, dK: Array) -> Run:
        """What fills ``dK = dy x^T``."""
        product = np.multiply if self.x.shape[1] == 1 else np.matmul  # BLAS is slow at outer products
        x, out = self.x.T, dK.reshape(self.K.shape)

        def run() -> None:
            product(self.dy, x, out=out)

        return run

    def input_gradient(self, dx: Array) -> Run:
        """What fills ``dx = K^T dy``."""
        K, out = self.K.T, dx.reshape(self.x.shape)

        def run() -> None:
            np.matmul(K, self.dy, out=out)

        return run


@cache
def _rows_together(rows: int, kernel_rows: int, filters: int) -> int:
    """How many output rows one product computes, a divisor of all rows.

    BLAS first copies the patches, and a handful of filters are not enough work to make up for that. Rows
    that are computed together share most of their patches, at the price of zeros among the weights: the
    band, in which the kernels stand once for each row, each time ``s`` rows further down.
    """
    most = min(24 // filters, kernel_rows - 1)
    return max((n for n in range(1, most + 1) if rows % n == 0), default=1)


def _copies(band: Array, K: Array, step: int) -> Iterator[Array]:
    """Where in a band ``[times, F, rows, C, K_w]`` the kernels stand."""
    return (rows[:, n * step : n * step + K.shape[1]] for n, rows in enumerate(band))


def _products_with_rows(weights: Array, dy: Array, out: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Products of ``[C, K_w, K_h, F]`` with every K_h rows of dy in sequence, and with the fewer at either edge."""
    rows, filters = dy.shape[:2]
    taps, flat = weights.shape[2], dy.reshape(rows * filters, -1)
    weights = weights.reshape(-1, taps * filters)
    if rows >= taps:
        yield weights, overlapping_rows(dy, taps, 1, rows - taps + 1), out[taps - 1 : rows]
    for n in range(1, taps):
        seen, last = min(n, rows) * filters, n * filters
        first = taps * filters - last
        yield weights[:, first : first + seen], flat[:seen], out[n - 1]
        yield weights[:, last - seen : last], flat[-seen:], out[-n]
