"""Squashing functions: element by element, each with its derivative beside it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .layer import Array, Backward, Bound, Layer, Params, Rng, Shape
from .options import positive


@dataclass(frozen=True)
class Activation(Layer):
    """A function applied to every value: ``y = f(x)``, ``dx = f'(x) dy``."""

    nonnegative: ClassVar[bool] = False  # f(x) >= 0 everywhere

    @property
    def steepest(self) -> float:
        """The largest slope that f has anywhere."""
        return 1.0

    def f(self, x: Array, out: Array | None = None) -> Array:
        """The function's values; they fill ``out`` where it is given."""
        raise NotImplementedError

    def derivative(self, y: Array, out: Array | None = None) -> Array:
        """The derivative f'(x), written in terms of the output y = f(x)."""
        raise NotImplementedError

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """Same shape as x."""
        y, dy = np.empty_like(x), np.empty_like(x)

        def forward(rng: Rng | None) -> None:
            if (found := self.f(x, y)) is not y:
                y[...] = found

        def backward() -> None:
            if dx is not None:
                np.multiply(self.derivative(y, dx), dy, out=dx)

        return Bound(y, dy, forward, backward)

    def curvature(self, params: Params, x: Array) -> Backward:
        """``f'(x)^2 h``; the term with f'' is dropped."""
        backward = self.forward(params, x)[1]
        return lambda h: backward(backward(h)[0])

    def saturation(self, y: Array) -> float:
        """Fraction of outputs where the slope is under a tenth of the steepest: little passes back."""
        return float(np.mean(self.derivative(y) < 0.1 * self.steepest))


@dataclass(frozen=True)
class Identity(Activation):
    """No squashing: ``f(x) = x``."""

    increasing: ClassVar[bool] = True

    def f(self, x: Array, out: Array | None = None) -> Array:
        """x."""
        return np.positive(x, out=out)

    def derivative(self, y: Array, out: Array | None = None) -> Array:
        """1."""
        d = np.empty_like(y) if out is None else out
        d.fill(1)
        return d


@dataclass(frozen=True)
class Sigmoid(Activation):
    """Logistic function ``1 / (1 + exp(-x))``, exact in both tails: no exponential overflows."""

    increasing: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    @property
    def steepest(self) -> float:
        """1/4, at the origin."""
        return 0.25

    def f(self, x: Array, out: Array | None = None) -> Array:
        """Values between 0 and 1."""
        y = np.negative(x, out=out)
        with np.errstate(over="ignore"):  # exp(-x) = inf makes f = 0, as it should
            np.exp(y, out=y)
        y += 1
        return np.reciprocal(y, out=y)

    def derivative(self, y: Array, out: Array | None = None) -> Array:
        """``f (1 - f)``."""
        d = np.subtract(1, y, out=out)
        d *= y
        return d


@dataclass(frozen=True)
class Tanh(Activation):
    """Scaled hyperbolic tangent ``A tanh(S x)``; LeNet-5: A = 1.7159, S = 2/3 (LeCun et al. 1998, App. A)."""

    increasing: ClassVar[bool] = True

    amplitude: float = 1.0
    slope: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what would fall."""
        positive(amplitude=self.amplitude, slope=self.slope)

    @property
    def steepest(self) -> float:
        """A S, at the origin."""
        return self.amplitude * self.slope

    def f(self, x: Array, out: Array | None = None) -> Array:
        """Values between -A and A."""
        y = np.tanh(x if self.slope == 1 else np.multiply(self.slope, x, out=out), out=out)
        if self.amplitude != 1:
            y *= self.amplitude
        return y

    def derivative(self, y: Array, out: Array | None = None) -> Array:
        """``S A - (S / A) f^2``."""
        d = np.multiply(y, y, out=out)
        if self.slope != self.amplitude:
            d *= self.slope / self.amplitude
        return np.subtract(self.slope * self.amplitude, d, out=d)


@dataclass(frozen=True)
class ReLU(Activation):
    """Rectifier ``max(x, 0)``; its derivative at 0 is taken as 0."""

    increasing: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    def f(self, x: Array, out: Array | None = None) -> Array:
        """x where positive, else 0."""
        return np.maximum(x, np.zeros(x.shape[1:], x.dtype), out=out)  # three times as fast as with the scalar 0

    def derivative(self, y: Array, out: Array | None = None) -> Array:
        """1 where the output is positive, else 0."""
        return np.greater(y, 0, out=np.empty_like(y) if out is None else out)


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """Rectifier that lets a little of the negative side through: ``slope x`` where x <= 0."""

    increasing: ClassVar[bool] = True

    slope: float = 0.01

    def __post_init__(self) -> None:
        """Outputs tell the sides apart only while the slope is between 0 and 1."""
        if not 0 < self.slope < 1:
            raise ValueError(f"slope={self.slope}: choose a number between 0 and 1")

    def f(self, x: Array, out: Array | None = None) -> Array:
        """x where positive, else slope x."""
        return np.maximum(x, np.multiply(self.slope, x, out=out), out=out)

    def derivative(self, y: Array, out: Array | None = None) -> Array:
        """1 where the output is positive, else slope."""
        d = np.greater(y, 0, out=np.empty_like(y) if out is None else out)
        return np.maximum(d, self.slope, out=d)


@dataclass(frozen=True)
class Softmax(Layer):
    """``exp(x_i) / sum_j exp(x_j)`` over vectors ``[D, N]``, with its full Jacobian on the way back.

    ``dy_i/dx_j = y_i (1[i = j] - y_j)``; as a product with dy the matrix need not be formed.
    """

    def out_shape(self, shape: Shape) -> Shape:
        """The vector's own shape; maps are refused."""
        if len(shape) != 1:
            raise ValueError(f"softmax is over vectors, but is given maps {shape}")
        return shape

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """Columns that sum to 1."""
        y = np.exp(x - x.max(0))
        y /= y.sum(0)
        return y, lambda dy: (y * (dy - (dy * y).sum(0)), {})

    def curvature(self, params: Params, x: Array) -> Backward:
        """``y_j^2 ((1 - 2 y_j) h_j + sum_i y_i^2 h_i)``."""
        y, _ = self.forward(params, x)
        return lambda h: (np.square(y) * ((1 - 2 * y) * h + (np.square(y) * h).sum(0)), {})
