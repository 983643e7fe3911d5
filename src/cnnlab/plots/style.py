"""What all figures share: matplotlib as it comes, colours that colour-blind readers can tell apart, PNG."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cnnlab.plots.page import Page

History = Sequence[Mapping[str, float]]
Array = np.ndarray

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (8, 2)), (0, (1, 3)), (0, (5, 1, 1, 1, 1, 1)))  # one a colour
TRAIN, VALIDATION, WATCHED = COLOURS[:3]
GREY = "#e4e4e4"
DPI = 110

_ONE_AT_A_TIME = threading.RLock()  # matplotlib's settings are global


@contextmanager
def own_style() -> Iterator[None]:
    """matplotlib's own defaults, as a block or a decorator: no user's settings, fonts or back end show in a figure.

    Text is drawn as it stands, since a dollar sign in a name starts no formula.
    """
    _import_matplotlib()
    from matplotlib import rc_context, rcParamsDefault

    defaults = {name: value for name, value in rcParamsDefault.items() if not name.startswith("backend")}
    defaults["text.parse_math"] = False
    defaults["axes.titley"] = 1  # else the room above the ticks is looked for, in vain
    with _ONE_AT_A_TIME, rc_context(defaults):
        yield


def _import_matplotlib() -> None:
    """Import it without `MPLBACKEND`: where that names a back end that is not installed, the import would fail."""
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    import matplotlib

    if backend is not None:
        os.environ["MPLBACKEND"] = backend
        with suppress(ValueError):  # for the figures of others in this process, such as a notebook's
            matplotlib.rcParams["backend"] = backend


def canvas(width: float, height: float, margins: Sequence[float] = (), title: str = "") -> Figure:
    """An empty figure of that size in inches: no pyplot, so no global state and no display.

    `margins` (left, bottom, right, top; inches) say where the axes lie. Without them matplotlib finds out by
    measuring every text, several times, and then takes three times as long to draw. A title gets its own room on top.
    """
    from matplotlib.figure import Figure

    room = 0.32 * bool(title)
    figure = Figure(figsize=(width, height + room), dpi=DPI, layout=None if margins else "constrained")
    if margins:
        left, bottom, right, top = margins
        over = (height - top) / (height + room)
        figure.subplots_adjust(left / width, bottom / (height + room), 1 - right / width, over)
    if title:
        place = {"y": 1 - 0.08 / (height + room)} if margins else {}
        figure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.08 / width, ha="left", va="top", **place)
    return figure


@own_style()
def png(figure: Figure | Page) -> bytes:
    """The figure as PNG with 256 colours, a third of the size; the same figure gives the same bytes."""
    from PIL import Image

    full, small = BytesIO(), BytesIO()
    figure.savefig(full, format="png")
    Image.open(full).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def by_depth(layers: Sequence[str]) -> dict[str, Any]:
    """A colour for each layer, from dark (first) to light (last), so that order can be read without the legend."""
    from matplotlib import colormaps

    return dict(zip(layers, colormaps["viridis"](np.linspace(0, 0.88, len(layers))), strict=True))


def looks(count: int) -> list[dict[str, Any]]:
    """Looks of so many lines that can be told apart, in grey, too: after the last colour they go on with markers."""
    plain = [{"color": colour, "linestyle": dashes} for colour, dashes in zip(COLOURS, DASHES, strict=True)]
    marks = [{}, *({"marker": marker, "markersize": 4, "markevery": 0.1} for marker in "os^vD")]
    return [look | mark for mark in marks for look in plain][:count]


def note(axes: Axes, text: str) -> None:
    """Nothing but this sentence where a picture would be."""
    axes.axis("off")
    axes.text(0.5, 0.5, text, ha="center", va="center", color="0.3", transform=axes.transAxes)


def wide_range(values: Sequence[float] | Array, factor: float = 10) -> bool:
    """Whether positive values span more than this factor, so that a log scale shows more."""
    finite = np.asarray(values)[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() > factor * finite.min())


def plain_numbers(axis: Any) -> None:
    """Ticks of a log axis written 0.5, 1, 2 rather than as powers of ten, few enough to be read."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    shown = axis.get_view_interval()
    subs = (1,) if wide_range(shown, 3000) else (1, 2, 5)
    axis.set_major_locator(LogLocator(subs=subs) if wide_range(shown, 5) else MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def plain(value: float, digits: int) -> str:
    """A number of that many digits, with a true minus sign."""
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def whole_epochs(axes: Axes) -> None:
    """An epoch axis without half epochs; one epoch still gets room on both sides."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")


def series(history: History, key: str) -> Array:
    """The values of that key, one per epoch, nan where an epoch has none."""
    return np.array([epoch.get(key, np.nan) for epoch in history], dtype=float)


def error_percent(history: History, split: str) -> Array:
    """The error of that split in per cent, one per epoch, nan where an epoch has none."""
    errors = 100 * (1 - series(history, f"{split}/accuracy"))
    return np.array([epoch.get(f"{split}/error_percent", error) for epoch, error in zip(history, errors, strict=True)])


def held_out(history: History) -> tuple[str, str, str]:
    """The split whose error was measured after each epoch, what to call it, and its colour.

    It is the validation images, or the test images where those were watched instead.
    """
    if any(key.startswith("val/") for epoch in history for key in epoch):
        return "val", "validation", VALIDATION
    return "watch", "test images, watched", WATCHED


def layers_of(history: History, family: str) -> list[str]:
    """The layers that a family of metrics, `family/layer`, has values of, in the order in which they are named."""
    names = dict.fromkeys(key for epoch in history for key in epoch if key.startswith(f"{family}/"))
    return [name.removeprefix(f"{family}/") for name in names]


def mistakes_only(matrix: Array) -> Array:
    """Row shares of a confusion matrix in per cent, nan on the diagonal, which would drown the rest."""
    matrix = np.asarray(matrix, dtype=float)
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, np.nan)
    return shares


def error_rate(matrix: Array) -> float:
    """The wrong answers in a confusion matrix in per cent; nan if it is empty."""
    total = np.sum(matrix)
    return 100 * float(1 - np.trace(matrix) / total) if total else math.nan


def mosaic(pictures: Array, columns: int) -> Array:
    """Pictures (F, H, W), or (F, H, W, 3) in colour, row by row in one, with a gap of nan around each."""
    count, height, width, *colours = pictures.shape
    rows = math.ceil(count / columns)
    grid = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, *colours), np.nan)
    for number, picture in enumerate(pictures):
        upper, left = number // columns * (height + 1) + 1, number % columns * (width + 1) + 1
        grid[upper : upper + height, left : left + width] = picture
    return grid


def pixels(grid: Array, top: float, ground: str = "white") -> Array:
    """A mosaic of images whose pixels are 0 to `top`, as colours (H, W, 3): dark ink on white paper, or as they are.

    What is nan has the colour of the ground.
    """
    share = np.asarray(grid, float) / (top or 1)
    ink = share if share.ndim == 3 else np.repeat(1 - share[..., None], 3, axis=2)
    return np.where(np.isnan(ink), paint(ground), np.rint(255 * ink)).astype(np.uint8)


def coloured(shares: Array, colours: str, ground: str = "white") -> Array:
    """Numbers from 0 to 1 (H, W) as colours (H, W, 3) of a colour map; what is nan has the colour of the ground."""
    from matplotlib import colormaps

    return colormaps[colours].with_extremes(bad=ground)(shares, bytes=True)[..., :3]


def paint(colour: str) -> Array:
    """A colour by its name in matplotlib, as three bytes."""
    from matplotlib.colors import to_rgb

    return np.rint(255 * np.array(to_rgb(colour))).astype(np.uint8)
