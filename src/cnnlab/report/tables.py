"""The tables of a sweep: rows of text that a terminal, Markdown and HTML show alike."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence

from cnnlab.report.arms import FOLLOWERS, Arm, Step, ranked
from cnnlab.statistics import Interval

NOTHING = "–"
OTHER_CODE = (
    'The code has changed since the runs "by other code": rerun=changed on the command line makes just those again.'
)


def table(arms: Iterable[Arm]) -> list[dict[str, str]]:
    """One row an arm, best validation error first and failures last: swept words, lr, errors, loss, time, status.

    In a sweep that is a list, an arm's row is named before its words.
    """
    arms = ranked(arms)
    listed = any(arm.row for arm in arms)
    followers = [word for word in FOLLOWERS if word == "lr" or len({arm.words.get(word) for arm in arms}) > 1]
    return [
        {
            **({"row": arm.row} if listed else {}),
            **arm.swept,
            **{word: arm.words.get(word, NOTHING) for word in followers},
            "test error (%)": percent(arm.error),
            "validation error (%)": percent(arm.val_error),
            "train loss": number(arm.mean("train/loss"), ".4f"),
            "s / run": number(arm.mean("time/total_s"), ".1f"),
            "seeds": str(len(arm.finished)),
            "status": arm.status,
        }
        for arm in arms
    ]


def terminal_table(arms: Sequence[Arm]) -> str:
    """The table for the end of a sweep, with a line that says what its intervals are."""
    from tabulate import tabulate

    return f"{tabulate(table(arms), headers='keys', disable_numparse=True)}\n{legend(arms)}".rstrip("\n")


def legend(arms: Sequence[Arm]) -> str:
    """What the intervals in the table are, and how to make runs of other code again; empty when it has neither."""
    counts = {arm.error.n for arm in arms if math.isfinite(arm.error.low)}
    several = "±: 95% Student's t interval of the mean over seeds"
    single = "[ ]: 95% binomial (Wilson) interval of one seed's test set, blind to other seeds"
    intervals = "; ".join([several] * any(n > 1 for n in counts) + [single] * (1 in counts))
    others = any(record.other_code for arm in arms for record in arm.finished)
    return " ".join(filter(None, (intervals + "." * bool(intervals), OTHER_CODE * others)))


def step_rows(steps: Iterable[Step]) -> list[dict[str, str]]:
    """One row a step, differences of the test error in percentage points."""
    return [
        {
            "word": step.word,
            "step": f"{step.baseline} → {step.option}",
            "change of test error (points)": number(step.difference.mean, "+.2f"),
            "95% interval": _bounds(step.difference, "+.2f") or NOTHING,
            "pairs": str(step.difference.n) + (f" ({step.lost} lost to failures)" if step.lost else ""),
            "verdict": step.verdict,
        }
        for step in steps
    ]


def percent(error: Interval) -> str:
    """An error (%) with its interval: "2.31 ± 0.12" over seeds, "2.31 [2.03, 2.63]" for one."""
    if error.n > 1 and math.isfinite(error.low):
        return f"{error.mean:.2f} ± {error.half_width:.2f}"
    return " ".join(filter(None, (number(error.mean, ".2f"), _bounds(error, ".2f"))))


def number(value: float, form: str, unknown: str = NOTHING) -> str:
    """The number in that form, a dash for nan."""
    return unknown if math.isnan(value) else format(value, form)


def count(number: int, noun: str) -> str:
    """So many of them: "1 arm", "2 arms"."""
    return f"{number} {noun}" + "s" * (number != 1)


def as_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as CSV, with every column that one of them has; what a row lacks is left empty."""
    file = io.StringIO()
    table = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return file.getvalue()


def replaced(page: str, name: str, text: str) -> str:
    """A Markdown page with the text between its comments `<!-- name -->` and `<!-- /name -->` replaced."""
    before, opening, rest = page.partition(f"<!-- {name} -->\n")
    _, closing, after = rest.partition(f"<!-- /{name} -->")
    if not (opening and closing):
        raise ValueError(f"the page has no place between <!-- {name} --> and <!-- /{name} -->")
    return f"{before}{opening}\n{text}\n\n{closing}{after}"


def _bounds(interval: Interval, form: str) -> str:
    return f"[{interval.low:{form}}, {interval.high:{form}}]" if math.isfinite(interval.low) else ""
