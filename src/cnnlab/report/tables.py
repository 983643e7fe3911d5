"""The tables of a sweep: rows of text that a terminal, Markdown and HTML show alike."""

import math
from collections.abc import Iterable, Sequence

from cnnlab.report.arms import FOLLOWERS, Arm, Step, ranked
from cnnlab.statistics import Interval

NOTHING = "–"
OTHER_CODE = (
    'The code has changed since the runs "by other code": rerun=changed on the command line makes just those again.'
)


def table(arms: Iterable[Arm]) -> list[dict[str, str]]:
    """One row an arm, best validation error first and failures last: swept words, lr, errors, loss, time, status."""
    arms = ranked(arms)
    followers = [word for word in FOLLOWERS if word == "lr" or len({arm.words.get(word) for arm in arms}) > 1]
    return [_row(arm, followers) for arm in arms]


def _row(arm: Arm, followers: Sequence[str]) -> dict[str, str]:
    return {
        **arm.swept,
        **{word: arm.words.get(word, NOTHING) for word in followers},
        "test error (%)": percent(arm.error, len(arm.errors)),
        "validation error (%)": percent(arm.val_error, len(arm.errors)),
        "train loss": number(arm.train_loss, ".4f"),
        "s / run": number(arm.seconds, ".1f"),
        "seeds": str(len(arm.errors)),
        "status": arm.status,
    }


def terminal_table(arms: Iterable[Arm]) -> str:
    """The table for the end of a sweep, with a line that says what its intervals are."""
    from tabulate import tabulate

    arms = list(arms)
    rows = tabulate(table(arms), headers="keys", disable_numparse=True)
    return "\n".join(filter(None, (rows, legend(arms))))


def legend(arms: Iterable[Arm]) -> str:
    """What the intervals in the table are, and how to make runs of other code again; empty when it has neither."""
    arms = list(arms)
    counts = {len(arm.errors) for arm in arms if math.isfinite(arm.error.low)}
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


def percent(error: Interval, seeds: int) -> str:
    """An error (%) with its interval: "2.31 ± 0.12" over seeds, "2.31 [2.03, 2.63]" for one."""
    if seeds > 1 and math.isfinite(error.low):
        return f"{error.mean:.2f} ± {error.half_width:.2f}"
    return " ".join(filter(None, (number(error.mean, ".2f"), _bounds(error, ".2f"))))


def number(value: float, form: str) -> str:
    """The number in that form, a dash for nan."""
    return format(value, form) if not math.isnan(value) else NOTHING


def count(number: int, noun: str) -> str:
    """So many of them: "1 arm", "2 arms"."""
    return f"{number} {noun}" + "s" * (number != 1)


def _bounds(interval: Interval, form: str) -> str:
    if not math.isfinite(interval.low):
        return ""
    return f"[{interval.low:{form}}, {interval.high:{form}}]"
