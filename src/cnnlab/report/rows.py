"""A study given as rows: what a source reports for each beside what our runs found, and whether they agree."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report.arms import RunRecord, error_interval, mean
from cnnlab.report.tables import NOTHING, OTHER_CODE, as_csv, number, percent
from cnnlab.statistics import Interval, accuracy, mean_interval, t_interval

FIGURES = {"train_error": ".2f", "parameters": ".0f", "macs": ".0f", "seconds_per_run": ".0f"}  # and their forms
MADE = ("runs", "code", "machine")
SUMMED = ("size/parameters", "size/macs", "time/total_s")  # a vote costs what its voters cost together
MARK = "*"  # at the name of a row with runs of other code


@dataclass(frozen=True)
class Row:
    """A row of a study: the words of its runs, how many seeds, and the test error (%) that a source reports.

    `goal` is the range that was set for the mean of ours before it was measured. Instead of runs of its own a row may
    be the vote of another's: `votes` is the name of that. `images` is how many it is tested on, and `passes` over the
    training images how long it is trained, "" for what is fitted in one go. ValueError for a goal that is no range.
    """

    name: str
    words: str = ""
    source: str = ""
    paper: float = math.nan
    seeds: int = 1
    goal: tuple[float, float] | None = None
    votes: str = ""
    images: int = 10_000
    passes: str = ""

    def __post_init__(self) -> None:
        if self.goal is None:
            return
        object.__setattr__(self, "goal", tuple(self.goal))  # a YAML file has lists
        if len(self.goal) != 2 or self.goal[0] >= self.goal[1]:
            raise ValueError(f"{self.name}: goal={list(self.goal)}: choose a range of two numbers, low before high")


@dataclass(frozen=True)
class Result:
    """A row and what its finished runs found, a seed each: a line of `results.csv`.

    `error` is the test error in per cent after the last pass, a mean over seeds with Student's 95% interval; of a
    single run it is the score interval of the test images. `figures` are means by column; what is not known is nan.
    `made` has the ids of the runs, and the code and the machine that made them.
    """

    row: Row
    error: Interval
    figures: Mapping[str, float]
    made: Mapping[str, str] = field(default_factory=dict)
    other_code: bool = False

    @classmethod
    def of(cls, row: Row, records: Sequence[RunRecord]) -> Result:
        """Means over the records of finished runs.

        The training error of a network is measured during its last pass, that of a classifier and of boosted networks
        at the end.
        """
        error = error_interval(mean_interval([record.error("test") for record in records]), row.images)
        figures = {
            "train_error": mean(record.error("train") for record in records),
            "parameters": mean(record.metrics.get("size/parameters", math.nan) for record in records),
            "macs": mean(record.metrics.get("size/macs", math.nan) for record in records),
            "seconds_per_run": mean(record.seconds for record in records),
        }
        return cls(row, error, figures, _made(records), any(record.other_code for record in records))

    @classmethod
    def read(cls, row: Row, line: Mapping[str, str]) -> Result:
        """What a line of `results.csv` says of the row; the line may lack the last three columns."""
        value = {name: float(line[name] or math.nan) for name in (*FIGURES, "our_error_mean", "our_error_sd")}
        error = t_interval(value.pop("our_error_mean"), value.pop("our_error_sd"), int(line["seeds"]))
        made = {name: line[name] for name in MADE if name in line}
        return cls(replace(row, passes=line["passes"]), error_interval(error, row.images), value, made)

    @property
    def verdict(self) -> str:
        """Whether the goal was met; without one, whether ours agrees with the source's figure.

        It is judged by intervals. "Agrees" is a test of equivalence: the 90% interval lies within 0.1 points, or a
        tenth, of the source's figure. There is no verdict before all seeds are finished, since those that failed could
        be the worst. A single run is judged by its interval over test images, which knows nothing of other seeds.
        """
        error, row = self.error, self.row
        if error.n == 0:
            return "not run"
        if error.n < row.seeds:
            return f"{error.n} of {row.seeds} seeds"
        if row.goal:
            doubt = f"{error.n} seeds cannot tell" if error.n > 1 else "one run cannot tell"
            return "met" if _inside(error, *row.goal) else "missed" if _outside(error, *row.goal) else doubt
        if math.isnan(row.paper):
            return ""
        margin = max(0.1, row.paper / 10)
        narrow = error_interval(t_interval(error.mean, error.sd, error.n, 0.9), row.images, 0.9)
        if _inside(narrow, row.paper - margin, row.paper + margin):
            return "agrees"
        return "differs" if _outside(error, row.paper, row.paper) else "cannot tell"

    def cells(self) -> dict[str, str]:
        """The row as text for machines, by column; empty where nothing is known."""
        row, error = self.row, self.error
        return {
            "name": row.name,
            "paper_error": number(row.paper, ".2f", ""),
            "paper_source": row.source,
            "our_error_mean": number(error.mean, ".3f", ""),
            "our_error_sd": number(error.sd, ".4f", ""),
            "seeds": str(error.n),
            "passes": row.passes if error.n else "",
            **{name: number(self.figures[name], form, "") for name, form in FIGURES.items()},
            "verdict": self.verdict,
            **{name: self.made.get(name, "") for name in MADE},
        }

    def shown(self) -> dict[str, str]:
        """The row as text for people, by column; a dash where nothing is known."""
        row, cells = self.row, self.cells()
        return {
            "row": row.name + MARK * self.other_code,
            "source's error (%)": number(row.paper, "g"),
            "ours (%)": percent(self.error),
            "seeds": cells["seeds"],
            "passes": cells["passes"] or NOTHING,
            "training error (%)": cells["train_error"] or NOTHING,
            "parameters": number(self.figures["parameters"], ",.0f"),
            "s / run": cells["seconds_per_run"] or NOTHING,
            "goal": f"{row.goal[0]:g} to {row.goal[1]:g}" if row.goal else NOTHING,
            "verdict": self.verdict,
            "source": row.source,
        }


def _inside(error: Interval, low: float, high: float) -> bool:
    return low <= max(error.low, 0) and error.high <= high  # no error is below 0, whatever Student's t says


def _outside(error: Interval, low: float, high: float) -> bool:
    return error.high < low or high < error.low


def _each(texts: Iterable[str], between: str = " ") -> str:
    return between.join(dict.fromkeys(filter(None, texts)))


def _made(records: Sequence[RunRecord]) -> dict[str, str]:
    """What runs they are, and what they were made by."""
    return {
        "runs": _each(record.run_id for record in records),
        "code": _each(record.code for record in records),
        "machine": _each((record.machine for record in records), "; "),
    }


def vote(records: Sequence[RunRecord], answers: ArrayLike, labels: ArrayLike) -> RunRecord:
    """What several runs answer together: to each image the class that most of them name, the lowest of equals.

    `answers` are (runs, images), `labels` (images,). The cost is that of all runs.
    """
    given = np.asarray(answers)
    counts = np.array([(given == name).sum(0) for name in range(int(given.max()) + 1)])
    metrics = {name: sum(record.metrics.get(name, math.nan) for record in records) for name in SUMMED}
    metrics["test/error_percent"] = 100 * (1 - accuracy(labels, counts.argmax(0)))
    made, other_code = _made(records), any(record.other_code for record in records)
    known = replace(records[0], metrics=metrics, history=[], confusion=None, other_code=other_code)
    return replace(known, run_id=made["runs"], code=made["code"], machine=made["machine"])


def results_csv(results: Iterable[Result]) -> str:
    """The table for machines: errors in per cent, an empty field where nothing is known."""
    return as_csv([result.cells() for result in results])


def results_table(results: Sequence[Result]) -> str:
    """The table for people, in Markdown, with a sentence under it where rows are of other code."""
    from tabulate import tabulate

    rows = [result.shown() for result in results]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True) + mark_note(results)


def mark_note(results: Iterable[Result]) -> str:
    """What the mark of a row means, as a paragraph of its own; empty where no row is marked."""
    return f"\n\n{MARK} has runs by other code. {OTHER_CODE}" if any(result.other_code for result in results) else ""
