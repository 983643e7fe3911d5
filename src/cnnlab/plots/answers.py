"""The pictures of a run's answers: which classes it takes for which, its surest mistakes, what changed images cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnlab.plots import style
from cnnlab.plots.page import Page, size, wrapped
from cnnlab.plots.style import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@style.own_style()
def confusion(matrix: Array, classes: Sequence[str], title: str) -> Page:
    """Counts of true class (rows) against answer (columns), coloured by share of the row off the diagonal."""
    matrix = np.asarray(matrix)
    shares = style.mistakes_only(matrix)
    top = float(np.nanmax(shares, initial=0)) or 1.0
    cell, turn = max(57, 330 // len(classes)), 45 if max(map(len, classes)) > 3 else 0
    beside, below = max(size(name)[0] for name in classes), max(size(name, turn=turn)[1] for name in classes)
    side, left, upper = cell * len(classes), 42 + beside, 65
    page = Page(left + side + 140, upper + side + below + 44)
    page.framed(style.coloured(shares / top, "Oranges", style.GREY), left, upper, side, side)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if row != column and shares[row, column] > 0.6 * top else "black"
            page.write(f"{count}", left + (column + 0.5) * cell, upper + (row + 0.5) * cell, points=9, colour=colour)
    for place, name in enumerate(classes):
        middle = (place + 0.5) * cell
        page.fill("black", left - 6, upper + middle, 5, 1)
        page.write(name, left - 10, upper + middle, "rm")
        page.fill("black", left + middle, upper + side + 1, 1, 5)
        page.write(name, left + middle + turn / 5, upper + side + 8, "ra" if turn else "ma", turn=turn)
    page.write("answer", left + side / 2, page.height - 10, "md")
    page.write("true class", 10, upper + side / 2, "lm", turn=90)
    wrong, total = int(matrix.sum() - np.trace(matrix)), int(matrix.sum())
    found = f"{wrong} of {total} wrong, error {style.error_rate(matrix):.2f} %"
    page.write(f"{title}\n{found}", left + side / 2, upper - 8, "md", points=12)
    bar = (left + side + 24, upper + 0.1 * side, 23, 0.8 * side)
    page.scale("Oranges", 0, top, "share of the true class (%), mistakes only", bar)
    return page


@style.own_style()
def mistakes(
    pixels: Array, labels: Array, predictions: Array, margin: Array, classes: Sequence[str], limit: int = 40
) -> Page:
    """The wrong answers that outscore the truth by the largest margin, as pictures under "truth → answer".

    `pixels` (N, H, W) or (N, H, W, 3), `labels`, `predictions` and `margin` (N,).
    """
    wrong = np.flatnonzero(np.asarray(labels) != np.asarray(predictions))
    worst = wrong[np.argsort(-np.asarray(margin)[wrong], kind="stable")][:limit]
    if not worst.size:
        page = Page(660, 220)
        page.write(f"No mistakes among {len(labels)} images.", 330, 110, colour="0.3")
        return page
    pairs = [(classes[labels[index]], classes[predictions[index]]) for index in worst]
    names = [f"{truth} → {answer}" if len(truth + answer) < 9 else f"{truth}\n→ {answer}" for truth, answer in pairs]
    sure = [style.plain(value, 3) for value in np.asarray(margin)[worst]]
    shown = f"the {len(worst)} surest of {len(wrong)}" if len(worst) < len(wrong) else f"all {len(worst)}"
    title = f"{shown} mistakes: truth → answer, and its margin"
    return _captioned(np.asarray(pixels)[worst], names, sure, float(np.max(pixels)), title)


@style.own_style()
def differing(
    pixels: Array, labels: Array, a: Array, b: Array, classes: Sequence[str], title: str, limit: int = 40
) -> Page:
    """Images of which one of two runs gets the class wrong, as pictures under their class and over both answers.

    `pixels` (N, H, W) or (N, H, W, 3), `labels` and the answers `a` and `b` (N,). Those that only b gets wrong come
    first. Of more than the limit, some of each kind are shown.
    """
    order = np.argsort(np.asarray(b) == np.asarray(labels), kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(limit, len(order))).round().astype(int)]
    above = [classes[labels[index]] for index in chosen]
    below = [f"A {classes[a[index]]}, B {classes[b[index]]}" for index in chosen]
    shown = f"{len(chosen)} of " if len(chosen) < len(order) else ""
    heading = f"{title}\n{shown}{len(order)} images on which one of them is wrong"
    return _captioned(np.asarray(pixels)[chosen], above, below, float(np.max(pixels)), heading)


def _captioned(pictures: Array, above: Sequence[str], below: Sequence[str], top: float, title: str) -> Page:
    """Framed pictures of 0 to `top`, each between two captions."""
    columns = min(8, len(pictures))
    zoom = max(1, round(130 / pictures.shape[2]))
    height, width = zoom * pictures.shape[1], zoom * pictures.shape[2]
    over = 12 + 17 * (1 + max(text.count("\n") for text in above))
    across, down = max(width, *(size(text, 9)[0] for text in (*above, *below))) + 14, over + height + 18
    title = wrapped(title, max(columns * across, 500) - 20)
    head = 20 + size(title)[1]
    page = Page(max(columns * across, 500, size(title)[0] + 20), head + 6 + -(-len(pictures) // columns) * down)
    page.write(title, page.width / 2, 12, "ma")
    for number, (picture, name, margin) in enumerate(zip(pictures, above, below, strict=True)):
        row, column = divmod(number, columns)
        middle, upper = (column + 0.5) * across, head + row * down + over
        page.framed(style.pixels(picture, top), middle - width / 2, upper, width, height)
        page.write(name, middle, upper - 4, "md", points=9)
        page.write(margin, middle, upper + height + 3, "ma", points=8, colour="0.35")
    return page


@style.own_style()
def predictions(
    originals: Sequence[Array],
    pixels: Array,
    probabilities: Array,
    names: Sequence[str],
    classes: Sequence[str],
    title: str,
    limit: int = 60,
) -> Page:
    """For each image its name, how it came, how the network sees it, and the probability of each class as bars.

    `originals` are colours (H, W, 3), bytes, of any size; `pixels` (N, H, W), `probabilities` (N, C).
    """
    count = min(len(names), limit)
    more = f"\nthe first {count} of {len(names)}" if count < len(names) else ""
    side, bar, gap, over = 112, 16, 14, 26
    across, down = 2 * (side + gap) + bar * len(classes) + 2 * gap, side + over + 34
    columns = min(count, 1 + (count > 3) + (count > 12))
    title = wrapped(title + more, columns * across + gap - 20)
    head = 16 + size(title)[1]
    page = Page(max(columns * across + gap, size(title)[0] + 20), head + -(-count // columns) * down)
    page.write(title, page.width / 2, 10, "ma")
    for number in range(count):
        row, column = divmod(number, columns)
        left, upper = gap + column * across, head + row * down + over
        page.write(_fitting(names[number], across - 2 * gap), left, upper - 5, "ld", points=9)
        height, width = originals[number].shape[:2]
        high, wide = (max(1, round(side * length / max(height, width))) for length in (height, width))
        page.framed(originals[number], left + (side - wide) / 2, upper + (side - high) / 2, wide, high)
        page.framed(style.pixels(pixels[number], 255), left + side + gap, upper, side, side)
        _bars(page, probabilities[number], classes, (left + 2 * (side + gap), upper, bar, side))
    return page


def _bars(page: Page, shares: Array, classes: Sequence[str], box: tuple[float, float, float, float]) -> None:
    """A bar for each class, as high as its probability; the answer's is coloured, and has it as a number.

    The box is that of the first bar where it is certain.
    """
    left, upper, width, height = box
    most = int(np.argmax(shares))
    page.fill("0.6", left, upper + height, width * len(classes), 1)
    for place, (name, share) in enumerate(zip(classes, shares, strict=True)):
        middle, high = left + (place + 0.5) * width, round(height * float(share))
        colour = style.COLOURS[0] if place == most else "0.6"
        if high:
            page.fill(colour, middle - width / 2 + 2, upper + height - high, width - 4, high)
        page.write(name, middle, upper + height + 3, "ma", points=9, colour="black" if place == most else "0.5")
    shown = min(max(left + (most + 0.5) * width, left + 18), left + len(classes) * width - 18)
    high = round(height * float(shares[most]))
    page.write(f"{shares[most]:.0%}", shown, upper + height - high - 2, "md", points=8, colour="0.35")


def _fitting(text: str, width: float) -> str:
    """A text of 9 points, its middle left out where it is wider than that."""
    kept = len(text)
    shown = text
    while size(shown, 9)[0] > width and kept > 4:
        kept -= 1
        shown = f"{text[: kept // 2]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - (kept + 1) // 2 :]}"
    return shown


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
