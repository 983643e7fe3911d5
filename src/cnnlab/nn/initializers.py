"""How weights start: random numbers whose scale depends on a unit's number of inputs (fan-in)."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from cnnlab.nn.layer import Array, Rng, Shape
from cnnlab.nn.options import NotNegative, TypeChecked

Fan = int | Array


@dataclass(frozen=True)
class Initializer(TypeChecked):
    """A distribution of weights for units with a given fan-in and fan-out; biases start at zero."""

    def weights(self, shape: Shape, fan_in: Fan, fan_out: Fan, rng: Rng) -> Array:
        """float32 weights; `fan_in` may be an array that broadcasts to the shape (one value per unit)."""
        raise NotImplementedError

    def biases(self, shape: Shape, rng: Rng) -> Array:
        """float32 biases."""
        return np.zeros(shape, np.float32)

    def for_slope(self, slope: float) -> Self:
        """This distribution for units whose activation has that slope where it is steepest."""
        return self


def _uniform(rng: Rng, shape: Shape, bound: float | Array) -> Array:
    return (rng.uniform(-1, 1, shape) * bound).astype(np.float32)


@dataclass(frozen=True)
class LeCun1998(Initializer):
    """Uniform in +-2.4/fan_in, without a square root (LeCun et al. 1998, Appendix A)."""

    def weights(self, shape: Shape, fan_in: Fan, fan_out: Fan, rng: Rng) -> Array:
        """Uniform in +-2.4/fan_in."""
        return _uniform(rng, shape, 2.4 / fan_in)


@dataclass(frozen=True)
class FanInUniform(Initializer):
    """Uniform in +-gain/sqrt(fan_in); with gain 1 as LeCun's later code and PyTorch's layers draw them."""

    gain: NotNegative = 1.0

    def weights(self, shape: Shape, fan_in: Fan, fan_out: Fan, rng: Rng) -> Array:
        """Uniform in +-gain/sqrt(fan_in)."""
        return _uniform(rng, shape, self.gain / np.sqrt(fan_in))


@dataclass(frozen=True)
class Glorot(Initializer):
    """Uniform in +-gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, Eq. 16).

    Its derivation assumes an activation of slope 1 around the origin. Unless a gain is given, it is 1 over the
    activation's steepest slope: 4 for the sigmoid, whose slope is 1/4.
    """

    gain: NotNegative | None = None

    def weights(self, shape: Shape, fan_in: Fan, fan_out: Fan, rng: Rng) -> Array:
        """Uniform in +-gain sqrt(6 / (fan_in + fan_out))."""
        gain = 1.0 if self.gain is None else self.gain
        return _uniform(rng, shape, gain * np.sqrt(6 / (fan_in + fan_out)))

    def for_slope(self, slope: float) -> Self:
        """With the gain 1 / slope, unless there is one already."""
        return replace(self, gain=1 / slope) if self.gain is None else self


@dataclass(frozen=True)
class He(Initializer):
    """Normal with standard deviation sqrt(2 / fan_in) (He et al. 2015, Eq. 10)."""

    def weights(self, shape: Shape, fan_in: Fan, fan_out: Fan, rng: Rng) -> Array:
        """Normal with standard deviation sqrt(2 / fan_in)."""
        return (rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)


@dataclass(frozen=True)
class Gaussian(Initializer):
    """Normal with standard deviation `std / fan_in**power`; `bias_std` is that of the biases.

    Nielsen's first network has power 0, his improved one 1/2, both with biases drawn too; Zhou's network has power 1.
    """

    std: NotNegative = 1.0
    power: float = 0.5
    bias_std: NotNegative = 0.0

    def weights(self, shape: Shape, fan_in: Fan, fan_out: Fan, rng: Rng) -> Array:
        """Normal with standard deviation std / fan_in**power."""
        return (rng.standard_normal(shape) * self.std / np.power(fan_in, self.power)).astype(np.float32)

    def biases(self, shape: Shape, rng: Rng) -> Array:
        """Normal with standard deviation `bias_std`."""
        return (rng.standard_normal(shape) * self.bias_std).astype(np.float32)
