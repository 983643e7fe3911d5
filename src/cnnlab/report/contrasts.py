"""What a study asks: contrasts of arms that differ in one word, and staircases of several such changes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cnnlab.report.arms import Arm, Options

ROW = "row"  # what contrasts call the arms of a sweep that is a list by
CHANGE = re.compile(r"(?P<word>[\w.]+)=(?P<old>\S+?)->(?P<new>\S+)")
FIXED = re.compile(r"(?P<word>[\w.]+)=(?P<option>\S+)")

Pair = tuple[Arm, Arm]


@dataclass(frozen=True)
class Contrast:
    """The change of a word from its option `old` to `new`, in all arms whose other words are as `where` says.

    It is written `activation=sigmoid->relu loss=mse`; in a sweep that is a list, `row=name->name`.
    """

    word: str
    old: str
    new: str
    where: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Contrast:
        """The contrast that is written so; ValueError, in one line, for what is none."""
        parts = str(text).split()
        changes = [found for part in parts if (found := CHANGE.fullmatch(part))]
        fixed = [found for part in parts if "->" not in part and (found := FIXED.fullmatch(part))]
        if len(changes) != 1 or len(fixed) != len(parts) - 1:
            raise ValueError(f"contrast {text!r}: write one change, and what else is fixed: word=old->new other=option")
        (change,) = changes
        if change["old"] == change["new"]:
            raise ValueError(
                f"contrast {text!r}: {change['word']}={change['old']} is on both sides: choose two options"
            )
        where = tuple((found["word"], found["option"]) for found in fixed)
        return cls(change["word"], change["old"], change["new"], where)

    def __str__(self) -> str:
        return " ".join([f"{self.word}={self.old}->{self.new}", *(f"{word}={option}" for word, option in self.where)])

    def within(self, word: str, option: str) -> Contrast:
        """The same where another word has this option."""
        return Contrast(self.word, self.old, self.new, (*self.where, (word, option)))

    def pairs(self, arms: Iterable[Arm]) -> list[Pair]:
        """The arms before and after the change that agree in every other swept word."""
        by_option: dict[str, dict[tuple[str, ...], Arm]] = {self.old: {}, self.new: {}}
        for arm in arms:
            words = {ROW: arm.row} if self.word == ROW else arm.swept
            if words.get(self.word) in by_option and all(words.get(word) == option for word, option in self.where):
                others = tuple(option for word, option in words.items() if word != self.word)
                by_option[words[self.word]][others] = arm
        before, after = by_option[self.old], by_option[self.new]
        return [(arm, after[others]) for others, arm in before.items() if others in after]


@dataclass(frozen=True)
class Asked:
    """What a study's file asks before its runs.

    Its `contrasts`, each of them also `within` the options of another word; and what each of the changes of a
    `staircase`, which are written like contrasts, contributes to all of them together. ValueError, in one line, for
    what is no contrast.
    """

    contrasts: tuple[str, ...] = ()
    within: str = ""
    staircase: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in (*self.contrasts, *self.staircase):
            Contrast.parse(text)  # a mistake is found before the runs, not after them

    @property
    def steps(self) -> list[Contrast]:
        """The changes of the staircase."""
        return [Contrast.parse(text) for text in self.staircase]

    def check(self, arms: Sequence[Arm]) -> None:
        """ValueError, in one line, for what these arms cannot answer even if all of them finish."""
        for text in self.contrasts:
            if not Contrast.parse(text).pairs(arms):
                raise ValueError(f"contrast {text!r}: no two arms of this sweep differ by that, and by nothing else")
        if self.within and not any(self.within in arm.swept for arm in arms):
            raise ValueError(f"within={self.within}: this sweep has only one option of it")
        if self.staircase and not stairs(arms, self.steps):
            raise ValueError(f"staircase {', '.join(self.staircase)}: not every set of these changes has one arm")


def first_against_others(words: Options) -> Iterator[Contrast]:
    """The first option of each word against every other one."""
    for word, (first, *others) in words.items():
        yield from (Contrast(word, first, other) for other in others)


def stairs(arms: Iterable[Arm], steps: Sequence[Contrast]) -> dict[frozenset[str], Arm]:
    """The one arm of each set of changes, by the changed words; nothing where one has no arm, or several."""
    where = dict(fixed for step in steps for fixed in step.where)
    found = list[tuple[frozenset[str], Arm]]()
    for arm in arms:
        options = [(step, arm.swept.get(step.word)) for step in steps]
        if where.items() <= arm.swept.items() and all(option in (step.old, step.new) for step, option in options):
            found.append((frozenset(step.word for step, option in options if option == step.new), arm))
    return dict(found) if len(found) == len(dict(found)) == 2 ** len(steps) else {}
