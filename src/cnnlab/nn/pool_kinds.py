"""The kinds of pooling that have nothing to train: maximum, mean, a mixture of both, a draw, whole maps' means."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import ClassVar

import numpy as np

from .layer import Array, Backward, Bound, Layer, Params, Rng, Shape
from .pool import Pool, Spread, summed
from .windows import pair, window_grid


@dataclass(frozen=True)
class MaxPool(Pool):
    """Largest value of each window; its gradient goes to the position that won, the first one in a tie."""

    takes_largest: ClassVar[bool] = True

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """Maximum over the tiles, one after the other; on the way back, a tile won where it raised the maximum."""
        tiles, y, dy, parts, collect = self._laid_out(x, dx)
        largest = [*np.empty((len(tiles) - 1, *y.shape), x.dtype), y]  # of one tile, of two, ...
        won = np.empty_like(y)

        def forward(rng: Rng | None) -> None:
            np.copyto(largest[0], tiles[0])
            for (before, after), tile in zip(pairwise(largest), tiles[1:], strict=True):
                np.maximum(before, tile, out=after)

        def backward() -> None:
            for (after, before), part in zip(pairwise(reversed(largest)), reversed(parts[1:]), strict=True):
                np.not_equal(before, after, out=won)
                np.multiply(won, dy, out=won)
                np.subtract(dy, won, out=dy)
                np.copyto(part, won)
            np.copyto(parts[0], dy)
            collect()

        return Bound(y, dy, forward, backward)

    def curvature(self, params: Params, x: Array) -> Backward:
        """As the error."""
        return self.forward(params, x)[1]


@dataclass(frozen=True)
class AvgPool(Pool):
    """Mean of each window."""

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """Mean over the tiles."""
        tiles, y, dy, parts, collect = self._laid_out(x, dx)
        share = 1 / len(tiles)

        def forward(rng: Rng | None) -> None:
            np.multiply(summed(tiles, y), share, out=y)

        def backward() -> None:
            np.multiply(dy, share, out=dy)
            for part in parts:
                np.copyto(part, dy)
            collect()

        return Bound(y, dy, forward, backward)

    def curvature(self, params: Params, x: Array) -> Backward:
        """Each value counts by its share, squared."""
        backward, share = self.forward(params, x)[1], 1 / prod(pair(self.size))
        return lambda h: backward(h * share)


@dataclass(frozen=True)
class MixedPool(Pool):
    """``mix`` parts maximum and ``1 - mix`` parts mean (Lee, Gallagher and Tu 2016, Eq. 4)."""

    mix: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a mix of more than everything."""
        if not 0 <= self.mix <= 1:
            raise ValueError(f"mix={self.mix}: choose a number from 0 (mean) to 1 (maximum)")

    def _kinds(self) -> tuple[Pool, Pool]:
        return MaxPool(self.size, self.stride), AvgPool(self.size, self.stride)

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """Weighted sum of the two kinds, and of their gradients."""
        (largest, to_largest), (mean, to_all) = (kind.forward(params, x, rng) for kind in self._kinds())

        def backward(dy: Array) -> tuple[Array, Params]:
            return self.mix * to_largest(dy)[0] + (1 - self.mix) * to_all(dy)[0], {}

        return self.mix * largest + (1 - self.mix) * mean, backward

    def curvature(self, params: Params, x: Array) -> Backward:
        """With k values in a window, ``(mix 1[largest] + (1 - mix) / k)^2 h``."""
        to_largest, to_all = (kind.curvature(params, x) for kind in self._kinds())
        both = self.mix**2 + 2 * self.mix * (1 - self.mix) / prod(pair(self.size))
        return lambda h: (both * to_largest(h)[0] + (1 - self.mix) ** 2 * to_all(h)[0], {})


@dataclass(frozen=True)
class StochasticPool(Pool):
    """One value of each window, drawn with probability ``p_i = a_i / sum a`` while training (a >= 0).

    When predicting, the expectation ``sum p_i a_i``. Windows full of zeros give 0 and pass nothing back
    (Zeiler and Fergus 2013, Eqs. 4 to 6).
    """

    stochastic: ClassVar[bool] = True
    needs_nonnegative: ClassVar[bool] = True

    def rule(self, tiles: list[Array], rng: Rng | None) -> tuple[Array, Spread]:
        """A sampled tile while training, the probability-weighted mean when predicting."""
        if min(tile.min() for tile in tiles) < 0:
            raise ValueError("stochastic pooling needs activations that are never negative (sigmoid, relu)")
        return self._expected(tiles) if rng is None else self._sampled(tiles, rng)

    def _sampled(self, tiles: list[Array], rng: Rng) -> tuple[Array, Spread]:
        total = summed(tiles)
        left = rng.random(total.shape, np.float32).astype(total.dtype) * total
        open_, y, picks = total > 0, np.zeros_like(total), []
        for tile in tiles:
            left = left - tile
            pick = open_ & ((left < 0) | (tile is tiles[-1]))
            open_ &= ~pick
            y += pick * tile
            picks.append(pick)
        return y, lambda dy: (dy * pick for pick in picks)

    def _expected(self, tiles: list[Array]) -> tuple[Array, Spread]:
        total = summed(tiles)
        total = np.where(total > 0, total, 1)
        y = summed([tile * (tile / total) for tile in tiles])
        return y, lambda dy: (dy * (2 * tile - y) / total for tile in tiles)


@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """Mean of each whole map: ``[H, C, W, N]`` becomes the vector ``[C, N]``."""

    def out_shape(self, shape: Shape) -> Shape:
        """(C,)."""
        window_grid(shape, (1, 1), (1, 1))
        return (shape[1],)

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """``[C, N]``."""
        share = x.dtype.type(1 / (x.shape[0] * x.shape[2]))

        def backward(dy: Array) -> tuple[Array, Params]:
            return np.broadcast_to((dy * share)[None, :, None], x.shape).copy(), {}

        return x.sum((0, 2)) * share, backward

    def curvature(self, params: Params, x: Array) -> Backward:
        """``share^2 h``."""
        backward, share = self.forward(params, x)[1], x.dtype.type(1 / (x.shape[0] * x.shape[2]))
        return lambda h: backward(h * share)
