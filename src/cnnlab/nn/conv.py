"""Convolutional layers: shared weights, biases, padding, and which maps a filter sees."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .correlate import Correlation, Product
from .initializers import FanInUniform, Initializer
from .layer import Array, Backward, Bound, Cost, Layer, Params, Rng, Shape, squared
from .options import at_least
from .windows import Margins, Padding, Pair, crop, margins, pad, pair, window_grid


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

    def __post_init__(self) -> None:
        """Refuse what no map could make right."""
        if self.bias not in ("map", "position", None):
            raise ValueError(f"bias={self.bias}: choose map, position or None")
        at_least(1, filters=self.filters)
        if self.connections is not None and (len(self.connections) != self.filters or not all(self.connections)):
            raise ValueError(f"connections={self.connections}: give each of {self.filters} filters a row of maps")

    @cached_property
    def _size(self) -> tuple[int, int]:
        return pair(self.kernel, "kernel")

    @cached_property
    def _step(self) -> tuple[int, int]:
        return pair(self.stride, "stride")

    @cached_property
    def _around(self) -> Margins:
        return margins(self.padding, self._size)

    def out_shape(self, shape: Shape) -> Shape:
        """(H_out, filters, W_out)."""
        if len(shape) == 3:
            (top, bottom), (left, right) = self._around
            shape = (shape[0] + top + bottom, shape[1], shape[2] + left + right)
        rows, columns = window_grid(shape, self._size, self._step)
        for seen in self.connections or ():
            if not 0 <= min(seen) <= max(seen) < shape[1]:
                raise ValueError(f"connections names maps {list(seen)}, but the input has maps 0 to {shape[1] - 1}")
        return rows, self.filters, columns

    def _mask(self, channels: int) -> Array | None:
        """1 where a filter sees an input map, 0 where not, in the shape of the kernels: broadcasting would be slow."""
        if self.connections is None:
            return None
        mask = np.zeros((self.filters, self._size[0], channels, self._size[1]), np.float32)
        for kernel, seen in zip(mask, self.connections, strict=True):
            kernel[:, list(seen)] = 1
        return mask

    def init(self, shape: Shape, rng: Rng) -> tuple[Params, Shape]:
        """Kernels scaled by each filter's own fan-in; weights that are not connected are 0."""
        out, (rows, columns), channels = self.out_shape(shape), self._size, shape[1]
        mask = self._mask(channels)
        fan_in = rows * columns * channels if mask is None else mask.sum((1, 2, 3), keepdims=True)
        fan_out = rows * columns * self.filters
        W = self.initializer.weights((self.filters, rows, channels, columns), fan_in, fan_out, rng)
        params = {"W": W if mask is None else W * mask}
        if self.bias:
            params["b"] = self.initializer.biases((self.filters,) if self.bias == "map" else out, rng)
        return params, out

    def _turned(self, W: Array) -> Array:
        """The weights as they meet the pixels, a view."""
        return W[:, ::-1, :, ::-1] if self.flip else W

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """``[H_out, filters, W_out, N]``: the kernels' correlation with the padded maps, plus the bias."""
        W, dW, mask, ((top, _), (left, _)) = params["W"], grads["W"], self._mask(x.shape[1]), self._around
        connected = W if mask is None else np.empty(W.shape, x.dtype)
        padded = pad(x, self._around, self.pad_value)
        inside = crop(padded, self._around)
        product: Product | Correlation
        if padded is x and x.shape[:3:2] == self._size and not self.flip:  # one window: a fully connected layer
            product = Product(x, connected)
        else:
            product = Correlation(padded, self._turned(connected), self._step, (top, left))
        kernel_gradient = product.kernel_gradient(self._turned(dW))
        input_gradient = None if dx is None else product.input_gradient(dx)
        y, dy = (maps.reshape(*self.out_shape(x.shape[:3]), -1) for maps in (product.y, product.dy))
        b = params.get("b")
        if b is not None:
            b, kept = (b[:, None, None], "hfwn->f") if self.bias == "map" else (b[..., None], "hfwn->hfw")

        def forward(rng: Rng | None) -> None:
            if padded is not x:
                np.copyto(inside, x)
            if mask is not None:
                np.multiply(W, mask, out=connected)
            product.forward()
            if b is not None:
                np.add(y, b, out=y)

        def backward() -> None:
            kernel_gradient()
            if mask is not None:
                np.multiply(dW, mask, out=dW)
            if b is not None:
                np.einsum(kept, dy, out=grads["b"])
            if input_gradient:
                input_gradient()

        return Bound(y, dy, forward, backward)

    def curvature(self, params: Params, x: Array) -> Backward:
        """Backward of the squared weights over the squared maps."""
        return replace(self, pad_value=self.pad_value**2).forward(squared(params), np.square(x))[1]

    def cost(self, shape: Shape) -> Cost:
        """Every connection counts, the bias's too; shared weights count once as parameters."""
        mask, (rows, columns) = self._mask(shape[1]), self._size
        weights = self.filters * rows * shape[1] * columns if mask is None else int(mask.sum())
        out_rows, _, out_columns = self.out_shape(shape)
        positions = out_rows * out_columns
        biases = {"map": self.filters, "position": self.filters * positions, None: 0}[self.bias]
        units = self.filters * positions if self.bias else 0
        return Cost(weights + biases, weights * positions + units, weights * positions)
