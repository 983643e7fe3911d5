"""How the page draws arrays: small ones as tables of numbers, maps as grey pictures. All of it can be read in grey."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from cnnlab.plots import style
from cnnlab.plots.style import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMALL = 9  # points: titles of panels

Frame = tuple[int, int, int, int]  # around cells: first row and column, how many rows and columns


def table(
    axes: Axes, values: Array, title: str, frames: Iterable[Frame] = (), zeros: bool = True, top: float | None = None
) -> None:
    """A small array as numbers in cells, the darker the larger, with thick frames around some of them.

    Without `zeros` a cell that is 0 is left blank. `top` is a value that would be black.
    """
    from matplotlib.patches import Rectangle

    size, (rows, columns) = np.abs(values), values.shape
    black = top or 2.2 * (size.max() or 1)
    axes.imshow(size, cmap="Greys", vmin=0, vmax=black)
    for (row, column), value in np.ndenumerate(values):
        if value or zeros:
            colour = "white" if abs(value) > 0.55 * black else "black"
            text = style.plain(value + 0.0, 4)
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    for row, column, height, width in frames:
        place = (column - 0.5, row - 0.5), width, height
        axes.add_patch(Rectangle(*place, fill=False, linewidth=2.2, zorder=4, clip_on=False))
    cells(axes, rows, columns)
    bare(axes, title)


def cells(axes: Axes, rows: int, columns: int) -> None:
    """Thin lines between the cells of an array."""
    axes.set_xticks(np.arange(columns + 1) - 0.5)
    axes.set_yticks(np.arange(rows + 1) - 0.5)
    axes.grid(color="0.75", linewidth=0.6)


def signed(axes: Axes, values: Array, title: str) -> None:
    """A map whose values have signs: grey is 0, white is above it, and black is below."""
    limit = np.nanmax(np.abs(values)) or 1
    shares = style.coloured(values / (2 * limit) + 0.5, "gray", "white")
    axes.imshow(shares)
    bare(axes, title)


def ink(axes: Axes, values: Array, title: str, top: float | None = None) -> None:
    """A map whose values are 0 or more: white is 0."""
    axes.imshow(values, cmap="Greys", vmin=0, vmax=top)
    bare(axes, title)


def bare(axes: Axes, title: str) -> None:
    """A title, a frame, and no ticks."""
    axes.set_title(title, fontsize=SMALL)
    axes.tick_params(length=0, labelbottom=False, labelleft=False)


def maps(pictures: Array, columns: int) -> Array:
    """Maps `[H, C, W]` side by side, as one picture."""
    return style.mosaic(pictures.transpose(1, 0, 2), columns)
