"""What a word changes beside other words: within each option of another, and as its share of a staircase of steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnlab.statistics.comparisons import Comparison, compare, differences, wrong_answers
from cnnlab.statistics.estimates import Effect, crossed

Steps = frozenset[str]


@dataclass(frozen=True)
class Interaction:
    """What a word changes within each option of another word, and how much these changes differ.

    `within` has the two arms compared under each option. `changes` has, for each option but the first, how much more
    the word adds to the error there than under the first: where that is not 0, the words interact. `pooled` is the
    mean over options for each seed and image: a study chooses its options, so the interval is for new seeds and new
    images, not for new options, and copies of an option do not make it narrower.
    """

    within: dict[str, Comparison]
    changes: dict[str, Effect]
    pooled: Effect


def interaction(a: Mapping[str, ArrayLike], b: Mapping[str, ArrayLike], confidence: float = 0.95) -> Interaction:
    """What going from `a` to `b` changes within each option of another word.

    Both have wrong answers as in `compare`, by the name of the option: the same options, and all arms the same seeds
    and images. ValueError where that is not so.
    """
    if not a or set(a) != set(b):
        raise ValueError(f"interaction: {_names(a)} against {_names(b)}: give both arms under the same options")
    d = {option: differences(a[option], b[option]) for option in a}
    _check_alike("interaction", d.values())
    first, *others = d
    return Interaction(
        within={option: compare(a[option], b[option], confidence) for option in d},
        changes={option: crossed(d[option] - d[first], confidence) for option in others},
        pooled=crossed(np.mean(list(d.values()), axis=0), confidence),
    )


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
    _check_alike("shares", wrong.values())
    return {name: _share(name, wrong, confidence) for name in names}


def _share(name: str, wrong: Mapping[Steps, NDArray[np.int8]], confidence: float) -> Share:
    total, after = np.zeros(wrong[frozenset()].shape), {}
    steps = len(wrong).bit_length() - 1
    for before in (before for before in wrong if name not in before):
        orders = factorial(len(before)) * factorial(steps - len(before) - 1)  # in which it comes right after these
        total += orders * (wrong[before | {name}] - wrong[before]).astype(float)
        after[before] = compare(wrong[before], wrong[before | {name}], confidence)
    return Share(crossed(total / factorial(steps), confidence), after)


def _check_alike(what: str, tables: Iterable[NDArray[np.int8]]) -> None:
    shapes = sorted({table.shape for table in tables})
    if len(shapes) > 1:
        raise ValueError(f"{what}: shapes {_names(shapes)} differ: give all arms the same seeds and images")


def _names(what: Iterable[object]) -> str:
    return ", ".join(map(str, what)) or "nothing"
