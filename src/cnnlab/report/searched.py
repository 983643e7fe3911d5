"""What a search has tried: its trials as a table, how low it came, and which word decided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnlab.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FINISHED, PRUNED, DIVERGED, FAILED = "finished", "pruned", "diverged", "failed"
REFUSED, REPEATED = "refused", "repeated"  # without a run: the words do not go together, or were tried before
LISTED = 10  # trials in a table


@dataclass(frozen=True)
class Tried:
    """One trial: its number, the words that it differs in, how it ended, and its validation error, if there is one.

    That of a trial that was pruned is of its last epoch.
    """

    number: int
    words: tuple[str, ...]
    status: str
    error: float = math.nan

    def __str__(self) -> str:
        """The trial in one line."""
        error = f", validation error {self.error:.2f}%" if math.isfinite(self.error) else ""
        return f"{' '.join(self.words)} {self.status}{error}"

    @property
    def row(self) -> dict[str, object]:
        """It as a row of a table."""
        error = f"{self.error:.4g}" if math.isfinite(self.error) else ""
        words = dict(word.split("=", 1) for word in self.words)
        return {"trial": self.number, **words, "status": self.status, "validation_error": error}


def best_first(tried: Sequence[Tried]) -> list[Tried]:
    """The trials that finished, by their errors; the earlier one of equals first."""
    return sorted((each for each in tried if each.status == FINISHED), key=lambda each: each.error)


def trials_table(tried: Sequence[Tried]) -> str:
    """The best trials as Markdown."""
    from tabulate import tabulate

    return tabulate([each.row for each in best_first(tried)[:LISTED]], "keys", tablefmt="github", disable_numparse=True)


@style.own_style()
def search_history(tried: Sequence[Tried], title: str = "") -> Figure:
    """The validation error of each trial, in their order, and the lowest so far; those that diverged are at the top."""
    figure = style.canvas(7, 3.4, title=title)
    axes = figure.subplots()
    marks: dict[str, dict[str, Any]] = {
        FINISHED: {"marker": "o", "color": style.TRAIN, "markersize": 4},
        PRUNED: {"marker": "v", "color": style.VALIDATION, "markerfacecolor": "white", "markersize": 4.5},
    }
    for status, look in marks.items():
        dots = [(each.number, each.error) for each in tried if each.status == status and math.isfinite(each.error)]
        if dots:
            axes.plot(*zip(*dots, strict=True), linestyle="", label=f"{status} ({len(dots)})", **look)
    if lost := [each.number for each in tried if each.status == DIVERGED]:
        place = axes.get_xaxis_transform()
        axes.plot(lost, [0.96] * len(lost), "x", color="k", label=f"{DIVERGED} ({len(lost)})", transform=place)
    lowest = [
        min((one.error for one in best_first(tried[: place + 1])), default=math.nan) for place in range(len(tried))
    ]
    axes.step([each.number for each in tried], lowest, where="post", color="k", linewidth=1, label="lowest so far")
    if style.wide_range([each.error for each in tried], 3):
        axes.set_yscale("log")
        style.plain_numbers(axes.yaxis)
    style.whole_epochs(axes)
    axes.set(xlabel="trial", ylabel="validation error (%)")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower left", ncols=4, fontsize=8, frameon=False)
    return figure


@style.own_style()
def importances(shares: Mapping[str, float], title: str = "") -> Figure:
    """How much each word decides whether a trial is among the best, as shares of 1, the largest on top."""
    figure = style.canvas(6, 1.2 + 0.3 * len(shares), title=title)
    axes = figure.subplots()
    rows = sorted(shares.items(), key=lambda share: share[1])
    bars = axes.barh([name for name, _ in rows], [share for _, share in rows], color=style.TRAIN, height=0.6)
    axes.bar_label(bars, [f"{share:.0%}" for _, share in rows], padding=3, fontsize=8)
    axes.set(xlim=(0, 1.1), xlabel="share in whether a trial is among the best quarter")
    axes.grid(axis="x", alpha=0.3)
    return figure
