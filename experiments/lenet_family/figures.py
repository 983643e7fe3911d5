"""Figures of LeNet-5's family after those of LeCun et al. 1998: bars (Fig. 9), passes (Fig. 5), images (Fig. 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnlab.plots import style
from cnnlab.plots.style import Array, History
from cnnlab.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 30  # pictures side by side
SMALL = 2  # per cent
GROUND = "lightsteelblue"  # behind pictures in grey, whose lightest would be lost on white


Bars = Mapping[str, tuple[float, Interval]]


@style.own_style()
def errors_beside(rows: Bars) -> Figure:
    """Bars of test error (%): the source's beside ours with its 95% interval.

    Rows of small errors have an axis of their own, above the others.
    """
    small = {name: row for name, row in rows.items() if np.nanmax((row[0], row[1].mean)) <= SMALL}
    panels = [panel for panel in (small, {name: rows[name] for name in rows if name not in small}) if panel]
    figure = style.canvas(9, 0.42 * len(rows) + 0.8 * len(panels), margins=(2.1, 0.5, 0.3, 0.3))
    heights = [len(panel) + 1 for panel in panels]
    both = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights, "hspace": 0.12})
    for axes, panel in zip(both[:, 0], panels, strict=True):
        _bars(axes, panel)
    both[-1, 0].set_xlabel("test error (%)")
    both[0, 0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    return figure


def _bars(axes: Axes, rows: Bars) -> None:
    places, numbers = np.arange(len(rows)), [(theirs, x.mean, x.low, x.high) for theirs, x in rows.values()]
    theirs, ours, low, high = np.array(numbers).T
    axes.barh(places - 0.19, theirs, 0.36, color=style.GREY, edgecolor="0.6", label="source")
    axes.barh(places + 0.19, ours, 0.36, color=style.COLOURS[0], label="cnnlab")
    axes.errorbar(ours, places + 0.19, xerr=(ours - low, high - ours), fmt="none", ecolor="k", capsize=2)
    ends = (theirs, np.fmax(ours, high))
    for beside, values, right in zip((-0.19, 0.19), (theirs, ours), ends, strict=True):
        for place, value, end in zip(places, values, right, strict=True):
            if np.isfinite(value):
                at = (end, place + beside)
                axes.annotate(f"{value:.2f}", at, (4, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_yticks(places, list(rows))
    axes.invert_yaxis()
    axes.margins(x=0.06, y=0.02)
    axes.grid(axis="x", alpha=0.3)


@style.own_style()
def against_passes(histories: Sequence[History], title: str) -> Figure:
    """Training error as met, and error on validation or watched images, after each pass: a line for each seed."""
    figure = style.canvas(6.5, 3.8, margins=(0.8, 0.5, 0.2, 0.4))
    axes = figure.subplots()
    for number, history in enumerate(histories):
        splits = ("train", "training", style.TRAIN), style.held_out(history)
        for (split, name, colour), dashes in zip(splits, style.DASHES, strict=False):
            errors = style.error_percent(history, split)
            label = name if number == 0 and np.isfinite(errors).any() else None
            axes.plot(style.series(history, "epoch"), errors, color=colour, linestyle=dashes, lw=1.2, label=label)
    axes.set_ylim(bottom=0)
    style.whole_epochs(axes)
    axes.set(xlabel="pass", ylabel="error (%)", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


@style.own_style()
def against_size(points: Mapping[str, Mapping[int, tuple[float, float]]], title: str) -> Figure:
    """Error (%) against the number of training images: a line a kind, each point (mean, half width)."""
    figure = style.canvas(6.5, 3.8, margins=(0.8, 0.5, 0.2, 0.4))
    axes = figure.subplots()
    for (kind, values), look in zip(points.items(), style.looks(len(points)), strict=True):
        sizes, (mean, spread) = list(values), np.array(list(values.values())).T
        axes.errorbar(sizes, mean, spread, **look, marker="o", capsize=3, label=kind)
    axes.set_xticks(sorted({size for values in points.values() for size in values}))
    axes.set_ylim(bottom=0)
    axes.set(xlabel="training images", ylabel="error (%)", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


@style.own_style()
def layer_by_layer(image: Array, outputs: Mapping[str, Array], title: str) -> Figure:
    """What every layer makes of one image, as in Fig. 2: maps (H, C, W) as pictures, vectors (D,) as squares.

    Each layer has a scale of greys of its own, from its smallest value to its largest.
    """
    stages = {"input": image[None]} | {name: _pictures(value) for name, value in outputs.items()}
    heights = [0.27 * math.ceil(len(pictures) / ACROSS) for pictures in stages.values()]
    figure = style.canvas(9, sum(heights) + 0.25 * len(stages) + 0.6, margins=(0.9, 0.2, 0.2, 0.4))
    rows = figure.subplots(len(stages), 1, squeeze=False, gridspec_kw={"height_ratios": heights, "hspace": 0.4})
    for axes, (name, pictures) in zip(rows[:, 0], stages.items(), strict=True):
        grid = style.mosaic(pictures, min(ACROSS, len(pictures)))
        axes.imshow(grid, cmap="gray_r", interpolation="nearest", aspect="equal")
        axes.set_anchor("W")
        axes.set(xticks=[], yticks=[], facecolor=GROUND)
        axes.spines[:].set_visible(False)
        beside = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right", "va": "center"}
        axes.annotate(name, (0, 0.5), (-6, 0), fontsize=9, **beside)
    figure.suptitle(title, y=0.995, va="top", fontsize=10)
    return figure


def _pictures(value: Array) -> Array:
    """The maps of a layer (C, H, W), or its units as pictures of a pixel (D, 1, 1)."""
    return value.transpose(1, 0, 2) if value.ndim == 3 else value[:, None, None]
