"""Two arms compared by the images that they get wrong, and several such tests judged together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnlab.statistics.estimates import Effect, crossed
from cnnlab.statistics.intervals import Interval, binomial_interval, z_bound


@dataclass(frozen=True)
class Comparison(Effect):
    """How many more answers arm b gets wrong than arm a, a fraction, and how sure that is.

    Of all answers, a seed and an image each, only b gets `worse` wrong and only a gets `better`.
    """

    worse: int
    better: int


def compare(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Comparison:
    """How many more answers `b` gets wrong than `a`: the mean of b - a, a fraction, for new seeds and new images.

    `a` and `b` are (seeds, images), or (images,) of one seed: True or 1 where an answer is wrong, with the same
    seeds and images in the same places. Several seeds: the interval and p of `crossed`. One seed, which knows nothing
    of others: the interval of Agresti and Min (2005) over images, and the exact p of McNemar's test.
    ValueError for other shapes or values, and for fewer than 2 images.
    """
    d = differences(a, b)
    worse, better = int((d > 0).sum()), int((d < 0).sum())
    found = Comparison(**vars(crossed(d, confidence)), worse=worse, better=better)
    return _of_one_seed(found, confidence) if found.n == 1 and worse + better else found


def _of_one_seed(found: Comparison, confidence: float) -> Comparison:
    """The same with interval and p by the images on which the two disagree."""
    from scipy.stats import binomtest

    total = found.squares.images + 2  # half an image is added to each cell of the 2 x 2 table
    centre, discordant = (found.worse - found.better) / total, found.worse + found.better + 1
    half = z_bound(confidence) * math.sqrt(discordant - total * centre**2) / total
    p = float(binomtest(found.worse, found.worse + found.better).pvalue)
    return replace(found, low=centre - half, high=centre + half, p=p)


def differences(a: ArrayLike, b: ArrayLike) -> NDArray[np.int8]:
    """b - a of wrong answers, paired by seed and image, (seeds, images): 1 where only b is wrong, -1 where only a is.

    ValueError where the two are no answers to the same images by the same seeds.
    """
    first, second = wrong_answers(a), wrong_answers(b)
    if np.shape(a) != np.shape(b):
        raise ValueError(
            f"answers: shapes {np.shape(a)} and {np.shape(b)} differ: give both arms the same seeds and images"
        )
    return second - first


def error_rate(wrong: ArrayLike, confidence: float = 0.95) -> tuple[Interval, Interval]:
    """The error of one arm, a fraction, with its interval for new seeds and new images, then for new seeds on these.

    `wrong` is (seeds, images), or (images,) of one seed, as in `compare`. One seed, which knows nothing of others, has
    Wilson's interval over images, and none for new seeds on these.
    """
    answers = wrong_answers(wrong)
    found = crossed(answers, confidence)
    if found.n > 1:
        return found, found.here
    over_images = binomial_interval(int(answers.sum()), answers.size, confidence)
    return replace(found.here, low=over_images.low, high=over_images.high), found.here


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


def wrong_answers(values: ArrayLike) -> NDArray[np.int8]:
    """Which answers are wrong, 1 or 0, (seeds, images); ValueError for what are no answers to 2 images or more."""
    found: NDArray[Any] = np.asarray(values)
    if found.dtype.kind not in "biuf" or not ((found == 0) | (found == 1)).all():
        raise ValueError("answers: every value must be 0 (right) or 1 (wrong)")
    if found.ndim not in (1, 2) or found.shape[0] < 1 or found.shape[-1] < 2:
        raise ValueError(f"answers: needs (seeds, images) or (images,) with at least 2 images, not {found.shape}")
    return np.atleast_2d(found.astype(np.int8))
