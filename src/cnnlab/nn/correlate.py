"""Correlation of maps with kernels, and its gradients, as matrix products over overlapping rows (no im2col).

Maps are `[H, C, W, N]`, kernels `[F, K_h, C, K_w]`, and a window moves by `s` rows and columns.
The trick: in maps whose width is unrolled, the rows that an output row needs lie one after another, so that each output
row is a product of the kernels with a strided view that costs nothing (`overlapping_rows`).
"""

from collections.abc import Callable, Iterator
from functools import cache
from math import prod

import numpy as np
from numpy.lib.introspect import opt_func_info
from numpy.lib.stride_tricks import sliding_window_view

from cnnlab.nn.layer import Array, Bound
from cnnlab.nn.windows import diagonals, dilated, overlapping_rows, shifted_columns, window_grid

Run = Callable[[], None]

FEW = 64  # values in a row of maps, all images together, up to which calls take more time than computing
SMALL = 1200  # values of a product with a transposed matrix, up to which OpenBLAS calls it small there
MANY = 64  # filters beyond which small products would have too few rows to gain anything


def correlation(
    x: Array, K: Array, dx: Array | None, dK: Array, step: tuple[int, int], corner: tuple[int, int]
) -> Bound:
    """`y[h, f, w] = sum_icj K[f, i, c, j] x[h s + i, c, w s + j]` and its gradients, over these arrays.

    x may have margins: dx is without them, and `corner` is the row and column of x where dx begins.
    """
    core = Correlation(x, K, step)

    @cache
    def gradients() -> list[Run]:
        """Their arrays are made when first needed, which is never where a network only predicts."""
        return [core.kernel_gradient(dK)] + ([] if dx is None else [core.input_gradient(dx, corner)])

    def backward() -> None:
        for run in gradients():
            run()

    return Bound(core.y, core.dy, lambda rng: core.forward(), backward)


class Correlation:
    """The arrays of a correlation: `forward` fills y, `[H_out, F, W_out, N]`, and the gradients read dy.

    Each product makes an output row, or a few of them together. The methods return what is to be run often.
    """

    def __init__(self, x: Array, K: Array, step: tuple[int, int]) -> None:
        (filters, kernel_rows, _, kernel_columns), batch = K.shape, x.shape[3]
        rows, columns = window_grid(x.shape[:3], (kernel_rows, kernel_columns), step)
        self.K, self.step, self.together = K, step, _rows_together(rows, kernel_rows, filters)
        self.y = np.empty((rows, filters, columns, batch), x.dtype)
        self.dy = np.empty_like(self.y)
        self.shifted = shifted = shifted_columns(x, kernel_columns, step[1], columns)
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
        """Outputs, or their gradients, as one matrix for each product."""
        return y.reshape(len(self.patches), self.together * y.shape[1], -1)

    def kernel_gradient(self, dK: Array) -> Run:
        """Fills `dK[f, i, c, j] = sum_hwn dy[h, f, w] x[h s + i, c, w s + j]`, adding up the band's copies."""
        if small_products() and self.step[0] == 1 and 0 < self.dy.shape[2] * self.dy.shape[3] <= FEW:
            return self._kernel_gradient_by_maps(dK)
        errors = self._by_product(self.dy).transpose(0, 2, 1)[:, None]
        rows, depth, width = self.patches.shape
        parts = _kernel_parts(depth, errors.shape[3])
        patches = self.patches.reshape(rows, parts, depth // parts, width)
        products = np.empty((*patches.shape[:3], errors.shape[3]), dK.dtype)
        total = np.empty((parts, depth // parts, errors.shape[3]), dK.dtype)
        dband = total.reshape(-1, *dK.shape[2:], self.together, len(dK)).transpose(3, 4, 0, 1, 2)
        first, *others = _copies(dband, dK, self.step[0])

        def run() -> None:
            np.matmul(patches, errors, out=products)
            np.add.reduce(products, out=total)
            np.copyto(dK, first)
            for other in others:
                np.add(dK, other, out=dK)

        return run

    def _kernel_gradient_by_maps(self, dK: Array) -> Run:
        """The same where rows are short: of copies with each map's rows in sequence, it is one product for each i.

        Such a product has long rows and few of them, which BLAS is slow to copy: where it need not, this is quicker.
        """
        shifted, errors = self.shifted.transpose(1, 2, 0, 3, 4), self.dy.transpose(1, 0, 2, 3)
        maps, error_maps = np.empty(shifted.shape, dK.dtype), np.empty(errors.shape, dK.dtype)
        channels, kernel_columns, _, *row = maps.shape
        flat, flat_errors = maps.reshape(channels * kernel_columns, -1), error_maps.reshape(len(dK), -1)
        patches = sliding_window_view(flat, flat_errors.shape[1], 1)[:, :: prod(row)].transpose(1, 0, 2)
        products = np.empty((*patches.shape[:2], len(dK)), dK.dtype)
        found = products.reshape(-1, channels, kernel_columns, len(dK)).transpose(3, 0, 1, 2)

        def run() -> None:
            np.copyto(maps, shifted)
            np.copyto(error_maps, errors)
            np.matmul(patches, flat_errors.T, out=products)
            np.copyto(dK, found)

        return run

    def input_gradient(self, dx: Array, corner: tuple[int, int]) -> Run:
        """Fills `dx[r, c, q] = sum_hwf dy[h, f, w] K[f, r - h s, c, q - w s]`, r and q counted from `corner`.

        The products give what each kernel column j contributes, `parts[r, c, j, w]`; the sum for q = w + j runs
        along a diagonal. A stride above 1 is as good as zeros between the values of dy; where there are few values,
        zeros above and below dy make one product of all, else its first and last rows have products of their own.
        """
        (filters, kernel_rows, channels, kernel_columns), batch = self.K.shape, dx.shape[3]
        margin = kernel_rows - 1 if self.dy.shape[2] * batch <= FEW else 0
        spread, errors = dilated(self.dy, self.step, margin)
        rows, columns, (top, left) = spread.shape[0] - 2 * margin, spread.shape[2], corner
        parts = np.zeros(
            (rows + kernel_rows - 1, channels, kernel_columns, columns + kernel_columns - 1, batch), dx.dtype
        )
        flat = parts.reshape(len(parts), channels * kernel_columns, -1)[:, :, : columns * batch]
        weights = np.empty((channels, kernel_columns, kernel_rows, filters), dx.dtype)
        turned = self.K[:, ::-1].transpose(2, 3, 1, 0)
        if margin:
            products = [(weights.reshape(len(flat[0]), -1), overlapping_rows(spread, kernel_rows, 1, len(flat)), flat)]
        else:
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


@cache
def small_products() -> bool:
    """Whether BLAS multiplies small matrices as they lie; usually it copies them first, into an order of its own.

    OpenBLAS does so where it uses AVX-512, if a product takes few multiplications, or one with a transposed matrix
    gives few values (`SMALL`). NumPy says whether the machine has that: then its tanh is made for "X86_V4".
    """
    made_for = opt_func_info(func_name="^tanh$", signature="f").get("tanh", {}).get("ff", {})
    return made_for.get("current") == "X86_V4"


@cache
def _rows_together(rows: int, kernel_rows: int, filters: int) -> int:
    """How many output rows one product computes, a divisor of all rows.

    A handful of filters is too little work to make up for BLAS's copy of the patches, where it makes one. Rows that are
    computed together share most of their patches. The price is zeros among the weights: a band in which the kernels
    stand once for each row, each time `s` rows further down.
    """
    most = 1 if small_products() else min(24 // filters, kernel_rows - 1)
    return max((n for n in range(1, most + 1) if rows % n == 0), default=1)


@cache
def _kernel_parts(depth: int, filters: int) -> int:
    """In how many products the `depth x filters` values of a kernel gradient are computed, a divisor of the depth."""
    if not small_products() or filters > MANY:
        return 1
    return next(n for n in range(1, depth + 1) if depth % n == 0 and depth // n * filters <= SMALL)


def _copies(band: Array, K: Array, step: int) -> Iterator[Array]:
    """Where in a band `[times, F, rows, C, K_w]` the kernels stand."""
    return (rows[:, n * step : n * step + K.shape[1]] for n, rows in enumerate(band))


def _products_with_rows(weights: Array, dy: Array, out: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Products of `[C, K_w, K_h, F]` with every K_h rows of dy in sequence, and with the fewer at either edge."""
    rows, filters, columns, batch = dy.shape
    taps, flat = weights.shape[2], dy.reshape(rows * filters, columns * batch)
    weights = weights.reshape(-1, taps * filters)
    if rows >= taps:
        yield weights, overlapping_rows(dy, taps, 1, rows - taps + 1), out[taps - 1 : rows]
    for n in range(1, taps):
        seen, last = min(n, rows) * filters, n * filters
        first = taps * filters - last
        yield weights[:, first : first + seen], flat[:seen], out[n - 1]
        yield weights[:, last - seen : last], flat[-seen:], out[-n]
