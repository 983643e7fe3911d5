"""Schedules: the factor on the learning rate as training goes on."""

from bisect import bisect_right
from dataclasses import dataclass
from math import cos, pi

from cnnlab.nn.options import BelowOne, Between, NotNegative, Positive, TypeChecked, refuse


@dataclass(frozen=True)
class Schedule(TypeChecked):
    """A factor for each point of a run; `progress` goes from 0 (first step) towards 1 (end)."""

    def __call__(self, progress: float) -> float:
        """1, unless a schedule says otherwise."""
        return 1.0


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate throughout."""


@dataclass(frozen=True)
class Steps(Schedule):
    """The rate is multiplied by `factor` at each of the points `at`, fractions of the run."""

    at: tuple[BelowOne, ...] = (0.5, 0.75)
    factor: Positive = 0.1

    def __call__(self, progress: float) -> float:
        """`factor ** (points passed)`."""
        return self.factor ** sum(progress >= point for point in self.at)


@dataclass(frozen=True)
class Stages(Schedule):
    """One factor after the other: `factors[n]` begins at the fraction `starts[n]` of the run."""

    starts: tuple[float, ...] = (0.0, 0.1, 0.25, 0.4, 0.6)
    factors: tuple[NotNegative, ...] = (1.0, 0.4, 0.2, 0.1, 0.02)

    def __post_init__(self) -> None:
        """Each stage must have a factor; the first begins at 0, the others in order."""
        super().__post_init__()
        starts = tuple(self.starts)
        if len(starts) != len(self.factors) or starts[:1] != (0,) or list(starts) != sorted(set(starts)):
            refuse("starts", starts, "increasing fractions from 0 on, as many as factors")

    def __call__(self, progress: float) -> float:
        """The factor of the stage that has begun last."""
        return self.factors[bisect_right(self.starts, progress) - 1]


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 down to `final` (Loshchilov and Hutter 2017, without restarts)."""

    final: NotNegative = 0.0

    def __call__(self, progress: float) -> float:
        """`final + (1 - final) (1 + cos(pi progress)) / 2`."""
        return _glide(1.0, self.final, progress)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from `start` to 1 during the `warmup`, then down to `final`, both by cosines (Smith 2018)."""

    warmup: Between = 0.3
    start: NotNegative = 0.04
    final: NotNegative = 0.0001

    def __call__(self, progress: float) -> float:
        """From `start` up to 1 while progress is below `warmup`, then down to `final`."""
        if progress < self.warmup:
            return _glide(self.start, 1.0, progress / self.warmup)
        return _glide(1.0, self.final, (progress - self.warmup) / (1 - self.warmup))


def _glide(first: float, last: float, progress: float) -> float:
    return last + (first - last) * (1 + cos(pi * progress)) / 2
