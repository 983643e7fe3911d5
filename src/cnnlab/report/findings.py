"""What a study found out: the change by each contrast, judged by the images that the arms get wrong."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cnnlab.report.arms import Arm, Options
from cnnlab.report.contrasts import Asked, Contrast, Pair, first_against_others, stairs
from cnnlab.statistics import Effect, Share, compare, crossed, differences, holm, shares


@dataclass(frozen=True)
class Finding:
    """What a contrast found: the change of the test error, a fraction, over `pairs` of arms.

    `by_seed` is what it is for each seed. Of all answers, a seed and an image each, only the new arms get `worse`
    wrong, and only the old ones `better`. `lost` pairs have no seed of which both runs finished; of `seeds` that were
    begun the effect has those of which all runs of the other pairs finished.
    """

    contrast: Contrast
    effect: Effect
    by_seed: tuple[float, ...]
    pairs: int
    worse: int
    better: int
    lost: int
    seeds: int

    @property
    def key(self) -> Hashable:
        """What its p-value is called by among all that are judged together."""
        return self.contrast


@dataclass(frozen=True)
class Interaction:
    """What a contrast found `within` each option of another word, and how far these changes differ.

    `effect` is the change under the last option less that under the first: where it is not 0, the two words interact.
    """

    contrast: Contrast
    word: str
    within: dict[str, Finding]
    effect: Effect

    @property
    def key(self) -> Hashable:
        """What its p-value is called by among all that are judged together."""
        return self.contrast, self.word


@dataclass(frozen=True)
class Staircase:
    """What each of several changes contributes to all of them together, from the arm `first` to the arm `last`.

    `start` and `end` are the errors of these two, fractions.
    """

    first: str
    last: str
    start: float
    end: float
    shares: dict[str, Share]


@dataclass(frozen=True)
class Answer:
    """All that a study found out about its words: contrasts, interactions of them, and the shares of a staircase.

    `named` says whether the contrasts stand in the study's file; else they are each option against the first of its
    word, and exploratory. `unjudged` are those of whose arms no runs can be compared. `adjusted` has every p-value,
    by Holm's correction for all of them; one of what is unjudged is 1.
    """

    findings: list[Finding] = field(default_factory=list)
    interactions: list[Interaction] = field(default_factory=list)
    unjudged: list[Contrast] = field(default_factory=list)
    staircase: Staircase | None = None
    named: bool = False
    adjusted: Mapping[Hashable, float] = field(default_factory=dict)

    @property
    def comparisons(self) -> int:
        """How many p-values are judged together."""
        return len(self.adjusted)

    def verdict(self, found: Finding | Interaction) -> str:
        """What may be said of what was found, as one of all comparisons."""
        return found.effect.verdict(self.adjusted[found.key])


def answer(arms: Sequence[Arm], words: Options, asked: Asked = Asked()) -> Answer:
    """What the arms of a sweep say about its words.

    Where no contrasts are named, a grid is asked for each option against the first of its word; a list, whose rows may
    differ in anything, for nothing.
    """
    listed = any(arm.row for arm in arms)
    contrasts = [Contrast.parse(text) for text in asked.contrasts]
    contrasts = contrasts or ([] if listed else list(first_against_others(words)))
    contrasts = [contrast for contrast in contrasts if contrast.pairs(arms)]  # a command line may have left arms out
    found = {contrast: find(contrast, arms) for contrast in contrasts}
    findings = [finding for finding in found.values() if finding]
    together = [both for contrast in found if (both := interaction(contrast, asked.within, words, arms))]
    unjudged = [contrast for contrast, finding in found.items() if not finding]
    parts = [part for both in together for part in both.within.values()]
    judged: list[Finding | Interaction] = [*findings, *parts, *together]
    ps = dict.fromkeys(unjudged, 1.0) | {one.key: one.effect.p for one in judged}
    adjusted = dict(zip(ps, holm(list(ps.values())), strict=True))
    steps = asked.steps
    if not steps and not listed and len(words) > 1 and all(len(options) == 2 for options in words.values()):
        steps = list(first_against_others(words))
    return Answer(findings, together, unjudged, staircase(arms, steps), bool(asked.contrasts), adjusted)


def find(contrast: Contrast, arms: Sequence[Arm]) -> Finding | None:
    """What a contrast found, by the seeds that all its pairs have; None where there are no such arms or seeds."""
    pairs = contrast.pairs(arms)
    usable = [pair for pair in pairs if common_seeds(pair)]
    seeds = common_seeds(arm for pair in usable for arm in pair)
    if not seeds:
        return None
    d, (old, new) = _differences(usable, seeds), usable[0]
    return Finding(
        contrast,
        effect=crossed(d.mean(0)) if len(usable) > 1 else compare(old.wrong(seeds), new.wrong(seeds)),
        by_seed=tuple(float(mean) for mean in d.mean((0, 2))),
        pairs=len(usable),
        worse=int((d > 0).sum()),
        better=int((d < 0).sum()),
        lost=len(pairs) - len(usable),
        seeds=len({record.words.get("seed") for pair in usable for arm in pair for record in arm.records}),
    )


def interaction(contrast: Contrast, word: str, words: Options, arms: Sequence[Arm]) -> Interaction | None:
    """A contrast within each option of another word; None unless at least two of them have arms and seeds in common."""
    if word == contrast.word or word in dict(contrast.where):
        return None
    parts = {option: contrast.within(word, option) for option in words.get(word, ())}
    found = {option: finding for option, part in parts.items() if (finding := find(part, arms))}
    if len(found) < 2:
        return None
    first, *_, last = found
    ends = [[pair for pair in parts[option].pairs(arms) if common_seeds(pair)] for option in (first, last)]
    seeds = common_seeds(arm for pairs in ends for pair in pairs for arm in pair)
    if not seeds:
        return None
    before, after = (_differences(pairs, seeds).mean(0) for pairs in ends)
    return Interaction(contrast, word, found, crossed(after - before))


def staircase(arms: Sequence[Arm], steps: Sequence[Contrast]) -> Staircase | None:
    """The share of each change in all of them; None unless every set of them has an arm, and all have seeds in common.

    A share is called by its word.
    """
    by_steps = stairs(arms, steps) if steps else {}
    seeds = common_seeds(by_steps.values())
    if not seeds:
        return None
    first, last = by_steps[frozenset()], by_steps[frozenset(step.word for step in steps)]
    start, end = (float(arm.wrong(seeds).mean()) for arm in (first, last))
    found = shares({changed: arm.wrong(seeds) for changed, arm in by_steps.items()})
    return Staircase(first.label, last.label, start, end, {step.word: found[step.word] for step in steps})


def common_seeds(arms: Iterable[Arm]) -> list[str]:
    """The seeds of which all these arms have answers to the same images, in the order of the first."""
    every = list(arms)
    if not every or not all(np.array_equal(arm.labels, every[0].labels) for arm in every):
        return []
    return [seed for seed in every[0].answered if all(seed in arm.answered for arm in every)]


def _differences(pairs: Iterable[Pair], seeds: Sequence[str]) -> NDArray[np.int8]:
    """Of each pair what its second arm gets wrong more than its first, (pairs, seeds, images)."""
    return np.array([differences(old.wrong(seeds), new.wrong(seeds)) for old, new in pairs])
