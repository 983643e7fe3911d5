"""Fully connected layers: Dense, LeNet-5's radial basis output, and dropout."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .correlate import Product
from .initializers import FanInUniform, Initializer
from .layer import Array, Backward, Bound, Cost, Layer, Params, Rng, Shape, size, squared
from .options import at_least, below_one, positive


@dataclass(frozen=True)
class Dense(Layer):
    """Fully connected layer ``y = W x + b`` on vectors, or on maps read in the order (H, C, W).

    Parameters: ``W`` (units, D), ``b`` (units,).
    """

    units: int
    bias: bool = True
    initializer: Initializer = FanInUniform()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        """Refuse a layer of nothing."""
        at_least(1, units=self.units)

    def out_shape(self, shape: Shape) -> Shape:
        """(units,)."""
        return (self.units,)

    def init(self, shape: Shape, rng: Rng) -> tuple[Params, Shape]:
        """Weights by the initializer, for a fan-in of every input value."""
        fan_in = size(shape)
        params = {"W": self.initializer.weights((self.units, fan_in), fan_in, self.units, rng)}
        if self.bias:
            params["b"] = self.initializer.biases((self.units,), rng)
        return params, (self.units,)

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """``[units, N]``."""
        product = Product(x, params["W"])
        kernel_gradient = product.kernel_gradient(grads["W"])
        input_gradient = None if dx is None else product.input_gradient(dx)
        y, dy, b = product.y, product.dy, params["b"][:, None] if self.bias else None

        def forward(rng: Rng | None) -> None:
            product.forward()
            if b is not None:
                np.add(y, b, out=y)

        def backward() -> None:
            kernel_gradient()
            if b is not None:
                np.add.reduce(dy, 1, out=grads["b"])
            if input_gradient:
                input_gradient()

        return Bound(y, dy, forward, backward)

    def curvature(self, params: Params, x: Array) -> Backward:
        """Backward of the squared weights over the squared input."""
        return self.forward(squared(params), np.square(x))[1]

    def cost(self, shape: Shape) -> Cost:
        """Each unit is connected to every input value and to its bias."""
        weights, biases = self.units * size(shape), self.units if self.bias else 0
        return Cost(weights + biases, weights + biases, weights)


@dataclass(frozen=True, eq=False)
class RBF(Layer):
    """Euclidean radial basis units with fixed codes: ``y_i = -factor sum_j (x_j - c_ij)^2``.

    The paper's output is the distance itself (LeCun et al. 1998, Eq. 7) and the smallest wins; here it
    is negated, so that the largest output wins everywhere. ``codes`` is (units, D); nothing is trained. The paper's
    factor is 1, LeCun's later code has 1/2.
    """

    codes: Array
    factor: float = 1.0

    def __post_init__(self) -> None:
        """Refuse to turn near and far around."""
        positive(factor=self.factor)

    def __eq__(self, other: object) -> bool:
        """The same codes and factor."""
        return isinstance(other, RBF) and self.factor == other.factor and np.array_equal(self.codes, other.codes)

    def __hash__(self) -> int:
        """By what is compared."""
        return hash((self.codes.tobytes(), self.factor))

    def out_shape(self, shape: Shape) -> Shape:
        """(units,)."""
        units, width = self.codes.shape
        if shape != (width,):
            raise ValueError(f"the codes have {width} components, but the layer before gives {shape}")
        return (units,)

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """``[units, N]``, never positive."""
        codes = self.codes.astype(x.dtype)
        apart = np.empty((*codes.shape, x.shape[-1]), x.dtype)
        y, dy = np.empty((2, len(codes), x.shape[-1]), x.dtype)

        def forward(rng: Rng | None) -> None:
            np.subtract(x, codes[..., None], out=apart)
            np.einsum("ijn,ijn->in", apart, apart, out=y)
            np.multiply(y, -self.factor, out=y)

        def backward() -> None:
            if dx is not None:
                np.einsum("ijn,in->jn", apart, dy, out=dx)
                np.multiply(dx, -2 * self.factor, out=dx)

        return Bound(y, dy, forward, backward)

    def curvature(self, params: Params, x: Array) -> Backward:
        """Twice the factor from the distance of each unit, as much as it counts: ``h_x = 2 factor sum_i h_i``.

        ``h_i`` is the loss's derivative by the distance, not a second one: see the losses of LeNet-5. Where a loss is
        curved itself, the p of its Hessian ``diag(p) - p p^T`` come below, as another row for each unit; they add
        the variance of ``2 factor (x - c_i)`` under p. ``h_i`` and p add up to a pattern's share of the mean.
        """

        def backward(h: Array) -> tuple[Array, Params]:
            slope, p = h[: len(self.codes)], h[len(self.codes) :]
            h_x = np.broadcast_to(2 * self.factor * slope.sum(0), x.shape).copy()
            if len(p):
                apart, share = 2 * self.factor * (x - self.codes[..., None]), h.sum(0)
                mean = np.einsum("in,ijn->jn", p, apart)
                h_x += np.einsum("in,ijn->jn", p, np.square(apart)) - np.square(mean) / share
            return h_x, {}

        return backward

    def cost(self, shape: Shape) -> Cost:
        """Fixed connections, none of them a parameter."""
        return Cost(0, self.codes.size, self.codes.size)


@dataclass(frozen=True)
class Dropout(Layer):
    """Values set to zero at random while training; ``rate`` is the probability of dropping (Srivastava et al. 2014).

    ``inverted``: what is kept is scaled up, so that the mean is kept, and predicting changes nothing. Otherwise, as
    printed there, it is left as it is, and predicting scales all down by the same ``1 - rate``.
    """

    rate: float = 0.5
    inverted: bool = True
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a rate that would drop everything."""
        below_one(rate=self.rate)

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """``x * mask / (1 - rate)`` while training, x when predicting; not inverted, both times ``1 - rate``."""
        if rng is None and self.inverted:
            return x, lambda dy: (dy, {})
        kept = x.dtype.type(1 - self.rate)
        scale = kept if rng is None else (rng.random(x.shape, np.float32) >= self.rate).astype(x.dtype)
        if self.inverted:
            scale = scale / kept
        return x * scale, lambda dy: (dy * scale, {})

    def curvature(self, params: Params, x: Array) -> Backward:
        """Times the square of what predicting scales by."""
        backward = self.forward(params, x)[1]
        return lambda h: backward(backward(h)[0])
