"""Schedules: the factor on the learning rate as training goes on."""

from bisect import bisect_right
from dataclasses import dataclass
from math import cos, pi

from .options import at_least, below_one, positive


@dataclass(frozen=True)
class Schedule:
    """A factor for each point of a run; ``progress`` goes from 0 (first step) towards 1 (end)."""

    def __call__(self, progress: float) -> float:
        """Constant, unless a schedule says otherwise."""
        return 1.0


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate throughout."""


@dataclass(frozen=True)
class Steps(Schedule):
    """The rate times ``factor`` once more after each of the points ``at``, as fractions of the run."""

    at: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def __post_init__(self) -> None:
        """Points of the run, and a factor that turns nothing around."""
        below_one(**{f"at[{number}]": point for number, point in enumerate(self.at)})
        positive(factor=self.factor)

    def __call__(self, progress: float) -> float:
        """``factor ** (points passed)``."""
        return self.factor ** sum(progress >= point for point in self.at)


@dataclass(frozen=True)
class Stages(Schedule):
    """One factor after the other: ``factors[n]`` from the fraction ``starts[n]`` of the run on."""

    starts: tuple[float, ...] = (0.0, 0.1, 0.25, 0.4, 0.6)
    factors: tuple[float, ...] = (1.0, 0.4, 0.2, 0.1, 0.02)

    def __post_init__(self) -> None:
        """A factor for each stage, the first stage at the start, the rest in order."""
        starts = tuple(self.starts)
        if len(starts) != len(self.factors) or starts[:1] != (0,) or list(starts) != sorted(set(starts)):
            raise ValueError(f"starts={starts}: give increasing fractions from 0 on, as many as factors")
        at_least(0, **{f"factors[{number}]": factor for number, factor in enumerate(self.factors)})

    def __call__(self, progress: float) -> float:
        """The factor of the stage that this point lies in."""
        return self.factors[bisect_right(self.starts, progress) - 1]


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 down to ``final`` (Loshchilov and Hutter 2017, without restarts)."""

    final: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a rate that would climb."""
        at_least(0, final=self.final)

    def __call__(self, progress: float) -> float:
        """``final + (1 - final) (1 + cos(pi progress)) / 2``."""
        return _glide(1.0, self.final, progress)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from ``start`` to 1 during the ``warmup``, then down to ``final``, both by cosines (Smith 2018)."""

    warmup: float = 0.3
    start: float = 0.04
    final: float = 0.0001

    def __post_init__(self) -> None:
        """Both halves take some of the run, and no rate would climb."""
        at_least(0, start=self.start, final=self.final)
        if not 0 < self.warmup < 1:
            raise ValueError(f"warmup={self.warmup}: choose a fraction of the run between 0 and 1")

    def __call__(self, progress: float) -> float:
        """See the class."""
        if progress < self.warmup:
            return _glide(self.start, 1.0, progress / self.warmup)
        return _glide(1.0, self.final, (progress - self.warmup) / (1 - self.warmup))


def _glide(first: float, last: float, progress: float) -> float:
    return last + (first - last) * (1 + cos(pi * progress)) / 2
