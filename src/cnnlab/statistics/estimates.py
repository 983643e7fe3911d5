"""The mean of a table (seeds, images) for new seeds and new images: its interval, its p, and what more seeds would buy.

A table has one number for each seed and image, such as 1 where an answer is wrong, or the difference of two arms.
Images are shared by all seeds and seeds by all images, so the numbers are not independent, and their mean varies in
three ways: by the seeds, by the images, and by what only this seed does with this image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnlab.statistics.intervals import Interval, checked, mean_interval, t_bound, z_bound

FEWEST_SEEDS = 5  # with fewer, intervals jump tenfold from study to study: show each seed, give no verdict
LEVEL = 0.05  # the chance of a false alarm that is accepted
MARGIN = 0.001  # 0.1 points: a smaller difference is of no interest
POWER = 0.8  # the chance of seeing a difference that is there


@dataclass(frozen=True)
class MeanSquares:
    """How much a table (seeds, images) varies `by_image`, `by_seed`, and in the `rest` that neither explains.

    These are the mean squares of two-way random effects without replication (Cornfield and Tukey 1956):
    `by_image` = S sum_i (d_i - d)^2 / (N - 1) and `by_seed` = N sum_s (d_s - d)^2 / (S - 1), of the means d_i of an
    image, d_s of a seed and d of all; `rest` = sum_si (d_si - d_i - d_s + d)^2 / ((N - 1) (S - 1)). Of one seed the
    last two are nan.
    """

    seeds: int
    images: int
    by_image: float
    by_seed: float
    rest: float

    @classmethod
    def of(cls, table: NDArray[Any]) -> MeanSquares:
        """The mean squares of a table (seeds, images) with at least 1 seed and 2 images."""
        seeds, images = table.shape
        if np.ptp(table) == 0:  # said beforehand: the mean of equal numbers may be a rounding error away from them
            return cls(seeds, images, 0.0, *((0.0, 0.0) if seeds > 1 else (math.nan, math.nan)))
        mean, of_images, of_seeds = table.mean(), table.mean(0), table.mean(1)
        by_image = seeds * float(np.square(of_images - mean).sum()) / (images - 1)
        if seeds == 1:
            return cls(seeds, images, by_image, math.nan, math.nan)
        by_seed = images * float(np.square(of_seeds - mean).sum()) / (seeds - 1)
        rest = table - of_images
        rest -= (of_seeds - mean)[:, None]
        return cls(seeds, images, by_image, by_seed, float(np.square(rest).sum()) / ((images - 1) * (seeds - 1)))

    @property
    def variance(self) -> float:
        """The variance of the table's mean, for new seeds and new images: max(I + S - E, I) / (seeds images)."""
        both = self.by_image if self.seeds == 1 else max(self.by_image + self.by_seed - self.rest, self.by_image)
        return both / (self.seeds * self.images)

    @property
    def freedom(self) -> float:
        """Its degrees of freedom by Satterthwaite (1946); those of the images where seeds seem to add nothing."""
        by_images, by_seeds = self.images - 1, self.seeds - 1
        if by_seeds == 0 or self.variance == 0 or (self.seeds >= FEWEST_SEEDS and self.by_seed <= self.rest):
            return by_images
        parts = self.by_image**2 / by_images + self.by_seed**2 / by_seeds + self.rest**2 / (by_images * by_seeds)
        return (self.variance * self.seeds * self.images) ** 2 / parts

    def half_width(self, confidence: float) -> float:
        """The x of "mean ± x" for new seeds and new images; where nothing varies 3.7 / images, for 95%.

        3.7 is -log(0.025): an event that happens to more than 3.7 / images of all would happen to one of these, but for
        a chance of 0.025.
        """
        if self.variance == 0:
            return 3.7 / self.images * math.log((1 - checked(confidence)) / 2) / math.log(0.025)
        return t_bound(self.freedom, confidence) * math.sqrt(self.variance)

    def p(self, mean: float) -> float:
        """The p of the hypothesis that the mean is 0: below 0.05 exactly where 0 is outside the 95% interval."""
        if self.variance == 0:
            return min(1.0, 2 * 0.025 ** (abs(mean) * self.images / 3.7))
        from scipy.special import stdtr

        return 2 * float(stdtr(self.freedom, -abs(mean) / math.sqrt(self.variance)))

    @property
    def with_all_seeds(self) -> float:
        """The variance that the mean would keep with any number of seeds on as many images; nan of one seed."""
        return max((self.by_image - self.rest) / self.seeds, 0.0) / self.images

    @property
    def of_a_seed(self) -> float:
        """The variance that each seed brings on these images, which n seeds divide by n; nan of one seed."""
        return max(self.by_seed, self.rest) / self.images


@dataclass(frozen=True)
class Effect(Interval):
    """The mean of a table (seeds, images) and its interval `low` to `high` for new seeds *and* new images.

    `p` is that of the hypothesis that the mean is 0; `here` is the interval for new seeds on these very images, by
    Student's t over seeds. `sd` is the deviation of the `n` seeds' means, and `squares` say how the table varies.
    """

    p: float
    here: Interval
    squares: MeanSquares

    @property
    def difference(self) -> float:
        """The mean, by the name that it has in a comparison."""
        return self.mean

    @property
    def enough_seeds(self) -> bool:
        """Whether there are seeds enough for a verdict, or for an interval to be shown: `FEWEST_SEEDS`."""
        return self.n >= FEWEST_SEEDS

    def within(self, margin: float = MARGIN) -> bool:
        """Whether the mean is known to lie within ± `margin`: its 90% interval does.

        These are two one-sided tests at 5% each (Schuirmann 1987; Lakens 2017).
        """
        return abs(self.mean) + self.squares.half_width(1 - 2 * LEVEL) < margin

    def verdict(self, p: float | None = None) -> str:
        """What may be said of a change of the error; `p` is the adjusted one where this is one of several comparisons.

        That is fewer or more errors, no difference above 0.1 points, or none detected; nothing of few seeds.
        """
        if not self.enough_seeds:
            return f"no verdict below {FEWEST_SEEDS} seeds"
        if (self.p if p is None else p) < LEVEL:
            return "fewer errors" if self.mean < 0 else "more errors"
        return f"no difference above {100 * MARGIN:g} points" if self.within() else "no difference detected"

    def seeds_needed(self, comparisons: int = 1, difference: float = MARGIN) -> float:
        """With how many seeds a true `difference` would be seen with the probability `POWER`, on as many images.

        It is n = v / (difference^2 / (z + z_power)^2 - f) + z^2 / 2, where v is the variance that a seed brings and f
        what the images leave however many seeds there are; z is that of the first of `comparisons` in Holm's order.
        Without f it is Guenther's (1981) n = ((z + z_power) sd / difference)^2 + z^2 / 2. inf where no number of seeds
        suffices, nan of one seed, never below `FEWEST_SEEDS`.
        """
        z = z_bound(_confidence_of_first(comparisons))
        room = (difference / (z + z_bound(2 * POWER - 1))) ** 2 - self.squares.with_all_seeds
        if self.n == 1 or room <= 0:
            return math.nan if self.n == 1 else math.inf
        return max(float(FEWEST_SEEDS), float(math.ceil(self.squares.of_a_seed / room + z**2 / 2)))

    def smallest_visible(self, comparisons: int = 1) -> float:
        """The smallest true difference that these seeds and images would have shown with the probability `POWER`.

        It is (t + t_power) sqrt(variance), where t is that of the first of `comparisons` in Holm's order.
        """
        spread = t_bound(self.squares.freedom, 2 * POWER - 1) * math.sqrt(self.squares.variance)
        return self.squares.half_width(_confidence_of_first(comparisons)) + spread


def _confidence_of_first(comparisons: int) -> float:
    """The confidence at which the first of several comparisons is judged in Holm's order."""
    if comparisons < 1:
        raise ValueError(f"comparisons={comparisons}: choose 1 or more")
    return 1 - LEVEL / comparisons


def crossed(d: ArrayLike, confidence: float = 0.95) -> Effect:
    """The mean of `d` (seeds, images), any numbers, and its interval for new seeds *and* new images.

    The mean squares of images, seeds and what is left give the variance of the mean, Satterthwaite's formula its
    degrees of freedom, and p is of the same t. Of one seed, (images,), it is the t interval over images. ValueError
    for other shapes, fewer than 2 images, or a value that is not finite.
    """
    values = np.asarray(d)
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise ValueError("crossed: every value must be a finite number")
    table = np.atleast_2d(values.astype(float))
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        raise ValueError(f"crossed: needs (seeds, images) with at least 1 seed and 2 images, not {values.shape}")
    mean, squares = float(table.mean()), MeanSquares.of(table)
    half = squares.half_width(confidence)
    here = mean_interval(table.mean(1), confidence)
    if squares.variance == 0 and here.n > 1:  # that no seed differs from another does not make the next one sure
        here = Interval(mean, mean - half, mean + half, 0.0, here.n)
    return Effect(mean, mean - half, mean + half, here.sd, here.n, squares.p(mean), here, squares)
