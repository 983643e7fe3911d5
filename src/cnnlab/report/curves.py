"""What the arms of a sweep did epoch by epoch, or layer by layer: one line an arm, named at its end."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnnlab.plots import style
from cnnlab.plots.style import Array, History
from cnnlab.report.arms import Arm, Options

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPLITS = {  # the first of these splits that a sweep has errors of is drawn
    "val": "validation error (%)",
    "watch": "error on the test images, watched (%)",
    "train": "training error (%)",
}

IN_LEGEND = 4  # options side by side
SUBSAMPLING = re.compile(r"S\d+")  # what models call the layers in the place of pooling, as the paper does


class Curve(NamedTuple):
    """Some number of one arm at each epoch, or other place: a mean over seeds; nan where a seed has none."""

    arm: Arm
    places: Array
    values: Array

    @property
    def end(self) -> float:
        """The last value that is a number."""
        return float(self.values[np.isfinite(self.values)][-1])

    @classmethod
    def of(cls, arm: Arm, values_of: Callable[[History], Array]) -> Curve:
        """The mean of what is taken from each seed's history, epoch by epoch as far as every seed went."""
        histories = [history[: min(map(len, arm.histories))] for history in arm.histories]
        return cls(arm, style.series(histories[0], "epoch"), np.mean([values_of(of) for of in histories], axis=0))


@style.own_style()
def learning_curves(arms: Sequence[Arm], words: Options, title: str = "") -> Figure | None:
    """The validation error (mean over seeds) of each arm against the epoch; training error without validation.

    None where no finished run has a history.
    """
    finished = [arm for arm in arms if arm.errors]
    for split, label in SPLITS.items():
        curves = _curves(finished, partial(style.error_percent, split=split))
        if curves:
            wide = style.wide_range(np.concatenate([curve.values for curve in curves]))
            return _lines(curves, words, label, title, wide, ".2f")
    return None


@style.own_style()
def gradient_ratio(arms: Sequence[Arm], words: Options, title: str = "") -> Figure | None:
    """The norm of the first layer's gradient over that of the last one, epoch by epoch, as a geometric mean over seeds.

    Far below 1 the gradient vanishes on its way down. None where no run has the norms of two layers.
    """
    curves = [Curve(of.arm, of.places, np.exp(of.values)) for of in _curves(arms, lambda of: _log_ratios(of)[0])]
    return _lines(curves, words, "gradient norm, first layer / last layer", title, True, ".2g") if curves else None


@style.own_style()
def layer_gradients(arms: Sequence[Arm], words: Options, title: str = "") -> Figure | None:
    """The norm of each layer's gradient over that of the last one after the first epoch, from the last to the first.

    A geometric mean over seeds. None where all networks have the same number of layers: the ratio of the first layer
    says it then.
    """
    curves = []
    for arm in arms:
        ratios = [_log_ratios(history)[::-1, 0] for history in arm.histories if history]
        if ratios and len(ratios[0]) > 1:
            curves.append(Curve(arm, np.arange(len(ratios[0])), np.exp(np.mean(ratios, axis=0))))
    if len({len(curve.places) for curve in curves}) < 2:
        return None
    figure = _lines(curves, words, "gradient norm after the first epoch, layer / last layer", title, True, ".2g")
    figure.axes[0].set_xlabel("layers back from the last one")
    return figure


def _log_ratios(history: History) -> Array:
    """The logarithm of each layer's gradient norm over the last one's, [layers, epochs]; one row of nan for a layer.

    Without the layers in the place of pooling (S2, S4): the two parameters of a whole map have norms of another kind.
    """
    layers = [name for name in style.layers_of(history, "grad_norm") if not SUBSAMPLING.fullmatch(name)]
    if len(layers) < 2:
        return np.full((1, len(history)), np.nan)
    norms = np.array([style.series(history, f"grad_norm/{layer}") for layer in layers])
    with np.errstate(all="ignore"):  # a norm of 0 has no logarithm
        ratios = np.log(norms / norms[-1])
    return np.where(np.isfinite(ratios), ratios, np.nan)


def _curves(arms: Sequence[Arm], values_of: Callable[[History], Array]) -> list[Curve]:
    """The curves that have a number."""
    curves = [Curve.of(arm, values_of) for arm in arms if arm.histories]
    return [curve for curve in curves if np.isfinite(curve.values).any()]


def _lines(curves: Sequence[Curve], words: Options, ylabel: str, title: str, log: bool, form: str) -> Figure:
    """A line a curve, named at its end with its last value.

    Colour and dashes are the option of a word that all arms have: the one whose options end furthest apart.
    """
    names = [f"{curve.arm.label}  {curve.end:{form}}" for curve in curves]
    beside = 0.4 + 0.056 * max(map(len, names))
    shared = [word for word, options in words.items() if all(options)]
    word = max(shared, key=lambda word: _spread(curves, word, words[word], log), default="")
    options = words.get(word, ())
    look: dict[str, Any] = dict(zip(options, style.looks(len(options)), strict=True))
    below = 0.5 + 0.2 * math.ceil(len(look) / IN_LEGEND) * (len(look) > 1)
    height = 1.1 + below + max(2.9, 0.175 * len(curves))
    figure = style.canvas(6.7 + beside, height, (0.75, below, beside, 0.1), title)
    axes = figure.subplots()
    for curve in curves:
        plain: dict[str, Any] = {"color": style.TRAIN, "marker": "." if len(curve.places) < 4 else ""}
        axes.plot(curve.places, curve.values, linewidth=1.3, **(plain | look.get(curve.arm.words.get(word, ""), {})))
    if log:
        axes.set_yscale("log")
        style.plain_numbers(axes.yaxis)
    axes.grid(alpha=0.3)
    style.whole_epochs(axes)
    axes.set_ylabel(ylabel)
    _name_lines(axes, curves, names)
    if len(look) > 1:
        handles = [axes.plot([], [], label=f"{word}={option}", **of)[0] for option, of in look.items()]
        figure.legend(handles=handles, loc="lower left", ncols=IN_LEGEND, fontsize=8, frameon=False)
    return figure


def _spread(curves: Sequence[Curve], word: str, options: Sequence[str], log: bool) -> float:
    """How far apart a word's options end, averaged over everything else."""
    ends = [[curve.end for curve in curves if curve.arm.words.get(word) == option] for option in options]
    means = [float(np.mean(np.log(values) if log else values)) for values in ends if values]
    return float(np.ptp(means or [0.0]))


def _name_lines(axes: Axes, curves: Sequence[Curve], names: Sequence[str]) -> None:
    """Each line's name beside the frame, in the order of the line ends, far enough apart to be read."""
    axes.set_ylim(axes.get_ylim())
    axes.set_xlim(axes.get_xlim())
    ordered = sorted(zip(curves, names, axes.lines, strict=True), key=lambda line: -line[0].end)
    to_fraction = axes.transData + axes.transAxes.inverted()
    wished = [to_fraction.transform((curve.places[-1], curve.end))[1] for curve, *_ in ordered]
    steps = min(0.055, 1 / len(curves)) * np.arange(len(curves))
    places = np.minimum.accumulate(wished + steps) - steps  # pushed down where they are crowded
    for (curve, name, line), place in zip(ordered, np.maximum(places, steps[::-1]), strict=True):  # up from the floor
        colour, end = line.get_color(), (curve.places[-1], curve.end)
        arrow = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "relpos": (0, 0.5), "shrinkA": 1}
        beside: dict[str, Any] = {"xytext": (1.04, place), "textcoords": "axes fraction", "va": "center"}
        axes.annotate(name, end, fontsize=7.5, color=colour, arrowprops=arrow, **beside)
