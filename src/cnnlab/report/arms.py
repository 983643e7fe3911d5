"""The arms of a sweep: runs grouped by everything but their seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnlab.config import GROUPS, NUMBERS
from cnnlab.statistics import FEWEST_SEEDS, Interval, confusion_matrix, error_rate, mean_interval

WORDS = (*GROUPS, *NUMBERS)
FOLLOWERS = ("init", "lr")  # words that an arm may set to suit the others: then they are no question of their own

Options = Mapping[str, Sequence[str]]  # the swept words, each with its options in order


@dataclass(frozen=True, eq=False, repr=False)
class RunRecord:
    """What is known of one run.

    `words` are its choices, `metrics` the last value of each, `history` one dict an epoch, `answers` the class that it
    gave to each test image and `labels` the right ones, `reason` one line on why it failed; `code` is the digest of the
    code that made it on `machine`, and `other_code` says that this is not the code that is here now. In a sweep that is
    a list, `row` is the name of the row that it was made for. `lr_source` says where its learning rate is from.
    """

    run_id: str
    words: dict[str, str]
    status: str
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    answers: NDArray[Any] | None = None
    labels: NDArray[Any] | None = None
    reason: str = ""
    code: str = ""
    machine: str = ""
    other_code: bool = False
    row: str = ""
    lr_source: str = ""

    def error(self, split: str) -> float:
        """The error on that split in per cent; nan where none was recorded."""
        right = self.metrics.get(f"{split}/accuracy", math.nan)
        return self.metrics.get(f"{split}/error_percent", 100 * (1 - right))

    @property
    def finished(self) -> bool:
        """Whether the run came to its end with a test error that is a number."""
        return self.status == "FINISHED" and math.isfinite(self.error("test"))

    @property
    def failure(self) -> str:
        """Why there is no result, in a few words; empty if there is one."""
        if self.finished:
            return ""
        return self.reason or ("no test error" if self.status == "FINISHED" else self.status.lower())

    def __repr__(self) -> str:
        said = " ".join(f"{word}={choice}" for word, choice in self.words.items() if choice != "none")
        result = f"test error {self.error('test'):.2f}%" if self.finished else self.failure
        return f"<run {self.run_id}: {said}: {result}>"


@dataclass(frozen=True, eq=False)
class Arm:
    """Runs that differ by nothing but their seed: all `words` they share, `swept` the ones that name the arm."""

    words: dict[str, str]
    swept: dict[str, str]
    records: tuple[RunRecord, ...]

    @property
    def row(self) -> str:
        """The name of its row, in a sweep that is a list."""
        return self.records[0].row

    @property
    def label(self) -> str:
        """What figures call it: its row, or its options of the swept words."""
        return self.row or " / ".join(self.swept.values()) or "all runs"

    @cached_property
    def finished(self) -> tuple[RunRecord, ...]:
        """The runs with a result."""
        return tuple(record for record in self.records if record.finished)

    @property
    def errors(self) -> list[float]:
        """The test errors in per cent, one a finished run."""
        return [record.error("test") for record in self.finished]

    @cached_property
    def _known(self) -> list[tuple[str, NDArray[Any], NDArray[Any]]]:
        """Of each finished run with answers its seed, these, and the right ones."""
        return [
            (of.words.get("seed", ""), of.answers, of.labels)
            for of in self.finished
            if of.answers is not None and of.labels is not None
        ]

    @property
    def labels(self) -> NDArray[Any]:
        """The right classes of its test images, those of its first run; empty where no run has answers."""
        return self._known[0][2] if self._known else np.empty(0)

    @cached_property
    def answered(self) -> dict[str, NDArray[np.bool_]]:
        """For each seed with answers to those images whether each answer is wrong."""
        alike = [one for one in self._known if np.array_equal(one[2], self.labels)]
        return {seed: np.not_equal(answers, labels) for seed, answers, labels in alike}

    def wrong(self, seeds: Iterable[str]) -> NDArray[np.bool_]:
        """Whether the answers of these seeds are wrong, (seeds, images)."""
        return np.array([self.answered[seed] for seed in seeds])

    @cached_property
    def error(self) -> Interval:
        """The mean test error (%), for new seeds and new images; of one seed the binomial interval of its test set.

        It has no bounds where there are fewer seeds than they need, or answers to the same images are missing.
        """
        mean = mean_interval(self.errors)
        if len(self.answered) < mean.n or not mean.n or 1 < mean.n < FEWEST_SEEDS:
            return replace(mean, low=math.nan, high=math.nan)
        return error_rate(self.wrong(self.answered))[0].times(100)

    @cached_property
    def val_error(self) -> Interval:
        """The mean validation error (%) over seeds; it has no bounds where there are fewer than these need."""
        mean = mean_interval([record.error("val") for record in self.finished])
        return replace(mean, low=math.nan, high=math.nan) if mean.n < FEWEST_SEEDS else mean

    def mean(self, metric: str) -> float:
        """The mean of a metric over the finished runs; nan where there is none."""
        return mean(record.metrics.get(metric, math.nan) for record in self.finished)

    def mean_error(self, split: str) -> float:
        """The mean error (%) on a split over the finished runs; nan where there is none."""
        return mean(record.error(split) for record in self.finished)

    @property
    def histories(self) -> list[list[dict[str, float]]]:
        """The histories of the finished runs; of the failed ones if there is nothing else to learn from."""
        return [record.history for record in self.finished or self.records if record.history]

    @cached_property
    def confusion(self) -> NDArray[Any] | None:
        """The confusion matrix (C, C) on the test set (row = truth), summed over the finished runs."""
        if not self._known:
            return None
        answers, labels = (np.concatenate([one[part] for one in self._known]) for part in (1, 2))
        return confusion_matrix(labels, answers, 1 + int(max(labels.max(), answers.max())))

    @property
    def status(self) -> str:
        """How many runs have a result, how many of those are by other code, and why the others have none."""
        reasons = "; ".join(dict.fromkeys(record.failure for record in self.records if not record.finished))
        done = "finished"
        if reasons:
            done = f"{len(self.finished)} of {len(self.records)} finished" if self.finished else "failed"
        if others := sum(record.other_code for record in self.finished):
            done += ", by other code" if others == len(self.finished) else f", {others} by other code"
        return f"{done}: {reasons}" if reasons else done


def mean(values: Iterable[float]) -> float:
    """Their mean; nan if there are none."""
    return mean_interval(list(values)).mean


def swept(records: Sequence[RunRecord]) -> dict[str, tuple[str, ...]]:
    """The words that vary, seed apart, each with its options in the order of the records: the first is the baseline.

    A learning rate (or initialisation) that follows from the other words is not a question but part of the answer.
    """
    words = dict.fromkeys((*WORDS, *(word for record in records for word in record.words)))
    options = {word: tuple(dict.fromkeys(r.words.get(word, "") for r in records)) for word in words}
    varying = [word for word, values in options.items() if len(values) > 1 and word != "seed"]
    chosen = [word for word in varying if word not in FOLLOWERS]
    for follower in FOLLOWERS:
        if follower in varying and not _follows(follower, chosen, records):
            chosen.append(follower)
    return {word: options[word] for word in varying if word in chosen}


def _follows(word: str, others: Sequence[str], records: Sequence[RunRecord]) -> bool:
    """Whether the other words leave this one no choice."""
    settings = [tuple(record.words.get(other, "") for other in others) for record in records]
    return len(set(settings)) == len(set(zip(settings, (r.words.get(word, "") for r in records), strict=True)))


def arms(records: Sequence[RunRecord], swept: Iterable[str]) -> list[Arm]:
    """The runs grouped by everything but the seed, in the order of the records.

    A seed counts once: of several runs of it the last one with a result is taken, else the last.
    """
    groups: dict[tuple[tuple[str, str], ...], dict[str, RunRecord]] = {}
    for record in records:
        setting = tuple(sorted((word, value) for word, value in record.words.items() if word != "seed"))
        seeds, seed = groups.setdefault(setting, {}), record.words.get("seed", "")
        if record.finished or not (seed in seeds and seeds[seed].finished):
            seeds[seed] = record
    found = []
    for setting, seeds in groups.items():
        named = {word: dict(setting).get(word, "") for word in swept}
        found.append(Arm(dict(setting) | named, named, tuple(seeds.values())))
    return found


def ranked(arms: Iterable[Arm]) -> list[Arm]:
    """The arms by validation error, never by test error; without validation as they come; without result last."""
    return sorted(arms, key=lambda arm: (not arm.finished, np.nan_to_num(arm.val_error.mean, nan=math.inf)))
