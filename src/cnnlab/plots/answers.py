"""The figures of a run's answers: which classes it takes for which, its surest mistakes, what changed images cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.plots import style
from cnnlab.plots.style import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@style.own_style()
def confusion(matrix: Array, classes: Sequence[str], title: str) -> Figure:
    """Counts of true class (rows) against answer (columns), coloured by share of the row off the diagonal."""
    matrix = np.asarray(matrix)
    size, long = max(3, 0.52 * len(classes)), 0.075 * max(map(len, classes), default=0)
    figure = style.canvas(size + long + 1.85, size + long + 1.2, margins=(long + 0.75, long + 0.6, 1.1, 0.6))
    axes = figure.subplots()
    shares = style.mistakes_only(matrix)
    top = float(np.nanmax(shares, initial=0)) or 1.0
    axes.set_facecolor(style.GREY)
    image = axes.imshow(shares, cmap="Oranges", vmin=0, vmax=top)
    place = axes.inset_axes((1.04, 0.1, 0.04, 0.8))
    figure.colorbar(image, cax=place, label="share of the true class (%), mistakes only")
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            dark = row != column and shares[row, column] > 0.6 * top
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=8, color="w" if dark else "k")
    names = [name for name in classes]
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right"} if max(map(len, names), default=0) > 3 else {}
    axes.set_xticks(range(len(names)), names, **slanted)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="answer", ylabel="true class")
    wrong, total = int(matrix.sum() - np.trace(matrix)), int(matrix.sum())
    axes.set_title(f"{title}\n{wrong} of {total} wrong, error {style.error_rate(matrix):.2f} %")
    return figure


@style.own_style()
def mistakes(
    pixels: Array, labels: Array, predictions: Array, margin: Array, classes: Sequence[str], limit: int = 40
) -> Figure:
    """The wrong answers that outscore the truth by the largest margin, as pictures under "truth → answer".

    `pixels` (N, H, W) or (N, H, W, 3), `labels`, `predictions` and `margin` (N,).
    """
    wrong = np.flatnonzero(np.asarray(labels) != np.asarray(predictions))
    worst = wrong[np.argsort(-np.asarray(margin)[wrong], kind="stable")][:limit]
    if not worst.size:
        figure = style.canvas(6, 2)
        style.note(figure.subplots(), f"No mistakes among {len(labels)} images.")
        return figure
    pairs = [(classes[labels[index]], classes[predictions[index]]) for index in worst]
    names = [f"{truth} → {answer}" if len(truth + answer) < 9 else f"{truth}\n→ {answer}" for truth, answer in pairs]
    sure = [f"{value:.3g}" for value in np.asarray(margin)[worst]]
    shown = f"the {len(worst)} surest of {len(wrong)}" if len(worst) < len(wrong) else f"all {len(worst)}"
    title = f"{shown} mistakes: truth → answer, and its margin"
    return _captioned(np.asarray(pixels)[worst], names, sure, float(np.max(pixels)), title)


def _captioned(pictures: Array, above: Sequence[str], below: Sequence[str], top: float, title: str) -> Figure:
    """Framed pictures of 0 to `top`, each between two captions; on one axes, since one for each is slow."""
    from matplotlib.collections import PolyCollection

    height, width, *colours = pictures.shape[1:]
    columns = min(8, len(pictures))
    lines = 1 + max(text.count("\n") for text in above)
    over, under, beside = (math.ceil(share * width) for share in (0.05 + 0.14 * lines, 0.17, 0.03))
    room = [(0, 0), (over, under), (beside, beside), *[(0, 0)] * len(colours)]
    cells = np.pad(pictures.astype(float), room, constant_values=np.nan)
    grid = style.mosaic(cells, columns)
    inch = 1.26 / (width + 2 * beside + 1)  # of one pixel
    size = (max(inch * grid.shape[1], 4.5), inch * grid.shape[0] + 0.35)
    figure = style.canvas(*size, margins=(0, 0, 0, 0.35))
    figure.suptitle(title, fontsize=10, y=1 - 0.12 / size[1], va="top")
    axes = figure.subplots()
    axes.axis("off")
    style.show_pixels(axes, grid, top)
    look: dict[str, Any] = {"textcoords": "offset points", "ha": "center"}
    frames = []
    for number, (name, margin) in enumerate(zip(above, below, strict=True)):
        row, column = divmod(number, columns)
        left, upper = column * (cells.shape[2] + 1) + beside + 0.5, row * (cells.shape[1] + 1) + over + 0.5
        right, lower, middle = left + width, upper + height, left + width / 2
        frames.append([(left, upper), (right, upper), (right, lower), (left, lower)])
        axes.annotate(name, (middle, upper), (0, 4), va="bottom", fontsize=9, **look)
        axes.annotate(margin, (middle, lower), (0, -3), va="top", fontsize=8, color="0.35", **look)
    axes.add_collection(PolyCollection(frames, facecolor="none", edgecolor="k", linewidth=0.8), autolim=False)
    return figure


@style.own_style()
def robustness(curves: Mapping[str, Mapping[str, Mapping[int, float]]], title: str) -> Figure:
    """Test error (%) over how far the images are changed: a panel for each kind of change, a line for each direction.

    `curves` has them by kind, direction and amount; a panel is called by its kind, and all share one scale.
    """
    figure = style.canvas(2.9 * len(curves) + 0.75, 3.2, margins=(0.65, 0.5, 0.1, 0.4))
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.06})[0]
    for axes, (kind, lines) in zip(panels, curves.items(), strict=True):
        for colour, marker, (direction, errors) in zip(style.COLOURS, "os^v", lines.items(), strict=False):
            amounts = sorted(errors)
            values = [errors[amount] for amount in amounts]
            label = direction.replace("_", " ")
            axes.plot(amounts, values, color=colour, marker=marker, markersize=3.5, label=label)
        axes.set_xlabel(kind)
        axes.grid(alpha=0.3)
        axes.legend()
    panels[0].set_ylabel("test error (%)")
    panels[0].set_ylim(bottom=0)  # when all lines are drawn, or the first panel's would set the upper end
    return figure
