"""The rows of LeNet-5's family: what a source reports beside what our runs found."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cnnlab.metrics import Interval, binomial_interval, mean_interval, t_interval
from cnnlab.report.arms import RunRecord
from cnnlab.report.tables import NOTHING, number

COLUMNS = (
    *("name", "paper_error", "paper_source", "our_error_mean", "our_error_sd", "seeds", "passes", "train_error"),
    *("parameters", "macs", "seconds_per_run", "verdict"),
)

UNKNOWN = mean_interval([])


@dataclass(frozen=True)
class Row:
    """A row to be reproduced: the words of its runs, and the test error (%) that a source reports.

    ``goal`` is the range that was set for the mean of ours before it was measured. Instead of runs of its own a row
    may be the vote of another's: ``votes`` is the name of that. ``images`` is how many it is tested on.
    """

    name: str
    words: str = ""
    source: str = ""
    paper: float = math.nan
    seeds: int = 1
    goal: tuple[float, float] | None = None
    votes: str = ""
    images: int = 10_000


@dataclass(frozen=True)
class Result:
    """A row and what its finished runs found, a seed each: a line of ``results.csv``.

    ``error`` is the test error in per cent after the last pass, a mean over seeds with Student's interval; of a single
    run it is the score interval of the test images. What is not known is nan.
    """

    row: Row
    error: Interval = UNKNOWN
    passes: str = ""
    train_error: float = math.nan
    parameters: float = math.nan
    macs: float = math.nan
    seconds: float = math.nan

    @classmethod
    def of(cls, row: Row, records: Sequence[RunRecord]) -> "Result":
        """Means over the records of finished runs.

        Training error is that of a network as met during the last pass, of a classifier and of boosted networks as
        they are in the end.
        """
        passes = records[0].words.get("epochs", "none") if records else "none"

        def mean(metric: str) -> float:
            return mean_interval([record.metrics.get(metric, math.nan) for record in records]).mean

        return cls(
            row,
            _error(mean_interval([100 * record.error("test") for record in records]), row.images),
            "" if passes == "none" else passes,
            100 * mean_interval([record.error("train") for record in records]).mean,
            mean("size/parameters"),
            mean("size/macs"),
            mean_interval([record.seconds for record in records]).mean,
        )

    @classmethod
    def read(cls, row: Row, line: Mapping[str, str]) -> "Result":
        """What a line of ``results.csv`` says of the row."""
        mean, sd, *others = (
            float(line[name] or math.nan)
            for name in ("our_error_mean", "our_error_sd", "train_error", "parameters", "macs", "seconds_per_run")
        )
        return cls(row, _error(t_interval(mean, sd, int(line["seeds"])), row.images), line["passes"], *others)

    @property
    def verdict(self) -> str:
        """Whether the goal was met; without one, how ours stands to the source's (its 0.1 points, or our interval).

        There is none before all seeds are finished, since those that failed could be the worst.
        """
        mean, row = self.error.mean, self.row
        if math.isnan(mean):
            return "not run"
        if self.error.n < row.seeds:
            return f"{self.error.n} of {row.seeds} seeds"
        if row.goal:
            return "met" if row.goal[0] <= mean <= row.goal[1] else "missed"
        if math.isnan(row.paper):
            return ""
        low, high = round(self.error.low, 2), round(self.error.high, 2)  # as printed
        close = abs(mean - row.paper) <= 0.1 or low <= row.paper <= high
        return "agrees" if close else "lower" if mean < row.paper else "higher"

    def cells(self) -> dict[str, str]:
        """The row as text, by column."""
        row, error = self.row, self.error
        values = (
            *(row.name, _plain(row.paper, ".2f"), row.source, _plain(error.mean, ".3f"), _plain(error.sd, ".4f")),
            *(str(error.n), self.passes, _plain(self.train_error, ".2f")),
            *(_plain(value, ".0f") for value in (self.parameters, self.macs, self.seconds)),
            self.verdict,
        )
        return dict(zip(COLUMNS, values, strict=True))


def _error(errors: Interval, images: int) -> Interval:
    if errors.n != 1:
        return errors
    single = binomial_interval(round(errors.mean / 100 * images), images)
    return replace(errors, low=100 * single.low, high=100 * single.high)


def _plain(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def results_csv(results: Iterable[Result]) -> str:
    """The table for machines: errors in per cent, an empty field where nothing is known."""
    file = io.StringIO()
    table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(result.cells() for result in results)
    return file.getvalue()


def results_table(results: Iterable[Result]) -> str:
    """The table for people, in Markdown."""
    from tabulate import tabulate

    return tabulate([_shown(result) for result in results], headers="keys", tablefmt="github", disable_numparse=True)


def _shown(result: Result) -> dict[str, str]:
    cells, error, row = result.cells(), result.error, result.row
    spread = f" ± {error.half_width:.2f}" if error.n > 1 else f" [{error.low:.2f}, {error.high:.2f}]" if error.n else ""
    return {
        "row": row.name,
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


def replaced(page: str, name: str, text: str) -> str:
    """A Markdown page with the text between its comments ``<!-- name -->`` and ``<!-- /name -->`` replaced."""
    before, opening, rest = page.partition(f"<!-- {name} -->\n")
    _, closing, after = rest.partition(f"<!-- /{name} -->")
    if not (opening and closing):
        raise ValueError(f"the page has no place between <!-- {name} --> and <!-- /{name} -->")
    return f"{before}{opening}\n{text}\n\n{closing}{after}"
