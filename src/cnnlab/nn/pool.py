"""Pooling: one frame that slides a window over maps, and one small rule for each kind.

A rule sees the window as ``tiles``: one array ``[H_out, C, W_out, N]`` for each of its cells (row by
row), all of them views of the input. It returns the pooled maps and a function that spreads their
gradient over the tiles again. A new kind of pooling is a new rule; see the README.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, islice, pairwise
from typing import ClassVar

import numpy as np

from .layer import Array, Backward, Cost, Layer, Params, Rng, Shape
from .windows import Pair, pair, window_grid

Cell = tuple[slice, slice, slice]
Spread = Callable[[Array], Iterable[Array]]


@dataclass(frozen=True)
class Pool(Layer):
    """A window of ``size`` that moves by ``stride`` (its own size, unless given) and keeps one value per map.

    Rows and columns that are left over are dropped; a stride below the size makes windows overlap.
    """

    size: Pair = 2
    stride: Pair | None = None
    needs_nonnegative: ClassVar[bool] = False  # the rule is defined for activations >= 0 only

    def rule(self, tiles: list[Array], rng: Rng | None) -> tuple[Array, Spread]:
        """Pooled maps, and ``spread(dy)``: the gradient of each tile in turn."""
        raise NotImplementedError

    @cached_property
    def _step(self) -> tuple[int, int]:
        return pair(self.size if self.stride is None else self.stride)

    def out_shape(self, shape: Shape) -> Shape:
        """(H_out, C, W_out)."""
        rows, columns = window_grid(shape, pair(self.size), self._step)
        return rows, shape[1], columns

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """``[H_out, C, W_out, N]``."""
        tiles, collect = self._tiles(x)
        y, spread = self.rule(tiles, rng)
        return y, lambda dy: (collect(spread(dy)), {})

    def curvature(self, params: Params, x: Array) -> Backward:
        """Each tile's derivative applied twice."""
        tiles, collect = self._tiles(x)
        _, spread = self.rule(tiles, None)

        def twice(h: Array) -> Iterator[Array]:
            for number, once in enumerate(spread(h)):
                yield next(islice(spread(once), number, None))

        return lambda h: (collect(twice(h)), {})

    def _tiles(self, x: Array) -> tuple[list[Array], Callable[[Iterable[Array]], Array]]:
        """The maps' tiles, and the function that puts gradients of tiles together again."""
        cells, apart, filled = _cells(x.shape[:3], pair(self.size), self._step)

        def collect(parts: Iterable[Array]) -> Array:
            dx = np.empty_like(x) if filled else np.zeros_like(x)
            for cell, part in zip(cells, parts, strict=True):
                if apart:
                    dx[cell] = part
                else:
                    dx[cell] += part
            return dx

        return [x[cell] for cell in cells], collect


@lru_cache
def _cells(shape: Shape, size: tuple[int, int], step: tuple[int, int]) -> tuple[list[Cell], bool, bool]:
    """Where each cell of the windows lies; whether no two windows overlap; and whether together they fill the maps."""
    (rows, columns), (down, across) = window_grid(shape, size, step), step
    cells = [
        np.s_[i : i + down * (rows - 1) + 1 : down, :, j : j + across * (columns - 1) + 1 : across]
        for i in range(size[0])
        for j in range(size[1])
    ]
    filled = size == step and (down * rows, across * columns) == (shape[0], shape[2])
    return cells, down >= size[0] and across >= size[1], filled


@dataclass(frozen=True)
class MaxPool(Pool):
    """Largest value of each window; its gradient goes to the position that won, the first one in a tie."""

    takes_largest: ClassVar[bool] = True

    def rule(self, tiles: list[Array], rng: Rng | None) -> tuple[Array, Spread]:
        """Maximum over the tiles."""
        largest = list(accumulate([tiles[0].copy(), *tiles[1:]], np.maximum))  # of one tile, of two, ...

        def spread(dy: Array) -> Iterable[Array]:
            parts = []
            for after, before in pairwise(reversed(largest)):
                earlier = dy * (before == after)
                parts.append(dy - earlier)
                dy = earlier
            return reversed([*parts, dy])

        return largest[-1], spread


@dataclass(frozen=True)
class AvgPool(Pool):
    """Mean of each window."""

    def rule(self, tiles: list[Array], rng: Rng | None) -> tuple[Array, Spread]:
        """Mean over the tiles."""
        share, mean = 1 / len(tiles), _total(tiles)
        mean *= share
        return mean, lambda dy: len(tiles) * [dy * share]


@dataclass(frozen=True)
class MixedPool(Pool):
    """``mix`` parts maximum and ``1 - mix`` parts mean (Lee, Gallagher and Tu 2016, Eq. 4)."""

    mix: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a mix of more than everything."""
        if not 0 <= self.mix <= 1:
            raise ValueError(f"mix={self.mix}: choose a number from 0 (mean) to 1 (maximum)")

    def rule(self, tiles: list[Array], rng: Rng | None) -> tuple[Array, Spread]:
        """Weighted sum of the two rules, and of their gradients."""
        largest, spread_max = MaxPool.rule(self, tiles, rng)  # type: ignore[arg-type]
        mean, spread_mean = AvgPool.rule(self, tiles, rng)  # type: ignore[arg-type]

        def spread(dy: Array) -> Iterable[Array]:
            pairs = zip(spread_max(dy), spread_mean(dy), strict=True)
            return (self.mix * a + (1 - self.mix) * b for a, b in pairs)

        return self.mix * largest + (1 - self.mix) * mean, spread


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
        total = _total(tiles)
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
        total = _total(tiles)
        total = np.where(total > 0, total, 1)
        y = _total([tile * (tile / total) for tile in tiles])
        return y, lambda dy: (dy * (2 * tile - y) / total for tile in tiles)


@dataclass(frozen=True)
class Subsample(Pool):
    """LeNet-5's S layers: ``y = W s + b`` with s the sum of the window, one W and one b to a map.

    (LeCun et al. 1998, II-B.) ``mean`` takes the window's mean instead, as II-A words it. The squashing
    function comes as a layer of its own. Parameters: ``W`` (C,), starting at ``coefficient``; ``b`` (C,).
    """

    mean: bool = False
    coefficient: float = 0.5

    def init(self, shape: Shape, rng: Rng) -> tuple[Params, Shape]:
        """Every coefficient alike, every bias 0."""
        W, b = np.full(shape[1], self.coefficient, np.float32), np.zeros(shape[1], np.float32)
        return {"W": W, "b": b}, self.out_shape(shape)

    def rule(self, tiles: list[Array], rng: Rng | None) -> tuple[Array, Spread]:
        """Sum over the tiles, or their mean."""
        if self.mean:
            return AvgPool.rule(self, tiles, rng)  # type: ignore[arg-type]
        return _total(tiles), lambda dy: len(tiles) * [dy]

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """``[H_out, C, W_out, N]``."""
        s, spread = super().forward({}, x, rng)
        W, b = (params[name].astype(x.dtype, copy=False)[:, None, None] for name in "Wb")

        def backward(dy: Array) -> tuple[Array, Params]:
            return spread(dy * W)[0], {"W": (dy * s).sum((0, 2, 3)), "b": dy.sum((0, 2, 3))}

        return W * s + b, backward

    def curvature(self, params: Params, x: Array) -> Backward:
        """``W^2`` times the rule's own to the window, ``sum h s^2`` to W and ``sum h`` to b."""
        s, _ = super().forward({}, x)
        back, W = super().curvature({}, x), params["W"].astype(x.dtype, copy=False)[:, None, None]

        def backward(h: Array) -> tuple[Array, Params]:
            return back(h * W * W)[0], {"W": (h * s * s).sum((0, 2, 3)), "b": h.sum((0, 2, 3))}

        return backward

    def cost(self, shape: Shape) -> Cost:
        """Each output is connected to its window and its bias; one multiplication to an output."""
        rows, channels, columns = self.out_shape(shape)
        units, window = rows * channels * columns, int(np.prod(pair(self.size)))
        return Cost(2 * channels, units * (window + 1), units)


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


def _total(tiles: list[Array]) -> Array:
    total = tiles[0].copy()
    for tile in tiles[1:]:
        total += tile
    return total
