"""The arms of a sweep side by side: a small panel for each, on one shared scale."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.plots import style
from cnnlab.plots.run import draw_by_layer
from cnnlab.report.arms import Arm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 30


@style.own_style()
def by_layer(arms: Sequence[Arm], family: str, ylabel: str = "", log: bool = False) -> Figure | None:
    """What `plots.by_layer` draws, of each arm's first run; None where no run has such metrics."""
    from matplotlib.lines import Line2D

    ylabel = ylabel or family.replace("_", " ")
    usable = [arm for arm in arms if arm.histories]
    layers = {tuple(style.layers_of(arm.histories[0], family)) for arm in usable[:MOST_PANELS]}
    if not any(layers):
        return None
    figure, places = _panels(len(arms), len(usable), 1.85, 1.5, sharex=True, sharey=True)
    for place, (axes, arm) in enumerate(zip(places, usable, strict=False)):
        history = arm.histories[0]
        draw_by_layer(axes, history, family, ylabel, log, marker="." if len(history) < 4 else "")
        _name_panel(axes, arm.label + ("" if arm.errors else "\n(failed)"))
        axes.label_outer()
        if place + _columns(len(places)) >= len(places):  # nothing lies below
            style.whole_epochs(axes)
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("")
    if log:
        style.plain_numbers(places[0].yaxis)  # of all, since they share their scale
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel(ylabel + (" (log scale)" if log else ""), fontsize=10)
    names = layers.pop() if len(layers) == 1 else ("first layer", "middle", "last layer")
    lines = [Line2D([], [], color=colour, label=name) for name, colour in style.by_depth(names).items()]
    figure.legend(handles=lines, loc="outside right upper", fontsize=8, title="first to last", title_fontsize=8)
    return figure


@style.own_style()
def confusion_grid(arms: Sequence[Arm]) -> Figure | None:
    """The mistakes of each arm, one confusion matrix an arm without its diagonal, all on one log scale."""
    from matplotlib.colors import LogNorm

    usable = [(arm.label, arm.confusion) for arm in arms if arm.confusion is not None]
    if not usable:
        return None
    figure, places = _panels(len(arms), len(usable), 1.6, 1.75)
    shares = [np.maximum(style.mistakes_only(matrix), 0.1) for _, matrix in usable[:MOST_PANELS]]
    norm = LogNorm(0.1, max(float(np.nanmax(share, initial=1)) for share in shares))
    for axes, (label, matrix), share in zip(places, usable, shares, strict=False):
        axes.set_facecolor(style.GREY)
        axes.imshow(share, cmap="Oranges", norm=norm)
        axes.set(xticks=[], yticks=[])
        _name_panel(axes, f"{label}\n{style.error_rate(matrix):.2f} %")
    figure.supxlabel("answer", fontsize=10)
    figure.supylabel("true class", fontsize=10)
    bar = figure.colorbar(places[0].images[0], ax=places, shrink=0.6, label="mistakes, % of the class")
    style.plain_numbers(bar.ax.yaxis)
    return figure


def _panels(arms: int, usable: int, width: float, height: float, **share: Any) -> tuple[Figure, list[Axes]]:
    """Axes of that size (inches) for the arms that have something to show, and a title that counts those left out."""
    count = min(usable, MOST_PANELS)
    columns = _columns(count)
    rows = math.ceil(count / columns)
    figure = style.canvas(max(columns * width + 0.9, 4.5), rows * height + 0.9)
    places = list(figure.subplots(rows, columns, squeeze=False, **share).flat)
    for unused in places[count:]:
        unused.remove()
    if count < arms:
        why = "the others have no result" if count == usable else "the first ones"
        figure.suptitle(f"{count} of {arms} arms ({why})", fontsize=10)
    return figure, places[:count]


def _columns(count: int) -> int:
    return min(count, 4 if count <= 8 else 6)


def _name_panel(axes: Axes, label: str) -> None:
    """The label in lines that fit a panel; non-breaking spaces keep each slash with the word before it."""
    glued = label.replace(" / ", "\u00a0/ ")
    lines = [piece for line in glued.split("\n") for piece in textwrap.wrap(line, 28) or [""]]
    axes.set_title("\n".join(lines), fontsize=7)
    axes.tick_params(labelsize=7)
