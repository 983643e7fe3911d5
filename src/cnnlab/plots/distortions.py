"""Images beside distorted copies of them: what a network is trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from cnnlab.plots import style
from cnnlab.plots.style import Array, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@style.own_style()
def distortions(
    pixels: Array, distort: Callable[[Array, np.random.Generator], Array], title: str, images: int = 6, draws: int = 10
) -> Figure:
    """The first images of `pixels`, (N, H, W) or (N, H, W, 3), and beside each of them copies by `distort`."""
    first = pixels[:images]
    copies = distort(first.repeat(draws, axis=0), np.random.default_rng(0)).reshape(len(first), draws, *first.shape[1:])
    rows = np.concatenate([first[:, None], copies], axis=1)
    grid = style.mosaic(rows.reshape(-1, *first.shape[1:]), draws + 1)
    figure = style.canvas(8, 0.5 + 7.8 * grid.shape[0] / grid.shape[1])
    axes = figure.subplots()
    axes.set_facecolor(style.COLOURS[0])
    style.show_pixels(axes, grid, float(np.max(pixels, initial=1)))
    axes.axvline(first.shape[2] + 1, color=style.COLOURS[1], linewidth=2)
    axes.set(xticks=[], yticks=[])
    axes.set_title(plain(title))
    return figure
