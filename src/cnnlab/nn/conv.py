"""The convolutional layer: shared weights, biases, padding, and which maps a filter sees; and one that pools."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from cnnlab.nn.correlate import correlation
from cnnlab.nn.dense import Dense
from cnnlab.nn.initializers import FanInUniform, Initializer
from cnnlab.nn.layer import Array, Bound, Cost, Layer, Params, Rng, Shape, bind_squares
from cnnlab.nn.options import Limit, Natural, refuse
from cnnlab.nn.pool import Pool
from cnnlab.nn.windows import Padding, Pair, crop, margins, pad, pair, window_grid

Bias = Annotated[str | None, Limit("map, position or None", lambda value: value in ("map", "position", None))]


@dataclass(frozen=True)
class Conv2D(Layer):
    """Convolutional layer: `filters` kernels slide over maps `[H, C, W, N]`.

    By default a cross-correlation; `flip` turns the kernel by 180 degrees, which makes it a convolution proper.
    `padding` is "valid", "same", "full", a number of pixels or ((top, bottom), (left, right)), filled with `pad_value`.
    `bias` is one number for each "map", one for each "position", or None. `connections` lists, for each filter, the
    input maps that it sees (LeCun et al. 1998, Table 1); weights that are not connected count nowhere.
    Parameters: `W` (filters, K_h, C, K_w), `b` (filters,) or (H_out, filters, W_out).
    """

    forgets_output: ClassVar[bool] = True

    filters: Natural
    kernel: Pair
    stride: Pair = 1
    padding: Padding = "valid"
    pad_value: float = 0.0
    flip: bool = False
    bias: Bias = "map"
    connections: Sequence[Sequence[int]] | None = None
    initializer: Initializer = FanInUniform()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        """Each filter must see some maps."""
        super().__post_init__()
        rows = self.connections
        if rows is not None and (len(rows) != self.filters or not all(map(len, rows))):
            refuse("connections", rows, f"a row of maps for each of {self.filters} filters")

    def out_shape(self, shape: Shape) -> Shape:
        """(H_out, filters, W_out)."""
        if len(shape) == 3:
            (top, bottom), (left, right) = margins(self.padding, pair(self.kernel))
            shape = (shape[0] + top + bottom, shape[1], shape[2] + left + right)
        rows, columns = window_grid(shape, pair(self.kernel), pair(self.stride))
        for seen in self.connections or ():
            if not 0 <= min(seen) <= max(seen) < shape[1]:
                raise ValueError(f"connections names maps {list(seen)}, but the input has maps 0 to {shape[1] - 1}")
        return rows, self.filters, columns

    def _mask(self, channels: int) -> Array | None:
        """1 where a filter sees an input map, 0 where not, in the shape of the kernels: broadcasting would be slow."""
        if self.connections is None:
            return None
        rows, columns = pair(self.kernel)
        mask = np.zeros((self.filters, rows, channels, columns), np.float32)
        for kernel, seen in zip(mask, self.connections, strict=True):
            kernel[:, list(seen)] = 1
        return mask

    def init(self, shape: Shape, rng: Rng) -> tuple[Params, Shape]:
        """Kernels scaled by each filter's own fan-in; weights that are not connected are 0."""
        out, (rows, columns), channels = self.out_shape(shape), pair(self.kernel), shape[1]
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
        """The correlation of kernels W with padded maps x, plus the bias; y is `[H_out, filters, W_out, N]`.

        Per image, with windows that move by s:
        `y[h, f, w] = sum_icj W[f, i, c, j] x[h s + i, c, w s + j] + b[f]`, so that
        `dW[f, i, c, j] = sum_hw dy[h, f, w] x[h s + i, c, w s + j]` and `db[f] = sum_hw dy[h, f, w]`, both summed over
        the batch, and `dx[r, c, q] = sum_hwf dy[h, f, w] W[f, r - h s, c, q - w s]`.
        """
        W, dW, b, mask = params["W"], grads["W"], params.get("b"), self._mask(x.shape[1])
        K = W if mask is None else np.empty(W.shape, x.dtype)  # the kernels with zeros where nothing is connected
        around = margins(self.padding, pair(self.kernel))
        padded = pad(x, around, self.pad_value)
        inside = crop(padded, around)
        if padded is x and x.shape[:3:2] == pair(self.kernel) and not self.flip:  # one window: a fully connected layer
            dense, ddense = {"W": K.reshape(self.filters, -1)}, {"W": dW.reshape(self.filters, -1)}
            if b is not None:
                dense["b"], ddense["b"], b = b.reshape(-1), grads["b"].reshape(-1), None
            core = Dense(self.filters, bias="b" in dense).bind(dense, x, dx, ddense)
        else:
            corner = around[0][0], around[1][0]
            core = correlation(padded, self._turned(K), dx, self._turned(dW), pair(self.stride), corner)
        y, dy = (maps.reshape(*self.out_shape(x.shape[:3]), x.shape[3]) for maps in (core.y, core.dy))
        if b is not None:
            b, kept = (b[:, None, None], "hfwn->f") if self.bias == "map" else (b[..., None], "hfwn->hfw")

        def forward(rng: Rng | None) -> None:
            if padded is not x:
                np.copyto(inside, x)
            if mask is not None:
                np.multiply(W, mask, out=K)
            core.forward(rng)
            if b is not None:
                np.add(y, b, out=y)

        def backward() -> None:
            core.backward()
            if mask is not None:
                np.multiply(dW, mask, out=dW)
            if b is not None:
                np.einsum(kept, dy, out=grads["b"])

        return Bound(y, dy, forward, backward)

    def bind_curvature(self, params: Params, x: Array, hx: Array | None, found: Params) -> Bound:
        """The backward of the squared weights over the squared maps."""
        return bind_squares(self, replace(self, pad_value=self.pad_value**2), params, x, hx, found)

    def cost(self, shape: Shape) -> Cost:
        """Every connection counts, also that to the bias; shared weights count once as parameters."""
        mask, (rows, columns) = self._mask(shape[1]), pair(self.kernel)
        weights = self.filters * rows * shape[1] * columns if mask is None else int(mask.sum())
        out_rows, _, out_columns = self.out_shape(shape)
        positions = out_rows * out_columns
        biases = {"map": self.filters, "position": self.filters * positions, None: 0}[self.bias]
        units = self.filters * positions if self.bias else 0
        return Cost(weights + biases, weights * positions + units, weights * positions)


@dataclass(frozen=True)
class StridedConv(Pool):
    """A convolution in the place of pooling: it sees all maps and gives as many, its stride makes them smaller.

    (Springenberg et al. 2015, All-CNN.) The activation is a layer of its own. Parameters: those of `Conv2D`.
    """

    forgets_output: ClassVar[bool] = True

    initializer: Initializer = FanInUniform()  # noqa: RUF009 - frozen

    def _conv(self, maps: int) -> Conv2D:
        return Conv2D(maps, *self._window(), initializer=self.initializer)

    def init(self, shape: Shape, rng: Rng) -> tuple[Params, Shape]:
        """The kernels and biases of the convolution."""
        self.out_shape(shape)
        return self._conv(shape[1]).init(shape, rng)

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """`y = W * x + b` at every stride-th place: see `Conv2D`."""
        return self._conv(x.shape[1]).bind(params, x, dx, grads)

    def bind_curvature(self, params: Params, x: Array, hx: Array | None, found: Params) -> Bound:
        """The convolution of the squared weights: see `Conv2D`."""
        return self._conv(x.shape[1]).bind_curvature(params, x, hx, found)

    def cost(self, shape: Shape) -> Cost:
        """Parameters, connections and multiply-accumulates of the convolution."""
        return self._conv(shape[1]).cost(shape)
