"""How often a classifier is wrong, and how sure we may be of it: counts, means, confidence intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval `low` to `high`, and the deviation `sd` of the `n` values behind it.

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
        """Whether the sign of the mean is resolved: the whole interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Counts, int64 (classes, classes): row = true class, column = answer. ValueError on a class out of range."""
    truth, answer = _whole(labels), _whole(predictions)
    if truth.shape != answer.shape:
        raise ValueError(f"confusion matrix: {truth.size} labels but {answer.size} predictions")
    if truth.size and not (min(truth.min(), answer.min()) >= 0 and max(truth.max(), answer.max()) < classes):
        raise ValueError(f"confusion matrix: a label or a prediction is not one of 0 to {classes - 1}")
    return np.bincount(truth * classes + answer, minlength=classes**2).reshape(classes, classes)


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """The share of right answers, 0 to 1; nan when there are none to judge."""
    right = _whole(labels) == _whole(predictions)
    return float(right.mean()) if right.size else math.nan


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The mean of independent values and its interval by Student's t with n - 1 degrees of freedom."""
    data = np.asarray(values, dtype=float).ravel()
    n = data.size
    if n < 2:
        return t_interval(float(data[0]) if n else math.nan, math.nan, n, confidence)
    return t_interval(float(data.mean()), float(data.std(ddof=1)), n, confidence)


def t_interval(mean: float, sd: float, n: int, confidence: float = 0.95) -> Interval:
    """The interval by Student's t of a mean of n values that are known by their deviation alone."""
    if n < 2:
        return Interval(mean, math.nan, math.nan, math.nan, n)
    from scipy.special import stdtrit  # the quantile of t, without scipy.stats' 2 s

    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * sd / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, sd, n)


def paired_difference(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean of a - b over pairs, such as one seed in two arms. ValueError if the lengths differ."""
    if len(a) != len(b):
        raise ValueError(f"paired difference: {len(a)} values against {len(b)}")
    return mean_interval(np.subtract(a, b), confidence)


def binomial_interval(errors: int, total: int, confidence: float = 0.95) -> Interval:
    """The error rate of `errors` out of `total` independent answers and its score interval.

    Wilson (1927): unlike mean ± z sd / sqrt(n) it stays within 0 to 1 and is not empty at 0 errors.
    """
    if not 0 <= errors <= total:
        raise ValueError(f"binomial interval: {errors} errors out of {total}")
    if total == 0:
        return Interval(math.nan, math.nan, math.nan, math.nan, 0)
    z, rate = NormalDist().inv_cdf((1 + confidence) / 2), errors / total
    shrink = 1 / (1 + z**2 / total)
    centre = shrink * (rate + z**2 / (2 * total))
    half = shrink * z * math.sqrt(rate * (1 - rate) / total + z**2 / (4 * total**2))
    low, high = (0.0 if errors == 0 else centre - half), (1.0 if errors == total else centre + half)
    return Interval(rate, low, high, math.sqrt(rate * (1 - rate)), total)


def _whole(values: ArrayLike) -> NDArray[Any]:
    return np.asarray(values, dtype=np.int64).ravel()
