"""The test errors of a sweep's arms: as bars of uncertainty, and as a map of all combinations of the words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnlab.plots import style
from cnnlab.report.arms import Arm, Options
from cnnlab.statistics import FEWEST_SEEDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEED = "one seed"
MEAN = "mean of all seeds"
INTERVAL = "95% interval for new seeds and new images"


@style.own_style()
def error_bars(arms: Sequence[Arm], title: str = "") -> Figure:
    """The test error of each arm, the lowest on top: every seed a dot, and of enough seeds the mean and its interval.

    Arms without a result are named, below.
    """
    arms = sorted(arms, key=lambda arm: np.nan_to_num(arm.error.mean, nan=math.inf))
    figure = style.canvas(8, 1.3 + 0.26 * max(len(arms), 3), title=title)
    axes = figure.subplots()
    beside = axes.get_yaxis_transform()  # 0 is the left edge of the frame
    for row, arm in enumerate(arms):
        error = arm.error
        if not error.n:
            axes.text(0.01, row, "no finished run", va="center", fontsize=8, color="0.4", transform=beside)
        if _has_interval(arm):
            axes.plot([error.low, error.high], [row, row], color=style.TRAIN, linewidth=2.5, label=INTERVAL)
            axes.plot([error.mean], [row], "|", color=style.TRAIN, markersize=11, markeredgewidth=2, label=MEAN)
        axes.plot(arm.errors, [row] * error.n, "o", color="k", markerfacecolor="white", markersize=3.5, label=SEED)
    axes.set_yticks(range(len(arms)), [arm.label for arm in arms], fontsize=8)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_xlabel("test error (%)")
    axes.grid(axis="x", alpha=0.3)
    if any(arm.error.n for arm in arms):
        legend_below(figure, axes)
        _limit_errors(axes, arms)
    return figure


def legend_below(figure: Figure, axes: Axes) -> None:
    """What each kind of mark is, once, below all."""
    handles, labels = axes.get_legend_handles_labels()
    kinds = dict(zip(labels, handles, strict=True))
    figure.legend(kinds.values(), kinds.keys(), loc="outside lower left", ncols=len(kinds), fontsize=8, frameon=False)


def _has_interval(arm: Arm) -> bool:
    """Whether it has seeds enough for an interval to be shown."""
    return arm.error.n >= FEWEST_SEEDS and math.isfinite(arm.error.low)


def _limit_errors(axes: Axes, arms: Sequence[Arm]) -> None:
    """Room for every mark; a wide interval may leave the frame rather than squeeze the others."""
    marks = np.array([value for arm in arms for value in arm.errors])
    shown = [arm.error for arm in arms if _has_interval(arm)]
    low, high = min([*marks, *(error.low for error in shown)]), max([*marks, *(error.high for error in shown)])
    if style.wide_range(marks):
        axes.set_xscale("log")
        style.plain_numbers(axes.xaxis)
        axes.set_xlim(max(low, marks.min() / 2) / 1.1, min(high, 2 * marks.max()) * 1.1)
    else:
        room = 0.04 * (marks.max() - marks.min()) + 0.02 * marks.max() + 0.01
        axes.set_xlim(max(low, 0, marks.min() - 0.5 * marks.max()) - room, min(high, 1.5 * marks.max()) + room)


def is_grid(arms: Sequence[Arm], words: Options) -> bool:
    """Whether at least half of the combinations were run; a study of unlike rows has a handful of thousands."""
    return bool(words) and 2 * len(arms) >= combinations(words)


def combinations(words: Options) -> int:
    """How many combinations of the swept words there are."""
    return math.prod(map(len, words.values()))


@style.own_style()
def heat_map(arms: Sequence[Arm], words: Options, title: str = "") -> Figure | None:
    """Test error (%) over the swept words: the first half of them down the rows, the others across.

    A cell without a finished run says so. None for one word, and for what is no grid: the map would be mostly empty.
    """
    from matplotlib.colors import LogNorm, Normalize

    if len(words) < 2 or not is_grid(arms, words):
        return None
    names, half = list(words), len(words) // 2
    rows, columns = (list(itertools.product(*(words[name] for name in part))) for part in (names[:half], names[half:]))
    by_options = {tuple(arm.words[name] for name in names): arm for arm in arms}
    cells = [[by_options.get(row + column) for column in columns] for row in rows]
    values = np.array([[arm.error.mean if arm else math.nan for arm in line] for line in cells])
    finite = values[np.isfinite(values)]
    scale = LogNorm if style.wide_range(finite) else Normalize  # or one bad arm would make all others look alike
    norm = scale(finite.min(), finite.max()) if finite.size else Normalize(0, 1)
    figure = style.canvas(2.6 + max(0.95 * len(columns), 1.5), 1.9 + 0.52 * len(rows), title=title)
    axes = figure.subplots()
    axes.set_facecolor(style.GREY)
    image = axes.imshow(values, cmap="cividis_r", norm=norm, aspect="auto")
    bar = figure.colorbar(image, ax=axes, label="test error (%)")
    if isinstance(norm, LogNorm):
        style.plain_numbers(bar.ax.yaxis)
    for (row, column), value in np.ndenumerate(values):
        dark = math.isfinite(value) and float(norm(value)) > 0.55
        text = _in_cell(cells[row][column])
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="w" if dark else "k")
    axes.set_xticks(range(len(columns)), ["\n".join(column) for column in columns], fontsize=8)
    axes.set_yticks(range(len(rows)), [" / ".join(row) for row in rows], fontsize=8)
    axes.set(xlabel=", ".join(names[half:]), ylabel=" / ".join(names[:half]))
    axes.tick_params(length=0)
    return figure


def _in_cell(arm: Arm | None) -> str:
    if arm is None or not arm.error.n:
        return "failed" if arm else "not run"
    return f"{arm.error.mean:.2f}" + (f"\n±{arm.error.half_width:.2f}" if _has_interval(arm) else "")
