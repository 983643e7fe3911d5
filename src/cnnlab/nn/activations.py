"""Activations: functions applied to every value, each with its derivative beside it; and softmax."""

from dataclasses import dataclass
from functools import cache
from math import pi, sqrt
from typing import ClassVar

import numpy as np

from cnnlab.nn.layer import Array, Backward, Bound, Layer, Params, Rng, Shape
from cnnlab.nn.options import Between, Positive

FEW = 4096  # values, up to which a call takes more time than computing


@cache
def constant(value: float, dtype: np.dtype) -> Array:
    """A number as an array: on single images a call with a Python number takes twice as long."""
    array = np.array(value, dtype)
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class Activation(Layer):
    """A function without parameters applied to every value: `y = f(x)`, `dx = f'(x) dy`.

    A kind of activation writes `forward` alone. Where f' can be computed from y, it may write `f` and `derivative`
    instead, which fill arrays that are there already and so are faster.
    """

    in_place: ClassVar[bool] = False  # f and derivative may be given one array as both input and output

    def f(self, x: Array, y: Array) -> None:
        """Fill y with f(x)."""
        raise NotImplementedError

    def derivative(self, y: Array, d: Array) -> None:
        """Fill d with f'(x), computed from the output y = f(x)."""
        raise NotImplementedError

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """`y = f(x)` and `dx = f'(x) dy`, of the same shape as x."""
        return self.bind_over(x, np.empty_like(x), dx)

    def bind_over(self, x: Array, y: Array, dx: Array | None) -> Bound:
        """The same with a given array for the output, which may be x itself if the function is `in_place`."""
        dy = np.empty_like(x)

        def backward() -> None:
            if dx is not None:
                self.derivative(y, dx)
                np.multiply(dx, dy, out=dx)

        return Bound(y, dy, lambda rng: self.f(x, y), backward)

    @property
    def steepest(self) -> float:
        """The largest slope, up or down, between -10 and 10 (at multiples of 0.01)."""
        x = np.arange(-1000, 1001) / 100
        return float(np.abs(self.forward({}, x)[1](np.ones_like(x))[0]).max())

    def bind_curvature(self, params: Params, x: Array, hx: Array | None, found: Params) -> Bound:
        """`f'(x)^2 h`; the term with f'' is left out."""
        bound = self.bind(params, x, hx, found)

        def backward() -> None:
            if hx is not None:
                bound.backward()
                np.copyto(bound.dy, hx)
                bound.backward()

        return bound._replace(backward=backward)


@dataclass(frozen=True)
class Identity(Activation):
    """`f(x) = x`."""

    increasing: ClassVar[bool] = True
    in_place: ClassVar[bool] = True

    def f(self, x: Array, y: Array) -> None:
        """Fill y with x."""
        np.copyto(y, x)

    def derivative(self, y: Array, d: Array) -> None:
        """Fill d with 1."""
        d.fill(1)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """Logistic function `1 / (1 + exp(-x))`."""

    increasing: ClassVar[bool] = True
    in_place: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    def f(self, x: Array, y: Array) -> None:
        """Values between 0 and 1."""
        np.negative(x, out=y)
        with np.errstate(over="ignore"):  # where exp(-x) is infinite, f(x) is 0, as it should be
            np.exp(y, out=y)
        y += 1
        np.reciprocal(y, out=y)

    def derivative(self, y: Array, d: Array) -> None:
        """`y (1 - y)`."""
        np.subtract(1, y, out=d)
        d *= y


@dataclass(frozen=True)
class Tanh(Activation):
    """Scaled hyperbolic tangent `A tanh(S x)`; LeNet-5: A = 1.7159, S = 2/3 (LeCun et al. 1998, App. A)."""

    increasing: ClassVar[bool] = True
    in_place: ClassVar[bool] = True

    amplitude: Positive = 1.0
    slope: Positive = 1.0

    def f(self, x: Array, y: Array) -> None:
        """Values between -A and A."""
        np.tanh(x if self.slope == 1 else np.multiply(constant(self.slope, x.dtype), x, out=y), out=y)
        if self.amplitude != 1:
            np.multiply(constant(self.amplitude, x.dtype), y, out=y)

    def derivative(self, y: Array, d: Array) -> None:
        """`S A - (S / A) y^2`."""
        np.multiply(y, y, out=d)
        if self.slope != self.amplitude:
            np.multiply(constant(self.slope / self.amplitude, d.dtype), d, out=d)
        np.subtract(constant(self.slope * self.amplitude, d.dtype), d, out=d)


@dataclass(frozen=True)
class ReLU(Activation):
    """Rectifier `max(x, 0)`; its derivative at 0 is taken as 0."""

    increasing: ClassVar[bool] = True
    in_place: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    def f(self, x: Array, y: Array) -> None:
        """x where positive, else 0."""
        rows = x.size > FEW  # of zeros: of many values, three times as fast as with one
        np.maximum(x, np.zeros(x.shape[1:], x.dtype) if rows else constant(0, x.dtype), out=y)

    def derivative(self, y: Array, d: Array) -> None:
        """1 where the output is positive, else 0."""
        if y.size > FEW:
            np.greater(y, 0, out=d)
        else:
            np.sign(y, out=d)  # of few values quicker than a comparison, whose result is converted


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """Rectifier with a small slope on the negative side: `slope x` where x <= 0."""

    increasing: ClassVar[bool] = True

    slope: Between = 0.01  # so that the output has the sign of the input

    def f(self, x: Array, y: Array) -> None:
        """x where positive, else slope x."""
        np.maximum(x, np.multiply(self.slope, x, out=y), out=y)

    def derivative(self, y: Array, d: Array) -> None:
        """1 where the output is positive, else slope."""
        np.greater(y, 0, out=d)
        np.maximum(d, self.slope, out=d)


@dataclass(frozen=True)
class GELU(Activation):
    """Gaussian error linear unit `x P(x)`, with P the normal distribution function in its tanh form.

    `P(x) = (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2` (Hendrycks and Gimpel 2016, section 2): within 0.0005 of
    `x P(x)` with the exact P, which NumPy does not have.
    """

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """`x P`; the slope is `P + x P'` with `P' = 2 P (1 - P) u'`, u being the argument of tanh."""
        scale, cubic = sqrt(2 / pi), 0.044715
        P = 0.5 + 0.5 * np.tanh(scale * x * (1 + cubic * x * x))

        def backward(dy: Array) -> tuple[Array, Params]:
            return dy * (P + x * 2 * P * (1 - P) * scale * (1 + 3 * cubic * x * x)), {}

        return x * P, backward


@dataclass(frozen=True)
class Softplus(Activation):
    """`ln(1 + exp(x))`, a smooth rectifier (Glorot, Bordes and Bengio 2011)."""

    increasing: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """The slope is the sigmoid, `1 - exp(-y)`."""
        y = np.logaddexp(0, x)
        return y, lambda dy: (-np.expm1(-y) * dy, {})


@dataclass(frozen=True)
class Softmax(Layer):
    """`exp(x_i) / sum_j exp(x_j)` over vectors `[D, N]`, with its full Jacobian on the way back.

    `dy_i/dx_j = y_i (1[i = j] - y_j)`; its product with dy is computed without the matrix.
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
        """`y_j^2 ((1 - 2 y_j) h_j + sum_i y_i^2 h_i)`."""
        y, _ = self.forward(params, x)
        return lambda h: (np.square(y) * ((1 - 2 * y) * h + (np.square(y) * h).sum(0)), {})
