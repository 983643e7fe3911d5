"""What each of several steps contributes to a whole change: its share, whatever the order of the steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnlab.statistics.comparisons import Comparison, compare, wrong_answers
from cnnlab.statistics.estimates import Effect, crossed

Steps = frozenset[str]


@dataclass(frozen=True)
class Share:
    """What one step of a staircase contributes to the whole.

    `effect` is its Shapley share, the mean of what it changes over all orders in which the steps can be taken, and
    `after` what it changes after each set of other steps.
    """

    effect: Effect
    after: dict[Steps, Comparison]

    @property
    def smallest(self) -> Steps:
        """The steps after which its change of the error is the smallest number: the best place for a good step."""
        return min(self.after, key=lambda steps: self.after[steps].mean)

    @property
    def largest(self) -> Steps:
        """The steps after which its change of the error is the largest number."""
        return max(self.after, key=lambda steps: self.after[steps].mean)


def shares(arms: Mapping[Steps, ArrayLike], confidence: float = 0.95) -> dict[str, Share]:
    """The share of each of k steps in what changes between the arm without any of them and the arm with all.

    `arms` has wrong answers as in `compare`, of all 2^k arms, each by the set of its steps. The share of step j is the
    sum over all sets T of other steps of |T|! (k - |T| - 1)! / k! (e(T with j) - e(T)) (Shapley 1953), reckoned for
    each seed and image, so that `crossed` gives its interval. All shares add up to the whole change. ValueError where
    an arm is missing, or has other seeds or images than the rest.
    """
    names = list(dict.fromkeys(name for steps in sorted(arms, key=len) for name in sorted(steps)))
    sets = [frozenset(steps) for size in range(len(names) + 1) for steps in combinations(names, size)]
    if not names:
        raise ValueError("shares: there are no steps: give arms with steps and the arm without any")
    if missing := [steps for steps in sets if steps not in arms]:
        what = f"with {_names(sorted(missing[0]))}" if missing[0] else "without any step"
        raise ValueError(f"shares: {len(names)} steps have {len(sets)} arms: give the one {what} too")
    wrong = {steps: wrong_answers(arms[steps]) for steps in sets}
    if len(shapes := sorted({table.shape for table in wrong.values()})) > 1:
        raise ValueError(f"shares: shapes {_names(shapes)} differ: give all arms the same seeds and images")
    return {name: _share(name, wrong, confidence) for name in names}


def _share(name: str, wrong: Mapping[Steps, NDArray[np.int8]], confidence: float) -> Share:
    total, after = np.zeros(wrong[frozenset()].shape), {}
    steps = len(wrong).bit_length() - 1
    for before in (before for before in wrong if name not in before):
        orders = factorial(len(before)) * factorial(steps - len(before) - 1)  # in which it comes right after these
        total += orders * (wrong[before | {name}] - wrong[before]).astype(float)
        after[before] = compare(wrong[before], wrong[before | {name}], confidence)
    return Share(crossed(total / factorial(steps), confidence), after)


def _names(what: Iterable[object]) -> str:
    return ", ".join(map(str, what))
