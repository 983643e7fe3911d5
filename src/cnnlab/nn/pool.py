"""Pooling: one frame that slides a window over maps, and one small rule for each kind, or a ``bind`` of its own.

A rule sees the window as ``tiles``: one array ``[H_out, C, W_out, N]`` for each of its cells (row by
row), all of them views of the input. It returns the pooled maps and a function that spreads their
gradient over the tiles again. A new kind of pooling is a new rule; see the README.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice, pairwise
from math import prod
from typing import ClassVar

import numpy as np

from .layer import Array, Backward, Bound, Cost, Layer, Params, Rng, Shape, squared
from .windows import Pair, pair, window_grid

Cell = tuple[slice, slice, slice]
Spread = Callable[[Array], Iterable[Array]]
Collect = Callable[[], None]


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
        y, spread = self.rule(self._tiles(x), rng)
        return y, self._collecting(x, spread)

    def curvature(self, params: Params, x: Array) -> Backward:
        """Each tile's derivative applied twice."""
        _, spread = self.rule(self._tiles(x), None)

        def twice(h: Array) -> Iterator[Array]:
            for number, once in enumerate(spread(h)):
                yield next(islice(spread(once), number, None))

        return self._collecting(x, twice)

    def _tiles(self, x: Array) -> list[Array]:
        """The maps' tiles, views."""
        return [x[cell] for cell in _cells(x.shape[:3], pair(self.size), self._step)[0]]

    def _collecting(self, x: Array, spread: Spread) -> Backward:
        """A backward that puts the gradients of tiles together again."""

        def backward(dy: Array) -> tuple[Array, Params]:
            dx = np.empty_like(x)
            parts, collect = self._parts(dx)
            for part, gradient in zip(parts, spread(dy), strict=True):
                part[...] = gradient
            collect()
            return dx, {}

        return backward

    def _parts(self, dx: Array) -> tuple[list[Array], Collect]:
        """Where each tile's gradient is to be written, and what has to be called then to make dx of them.

        Windows that fill the maps side by side need no more; others overlap, or leave something over.
        """
        cells, filled = _cells(dx.shape[:3], pair(self.size), self._step)
        if filled:
            return [dx[cell] for cell in cells], lambda: None
        parts = [np.empty_like(dx[cell]) for cell in cells]

        def collect() -> None:
            dx.fill(0)
            for cell, part in zip(cells, parts, strict=True):
                dx[cell] += part

        return parts, collect

    def _laid_out(self, x: Array, dx: Array | None) -> tuple[list[Array], Array, Array, list[Array], Collect]:
        """What a kind of its own ``bind`` needs: tiles, y, dy, parts and collect."""
        tiles = self._tiles(x)
        y, dy = np.empty((2, *tiles[0].shape), x.dtype)
        return tiles, y, dy, *self._parts(np.empty_like(x) if dx is None else dx)


@lru_cache
def _cells(shape: Shape, size: tuple[int, int], step: tuple[int, int]) -> tuple[list[Cell], bool]:
    """Where each cell of the windows lies, and whether these stand side by side and fill the maps."""
    (rows, columns), (down, across) = window_grid(shape, size, step), step
    cells = [
        np.s_[i : i + down * (rows - 1) + 1 : down, :, j : j + across * (columns - 1) + 1 : across]
        for i in range(size[0])
        for j in range(size[1])
    ]
    return cells, size == step and (down * rows, across * columns) == (shape[0], shape[2])


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
            np.multiply(_total(tiles, y), share, out=y)

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

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """``[H_out, C, W_out, N]``."""
        tiles, y, dy, parts, collect = self._laid_out(x, dx)
        (W, b), s = (params[name][:, None, None] for name in "Wb"), np.empty_like(y)

        def forward(rng: Rng | None) -> None:
            np.multiply(_total(tiles, s), self._share, out=s)
            np.multiply(s, W, out=y)
            np.add(y, b, out=y)

        def backward() -> None:
            np.einsum("hcwn,hcwn->c", dy, s, out=grads["W"])
            np.einsum("hcwn->c", dy, out=grads["b"])
            np.multiply(dy, W * self._share, out=dy)
            for part in parts:
                np.copyto(part, dy)
            collect()

        return Bound(y, dy, forward, backward)

    @property
    def _share(self) -> float:
        return 1 / prod(pair(self.size)) if self.mean else 1.0

    def curvature(self, params: Params, x: Array) -> Backward:
        """``W^2`` to each value of the window, by its share squared; ``sum h s^2`` to W and ``sum h`` to b."""
        s, _ = self.forward({"W": np.ones_like(params["W"]), "b": np.zeros_like(params["b"])}, x)
        _, back = self.forward(squared(params), x)

        def backward(h: Array) -> tuple[Array, Params]:
            return back(h * self._share)[0], {"W": (h * s * s).sum((0, 2, 3)), "b": h.sum((0, 2, 3))}

        return backward

    def cost(self, shape: Shape) -> Cost:
        """Each output is connected to its window and its bias; one multiplication to an output."""
        rows, channels, columns = self.out_shape(shape)
        units, window = rows * channels * columns, prod(pair(self.size))
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


def _total(tiles: list[Array], out: Array | None = None) -> Array:
    """Sum over the tiles."""
    total = np.add(tiles[0], tiles[1] if len(tiles) > 1 else 0, out=out)
    for tile in tiles[2:]:
        np.add(total, tile, out=total)
    return total
