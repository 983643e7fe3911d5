"""The arms of a sweep side by side: a small panel for each, on one shared scale."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.plots import style
from cnnlab.report.arms import Arm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 30
FEWEST_MISTAKES = 5  # of one kind, or its share is chance


@style.own_style()
def confusion_grid(arms: Sequence[Arm], title: str = "") -> Figure | None:
    """The mistakes of each arm, one confusion matrix an arm without its diagonal, all on one log scale.

    The counts of all its seeds are added up; where there are too few to say anything, a cell is left blank.
    None where every cell would be.
    """
    from matplotlib.colors import LogNorm

    usable = [(arm.label, np.asarray(arm.confusion)) for arm in arms if arm.confusion is not None]
    classes = max((len(matrix) for _, matrix in usable), default=0)  # some may never be asked for or given
    alike = [np.pad(matrix, (0, classes - len(matrix))) for _, matrix in usable[:MOST_PANELS]]
    shares = [np.where(matrix >= FEWEST_MISTAKES, style.mistakes_only(matrix), np.nan) for matrix in alike]
    known = np.concatenate([share[np.isfinite(share)] for share in shares] or [np.empty(0)])
    if not known.size:
        return None
    labels = [f"{label}\n{style.error_rate(matrix):.2f}%" for label, matrix in usable]
    figure, places = _panels(len(arms), labels, (1.5, 1.5), (0.5, 1.15), title)
    norm = LogNorm(known.min(), max(known.max(), 1.1 * known.min()))
    for axes, share in zip(places, shares, strict=True):
        axes.set_facecolor(style.GREY)
        axes.imshow(share, cmap="Oranges", norm=norm)
        axes.set(xticks=[], yticks=[])
    figure.supxlabel("answer", fontsize=10)
    figure.supylabel("true class", fontsize=10)
    place = figure.add_axes((1 - 0.95 / figure.get_figwidth(), 0.2, 0.2 / figure.get_figwidth(), 0.6))
    bar = figure.colorbar(places[0].images[0], cax=place, label="mistakes, % of the class")
    style.plain_numbers(bar.ax.yaxis)
    return figure


@style.own_style()
def rate_curves(curves: Mapping[str, Mapping[str, Any]], title: str = "") -> Figure:
    """The validation error of each arm over the learning rate: a dot for each seed, a line through their means.

    Each arm has its `validation_errors` by rate, and the `rate` that was chosen, which has a ring. A rate with a seed
    that diverged has a cross at the top.
    """
    from matplotlib.ticker import LogLocator

    figure, places = _panels(len(curves), list(curves), (1.67, 1.2), (0.8, 0.1), title, sharex=True, sharey=True)
    for place, (axes, curve) in enumerate(zip(places, curves.values(), strict=False)):
        numbers = {
            rate: [error for error in errors if error != "diverged"]
            for rate, errors in sorted(curve["validation_errors"].items())
        }
        means = {rate: float(np.mean(errors)) for rate, errors in numbers.items() if errors}
        axes.plot(list(means), list(means.values()), color=style.VALIDATION, linewidth=1)
        dots = [(rate, error) for rate, errors in numbers.items() for error in errors]
        axes.plot(*zip(*dots, strict=True), ".", color=style.VALIDATION, markersize=4)
        axes.plot(curve["rate"], means[curve["rate"]], "o", color="k", markerfacecolor="none", markersize=8)
        lost = [rate for rate, errors in curve["validation_errors"].items() if "diverged" in errors]
        axes.plot(lost, [0.93] * len(lost), "x", color="k", markersize=5, transform=axes.get_xaxis_transform())
        axes.grid(alpha=0.3)
        if place + _columns(len(places)) >= len(places):  # nothing lies below
            axes.tick_params(labelbottom=True)
    places[0].set(xscale="log", yscale="log")
    style.plain_numbers(places[0].yaxis)
    style.plain_numbers(places[0].xaxis)
    places[0].xaxis.set_major_locator(LogLocator(subs=(1,)))  # of all, since they share their scales
    figure.supxlabel("learning rate (ring: chosen, cross: diverged)", fontsize=10)
    figure.supylabel("validation error (%)", fontsize=10)
    return figure


def _panels(
    arms: int,
    labels: Sequence[str],
    size: tuple[float, float],
    beside: tuple[float, float],
    title: str = "",
    **share: Any,
) -> tuple[Figure, list[Axes]]:
    """Axes under the labels of what can be shown, and a title that counts the arms left out.

    In inches: the `size` of each, width and height, and the room `beside` all of them, left and right.
    """
    (width, height), (left, right) = size, beside
    names = [_in_lines(label) for label in labels[:MOST_PANELS]]
    columns = _columns(len(names))
    rows = math.ceil(len(names) / columns)
    bottom, gap, over = 0.5, 0.15, 0.12 * max(name.count("\n") + 2 for name in names)
    if len(names) < arms:
        why = "the others have no result" if len(names) == len(labels) else "the first ones"
        title += f"{': ' * bool(title)}{len(names)} of {arms} arms ({why})"
    across, down = columns * (width + gap) - gap, rows * (height + over) - over
    figure = style.canvas(max(left + across + right, 4.5), bottom + down + over, (left, bottom, right, over), title)
    gaps = {"wspace": gap / width, "hspace": over / height}
    places = list(figure.subplots(rows, columns, squeeze=False, gridspec_kw=gaps, **share).flat)
    for axes, name in zip(places, names, strict=False):
        axes.set_title(name, fontsize=7)
        axes.tick_params(labelsize=7)
    for unused in places[len(names) :]:
        unused.remove()
    return figure, places[: len(names)]


def _columns(count: int) -> int:
    return min(count, 4 if count <= 8 else 6)


def _in_lines(label: str) -> str:
    """The label in lines that fit a panel; non-breaking spaces keep each slash with the word before it."""
    glued = label.replace(" / ", "\u00a0/ ").replace("_", "_ ")  # a long word is broken after an underscore
    pieces = [piece for line in glued.split("\n") for piece in textwrap.wrap(line, 28) or [""]]
    return "\n".join(pieces).replace("_ ", "_")
