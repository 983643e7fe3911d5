"""Figures: pure functions from arrays to a Figure.

Of one run (`run`, `answers`, `distortions`) and of a sweep (`sweep`, `panels`); `style` is what they share. A figure of
your own looks the same on every machine if it is decorated with `style.own_style()` and starts from `style.canvas`.
"""

from cnnlab.plots.answers import confusion, mistakes
from cnnlab.plots.distortions import distortions
from cnnlab.plots.panels import (
    by_layer_side_by_side,
    confusion_grid,
    gradient_norms_side_by_side,
    learning_curves_side_by_side,
)
from cnnlab.plots.run import by_layer, gradient_norms, kernels, learning_curves
from cnnlab.plots.style import png
from cnnlab.plots.sweep import error_bars, heat_map

__all__ = [
    "by_layer",
    "by_layer_side_by_side",
    "confusion",
    "confusion_grid",
    "distortions",
    "error_bars",
    "gradient_norms",
    "gradient_norms_side_by_side",
    "heat_map",
    "kernels",
    "learning_curves",
    "learning_curves_side_by_side",
    "mistakes",
    "png",
]
