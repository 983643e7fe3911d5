"""A study given as rows: what a source reports for each beside what our runs found, and whether they agree."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report.arms import RunRecord
from cnnlab.report.tables import NOTHING, OTHER_CODE, number
from cnnlab.statistics import Interval, accuracy, binomial_interval, mean_interval, t_interval

COLUMNS = (
    *("name", "paper_error", "paper_source", "our_error_mean", "our_error_sd", "seeds", "passes", "train_error"),
    *("parameters", "macs", "seconds_per_run", "verdict", "runs", "code", "machine"),
)
SUMMED = ("size/parameters", "size/macs", "time/total_s")  # a vote costs what its voters cost together
MARK = "*"  # at the name of a row with runs of other code
UNKNOWN = mean_interval([])


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
    single run it is the score interval of the test images. What is not known is nan, or empty.
    `runs` are the ids of the runs, `code` and `machine` what made them.
    """

    row: Row
    error: Interval = UNKNOWN
    train_error: float = math.nan
    parameters: float = math.nan
    macs: float = math.nan
    seconds: float = math.nan
    runs: str = ""
    code: str = ""
    machine: str = ""
    other_code: bool = False

    @classmethod
    def of(cls, row: Row, records: Sequence[RunRecord]) -> Result:
        """Means over the records of finished runs.

        The training error of a network is measured during its last pass, that of a classifier and of boosted networks
        at the end.
        """

        def mean(metric: str) -> float:
            return mean_interval([record.metrics.get(metric, math.nan) for record in records]).mean

        return cls(
            row,
            _error(mean_interval([record.error("test") for record in records]), row.images),
            mean_interval([record.error("train") for record in records]).mean,
            mean("size/parameters"),
            mean("size/macs"),
            mean_interval([record.seconds for record in records]).mean,
            _each(record.run_id for record in records),
            **_made(records),
        )

    @classmethod
    def read(cls, row: Row, line: Mapping[str, str]) -> Result:
        """What a line of `results.csv` says of the row; the line may lack the last three columns."""

        def value(name: str) -> float:
            return float(line[name] or math.nan)

        return cls(
            replace(row, passes=line["passes"]),
            _error(t_interval(value("our_error_mean"), value("our_error_sd"), int(line["seeds"])), row.images),
            value("train_error"),
            value("parameters"),
            value("macs"),
            value("seconds_per_run"),
            line.get("runs", ""),
            line.get("code", ""),
            line.get("machine", ""),
        )

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
        narrow = _error(t_interval(error.mean, error.sd, error.n, 0.9), row.images, 0.9)
        if _inside(narrow, row.paper - margin, row.paper + margin):
            return "agrees"
        return "differs" if _outside(error, row.paper, row.paper) else "cannot tell"

    def cells(self) -> dict[str, str]:
        """The row as text, by column."""
        row, error = self.row, self.error
        values = (
            *(row.name, _plain(row.paper, ".2f"), row.source, _plain(error.mean, ".3f"), _plain(error.sd, ".4f")),
            *(str(error.n), row.passes if error.n else "", _plain(self.train_error, ".2f")),
            *(_plain(value, ".0f") for value in (self.parameters, self.macs, self.seconds)),
            *(self.verdict, self.runs, self.code, self.machine),
        )
        return dict(zip(COLUMNS, values, strict=True))


def _error(errors: Interval, images: int, confidence: float = 0.95) -> Interval:
    """The interval of a mean over seeds; of a single run, with its error (%), that over the test images."""
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


def _made(records: Sequence[RunRecord]) -> dict[str, Any]:
    """What the runs were made by."""
    return {
        "code": _each(record.code for record in records),
        "machine": _each((record.machine for record in records), "; "),
        "other_code": any(record.other_code for record in records),
    }


def _plain(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def vote(records: Sequence[RunRecord], answers: ArrayLike, labels: ArrayLike) -> RunRecord:
    """What several runs answer together: to each image the class that most of them name, the lowest of equals.

    `answers` are (runs, images), `labels` (images,). The cost is that of all runs.
    """
    given = np.asarray(answers)
    counts = np.array([(given == name).sum(0) for name in range(int(given.max()) + 1)])
    metrics = {name: sum(record.metrics.get(name, math.nan) for record in records) for name in SUMMED}
    metrics["test/error_percent"] = 100 * (1 - accuracy(labels, counts.argmax(0)))
    made = _made(records) | {"run_id": _each(record.run_id for record in records)}
    return replace(records[0], metrics=metrics, history=[], confusion=None, **made)


def results_csv(results: Iterable[Result]) -> str:
    """The table for machines: errors in per cent, an empty field where nothing is known."""
    file = io.StringIO()
    table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(result.cells() for result in results)
    return file.getvalue()


def results_table(results: Iterable[Result]) -> str:
    """The table for people, in Markdown, with a sentence under it where rows are of other code."""
    from tabulate import tabulate

    results = list(results)
    table = tabulate([_shown(result) for result in results], headers="keys", tablefmt="github", disable_numparse=True)
    return table + (
        f"\n\n{MARK} has runs by other code. {OTHER_CODE}" if any(result.other_code for result in results) else ""
    )


def _shown(result: Result) -> dict[str, str]:
    cells, error, row = result.cells(), result.error, result.row
    spread = f" ± {error.half_width:.2f}" if error.n > 1 else f" [{error.low:.2f}, {error.high:.2f}]" if error.n else ""
    return {
        "row": row.name + MARK * result.other_code,
        "source's error (%)": number(row.paper, "g"),
        "ours (%)": number(error.mean, ".2f") + spread,
        "seeds": cells["seeds"],
        "passes": cells["passes"] or NOTHING,
        "training error (%)": cells["train_error"] or NOTHING,
        "parameters": f"{int(cells['parameters']):,}" if cells["parameters"] else NOTHING,
        "s / run": cells["seconds_per_run"] or NOTHING,
        "goal": f"{row.goal[0]:g} to {row.goal[1]:g}" if row.goal else NOTHING,
        "verdict": cells["verdict"],
        "source": row.source,
    }
