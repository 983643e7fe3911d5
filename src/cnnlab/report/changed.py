"""What changed test images cost the arms of a study: errors by kind of change and amount, means over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from tabulate import tabulate

from cnnlab.plots import style
from cnnlab.report.tables import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALIKE = ("shift", "rotation")  # kinds of change whose directions count together
ACROSS = 3  # panels side by side

Errors = Mapping[str, Mapping[str, Mapping[int, float]]]  # per cent, by kind of change, arm and amount


def errors(lines: Iterable[Mapping[str, str]]) -> Errors:
    """The mean test error of each arm, of lines that have one each: arm, seed, kind, direction, unit, amount, error."""
    found: dict[str, dict[str, dict[int, list[float]]]] = {}
    for line in lines:
        kind, unit = line["kind"], line["unit"]
        if kind not in ALIKE:
            kind, unit = f"{kind}, {line['direction'].replace('_', ' ')}", unit.split()[0]
        amounts = found.setdefault(f"{kind} ({unit})", {}).setdefault(line["arm"], {})
        amounts.setdefault(int(line["amount"]), []).append(float(line["error"]))
    return {
        kind: {
            arm: {amount: float(np.mean(seeds)) for amount, seeds in sorted(amounts.items())}
            for arm, amounts in arms.items()
        }
        for kind, arms in found.items()
    }


def section(found: Errors) -> str:
    """The part of a page on changed images, in Markdown: a table for each kind of change."""
    parts = [
        "## On changed test images",
        "The test error in per cent by how far the test images are changed: means over seeds, of shifts and rotations "
        "over all directions. There are no intervals here.",
        "![The test error of each arm over the amount of each change](changed.png)",
    ]
    for kind, arms in found.items():
        amounts = sorted({amount for errors in arms.values() for amount in errors})
        rows = [[arm, *(number(errors.get(a, math.nan), ".2f") for a in amounts)] for arm, errors in arms.items()]
        aligned = ["left", *["right"] * len(amounts)]
        parts.append(
            tabulate(rows, [kind, *map(str, amounts)], tablefmt="github", disable_numparse=True, colalign=aligned)
        )
    return "\n\n".join(parts)


@style.own_style()
def figure(found: Errors, title: str = "") -> Figure:
    """A panel for each kind of change, a line an arm, all on one scale: logarithmic where errors are far apart."""
    arms = list(dict.fromkeys(arm for lines in found.values() for arm in lines))
    looks = dict(zip(arms, style.looks(len(arms)), strict=True))
    rows = math.ceil(len(found) / ACROSS)
    drawn = style.canvas(9, 0.6 + 2.7 * rows + 0.2 * math.ceil(len(arms) / 5), title=title)
    panels = drawn.subplots(rows, min(ACROSS, len(found)), sharey=True, squeeze=False).flat
    for axes, (kind, lines) in zip(panels, found.items(), strict=False):
        for arm, amounts in lines.items():
            axes.plot(list(amounts), list(amounts.values()), label=arm, linewidth=1.3, **looks[arm])
        axes.set_xlabel(kind)
        axes.grid(alpha=0.3)
    for unused in list(panels)[len(found) :]:
        unused.remove()
    shown = [error for lines in found.values() for amounts in lines.values() for error in amounts.values()]
    if style.wide_range(shown):
        drawn.axes[0].set_yscale("log")
        style.plain_numbers(drawn.axes[0].yaxis)
    for axes in drawn.axes[::ACROSS]:
        axes.set_ylabel("test error (%)")
    handles, labels = drawn.axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower left", ncols=5, fontsize=8, frameon=False)
    return drawn
