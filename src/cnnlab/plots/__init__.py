"""Figures of one run (`run`, `answers`) and of a sweep (`sweep`, `panels`): pure functions from arrays to a Figure."""

from cnnlab.plots.answers import confusion, mistakes
from cnnlab.plots.distortions import distortions
from cnnlab.plots.panels import confusion_grid, gradient_norms_side_by_side, learning_curves_side_by_side
from cnnlab.plots.run import gradient_norms, kernels, learning_curves
from cnnlab.plots.style import png
from cnnlab.plots.sweep import error_bars, heat_map, interval_kind

__all__ = [
    "confusion",
    "confusion_grid",
    "distortions",
    "error_bars",
    "gradient_norms",
    "gradient_norms_side_by_side",
    "heat_map",
    "interval_kind",
    "kernels",
    "learning_curves",
    "learning_curves_side_by_side",
    "mistakes",
    "png",
]
