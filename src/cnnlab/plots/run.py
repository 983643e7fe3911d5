"""The figures of one run: how it learned, how its gradients fared, what it sees and what it gets wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnlab.plots import style
from cnnlab.plots.style import Array, History, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def learning_curves(history: History, title: str) -> Figure:
    """Loss and error (%) against the epoch, for training and, where there is any, validation."""
    figure = style.canvas(9, 3.6)
    figure.suptitle(plain(title))
    left, right = figure.subplots(1, 2)
    _curves(left, history, "loss", {s: style.series(history, f"{s}/loss") for s in ("train", "val")})
    _curves(right, history, "error (%)", {s: style.error_percent(history, s) for s in ("train", "val")})
    return figure


def _curves(axes: Axes, history: History, ylabel: str, curves: dict[str, Array]) -> None:
    """The curves that have at least one finite value; markers, because a line of one epoch cannot be seen."""
    shown = {split: values for split, values in curves.items() if np.isfinite(values).any()}
    if not shown:
        return style.note(axes, f"no {ylabel.split()[0]} was recorded")
    looks = {"train": (style.TRAIN, "o", "training"), "val": (style.VALIDATION, "s", "validation")}
    for split, values in shown.items():
        colour, marker, label = looks[split]
        axes.plot(style.epochs_of(history), values, color=colour, marker=marker, markersize=3.5, label=label)
    if style.wide_range(np.concatenate(list(shown.values()))):
        axes.set_yscale("log")
        style.plain_numbers(axes.yaxis)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    axes.legend()
    style.whole_epochs(axes)


def gradient_norms(history: History, title: str) -> Figure:
    """The norm of each layer's gradient against the epoch: a fan that opens downwards to dark is vanishing."""
    figure = style.canvas(7.5, 4)
    axes = figure.subplots()
    axes.set_title(plain(title))
    draw_gradient_norms(axes, history, marker="o")
    if axes.lines:
        axes.set_ylabel("gradient norm (log scale)")
        axes.legend(title="layer,\nfirst to last", loc="center left", bbox_to_anchor=(1, 0.5))
        style.whole_epochs(axes)
    return figure


def draw_gradient_norms(axes: Axes, history: History, **look: str) -> None:
    """One line a layer on these axes, dark for the first layer to light for the last."""
    layers = style.layers_of(history)
    if not layers:
        return style.note(axes, "no gradient norms")
    axes.set_yscale("log", nonpositive="mask")
    for layer, colour in zip(layers, style.colours_by_depth(len(layers)), strict=True):
        norms = style.series(history, f"grad_norm/{layer}")
        axes.plot(style.epochs_of(history), norms, color=colour, label=layer, markersize=3.5, **look)  # type: ignore[arg-type]
    axes.grid(alpha=0.3)


def kernels(W: Array, title: str, shape: tuple[int, int, int] | None = None, limit: int | None = None) -> Figure:
    """The weights of a first layer as pictures on one scale of colours around 0.

    `W` is (F, K_h, C, K_w) of a convolution, or (units, D) of a dense layer over images of `shape` (H, C, W),
    without which D has to be a square. Several channels are shown as their mean. `limit` is how many
    pictures are drawn: 64 for a convolution and 36 for a dense layer unless it says otherwise.
    """
    pictures = _pictures(W, shape)
    limit = limit or (36 if W.ndim == 2 else 64)
    count, (_, height, width) = len(pictures), pictures.shape
    pictures = pictures[:limit]
    wide = math.ceil(math.sqrt(len(pictures) * 1.6 * height / width))
    columns = len(pictures) if len(pictures) <= 8 else wide
    grid = style.mosaic(pictures, columns)
    figure = style.canvas(7, min(0.9 + 5.8 * grid.shape[0] / grid.shape[1], 9))
    axes = figure.subplots()
    largest = float(np.nanmax(np.abs(np.where(np.isfinite(grid), grid, np.nan)), initial=0)) or 1.0
    axes.set_facecolor("0.35")
    image = axes.imshow(grid, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="weight" + (", mean over channels" if _channels(W, shape) > 1 else ""))
    axes.set(xticks=[], yticks=[])
    axes.set_title(plain(title) + (f" (first {limit} of {count})" if count > limit else ""))
    return figure


def _channels(W: Array, shape: tuple[int, int, int] | None) -> int:
    return W.shape[2] if W.ndim == 4 else shape[1] if shape else 1


def _pictures(W: Array, shape: tuple[int, int, int] | None) -> Array:
    """(F, H, W): a dense layer's weights lie in the order of its input, so they fold back into images."""
    if W.ndim == 2:
        side = math.isqrt(W.shape[1])
        shape = shape or (side, 1, side)
        if math.prod(shape) != W.shape[1]:
            raise ValueError(f"kernels: {W.shape[1]} weights per unit do not fill images of shape {shape}")
        W = W.reshape(-1, *shape)
    return np.asarray(W.mean(axis=2), dtype=float)


def confusion(matrix: Array, classes: Sequence[str], title: str) -> Figure:
    """Counts of true class (rows) against answer (columns), coloured by share of the row off the diagonal."""
    matrix = np.asarray(matrix)
    size = max(4.2, 0.52 * len(classes) + 1.6)
    figure = style.canvas(size + 1, size)
    axes = figure.subplots()
    shares = style.mistakes_only(matrix)
    top = float(np.nanmax(shares, initial=0)) or 1.0
    axes.set_facecolor(style.GREY)
    image = axes.imshow(shares, cmap="Oranges", vmin=0, vmax=top)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class (%), mistakes only")
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            dark = row != column and shares[row, column] > 0.6 * top
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=8, color="w" if dark else "k")
    _class_ticks(axes, classes)
    wrong, total = int(matrix.sum() - np.trace(matrix)), int(matrix.sum())
    axes.set_title(f"{plain(title)}\n{wrong} of {total} wrong, error {100 * style.error_rate(matrix):.2f} %")
    return figure


def _class_ticks(axes: Axes, classes: Sequence[str]) -> None:
    names, places = [plain(name) for name in classes], range(len(classes))
    long = max(map(len, names), default=0) > 3
    axes.set_xticks(places, names, rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticks(places, names)
    axes.set(xlabel="answer", ylabel="true class")


def mistakes(
    pixels: Array,
    labels: Array,
    predictions: Array,
    confidence: Array,
    classes: Sequence[str],
    limit: int = 40,
    measure: str = "confidence",
) -> Figure:
    """The wrong answers given with the most confidence, as pictures under "truth → answer".

    `pixels` (N, H, W), `labels` and `predictions` (N,), `confidence` (N,): how sure each answer was, whatever
    `measure` says it is (a margin, a score); of a "probability" per cent are shown.
    """
    wrong = np.flatnonzero(np.asarray(labels) != np.asarray(predictions))
    worst = wrong[np.argsort(-np.asarray(confidence)[wrong], kind="stable")][:limit]
    if not worst.size:
        figure = style.canvas(6, 2)
        style.note(figure.subplots(), f"No mistakes among {len(labels)} images.")
        return figure
    names = [_verdict(classes[labels[index]], classes[predictions[index]]) for index in worst]
    figure, places = style.panels(len(worst), 8, 1.15, 1.75 if "\n" in "".join(names) else 1.5)
    for axes, index, name in zip(places, worst, names, strict=True):
        axes.imshow(pixels[index], cmap="gray_r", vmin=0, vmax=np.max(pixels), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        sure = confidence[index]
        axes.set_title(name, fontsize=9)
        axes.set_xlabel(f"{100 * sure:.0f} %" if measure == "probability" else f"{sure:.3g}", fontsize=8, color="0.35")
    shown = f"the {len(worst)} surest of {len(wrong)}" if len(worst) < len(wrong) else "all the"
    figure.suptitle(f"{shown} mistakes: truth → answer, and its {plain(measure)}", fontsize=10)
    return figure


def _verdict(truth: str, answer: str) -> str:
    return plain(f"{truth} → {answer}" if len(truth + answer) < 9 else f"{truth}\n→ {answer}")
