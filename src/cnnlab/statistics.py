"""How often a classifier is wrong, and how sure we may be of it: counts, confidence intervals, comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


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


@dataclass(frozen=True)
class Comparison:
    """A mean `difference`, its confidence interval `low` to `high`, and the `p` of the hypothesis that it is 0."""

    difference: float
    low: float
    high: float
    p: float


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
    """The interval by Student's t of a mean of n values, of which only the standard deviation is known."""
    if n < 2:
        return Interval(mean, math.nan, math.nan, math.nan, n)
    half = _t(n - 1, confidence) * sd / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, sd, n)


def binomial_interval(errors: int, total: int, confidence: float = 0.95) -> Interval:
    """The error rate of `errors` out of `total` independent answers, 0 to 1, and its score interval.

    Wilson (1927): unlike mean ± z sd / sqrt(n) it stays within 0 to 1 and is not empty at 0 errors.
    """
    if not 0 <= errors <= total:
        raise ValueError(f"binomial interval: {errors} errors out of {total}")
    if total == 0:
        return Interval(math.nan, math.nan, math.nan, math.nan, 0)
    z, rate = _z(confidence), errors / total
    shrink = 1 / (1 + z**2 / total)
    centre = shrink * (rate + z**2 / (2 * total))
    half = shrink * z * math.sqrt(rate * (1 - rate) / total + z**2 / (4 * total**2))
    low, high = (0.0 if errors == 0 else centre - half), (1.0 if errors == total else centre + half)
    return Interval(rate, low, high, math.sqrt(rate * (1 - rate)), total)


def compare(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Comparison:
    """How many more answers `b` gets wrong than `a`: the mean of b - a, a fraction, for new seeds and new images.

    `a` and `b` are (seeds, images), or (images,) of one seed: True or 1 where an answer is wrong, with the same
    seeds and images in the same places. Several seeds: the interval and p of `crossed`. One seed, which knows nothing
    of others: the interval of Agresti and Min (2005) over images, and the exact p of McNemar's test.
    ValueError for other shapes or values, and for fewer than 2 images.
    """
    first, second = _wrong(a), _wrong(b)
    if first.shape != second.shape:
        raise ValueError(
            f"compare: shapes {first.shape} and {second.shape} differ: give both the same seeds and images"
        )
    d = second - first
    if d.size > d.shape[-1] or not d.any():
        return crossed(d, confidence)
    return _one_seed(int((d > 0).sum()), int((d < 0).sum()), d.size, confidence)


def _one_seed(worse: int, better: int, images: int, confidence: float) -> Comparison:
    """The comparison by the images that only b gets wrong (`worse`) and those that only a does (`better`)."""
    from scipy.stats import binomtest

    total = images + 2  # half an image is added to each cell of the 2 x 2 table
    centre, discordant = (worse - better) / total, worse + better + 1
    half = _z(confidence) * math.sqrt(discordant - total * centre**2) / total
    p = float(binomtest(worse, worse + better).pvalue)
    return Comparison((worse - better) / images, centre - half, centre + half, p)


def crossed(d: ArrayLike, confidence: float = 0.95) -> Comparison:
    """The mean of `d` (seeds, images) and its interval for new seeds *and* new images.

    Two-way random effects without replication: the mean squares of images, seeds and what is left give the variance of
    the mean, Satterthwaite's formula its degrees of freedom, and p is of the same t. Of one seed, (images,), it is
    the t interval over images. ValueError for other shapes, fewer than 2 images, or a value that is not finite.
    """
    values = np.asarray(d)
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise ValueError("crossed: every value must be a finite number")
    values = np.atleast_2d(values.astype(float))
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2:
        raise ValueError(f"crossed: needs (seeds, images) with at least 1 seed and 2 images, not {np.shape(d)}")
    mean = float(values.mean())
    top, freedom = _mean_squares(values)
    if top == 0:  # no answer differs: 3.7 / N is the bound that no event in N images leaves, -log(0.025) / N
        half = 3.7 / values.shape[1] * math.log((1 - _checked(confidence)) / 2) / math.log(0.025)
        return Comparison(mean, mean - half, mean + half, float(abs(mean) <= half))
    from scipy.special import stdtr

    error = math.sqrt(top / values.size)
    half = _t(freedom, confidence) * error
    return Comparison(mean, mean - half, mean + half, 2 * float(stdtr(freedom, -abs(mean) / error)))


def _mean_squares(d: NDArray[Any]) -> tuple[float, float]:
    """The variance of the mean of d (seeds, images), times d.size, and its degrees of freedom."""
    seeds, images = d.shape
    mean, of_images, of_seeds = d.mean(), d.mean(0), d.mean(1)
    ms_images = seeds * float(np.square(of_images - mean).sum()) / (images - 1)
    if seeds == 1:
        return ms_images, images - 1
    rest = d - of_images - of_seeds[:, None] + mean
    ms_seeds = images * float(np.square(of_seeds - mean).sum()) / (seeds - 1)
    ms_rest = float(np.square(rest).sum()) / ((images - 1) * (seeds - 1))
    top = max(ms_images + ms_seeds - ms_rest, ms_images)
    if top == 0 or (seeds >= 5 and ms_seeds <= ms_rest):
        return top, images - 1
    below = ms_images**2 / (images - 1) + ms_seeds**2 / (seeds - 1) + ms_rest**2 / ((images - 1) * (seeds - 1))
    return top, top**2 / below


def holm(ps: Sequence[float]) -> list[float]:
    """The p-values of several tests, adjusted by Holm (1979) so that the chance of *any* false alarm is kept.

    They are returned in the order given. ValueError for a value that is not between 0 and 1.
    """
    if wrong := [p for p in ps if not 0 <= p <= 1]:
        raise ValueError(f"holm: {wrong[0]} is no p-value: choose numbers from 0 to 1")
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * float(ps[place])))
        adjusted[place] = largest
    return adjusted


def _wrong(values: ArrayLike) -> NDArray[Any]:
    """Which answers are wrong, as 0.0 and 1.0."""
    found = np.asarray(values)
    if found.dtype.kind not in "biuf" or not np.isin(found, (0, 1)).all():
        raise ValueError("compare: every value must be 0 (right) or 1 (wrong)")
    if found.ndim not in (1, 2) or found.shape[0] < 1 or found.shape[-1] < 2:
        raise ValueError(f"compare: needs (seeds, images) or (images,) with at least 2 images, not {found.shape}")
    return found.astype(float)


def _t(freedom: float, confidence: float) -> float:
    """The bound t such that Student's t lies within -t to t with the probability `confidence`."""
    from scipy.special import stdtrit  # without scipy.stats, which takes 2 s to import

    return float(stdtrit(freedom, (1 + _checked(confidence)) / 2))


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + _checked(confidence)) / 2)


def _checked(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: choose a number between 0 and 1, such as 0.95")
    return confidence


def _whole(values: ArrayLike) -> NDArray[Any]:
    return np.asarray(values, dtype=np.int64).ravel()
