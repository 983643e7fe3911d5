"""What changed words did to the test error: each contrast with its interval, and a staircase of all words' shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.plots import style
from cnnlab.report.figures import INTERVAL, SEED, legend_below
from cnnlab.report.findings import Answer, Finding
from cnnlab.report.tables import points, shown
from cnnlab.statistics import MARGIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND = f"less than {100 * MARGIN:g} points"


@style.own_style()
def contrasts(answer: Answer, title: str = "") -> Figure | None:
    """The change of the test error by each contrast with its interval, and below it that within each option.

    Of few seeds each is a dot. None where nothing was compared.
    """
    together = {both.contrast: both for both in answer.interactions}
    rows: list[tuple[str, Finding, bool]] = []
    for found in answer.findings:
        rows.append((shown(found.contrast), found, False))
        if both := together.get(found.contrast):
            rows += [(f"with {both.word}={option}", part, True) for option, part in both.within.items()]
    if not rows:
        return None
    longest = max(len(label) for label, *_ in rows)
    figure = style.canvas(max(8, 5 + 0.06 * longest), 1.5 + 0.26 * max(len(rows), 3), title=title)
    axes = figure.subplots()
    axes.axvspan(-100 * MARGIN, 100 * MARGIN, color="0.85", linewidth=0, label=BAND)
    axes.axvline(0, color="k", linewidth=0.8)
    for place, (_, found, is_part) in enumerate(rows):
        _draw_effect(axes, place, found, is_part)
    axes.set_yticks(range(len(rows)), [label + "    " * is_part for label, _, is_part in rows], fontsize=8)
    for tick, (*_, is_part) in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_color("0.35" if is_part else "k")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(f"change of the test error (points{_spread_out(axes, rows)})\nleft of 0: fewer errors")
    axes.grid(axis="x", alpha=0.3)
    legend_below(figure, axes)
    return figure


def _spread_out(axes: Axes, rows: Sequence[tuple[str, Finding, bool]]) -> str:
    """Beyond 1 point a log scale, where one wide interval would squeeze all others into a line; what the label says."""
    from matplotlib.ticker import FixedLocator, FuncFormatter

    effects = [found.effect for _, found, _ in rows if found.effect.enough_seeds]
    far = 100 * np.abs([(effect.low, effect.high) for effect in effects])
    if not effects or far.max() < max(5, 10 * np.median(far)):
        return ""
    axes.set_xscale("symlog", linthresh=1, linscale=2)
    axes.xaxis.set_major_locator(FixedLocator([-80, -20, -5, -1, -0.5, 0, 0.5, 1, 5, 20, 80]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.plain(value, 3)))
    return ", beyond 1 on a log scale"


def _draw_effect(axes: Axes, place: int, found: Finding, is_part: bool) -> None:
    """One row: the seeds of few, the mean and the interval of enough."""
    effect, of_part = found.effect.times(100), ", with one option of the other word" * is_part
    colour, marker = (style.VALIDATION, "D") if is_part else (style.TRAIN, "o")
    look: dict[str, Any] = {"color": colour, "marker": marker}
    if not found.effect.enough_seeds:
        seeds = 100 * np.array(found.by_seed)
        axes.plot(seeds, [place] * len(seeds), ls="", mfc="white", ms=4.5, label=SEED + of_part, **look)
        return
    axes.plot([effect.low, effect.high], [place, place], color=colour, linewidth=1.2 if is_part else 2.2)
    face = "white" if is_part else style.TRAIN
    axes.plot([effect.mean], [place], ls="", mfc=face, ms=5, label=f"change{of_part or f', {INTERVAL}'}", **look)


@style.own_style()
def shares(answer: Answer, title: str = "") -> Figure | None:
    """From the error of the first arm to that of the last one in steps, each a word's share with its interval.

    The largest step is the first. None without a staircase.
    """
    stairs = answer.staircase
    if not stairs:
        return None
    direction = 1 if stairs.end < stairs.start else -1
    ordered = sorted(stairs.shares.items(), key=lambda item: direction * item[1].effect.mean)
    figure = style.canvas(8, 1.2 + 0.36 * (len(ordered) + 2), title=title)
    axes = figure.subplots()
    axes.set_axisbelow(True)
    labels, at = [stairs.first], 100 * stairs.start
    axes.barh(0, at, height=0.6, color="0.55", label="test error")
    for place, (word, share) in enumerate(ordered, 1):
        effect, before = share.effect.times(100), at
        at += effect.mean
        _draw_step(axes, place, before, at)
        ends = [before, at]
        if share.effect.enough_seeds:
            ends += [before + effect.low, before + effect.high]
            axes.plot(ends[2:], [place, place], "|-", color="k", linewidth=1.2, markersize=8, label=INTERVAL)
        _write(axes, place, max(ends), points(share.effect.mean))
        axes.plot([before, before], [place - 0.7, place - 0.3], color="k", linewidth=0.6)
        labels.append(word)
    last = len(ordered) + 1
    axes.plot([at, at], [last - 0.7, last - 0.3], color="k", linewidth=0.6)
    axes.barh(last, at, height=0.6, color="0.55")
    for place, error in ((0, stairs.start), (last, stairs.end)):
        _write(axes, place, 100 * error, f"{100 * error:.2f}%")
    axes.set_yticks(range(last + 1), [*labels, stairs.last], fontsize=8)
    axes.set_ylim(last + 0.6, -0.6)
    axes.set_xlim(right=1.12 * axes.get_xlim()[1])
    axes.set_xlabel("test error (%)")
    axes.grid(axis="x", alpha=0.3)
    legend_below(figure, axes)
    return figure


def _draw_step(axes: Axes, place: int, before: float, after: float) -> None:
    """A bar from one error to the next; one that goes up is hatched."""
    fewer = after <= before
    look: dict[str, Any] = {"color": style.TRAIN}
    if not fewer:
        look = {"color": style.VALIDATION, "hatch": "///", "edgecolor": "white"}
    label = "fewer errors" if fewer else "more errors"
    axes.barh(place, after - before, left=before, height=0.6, label=label, **look)


def _write(axes: Axes, place: int, right_of: float, text: str) -> None:
    axes.annotate(text, (right_of, place), (5, 0), textcoords="offset points", va="center", fontsize=8)
