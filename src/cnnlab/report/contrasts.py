"""What one changed word did to the test error: contrasts of arms, judged by the images that each gets wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cnnlab.report.arms import Arm, Options
from cnnlab.statistics import FEWEST_SEEDS, LEVEL, MARGIN, Effect, Share, compare, crossed, differences, holm, shares

ROW = "row"  # what contrasts call the arms of a sweep that is a list by
WRITTEN = re.compile(r"(?P<word>[\w.]+)=(?P<old>\S+?)->(?P<new>\S+)")

Where = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Contrast:
    """The change of a word from its option `old` to `new`, in all arms whose other words are as `where` says.

    It is written `activation=sigmoid->relu loss=mse`; in a sweep that is a list, `row=name->name`.
    """

    word: str
    old: str
    new: str
    where: Where = ()

    @classmethod
    def parse(cls, text: str) -> Contrast:
        """The contrast that is written so; ValueError, in one line, for what is none."""
        changes, where = [], list[tuple[str, str]]()
        for part in text.split():
            if found := WRITTEN.fullmatch(part):
                changes.append(found)
            else:
                word, _, option = part.partition("=")
                where.append((word, option))
        if len(changes) != 1 or not all(word and option for word, option in where):
            raise ValueError(f"contrast {text!r}: write one change, and what else is fixed: word=old->new other=option")
        (change,) = changes
        return cls(change["word"], change["old"], change["new"], tuple(where))

    def __str__(self) -> str:
        return " ".join([f"{self.word}={self.old}->{self.new}", *(f"{word}={option}" for word, option in self.where)])

    def within(self, word: str, option: str) -> Contrast:
        """The same where another word has this option."""
        return replace(self, where=(*self.where, (word, option)))

    def pairs(self, arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
        """The arms before and after the change that agree in every other swept word."""
        before, after = ({key: arm for key, arm in self._arms(arms, option)} for option in (self.old, self.new))
        return [(arm, after[key]) for key, arm in before.items() if key in after]

    def _arms(self, arms: Sequence[Arm], option: str) -> Iterator[tuple[tuple[str, ...], Arm]]:
        for arm in arms:
            words = {ROW: arm.row} if self.word == ROW else arm.swept
            if words.get(self.word) == option and all(words.get(word) == fixed for word, fixed in self.where):
                yield tuple(value for word, value in words.items() if word != self.word), arm


@dataclass(frozen=True)
class Asked:
    """What a study's file asks before its runs: `contrasts`, each also `within` the options of another word."""

    contrasts: tuple[str, ...] = ()
    within: str = ""


@dataclass(frozen=True)
class Finding:
    """What a contrast found: the change of the test error, a fraction, over `pairs` of arms.

    Of all answers, a seed and an image each, only the new arms get `worse` wrong, and only the old ones `better`.
    `lost` pairs have no seed of which both runs finished. `adjusted` is p after Holm's correction for all that was
    named before the runs; nan where this was not.
    """

    contrast: Contrast
    effect: Effect
    pairs: int
    worse: int
    better: int
    lost: int
    adjusted: float = math.nan

    @property
    def named(self) -> bool:
        """Whether it was named before the runs; what is found by looking is exploratory."""
        return not math.isnan(self.adjusted)

    @property
    def verdict(self) -> str:
        """What may be said of the difference, in words."""
        return verdict(self.effect, self.adjusted if self.named else self.effect.p)


@dataclass(frozen=True)
class Interaction:
    """What a contrast found `within` each option of another word, and how far these changes differ.

    `change` is that under the last option less that under the first: where it is not 0, the two words interact.
    `adjusted` is its p after Holm's correction.
    """

    contrast: Contrast
    word: str
    within: dict[str, Finding]
    change: Effect
    adjusted: float = math.nan

    @property
    def verdict(self) -> str:
        """What may be said of how far the changes differ."""
        return verdict(self.change, self.change.p if math.isnan(self.adjusted) else self.adjusted)


@dataclass(frozen=True)
class Answer:
    """All that a study found out about its words: contrasts, interactions of them, and the shares of a staircase.

    `named` says whether the contrasts stand in the study's file; else they are each option against the first of its
    word, and exploratory.
    """

    findings: list[Finding]
    interactions: list[Interaction]
    shares: dict[str, Share]
    named: bool

    @property
    def comparisons(self) -> int:
        """How many p-values are judged together."""
        return len(self.findings) + len(self.interactions) if self.named else 1


def verdict(effect: Effect, p: float) -> str:
    """What may be said of a change of the error: fewer or more errors, none above 0.1 points, or none detected."""
    if not effect.enough_seeds:
        return f"no verdict below {FEWEST_SEEDS} seeds"
    if p < LEVEL:
        return "fewer errors" if effect.mean < 0 else "more errors"
    return f"no difference above {100 * MARGIN:g} points" if effect.within() else "no difference detected"


def answer(arms: Sequence[Arm], words: Options, asked: Asked = Asked()) -> Answer:
    """What the arms of a sweep say about its words. Contrasts without arms or seeds in common are left out."""
    contrasts = [Contrast.parse(text) for text in asked.contrasts] or list(first_against_others(words))
    findings = [found for contrast in contrasts if (found := find(contrast, arms))]
    options = words.get(asked.within, ())
    apart = [contrast for contrast in contrasts if asked.within not in (contrast.word, *dict(contrast.where))]
    together = [both for contrast in apart if (both := interaction(contrast, asked.within, options, arms))]
    if asked.contrasts:
        ps = holm([*(found.effect.p for found in findings), *(both.change.p for both in together)])
        findings = [replace(found, adjusted=p) for found, p in zip(findings, ps, strict=False)]
        together = [replace(both, adjusted=p) for both, p in zip(together, ps[len(findings) :], strict=True)]
    return Answer(findings, together, staircase(arms, words), bool(asked.contrasts))


def first_against_others(words: Options) -> Iterator[Contrast]:
    """The first option of each word against every other one."""
    for word, (first, *others) in words.items():
        yield from (Contrast(word, first, other) for other in others)


def find(contrast: Contrast, arms: Sequence[Arm]) -> Finding | None:
    """What a contrast found, by the seeds that all its pairs have; None where there are no such arms or seeds."""
    if not (pairs := contrast.pairs(arms)):
        return None
    usable = [pair for pair in pairs if _common([pair])]
    seeds = _common(usable)
    if not seeds:
        return None
    d, (old, new) = _differences(usable, seeds), usable[0]
    effect = compare(old.wrong(seeds), new.wrong(seeds)) if len(usable) == 1 else crossed(d.mean(0))
    return Finding(contrast, effect, len(usable), int((d > 0).sum()), int((d < 0).sum()), len(pairs) - len(usable))


def interaction(contrast: Contrast, word: str, options: Sequence[str], arms: Sequence[Arm]) -> Interaction | None:
    """A contrast within each option of another word; None unless at least two of them have arms and seeds in common."""
    parts = {option: contrast.within(word, option) for option in options}
    found = {option: finding for option, part in parts.items() if (finding := find(part, arms))}
    if len(found) < 2:
        return None
    first, *_, last = found
    ends = [[pair for pair in parts[option].pairs(arms) if _common([pair])] for option in (first, last)]
    seeds = _common([pair for pairs in ends for pair in pairs])
    if not seeds:
        return None
    before, after = (_differences(pairs, seeds).mean(0) for pairs in ends)
    return Interaction(contrast, word, found, crossed(after - before))


def staircase(arms: Sequence[Arm], words: Options) -> dict[str, Share]:
    """The share of each word in what changes between the first options of all and the second ones of all.

    Empty where a word has not two options, or an arm has not the seeds of the others.
    """
    if not words or any(len(options) != 2 for options in words.values()):
        return {}
    by_steps = {frozenset(w for w, options in words.items() if arm.swept[w] == options[1]): arm for arm in arms}
    if len(by_steps) < 2 ** len(words) or not (seeds := _common([tuple(by_steps.values())])):
        return {}
    return shares({steps: arm.wrong(seeds) for steps, arm in by_steps.items()})


def _common(groups: Iterable[Sequence[Arm]]) -> list[str]:
    """The seeds that all these arms have answers of, in the order of the first."""
    arms = [arm for group in groups for arm in group]
    return [seed for seed in arms[0].answered if all(seed in arm.answered for arm in arms)] if arms else []


def _differences(pairs: Iterable[Sequence[Arm]], seeds: Sequence[str]) -> NDArray[np.int8]:
    """Of each pair what its second arm gets wrong more than its first, (pairs, seeds, images)."""
    return np.array([differences(old.wrong(seeds), new.wrong(seeds)) for old, new in pairs])
