"""Repeat: copies of maps, so that two layers of parameters may look at one map."""

from dataclasses import dataclass

import numpy as np

from .layer import Array, Backward, Layer, Params, Rng, Shape
from .options import at_least
from .windows import window_grid


@dataclass(frozen=True)
class Repeat(Layer):
    """Each map ``times`` over, its copies side by side: ``[H, C, W, N]`` becomes ``[H, times * C, W, N]``."""

    times: int = 2

    def __post_init__(self) -> None:
        """Refuse fewer than one."""
        at_least(1, times=self.times)

    def out_shape(self, shape: Shape) -> Shape:
        """(H, times * C, W)."""
        window_grid(shape, (1, 1), (1, 1))
        return shape[0], self.times * shape[1], shape[2]

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """The copies; the gradient of a map is the sum over them, and so is its curvature."""
        copied = (x.shape[0], x.shape[1], self.times, *x.shape[2:])
        return np.repeat(x, self.times, axis=1), lambda dy: (dy.reshape(copied).sum(2), {})
