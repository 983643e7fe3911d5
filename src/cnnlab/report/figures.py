"""What a sweep found in one figure: test errors as bars of uncertainty and as a map, learning curves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnnlab.plots import style
from cnnlab.plots.style import Array
from cnnlab.report.arms import Arm, Options

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES = {  # the first of these splits that a sweep has errors of is drawn
    "val": "validation error (%)",
    "watch": "error on the test images, watched (%)",
    "train": "training error (%)",
}


@style.own_style()
def error_bars(arms: Sequence[Arm]) -> Figure:
    """The test error of each arm in the order given, with its 95% interval; arms without a result are named.

    Several seeds: every seed as a dot, and Student's t interval of their mean. One seed: an open mark, and
    the binomial (Wilson) interval of that one test set, which says nothing about other seeds.
    """
    figure = style.canvas(8, 1.2 + 0.26 * max(len(arms), 3))
    axes = figure.subplots()
    beside = axes.get_yaxis_transform()  # 0 is the left edge of the frame
    for row, arm in enumerate(arms):
        error, several = arm.error, arm.error.n > 1
        if not error.n:
            axes.text(0.01, row, "no finished run", va="center", fontsize=8, color="0.4", transform=beside)
            continue
        axes.plot([error.low, error.high], [row, row], color=style.TRAIN, linewidth=1.8)
        face = style.TRAIN if several else "white"
        axes.plot([error.mean], [row], "o", color=style.TRAIN, markerfacecolor=face, markersize=6, zorder=3)
        if several:
            axes.plot(arm.errors, [row] * error.n, ".", color="k", alpha=0.5, markersize=4, zorder=4)
    axes.set_yticks(range(len(arms)), [arm.label for arm in arms], fontsize=8)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_xlabel("test error (%)")
    axes.grid(axis="x", alpha=0.3)
    counts = {arm.error.n for arm in arms}
    kinds = ["filled: mean and 95% t interval over seeds (dots)"] if max(counts) > 1 else []
    kinds += ["open: one seed, 95% binomial interval of its test set"] if 1 in counts else []
    axes.set_title("\n".join(kinds) or "no run has finished", fontsize=10)
    if kinds:
        _limit_errors(axes, arms)
    return figure


def _limit_errors(axes: Axes, arms: Sequence[Arm]) -> None:
    """Room for every mark; a wide interval of few seeds may leave the frame rather than squeeze the others."""
    marks = np.array([value for arm in arms for value in arm.errors])
    low = np.nanmin([*marks, *(arm.error.low for arm in arms)])
    high = np.nanmax([*marks, *(arm.error.high for arm in arms)])
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
def heat_map(arms: Sequence[Arm], words: Options) -> Figure | None:
    """Test error (%) over the swept words: the first half of them down the rows, the others across.

    A cell without a finished run says so. None for what is no grid: the map would be mostly empty.
    """
    from matplotlib.colors import LogNorm, Normalize

    if not is_grid(arms, words):
        return None
    names, half = list(words), len(words) // 2
    rows, columns = (list(itertools.product(*(words[name] for name in part))) for part in (names[:half], names[half:]))
    by_options = {tuple(arm.words[name] for name in names): arm for arm in arms}
    cells = [[by_options.get(row + column) for column in columns] for row in rows]
    values = np.array([[arm.error.mean if arm else math.nan for arm in line] for line in cells])
    finite = values[np.isfinite(values)]
    scale = LogNorm if style.wide_range(finite) else Normalize  # or one bad arm would make all others look alike
    norm = scale(finite.min(), finite.max()) if finite.size else Normalize(0, 1)
    figure = style.canvas(2.6 + max(0.95 * len(columns), 1.5), 1.9 + 0.52 * len(rows))
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
    return f"{arm.error.mean:.2f}" + (f"\n±{arm.error.half_width:.2f}" if arm.error.n > 1 else "")


class Curve(NamedTuple):
    """The error (%) of one arm, epoch by epoch: a mean over seeds, as far as every seed went."""

    arm: Arm
    epochs: Array
    errors: Array

    @property
    def end(self) -> float:
        """The last error that is a number."""
        return float(self.errors[np.isfinite(self.errors)][-1])

    @classmethod
    def of(cls, arm: Arm, split: str) -> Curve:
        """The errors on a split, nan where an epoch has none."""
        histories = [history[: min(map(len, arm.histories))] for history in arm.histories]
        errors = np.mean([style.error_percent(history, split) for history in histories], axis=0)
        return cls(arm, style.series(histories[0], "epoch"), errors)


@style.own_style()
def learning_curves(arms: Sequence[Arm], words: Options) -> Figure | None:
    """The validation error (mean over seeds) of each arm against the epoch; training error without validation.

    The colour is the option of the word whose options end furthest apart; each line is named at its end. None where
    no finished run has a history.
    """
    usable = [arm for arm in arms if arm.errors and arm.histories]
    for split in CURVES:
        curves = [curve for arm in usable if np.isfinite((curve := Curve.of(arm, split)).errors).any()]
        if curves:
            break
    else:
        return None
    beside = 0.4 + 0.056 * max(len(_name(curve)) for curve in curves)
    figure = style.canvas(6.7 + beside, 1.6 + max(2.9, 0.175 * len(curves)), margins=(0.65, 0.5, beside, 0.1))
    axes = figure.subplots()
    word = max(words, key=lambda word: _spread(curves, word, words[word]), default="")
    options = dict(zip(words.get(word, ()), itertools.cycle(style.COLOURS), strict=False))
    colours = [options.get(curve.arm.words.get(word, ""), style.TRAIN) for curve in curves]
    for curve, colour in zip(curves, colours, strict=True):
        marker = "." if len(curve.epochs) < 4 else ""
        axes.plot(curve.epochs, curve.errors, color=colour, marker=marker, linewidth=1.2)
    if style.wide_range(np.concatenate([curve.errors for curve in curves])):
        axes.set_yscale("log")
        style.plain_numbers(axes.yaxis)
    axes.grid(alpha=0.3)
    style.whole_epochs(axes)
    axes.set_ylabel(CURVES[split])
    _name_lines(axes, curves, colours)
    if len(options) > 1:
        handles = [axes.plot([], [], color=colour, label=option)[0] for option, colour in options.items()]
        axes.legend(handles=handles, title=word, loc="best")
    return figure


def _spread(curves: Sequence[Curve], word: str, options: Sequence[str]) -> float:
    """How far apart a word's options end, averaged over everything else."""
    ends = [[curve.end for curve in curves if curve.arm.words.get(word) == option] for option in options]
    return float(np.ptp([float(np.mean(values)) for values in ends if values] or [0.0]))


def _name(curve: Curve) -> str:
    return f"{curve.arm.label}  {curve.end:.2f}"


def _name_lines(axes: Axes, curves: Sequence[Curve], colours: Sequence[str]) -> None:
    """Each line's name beside the frame, in the order of the line ends, far enough apart to be read."""
    axes.set_ylim(axes.get_ylim())
    axes.set_xlim(axes.get_xlim())
    ordered = sorted(zip(curves, colours, strict=True), key=lambda line: -line[0].end)
    to_fraction = axes.transData + axes.transAxes.inverted()
    wished = [to_fraction.transform((curve.epochs[-1], curve.end))[1] for curve, _ in ordered]
    steps = min(0.055, 1 / len(curves)) * np.arange(len(curves))
    places = np.minimum.accumulate(wished + steps) - steps  # pushed down where they are crowded
    for (curve, colour), place in zip(ordered, np.maximum(places, steps[::-1]), strict=True):  # and up from the floor
        axes.annotate(
            _name(curve),
            (curve.epochs[-1], curve.end),
            (1.04, place),
            textcoords="axes fraction",
            va="center",
            fontsize=7.5,
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "relpos": (0, 0.5), "shrinkA": 1},
        )
