"""How the learning rates of a study's arms were chosen, and whether its contrasts would hold at other rates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate

from cnnlab.report.arms import Arm
from cnnlab.report.contrasts import Contrast
from cnnlab.report.tables import NOTHING, count, points, shown

# As conf/rates.yaml has it: the `rate` that was chosen, `validation_errors` by rate (%, or "diverged"); the `budget`.
# And `tuned_for`, the words that the search was made for.
Curve = Mapping[str, Any]
DIVERGED = "diverged"


def curves(lines: Iterable[Mapping[str, str]]) -> Mapping[str, Curve]:
    """The curve of each arm, by its label, of lines that `cnnlab.tuning.lines` has made."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        budget = {"runs": int(line["budget_runs"]), "seconds": int(line["budget_seconds"])}
        searched = line["tuned_for"], line["setting"]
        fresh: dict[str, Any] = {"validation_errors": {}, "budget": budget, "tuned_for": searched}
        curve, rate, error = found.setdefault(line["arm"], fresh), float(line["rate"]), line["validation_error"]
        curve["validation_errors"].setdefault(rate, []).append(error if error == DIVERGED else float(error))
        if line["chosen"]:
            curve["rate"] = rate
    return found


def second_best(curve: Curve) -> float:
    """The rate with the lowest mean validation error but for the chosen one, of those with as many seeds; or nan."""
    errors = curve["validation_errors"]
    seeds = len(errors[curve["rate"]])
    others = [rate for rate in errors if rate != curve["rate"] and len(errors[rate]) == seeds]
    others = [rate for rate in others if DIVERGED not in errors[rate]]
    return min(others, key=lambda rate: (np.mean(errors[rate]), rate), default=math.nan)


def differences(contrast: Contrast, arms: Sequence[Arm], curves: Mapping[str, Curve]) -> tuple[float, float]:
    """What a contrast changed the validation error (%) of the tuning runs by: at the chosen and the second-best rates.

    The mean over its pairs of arms; nan where one of these has no such rate.
    """
    pairs = contrast.pairs(arms)
    found = []
    for rate_of in (lambda curve: curve["rate"], second_best):
        errors = {label: _mean_error(curve, rate_of(curve)) for label, curve in curves.items()}
        changes = [errors.get(new.label, math.nan) - errors.get(old.label, math.nan) for old, new in pairs]
        found.append(float(np.mean(changes)) if changes else math.nan)
    return found[0], found[1]


def _mean_error(curve: Curve, rate: float) -> float:
    return math.nan if math.isnan(rate) else float(np.mean(curve["validation_errors"][rate]))


def section(curves: Mapping[str, Curve], arms: Sequence[Arm], contrasts: Iterable[Contrast]) -> str:
    """The part of a page on tuning, in Markdown: its budget, what diverged, and the contrasts at second-best rates."""
    budgets = {curve["tuned_for"]: curve["budget"] for curve in curves.values()}.values()
    runs, hours = sum(each["runs"] for each in budgets), sum(each["seconds"] for each in budgets) / 3600
    said = [
        f"The learning rates of {count(len(curves), 'arm')} were chosen on validation images, by the same rule for "
        f"all: {count(runs, 'run')}, {hours:.1f} hours of training. All intervals above are conditional on the chosen "
        "rates: they do not say what other rates would have given."
    ]
    if lost := [f"{arm} at {rate:g}" for arm, curve in curves.items() for rate in _diverged(curve)]:
        said.append(f"Rates that diverged, which counts as worse than any error: {', '.join(lost)}.")
    if missing := [arm.label for arm in arms if arm.label not in curves]:
        said.append(f"No curve is kept of the rates of {', '.join(missing)}.")
    rows, turned, judged = list[list[str]](), list[str](), 0
    for contrast in contrasts:
        chosen, second = differences(contrast, arms, curves)
        known = not math.isnan(chosen + second)
        keeps = np.sign(chosen) == np.sign(second)
        judged += known
        turned += [shown(contrast)] * (known and not keeps)
        rows.append(
            [shown(contrast), _points(chosen), _points(second), ("yes" if keeps else "no") if known else NOTHING]
        )
    if judged:
        held = f"{judged - len(turned)} of {judged} contrasts keep the sign of their change"
        but = f"; not {'; '.join(turned)}" if turned else ""
        said.append(
            f"With each arm at its second-best rate, {held} of the tuning runs' validation error{but}. That error is a "
            "mean of two seeds, without an interval: a small change may turn by chance."
        )
    heads = ["contrast", "change of validation error (points)", "at second-best rates", "keeps its sign"]
    table = tabulate(rows, heads, tablefmt="github", disable_numparse=True)
    picture = "![The validation error of each arm over the learning rate](rates.png)"
    return "\n\n".join(["## Tuning", "\n".join(f"- {line}" for line in said), *[table] * bool(judged), picture])


def _diverged(curve: Curve) -> list[float]:
    return [rate for rate, errors in curve["validation_errors"].items() if DIVERGED in errors]


def _points(change: float) -> str:
    return NOTHING if math.isnan(change) else points(change / 100)
