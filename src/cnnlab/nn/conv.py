"""Convolution as one batched matrix product over overlapping rows (no im2col)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .initializers import FanInUniform, Initializer
from .layer import Array, Backward, Cost, Layer, Params, Rng, Shape
from .windows import (
    Margins,
    Padding,
    Pair,
    crop,
    margins,
    overlapping_rows,
    pad,
    pair,
    unroll_columns,
    window_grid,
)


@dataclass(frozen=True)
class Conv2D(Layer):
    """Convolutional layer: ``filters`` kernels slide over maps ``[H, C, W, N]``.

    By default a cross-correlation; ``flip`` turns the kernel by 180 degrees, the true convolution.
    ``padding`` is "valid", "same", "full", a number of pixels or ((top, bottom), (left, right)), filled
    with ``pad_value``. ``bias`` is one number per "map", one per "position", or None. ``connections``
    lists, for each filter, the input maps that it sees (LeCun et al. 1998, Table 1); weights that are
    not connected stay out of every sum. Parameters: ``W`` (filters, K_h, C, K_w), ``b`` (filters,) or
    (H_out, filters, W_out).
    """

    filters: int
    kernel: Pair
    stride: Pair = 1
    padding: Padding = "valid"
    pad_value: float = 0.0
    flip: bool = False
    bias: str | None = "map"
    connections: Sequence[Sequence[int]] | None = None
    initializer: Initializer = FanInUniform()  # noqa: RUF009 - frozen
    input_gradient: bool = True

    def __post_init__(self) -> None:
        """Refuse what no map could make right."""
        if self.bias not in ("map", "position", None):
            raise ValueError(f"bias={self.bias}: choose map, position or None")
        if self.filters < 1:
            raise ValueError(f"filters={self.filters}: choose 1 or more")
        if self.connections is not None and (len(self.connections) != self.filters or not all(self.connections)):
            raise ValueError(f"connections={self.connections}: give each of {self.filters} filters a row of maps")

    @property
    def _around(self) -> Margins:
        return margins(self.padding, pair(self.kernel))

    def out_shape(self, shape: Shape) -> Shape:
        """(H_out, filters, W_out)."""
        if len(shape) == 3:
            (top, bottom), (left, right) = self._around
            shape = (shape[0] + top + bottom, shape[1], shape[2] + left + right)
        rows, columns = window_grid(shape, pair(self.kernel), pair(self.stride))
        for seen in self.connections or ():
            if not 0 <= min(seen) <= max(seen) < shape[1]:
                raise ValueError(f"connections names maps {list(seen)}, but the input has maps 0 to {shape[1] - 1}")
        return rows, self.filters, columns

    def _mask(self, channels: int) -> Array | None:
        """1 where a filter sees an input map, 0 where not: (filters, 1, C, 1)."""
        if self.connections is None:
            return None
        mask = np.zeros((self.filters, 1, channels, 1), np.float32)
        for row, seen in zip(mask[:, 0, :, 0], self.connections, strict=True):
            row[list(seen)] = 1
        return mask

    def init(self, shape: Shape, rng: Rng) -> tuple[Params, Shape]:
        """Kernels scaled by each filter's own fan-in; weights that are not connected are 0."""
        out, (rows, columns), channels = self.out_shape(shape), pair(self.kernel), shape[1]
        mask = self._mask(channels)
        fan_in = rows * columns * (channels if mask is None else mask.sum((1, 2, 3), keepdims=True))
        fan_out = rows * columns * self.filters
        W = self.initializer.weights((self.filters, rows, channels, columns), fan_in, fan_out, rng)
        params = {"W": W if mask is None else W * mask}
        if self.bias:
            params["b"] = self.initializer.biases((self.filters,) if self.bias == "map" else out, rng)
        return params, out

    def _kernels(self, W: Array, dtype: np.dtype) -> Array:
        """The weights as they meet the pixels: in the input's dtype, cut and turned."""
        W = W.astype(dtype, copy=False)
        mask = self._mask(W.shape[2])
        W = W if mask is None else W * mask.astype(dtype)
        return W[:, ::-1, :, ::-1] if self.flip else W

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """``y[h, f, w] = sum_icj K[f, i, c, j] x[h s + i, c, w s + j] + b``."""
        padded = pad(x, self._around, self.pad_value)
        (kernel_rows, kernel_columns), (down, across) = pair(self.kernel), pair(self.stride)
        rows, filters, columns = self.out_shape(x.shape[:3])
        K = self._kernels(params["W"], x.dtype)
        unrolled = unroll_columns(padded, kernel_columns, across, columns)
        patches = overlapping_rows(unrolled, kernel_rows, down, rows)
        y = np.matmul(K.reshape(filters, -1), patches).reshape(rows, filters, columns, -1)
        if self.bias:
            y += (
                params["b"]
                .astype(x.dtype, copy=False)
                .reshape((1, -1, 1, 1) if self.bias == "map" else (*y.shape[:3], 1))
            )

        def backward(dy: Array) -> tuple[Array | None, Params]:
            grads = {"W": self._weight_gradient(patches, dy, K.shape)}
            if self.bias:
                grads["b"] = dy.sum((0, 2, 3)) if self.bias == "map" else dy.sum(3)
            if not self.input_gradient:
                return None, grads
            return crop(self._input_gradient(K, dy, padded.shape), self._around), grads

        return y, backward

    def _weight_gradient(self, patches: Array, dy: Array, shape: Shape) -> Array:
        """``dK[f, i, c, j] = sum_hwn dy[h, f, w] x[h s + i, c, w s + j]``, turned and cut like K was."""
        rows, filters, columns, batch = dy.shape
        errors = dy.reshape(rows, filters, columns * batch).transpose(0, 2, 1)
        dW = np.matmul(patches, errors).sum(0).T.reshape(shape)
        mask = self._mask(shape[2])
        dW = dW if mask is None else dW * mask.astype(dW.dtype)
        return np.ascontiguousarray(dW[:, ::-1, :, ::-1] if self.flip else dW)

    def _input_gradient(self, K: Array, dy: Array, shape: Shape) -> Array:
        """``dx[r, c, q] = sum_hwf dy[h, f, w] K[f, r - h s, c, q - w s]`` over the padded maps.

        The trick of the forward pass once more, on the errors: rows of zeros around and (for strides)
        between them, the kernel's rows in reverse; then one addition per kernel column.
        """
        filters, kernel_rows, channels, kernel_columns = K.shape
        (down, across), (out_rows, _, out_columns, batch) = pair(self.stride), dy.shape
        reach = (out_rows - 1) * down + kernel_rows
        spread = np.zeros((reach + kernel_rows - 1, filters, out_columns, batch), dy.dtype)
        spread[kernel_rows - 1 : reach : down] = dy
        turned = K[:, ::-1].transpose(2, 3, 1, 0).reshape(channels * kernel_columns, -1)
        parts = np.matmul(turned, overlapping_rows(spread, kernel_rows, 1, reach))
        parts = parts.reshape(reach, channels, kernel_columns, out_columns, batch)
        dx = np.zeros(shape, dy.dtype)
        for j in range(kernel_columns):
            dx[:reach, :, j : j + across * (out_columns - 1) + 1 : across] += parts[:, :, j]
        return dx

    def cost(self, shape: Shape) -> Cost:
        """Every connection counts, the bias's too; shared weights count once as parameters."""
        mask, (rows, columns) = self._mask(shape[1]), pair(self.kernel)
        kernels = self.filters * shape[1] if mask is None else int(mask.sum())
        out_rows, _, out_columns = self.out_shape(shape)
        weights, positions = kernels * rows * columns, out_rows * out_columns
        biases = {"map": self.filters, "position": self.filters * positions, None: 0}[self.bias]
        units = self.filters * positions if self.bias else 0
        return Cost(weights + biases, weights * positions + units, weights * positions)
