"""A mean and its confidence interval: of independent values by Student's t, of a share of errors by Wilson's score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval `low` to `high`, and the standard deviation `sd` of the `n` values behind it.

    What cannot be known is nan: the bounds and the deviation of one value, everything of none.
    """

    mean: float
    low: float
    high: float
    sd: float
    n: int

    @property
    def half_width(self) -> float:
        """Half the length of the interval: the x of "mean ± x" when it is symmetric."""
        return (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0, so that the sign of the mean is known."""
        return self.low > 0 or self.high < 0

    def times(self, factor: float) -> Interval:
        """The same in another unit: of fractions, `times(100)` is in per cent. The factor must be positive."""
        return Interval(self.mean * factor, self.low * factor, self.high * factor, self.sd * factor, self.n)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The mean of independent values and its interval by Student's t with n - 1 degrees of freedom."""
    data = np.asarray(values, dtype=float).ravel()
    n = data.size
    if n < 2:
        return t_interval(float(data[0]) if n else math.nan, math.nan, n, confidence)
    return t_interval(float(data.mean()), float(data.std(ddof=1)), n, confidence)


def t_interval(mean: float, sd: float, n: int, confidence: float = 0.95) -> Interval:
    """The interval by Student's t of a mean of n values, of which only the standard deviation is known."""
    if n < 2:
        return Interval(mean, math.nan, math.nan, math.nan, n)
    half = t_bound(n - 1, confidence) * sd / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, sd, n)


def binomial_interval(errors: int, total: int, confidence: float = 0.95) -> Interval:
    """The error rate of `errors` out of `total` independent answers, 0 to 1, and its score interval.

    Wilson (1927): unlike mean ± z sd / sqrt(n) it stays within 0 to 1 and is not empty at 0 errors.
    """
    if not 0 <= errors <= total:
        raise ValueError(f"binomial interval: {errors} errors out of {total}")
    if total == 0:
        return Interval(math.nan, math.nan, math.nan, math.nan, 0)
    z, rate = z_bound(confidence), errors / total
    shrink = 1 / (1 + z**2 / total)
    centre = shrink * (rate + z**2 / (2 * total))
    half = shrink * z * math.sqrt(rate * (1 - rate) / total + z**2 / (4 * total**2))
    low, high = (0.0 if errors == 0 else centre - half), (1.0 if errors == total else centre + half)
    return Interval(rate, low, high, math.sqrt(rate * (1 - rate)), total)


def t_bound(freedom: float, confidence: float) -> float:
    """The bound t such that Student's t lies within -t to t with the probability `confidence`."""
    from scipy.special import stdtrit  # without scipy.stats, which takes 2 s to import

    return float(stdtrit(freedom, (1 + checked(confidence)) / 2))


def z_bound(confidence: float) -> float:
    """The same bound of the normal distribution."""
    return NormalDist().inv_cdf((1 + checked(confidence)) / 2)


def checked(confidence: float) -> float:
    """The same confidence; ValueError if it is not between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: choose a number between 0 and 1, such as 0.95")
    return confidence
