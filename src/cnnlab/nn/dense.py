"""Fully connected layers, and dropout."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cnnlab.nn.initializers import FanInUniform, Initializer
from cnnlab.nn.layer import Array, Backward, Bound, Cost, Layer, Params, Rng, Shape, bind_squares, size
from cnnlab.nn.options import BelowOne, Natural


@dataclass(frozen=True)
class Dense(Layer):
    """Fully connected layer `y = W x + b` on vectors, or on maps read in the order (H, C, W).

    Parameters: `W` (units, D), `b` (units,), which starts at `bias_start` plus what the initializer draws.
    """

    forgets_output: ClassVar[bool] = True

    units: Natural
    bias: bool = True
    initializer: Initializer = FanInUniform()  # noqa: RUF009 - frozen
    bias_start: float = 0.0

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the outputs, (units,), for any input."""
        return (self.units,)

    def init(self, shape: Shape, rng: Rng) -> tuple[Params, Shape]:
        """Weights by the initializer, for a fan-in of every input value."""
        fan_in = size(shape)
        params = {"W": self.initializer.weights((self.units, fan_in), fan_in, self.units, rng)}
        if self.bias:
            params["b"] = self.initializer.biases((self.units,), rng) + np.float32(self.bias_start)
        return params, (self.units,)

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """`y = W x + b`, so that `dW = dy x^T`, `db = sum_n dy_n` and `dx = W^T dy`; y is `[units, N]`."""
        W, b, batch = params["W"], params["b"][:, None] if self.bias else None, x.shape[-1]
        x = x.reshape(W.shape[1], batch)
        dx = None if dx is None else dx.reshape(x.shape)
        y, dy = np.empty((self.units, batch), x.dtype), np.empty((self.units, batch), x.dtype)
        product: Callable[..., Array] = np.dot if batch == 1 else np.matmul  # of a column and a row, where BLAS is slow

        def forward(rng: Rng | None) -> None:
            np.matmul(W, x, out=y)
            if b is not None:
                np.add(y, b, out=y)

        def backward() -> None:
            product(dy, x.T, out=grads["W"])
            if b is not None and batch == 1:
                np.copyto(grads["b"], dy[:, 0])
            elif b is not None:
                np.add.reduce(dy, 1, out=grads["b"])
            if dx is not None:
                np.matmul(W.T, dy, out=dx)

        return Bound(y, dy, forward, backward)

    def bind_curvature(self, params: Params, x: Array, hx: Array | None, found: Params) -> Bound:
        """The backward of the squared weights over the squared input."""
        return bind_squares(self, self, params, x, hx, found)

    def cost(self, shape: Shape) -> Cost:
        """Each unit is connected to every input value and to its bias."""
        weights, biases = self.units * size(shape), self.units if self.bias else 0
        return Cost(weights + biases, weights + biases, weights)


@dataclass(frozen=True)
class Dropout(Layer):
    """Values set to zero at random while training; `rate` is the probability of dropping (Srivastava et al. 2014).

    `inverted`: what is kept is scaled up while training, so that the mean stays, and predicting changes nothing.
    Otherwise, as printed there, it is left as it is, and predicting scales all values down by `1 - rate`.
    """

    rate: BelowOne = 0.5
    inverted: bool = True
    stochastic: ClassVar[bool] = True

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """x times `mask / (1 - rate)` while training and 1 when predicting; not inverted, times mask and `1 - rate`."""
        if rng is None and self.inverted:
            return x, lambda dy: (dy, {})
        kept = x.dtype.type(1 - self.rate)
        scale = kept if rng is None else (rng.random(x.shape, np.float32) >= self.rate).astype(x.dtype)
        if self.inverted:
            scale = scale / kept
        return x * scale, lambda dy: (dy * scale, {})

    def curvature(self, params: Params, x: Array) -> Backward:
        """Times the square of the factor with which values are scaled when predicting."""
        backward = self.forward(params, x)[1]
        return lambda h: backward(backward(h)[0])
