"""The figures of one training: learning curves, metrics by layer, the first layer's kernels, distorted images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from cnnlab.plots import style
from cnnlab.plots.page import Page
from cnnlab.plots.style import Array, History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAPS = 16  # of a layer, that are drawn


@style.own_style()
def learning_curves(history: History, title: str) -> Figure:
    """Loss and error (%) against the epoch: of training, and of validation or of the test images that were watched."""
    figure = style.canvas(9, 3.6, margins=(0.9, 0.5, 0.1, 0.4))
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.24})
    _curves(left, history, "loss", lambda split: style.series(history, f"{split}/loss"))
    _curves(right, history, "error (%)", lambda split: style.error_percent(history, split))
    return figure


def _curves(axes: Axes, history: History, ylabel: str, values_of: Callable[[str], Array]) -> None:
    """The curves that have at least one finite value; markers, because a line of one epoch cannot be seen."""
    looks = {("train", "training", style.TRAIN): "o", style.held_out(history): "s"}
    curves = {look: values for look in looks if np.isfinite(values := values_of(look[0])).any()}
    if not curves:
        return style.note(axes, f"no {ylabel.split()[0]} was recorded")
    for look, values in curves.items():
        _, label, colour = look
        axes.plot(style.series(history, "epoch"), values, color=colour, marker=looks[look], markersize=3.5, label=label)
    if style.wide_range(np.concatenate(list(curves.values()))):
        axes.set_yscale("log")
        style.plain_numbers(axes.yaxis)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    axes.legend()
    style.whole_epochs(axes)


@style.own_style()
def by_layer(history: History, family: str, title: str, ylabel: str = "", log: bool = False) -> Figure:
    """A family of metrics, such as `saturation/<layer>`, against the epoch: a line a layer, first dark, last light.

    Of the norms of gradients, a fan that opens downwards to dark is vanishing.
    `ylabel` is what the numbers are, the family's name unless said; `log` draws them on a log scale.
    """
    ylabel = ylabel or family.replace("_", " ")
    layers = style.layers_of(history, family)
    figure = style.canvas(7.5, max(4, 1.2 + 0.22 * len(layers)), margins=(0.85, 0.5, 1.2, 0.35))  # the legend is long
    axes = figure.subplots()
    axes.set_title(title)
    if not layers:
        style.note(axes, f"no {ylabel} was recorded")
        return figure
    if log:
        axes.set_yscale("log", nonpositive="mask")
    for layer, colour in style.by_depth(layers).items():
        values = style.series(history, f"{family}/{layer}")
        axes.plot(style.series(history, "epoch"), values, "o-", color=colour, label=layer, markersize=3.5)
    if log:
        style.plain_numbers(axes.yaxis)
    axes.grid(alpha=0.3)
    axes.set_ylabel(ylabel + (" (log scale)" if log else ""))
    axes.legend(title="layer,\nfirst to last", loc="center left", bbox_to_anchor=(1, 0.5))
    style.whole_epochs(axes)
    return figure


@style.own_style()
def kernels(W: Array, title: str, shape: tuple[int, int, int] | None = None, columns: int | None = None) -> Page:
    """The weights of a first layer as pictures on one scale of colours around 0; nan is left blank.

    `W` is (F, K_h, C, K_w) of a convolution, or (units, D) of a dense layer over images of `shape` (H, C, W),
    without which D has to be a square. Several channels are shown as their mean. The first 64 of
    a convolution and 36 of a dense layer are drawn, or all if `columns` says how many lie side by side.
    """
    limit = 36 if W.ndim == 2 else 64
    if W.ndim == 2:  # in the order of the layer's input, so they fold back into images
        side = math.isqrt(W.shape[1])
        shape = shape or (side, 1, side)
        if math.prod(shape) != W.shape[1]:
            raise ValueError(f"kernels: {W.shape[1]} weights per unit do not fill images of shape {shape}")
        W = W.reshape(-1, *shape)
    count, height, channels, width = W.shape
    limit = min(count, count if columns else limit)
    wide = math.ceil(math.sqrt(limit * 1.6 * height / width))
    grid = style.mosaic(W[:limit].mean(axis=2), columns or (limit if limit <= 8 else wide))
    zoom = max(1, min(round(650 / grid.shape[1]), 924 // grid.shape[0]))
    largest = np.abs(grid[np.isfinite(grid)]).max(initial=0) or 1.0
    high, across = zoom * grid.shape[0], zoom * grid.shape[1]
    page = Page(across + 165, max(high + 56, 190))
    page.framed(style.coloured((grid / largest + 1) / 2, "RdBu_r", "0.35"), 16, 40, across, high)
    label = "weight" + (",\nmean over channels" if channels > 1 else "")
    page.scale("RdBu_r", -largest, largest, label, (across + 35, 40, 19, high))
    more = f" (first {limit} of {count})" if count > limit else ""
    page.write(title + more, 16 + across / 2, 32, "md", points=12)
    return page


@style.own_style()
def activations(view: Mapping[str, Array], title: str) -> Page:
    """An image and what each layer makes of it: a row of maps a layer, each row in greys of its own, larger is darker.

    `view` is that of `cnnlab.measuring.view`: the `digit`, and `maps/<layer>` (H, C, W). The first 16 maps are drawn.
    """
    cell, gap, left, upper = 36, 8, 110, 44
    maps = {name.partition("/")[2]: found for name, found in view.items() if name.startswith("maps/")}
    rows = {"image": (view["digit"][None], "")}
    rows |= {
        name: (found.transpose(1, 0, 2), f"{found.shape[1]}@{found.shape[0]}x{found.shape[2]}")
        for name, found in maps.items()
    }
    widest = max(min(len(found), MAPS) for found, _ in rows.values())
    page = Page(max(left + widest * (cell + 1) + 12, 420), upper + len(rows) * (cell + gap))
    page.write(title, page.width / 2, 12, "ma", points=12)
    for number, (name, (found, shape)) in enumerate(rows.items()):
        shown, y = found[:MAPS], upper + number * (cell + gap)
        low, high = float(shown.min()), float(shown.max())
        colours = style.pixels(style.mosaic(shown - low, len(shown))[1:-1], high - low)
        page.show(colours, left, y, len(shown) * (cell + 1), cell)
        page.write(name, 10, y + cell / 2, "lm")
        page.write(shape, left - 8, y + cell / 2, "rm", points=8, colour="0.35")
    return page


@style.own_style()
def distortions(
    pixels: Array, distort: Callable[[Array, np.random.Generator], Array], title: str, images: int = 6, draws: int = 10
) -> Page:
    """The first images of `pixels`, (N, H, W) or (N, H, W, 3), and beside each of them copies by `distort`."""
    first = pixels[:images]
    copies = distort(first.repeat(draws, axis=0), np.random.default_rng(0)).reshape(len(first), draws, *first.shape[1:])
    rows = np.concatenate([first[:, None], copies], axis=1)
    grid = style.mosaic(rows.reshape(-1, *first.shape[1:]), draws + 1)
    zoom = max(1, round(880 / grid.shape[1]))
    high, across = zoom * grid.shape[0], zoom * grid.shape[1]
    page = Page(across + 12, high + 46)
    page.framed(style.pixels(grid, float(np.max(pixels, initial=1)), style.COLOURS[0]), 6, 40, across, high)
    page.fill(style.COLOURS[1], 6 + zoom * (first.shape[2] + 1), 40, zoom, high)
    page.write(title, page.width / 2, 32, "md", points=12)
    return page
