"""The arms of a sweep side by side: small panels on one shared scale, and all learning curves together."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnnlab.plots import style
from cnnlab.plots.run import draw_by_layer
from cnnlab.plots.style import Array, plain
from cnnlab.plots.sweep import Arm, Options

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 30


def gradient_norms_side_by_side(arms: Sequence[Arm]) -> Figure:
    """The gradient norms of each arm's first run, one panel an arm, all on one log scale."""
    return by_layer_side_by_side(arms, "grad_norm", "gradient norm", log=True)


@style.own_style()
def by_layer_side_by_side(arms: Sequence[Arm], family: str, ylabel: str = "", log: bool = False) -> Figure:
    """What `by_layer` draws, of each arm's first run: one panel an arm, all on one scale."""
    ylabel = ylabel or family.replace("_", " ")
    figure, places, shown = _arm_panels(
        arms, [arm for arm in arms if arm.histories], 1.85, 1.5, sharex=True, sharey=True
    )
    for axes, arm in zip(places, shown, strict=True):
        history = arm.histories[0]
        draw_by_layer(axes, history, family, ylabel, log, marker="." if len(history) < 4 else "")
        _panel_title(axes, arm.label + ("" if arm.errors else "\n(failed)"))
        axes.label_outer()
    for axes in places[-_columns(len(shown)) :]:
        style.whole_epochs(axes)
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("")
    if shown:
        figure.supxlabel("epoch", fontsize=10)
        figure.supylabel(ylabel + (" (log scale)" if log else ""), fontsize=10)
        _depth_legend(figure, {tuple(style.layers_of(arm.histories[0], family)) for arm in shown})
    return figure


def _depth_legend(figure: Figure, layers: set[tuple[str, ...]]) -> None:
    """The layers' names where all arms share them, else which end of the colours is the first layer."""
    from matplotlib.lines import Line2D

    names = layers.pop() if len(layers) == 1 else ("first layer", "middle", "last layer")
    colours = style.colours_by_depth(len(names))
    lines = [Line2D([], [], color=colour, label=plain(name)) for name, colour in zip(names, colours, strict=True)]
    figure.legend(handles=lines, loc="outside right upper", fontsize=8, title="first to last", title_fontsize=8)


@style.own_style()
def confusion_grid(arms: Sequence[Arm]) -> Figure:
    """The mistakes of each arm, one confusion matrix an arm without its diagonal, all on one log scale."""
    from matplotlib.colors import LogNorm

    usable = [arm for arm in arms if arm.confusion is not None]
    figure, places, shown = _arm_panels(arms, usable, 1.6, 1.75)
    matrices = [np.asarray(arm.confusion) for arm in shown]
    shares = [np.maximum(style.mistakes_only(matrix), 0.1) for matrix in matrices]
    norm = LogNorm(0.1, max((float(np.nanmax(share, initial=1.0)) for share in shares), default=1.0))
    for axes, arm, matrix, share in zip(places, shown, matrices, shares, strict=True):
        axes.set_facecolor(style.GREY)
        axes.imshow(share, cmap="Oranges", norm=norm)
        axes.set(xticks=[], yticks=[])
        _panel_title(axes, f"{arm.label}\n{style.error_rate(matrix):.2f} %")
    if shown:
        figure.supxlabel("answer", fontsize=10)
        figure.supylabel("true class", fontsize=10)
        bar = figure.colorbar(places[0].images[0], ax=places, shrink=0.6)
        bar.set_label("mistakes, % of the class")
        style.plain_numbers(bar.ax.yaxis)
    return figure


def _arm_panels(
    arms: Sequence[Arm], usable: Sequence[Arm], width: float, height: float, **share: Any
) -> tuple[Figure, list[Axes], Sequence[Arm]]:
    """Panels for the arms that have something to show, and a title that counts the ones left out."""
    shown = usable[:MOST_PANELS]
    figure, places = style.panels(len(shown), _columns(len(shown)), width, height, **share)
    if not shown:
        figure.text(0.5, 0.5, "nothing to show", ha="center", color="0.3")
    elif len(shown) < len(arms):
        why = "the others have no result" if len(shown) == len(usable) else "the first ones"
        figure.suptitle(f"{len(shown)} of {len(arms)} arms ({why})", fontsize=10)
    return figure, places, shown


def _columns(count: int) -> int:
    return max(1, min(count, 4 if count <= 8 else 6))


def _panel_title(axes: Axes, label: str) -> None:
    """The label in lines that fit a panel; non-breaking spaces keep each slash with the word before it."""
    glued = label.replace(" / ", "\u00a0/ ")
    lines = [piece for line in glued.split("\n") for piece in textwrap.wrap(line, 28) or [""]]
    axes.set_title(plain("\n".join(lines)), fontsize=7)
    axes.tick_params(labelsize=7)


class Curve(NamedTuple):
    """The error (%) of one arm, epoch by epoch, and the colour it is drawn in."""

    arm: Arm
    epochs: Array
    errors: Array
    colour: str = style.TRAIN

    @property
    def end(self) -> float:
        """The last error that is a number."""
        return float(self.errors[np.isfinite(self.errors)][-1])


@style.own_style()
def learning_curves_side_by_side(arms: Sequence[Arm], words: Options) -> Figure:
    """The validation error (mean over seeds) of each arm against the epoch; training error without validation.

    The colour is the option of the word whose options end furthest apart; each line is named at its end.
    """
    usable = [arm for arm in arms if arm.errors and arm.histories]
    shown = {
        "val": "validation error (%)",
        "watch": "error on the test images, watched (%)",
        "train": "training error (%)",
    }
    found = {split: [Curve(arm, *_mean_curve(arm, split)) for arm in usable] for split in shown}
    seen = {split: [curve for curve in curves if np.isfinite(curve.errors).any()] for split, curves in found.items()}
    split = next((split for split, curves in seen.items() if curves), "train")
    curves = seen[split]
    figure = style.canvas(9.5, 1.6 + max(2.9, 0.175 * len(curves)))
    axes = figure.subplots()
    if not curves:
        style.note(axes, "no run has finished")
        return figure
    word = _decisive_word(curves, words)
    colours = dict(zip(words.get(word, ()), itertools.cycle(style.COLOURS), strict=False))
    curves = [curve._replace(colour=colours.get(curve.arm.words.get(word, ""), style.TRAIN)) for curve in curves]
    _draw_curves(axes, curves)
    axes.set_ylabel(shown[split])
    _name_lines(axes, curves)
    if len(colours) > 1:
        handles = [axes.plot([], [], color=colour, label=plain(option))[0] for option, colour in colours.items()]
        axes.legend(handles=handles, title=plain(word), loc="best")
    return figure


def _mean_curve(arm: Arm, split: str) -> tuple[Array, Array]:
    """Epochs and the mean over seeds of the error, as far as every seed went."""
    length = min(map(len, arm.histories))
    errors = [style.error_percent(history[:length], split) for history in arm.histories]
    return style.epochs_of(arm.histories[0])[:length], np.mean(errors, axis=0)


def _decisive_word(curves: Sequence[Curve], words: Options) -> str:
    """The swept word whose options differ most in the error at the end, averaged over everything else."""

    def spread(word: str) -> float:
        ends = [[c.end for c in curves if c.arm.words.get(word) == option] for option in words[word]]
        return float(np.ptp([float(np.mean(values)) for values in ends if values] or [0.0]))

    return max(words, key=spread, default="")


def _draw_curves(axes: Axes, curves: Sequence[Curve]) -> None:
    for curve in curves:
        marker = "." if len(curve.epochs) < 4 else ""
        axes.plot(curve.epochs, curve.errors, color=curve.colour, marker=marker, linewidth=1.2)
    if style.wide_range(np.concatenate([curve.errors for curve in curves])):
        axes.set_yscale("log")
        style.plain_numbers(axes.yaxis)
    axes.grid(alpha=0.3)
    style.whole_epochs(axes)


def _name_lines(axes: Axes, curves: Sequence[Curve]) -> None:
    """Each line's name beside the frame, in the order of the line ends, far enough apart to be read."""
    axes.set_ylim(axes.get_ylim())
    axes.set_xlim(axes.get_xlim())
    ordered = sorted(curves, key=lambda curve: -curve.end)
    to_fraction = axes.transData + axes.transAxes.inverted()
    wished = [to_fraction.transform((curve.epochs[-1], curve.end))[1] for curve in ordered]
    for curve, place in zip(ordered, _spread(wished, min(0.055, 1 / len(curves))), strict=True):
        axes.annotate(
            plain(f"{curve.arm.label}  {curve.end:.2f}"),
            (curve.epochs[-1], curve.end),
            (1.04, place),
            textcoords="axes fraction",
            va="center",
            fontsize=7.5,
            color=curve.colour,
            arrowprops={"arrowstyle": "-", "color": curve.colour, "linewidth": 0.5, "relpos": (0, 0.5), "shrinkA": 1},
        )


def _spread(wished: Sequence[float], gap: float) -> list[float]:
    """Falling heights moved apart to at least `gap`: pushed down where crowded, then up from the floor 0."""
    places = list(wished)
    for i in range(1, len(places)):
        places[i] = min(places[i], places[i - 1] - gap)
    floor = 0.0
    for i in reversed(range(len(places))):
        places[i] = max(places[i], floor)
        floor = places[i] + gap
    return places
