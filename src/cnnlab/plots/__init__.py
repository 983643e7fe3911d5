"""Figures of one run: pure functions from arrays to a Figure, or to a Page where only pictures and words are on it.

`style` is what they share with those of a sweep, which are in `cnnlab.report`. A figure of your own looks the same on
every machine if it is decorated with `style.own_style()` and starts from `style.canvas`.
"""

from cnnlab.plots.answers import confusion, differing, mistakes, predictions, robustness
from cnnlab.plots.run import activations, by_layer, distortions, kernels, learning_curves
from cnnlab.plots.style import png

__all__ = [
    "activations",
    "by_layer",
    "confusion",
    "differing",
    "distortions",
    "kernels",
    "learning_curves",
    "mistakes",
    "png",
    "predictions",
    "robustness",
]
