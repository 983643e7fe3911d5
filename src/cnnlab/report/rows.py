"""A study given as rows: what a source reports for each beside what our runs found, and whether they agree."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cnnlab.report.arms import RunRecord, mean
from cnnlab.report.tables import NOTHING, OTHER_CODE, number, percent
from cnnlab.statistics import Interval, binomial_interval, mean_interval, t_interval

SUMMED = {"parameters": "size/parameters", "macs": "size/macs", "seconds_per_run": "time/total_s"}  # in a vote
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
    """A row and what its finished runs found, a seed each.

    `error` is the test error in per cent after the last pass, a mean over seeds with Student's 95% interval; of a
    single run it is the score interval of the test images. `figures` are means by name; what is not known is nan.
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
            **{
                name: mean(record.metrics.get(metric, math.nan) for record in records)
                for name, metric in SUMMED.items()
            },
        }
        return cls(row, error, figures, _made(records), any(record.other_code for record in records))

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

    def shown(self) -> dict[str, str]:
        """The row as text, by column; a dash where nothing is known."""
        row, error, figures = self.row, self.error, self.figures
        return {
            "row": row.name + MARK * self.other_code,
            "source's error (%)": number(row.paper, "g"),
            "ours (%)": percent(error),
            "seeds": str(error.n),
            "passes": (error.n and row.passes) or NOTHING,
            "training error (%)": number(figures["train_error"], ".2f"),
            "parameters": number(figures["parameters"], ",.0f"),
            "s / run": number(figures["seconds_per_run"], ".0f"),
            "goal": f"{row.goal[0]:g} to {row.goal[1]:g}" if row.goal else NOTHING,
            "verdict": self.verdict,
            "source": row.source,
        }


def error_interval(errors: Interval, images: int, confidence: float = 0.95) -> Interval:
    """The interval of a mean over seeds; of a single run, with its error (%), that of its test images."""
    if errors.n != 1:
        return errors
    single = binomial_interval(round(errors.mean / 100 * images), images, confidence).times(100)
    return replace(errors, low=single.low, high=single.high)


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


def vote(records: Sequence[RunRecord]) -> RunRecord:
    """What several runs answer together: to each image the class that most of them name, the lowest of equals.

    The cost is that of all runs.
    """
    given = np.array([record.answers for record in records])
    chosen = np.array([(given == name).sum(0) for name in range(int(given.max()) + 1)]).argmax(0)
    metrics = {name: sum(record.metrics.get(name, math.nan) for record in records) for name in SUMMED.values()}
    metrics["test/error_percent"] = 100 * float((chosen != records[0].labels).mean())
    made, other_code = _made(records), any(record.other_code for record in records)
    known = replace(records[0], metrics=metrics, history=[], answers=chosen, other_code=other_code)
    return replace(known, run_id=made["runs"], code=made["code"], machine=made["machine"])


def results_table(results: Sequence[Result]) -> str:
    """The table for people, in Markdown, with a sentence under it where rows are of other code."""
    from tabulate import tabulate

    rows = [result.shown() for result in results]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True) + mark_note(results)


def mark_note(results: Iterable[Result]) -> str:
    """What the mark of a row means, as a paragraph of its own; empty where no row is marked."""
    return f"\n\n{MARK} has runs by other code. {OTHER_CODE}" if any(result.other_code for result in results) else ""
