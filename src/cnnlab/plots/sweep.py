"""The result of a sweep in one figure: test errors as bars of uncertainty, and as a map over the swept words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cnnlab.plots import style
from cnnlab.plots.style import Array, History, plain
from cnnlab.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Options = Mapping[str, Sequence[str]]  # the swept words, each with its options in order


class Arm(Protocol):
    """What a figure needs to know of an arm: runs that differ by nothing but their seed.

    `errors` are the test errors (%) of the finished runs, one a seed, and `error` their interval;
    `histories` and `confusion` (C, C), summed over the seeds, belong to the same runs.
    """

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def words(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def errors(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def error(self) -> Interval: ...  # noqa: D102
    @property
    def histories(self) -> Sequence[History]: ...  # noqa: D102
    @property
    def confusion(self) -> Array | None: ...  # noqa: D102


@style.own_style()
def error_bars(arms: Sequence[Arm]) -> Figure:
    """The test error of each arm in the order given, with its 95% interval; arms without a result are named.

    Several seeds: every seed as a dot, and Student's t interval of their mean. One seed: an open mark, and
    the binomial (Wilson) interval of that one test set, which says nothing about other seeds.
    """
    figure = style.canvas(8, 1.2 + 0.26 * max(len(arms), 3))
    axes = figure.subplots()
    for row, arm in enumerate(arms):
        _error_bar(axes, row, arm)
    axes.set_yticks(range(len(arms)), [plain(arm.label) for arm in arms], fontsize=8)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_xlabel("test error (%)")
    _error_limits(axes, arms)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(_interval_kind(arms), fontsize=10)
    return figure


def _interval_kind(arms: Sequence[Arm]) -> str:
    """What the intervals of these arms are, in words."""
    several = "filled: mean and 95% t interval over seeds (dots)"
    single = "open: one seed, 95% binomial interval of its test set"
    counts = {len(arm.errors) for arm in arms} - {0}
    return "\n".join([several] * any(n > 1 for n in counts) + [single] * (1 in counts)) or "no run has finished"


def _error_bar(axes: Axes, row: int, arm: Arm) -> None:
    if not arm.errors:
        axes.text(
            0.01,
            row,
            "no finished run",
            va="center",
            fontsize=8,
            color="0.4",
            transform=axes.get_yaxis_transform(),
        )
        return
    several, error = len(arm.errors) > 1, arm.error
    if math.isfinite(error.low):
        axes.plot([error.low, error.high], [row, row], color=style.TRAIN, linewidth=1.8)
    face = style.TRAIN if several else "white"
    axes.plot([error.mean], [row], "o", color=style.TRAIN, markerfacecolor=face, markersize=6, zorder=3)
    if several:
        axes.plot(arm.errors, np.full(len(arm.errors), row), ".", color="k", alpha=0.5, markersize=4, zorder=4)


def _error_limits(axes: Axes, arms: Sequence[Arm]) -> None:
    """Room for every mark; a wide interval of few seeds may leave the frame rather than squeeze the others."""
    marks = np.array([value for arm in arms for value in arm.errors])
    if not marks.size:
        return
    bounds = [b for arm in arms for b in (arm.error.low, arm.error.high) if math.isfinite(b)]
    low, high = min([*bounds, marks.min()]), max([*bounds, marks.max()])
    if style.wide_range(marks):
        axes.set_xscale("log")
        style.plain_numbers(axes.xaxis)
        axes.set_xlim(max(low, marks.min() / 2) / 1.1, min(high, 2 * marks.max()) * 1.1)
    else:
        room = 0.04 * (marks.max() - marks.min()) + 0.02 * marks.max() + 0.01
        axes.set_xlim(max(low, 0, marks.min() - 0.5 * marks.max()) - room, min(high, 1.5 * marks.max()) + room)


@style.own_style()
def heat_map(arms: Sequence[Arm], words: Options) -> Figure:
    """Test error (%) over the swept words: the first half of them down the rows, the others across.

    A cell without a finished run says so; words that are left out are averaged over.
    """
    names = list(words)
    half = len(names) // 2
    rows, columns = _combinations(words, names[:half]), _combinations(words, names[half:])
    cells = [[_cell(arms, dict(zip(names, row + column, strict=True))) for column in columns] for row in rows]
    values = np.array([[value for value, _ in line] for line in cells])
    figure = style.canvas(2.6 + max(0.95 * len(columns), 1.5), 1.9 + 0.52 * len(rows))
    axes = figure.subplots()
    axes.set_facecolor(style.GREY)
    image = axes.imshow(values, cmap="cividis_r", norm=_norm(values), aspect="auto")
    figure.colorbar(image, ax=axes, label="test error (%)")
    for (row, column), value in np.ndenumerate(values):
        dark = bool(np.isfinite(value)) and float(np.asarray(image.norm(value))) > 0.55
        text = cells[row][column][1]
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="w" if dark else "k")
    _combination_ticks(axes, rows, columns, names[:half], names[half:])
    return figure


def _combinations(words: Options, names: Sequence[str]) -> list[tuple[str, ...]]:
    return list(itertools.product(*(words[name] for name in names)))


def _cell(arms: Sequence[Arm], choice: Mapping[str, str]) -> tuple[float, str]:
    """The error (%) of the arms that made this choice, and the text that the cell shows."""
    here = [arm for arm in arms if choice.items() <= arm.words.items()]
    done = [arm for arm in here if arm.errors]
    if not done:
        return math.nan, "failed" if here else "not run"
    mean = float(np.mean([arm.error.mean for arm in done]))
    several = len(done) == 1 and len(done[0].errors) > 1
    return mean, f"{mean:.2f}" + (f"\n±{done[0].error.half_width:.2f}" if several else "")


def _norm(values: Array) -> Any:
    """A log scale when one bad arm would make all others look alike."""
    from matplotlib.colors import LogNorm, Normalize

    finite = values[np.isfinite(values)]
    if style.wide_range(finite):
        return LogNorm(finite.min(), finite.max())
    return Normalize(*(finite.min(), finite.max()) if finite.size else (0, 1))


def _combination_ticks(
    axes: Axes,
    rows: list[tuple[str, ...]],
    columns: list[tuple[str, ...]],
    down: list[str],
    across: list[str],
) -> None:
    axes.set_xticks(range(len(columns)), [plain("\n".join(column)) for column in columns], fontsize=8)
    axes.set_yticks(range(len(rows)), [plain(" / ".join(row)) for row in rows], fontsize=8)
    axes.set_xlabel(plain(", ".join(across)))
    axes.set_ylabel(plain(" / ".join(down)))
    axes.tick_params(length=0)
