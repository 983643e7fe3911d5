"""Squashing functions: element by element, each with its derivative beside it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .layer import Array, Backward, Layer, Params, Rng, Shape


@dataclass(frozen=True)
class Activation(Layer):
    """A function applied to every value: ``y = f(x)``, ``dx = f'(x) dy``."""

    nonnegative: ClassVar[bool] = False  # f(x) >= 0 everywhere

    @property
    def steepest(self) -> float:
        """The largest slope that f has anywhere."""
        return 1.0

    def f(self, x: Array) -> Array:
        """The function's values."""
        raise NotImplementedError

    def derivative(self, y: Array) -> Array:
        """The derivative f'(x), written in terms of the output y = f(x)."""
        raise NotImplementedError

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """Same shape as x."""
        y = self.f(x)
        return y, lambda dy: (dy * self.derivative(y), {})

    def saturation(self, y: Array) -> float:
        """Fraction of outputs where the slope is under a tenth of the steepest: little passes back."""
        return float(np.mean(self.derivative(y) < 0.1 * self.steepest))


@dataclass(frozen=True)
class Identity(Activation):
    """No squashing: ``f(x) = x``."""

    def f(self, x: Array) -> Array:
        """x."""
        return x

    def derivative(self, y: Array) -> Array:
        """1."""
        return np.ones_like(y)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """Logistic function ``1 / (1 + exp(-x))``, exact in both tails: no exponential overflows."""

    nonnegative: ClassVar[bool] = True

    @property
    def steepest(self) -> float:
        """1/4, at the origin."""
        return 0.25

    def f(self, x: Array) -> Array:
        """Values between 0 and 1."""
        decay = np.exp(-np.abs(x))
        return np.where(x < 0, decay, 1) / (1 + decay)

    def derivative(self, y: Array) -> Array:
        """``f (1 - f)``."""
        return y * (1 - y)


@dataclass(frozen=True)
class Tanh(Activation):
    """Scaled hyperbolic tangent ``A tanh(S x)``; LeNet-5: A = 1.7159, S = 2/3 (LeCun et al. 1998, App. A)."""

    amplitude: float = 1.0
    slope: float = 1.0

    @property
    def steepest(self) -> float:
        """A S, at the origin."""
        return self.amplitude * self.slope

    def f(self, x: Array) -> Array:
        """Values between -A and A."""
        return self.amplitude * np.tanh(self.slope * x)

    def derivative(self, y: Array) -> Array:
        """``(S / A) (A - f) (A + f)``."""
        return (self.slope / self.amplitude) * (self.amplitude - y) * (self.amplitude + y)


@dataclass(frozen=True)
class ReLU(Activation):
    """Rectifier ``max(x, 0)``; its derivative at 0 is taken as 0."""

    nonnegative: ClassVar[bool] = True

    def f(self, x: Array) -> Array:
        """x where positive, else 0."""
        return np.maximum(x, 0)

    def derivative(self, y: Array) -> Array:
        """1 where the output is positive, else 0."""
        return (y > 0).astype(y.dtype)


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """Rectifier that lets a little of the negative side through: ``slope x`` where x <= 0."""

    slope: float = 0.01

    def __post_init__(self) -> None:
        """Outputs tell the sides apart only while the slope is between 0 and 1."""
        if not 0 < self.slope < 1:
            raise ValueError(f"slope={self.slope}: choose a number between 0 and 1")

    def f(self, x: Array) -> Array:
        """x where positive, else slope x."""
        return np.maximum(x, self.slope * x)

    def derivative(self, y: Array) -> Array:
        """1 where the output is positive, else slope."""
        return np.where(y > 0, 1, self.slope).astype(y.dtype)


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
