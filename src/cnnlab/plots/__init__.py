"""Figures: pure functions from arrays to a Figure.

Of one run (`run`, `answers`, `distortions`), of a sweep (`sweep`, `panels`), of the family (`family`), of the benchmark
(`speed`); `style` is what they share.
"""

from cnnlab.plots.answers import confusion, mistakes
from cnnlab.plots.distortions import distortions
from cnnlab.plots.family import against_passes, against_size, errors_beside, layer_by_layer
from cnnlab.plots.panels import confusion_grid, gradient_norms_side_by_side, learning_curves_side_by_side
from cnnlab.plots.run import gradient_norms, kernels, learning_curves
from cnnlab.plots.style import png
from cnnlab.plots.sweep import error_bars, heat_map

__all__ = [
    "against_passes",
    "against_size",
    "confusion",
    "confusion_grid",
    "distortions",
    "error_bars",
    "errors_beside",
    "gradient_norms",
    "gradient_norms_side_by_side",
    "heat_map",
    "kernels",
    "layer_by_layer",
    "learning_curves",
    "learning_curves_side_by_side",
    "mistakes",
    "png",
]
