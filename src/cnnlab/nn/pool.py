"""What all pooling has in common: a window that slides over maps, and a rule for what it keeps.

The rule sees the window as `tiles`: for each of its cells, row by row, one array `[H_out, C, W_out, N]`, a view of the
input. It returns the pooled maps and a function that gives each tile its gradient. A new kind of pooling is a new rule
(see the README), or a `bind` of its own where that is faster.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import ClassVar

import numpy as np

from cnnlab.nn.layer import Array, Backward, Bound, Layer, Params, Rng, Shape
from cnnlab.nn.windows import Pair, pair, window_grid

Cell = tuple[slice, slice, slice]
Spread = Callable[[Array], Iterable[Array]]
Collect = Callable[[], None]


@dataclass(frozen=True)
class Pool(Layer):
    """A window of `size` that moves by `stride` (its own size, unless given) and keeps one value for each map.

    Rows and columns that are left over are dropped; with a stride below the size windows overlap.
    """

    size: Pair = 2
    stride: Pair | None = None
    needs_nonnegative: ClassVar[bool] = False  # the rule is defined for activations >= 0 only

    def rule(self, tiles: list[Array], rng: Rng | None) -> tuple[Array, Spread]:
        """Pooled maps, and `spread(dy)`: the gradient of each tile in turn."""
        raise NotImplementedError

    def _window(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return pair(self.size), pair(self.size if self.stride is None else self.stride)

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the pooled maps, (H_out, C, W_out)."""
        rows, columns = window_grid(shape, *self._window())
        return rows, shape[1], columns

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """`[H_out, C, W_out, N]`."""
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
        return [x[cell] for cell in _cells(x.shape[:3], *self._window())[0]]

    def _collecting(self, x: Array, spread: Spread) -> Backward:
        """A backward that adds up the gradients of all tiles."""

        def backward(dy: Array) -> tuple[Array, Params]:
            dx = np.empty_like(x)
            parts, collect = _parts(dx, *self._window())
            for part, gradient in zip(parts, spread(dy), strict=True):
                part[...] = gradient
            collect()
            return dx, {}

        return backward

    def _arrays(self, x: Array, dx: Array | None) -> tuple[list[Array], Array, Array, list[Array], Collect]:
        """What a `bind` needs: tiles, y, dy, and `_parts`."""
        tiles = self._tiles(x)
        y, dy = np.empty((2, *tiles[0].shape), x.dtype)
        return tiles, y, dy, *_parts(np.empty_like(x) if dx is None else dx, *self._window())

    def _sums(self, x: Array, dx: Array | None) -> Bound:
        """`y = sum_k x_k` over each window, so that `dx_k = dy`: first down, where rows are contiguous, then across."""
        (rows, columns), (down, across) = self._window()
        slabs = [x[cell] for cell in _cells(x.shape[:3], (rows, 1), (down, 1))[0]]
        half = np.empty(slabs[0].shape, x.dtype)  # the sums down, and later their gradients
        tiles = [half[cell] for cell in _cells(half.shape[:3], (1, columns), (1, across))[0]]
        y, dy = np.empty((2, *tiles[0].shape), x.dtype)
        to_half = _parts(half, (1, columns), (1, across))
        to_x = _parts(np.empty_like(x) if dx is None else dx, (rows, 1), (down, 1))

        def forward(rng: Rng | None) -> None:
            summed(slabs, half)
            summed(tiles, y)

        def backward() -> None:
            for gradient, (parts, collect) in (dy, to_half), (half, to_x):
                for part in parts:
                    np.copyto(part, gradient)
                collect()

        return Bound(y, dy, forward, backward)


def _parts(dx: Array, size: tuple[int, int], step: tuple[int, int]) -> tuple[list[Array], Collect]:
    """Where to write each tile's gradient, and what to call then, so that dx is their sum.

    If the windows fill the maps side by side, the parts are views of dx, and nothing is left to do.
    """
    cells, filled = _cells(dx.shape[:3], size, step)
    if filled:
        return [dx[cell] for cell in cells], lambda: None
    parts = [np.empty_like(dx[cell]) for cell in cells]

    def collect() -> None:
        dx.fill(0)
        for cell, part in zip(cells, parts, strict=True):
            dx[cell] += part

    return parts, collect


@lru_cache
def _cells(shape: Shape, size: tuple[int, int], step: tuple[int, int]) -> tuple[list[Cell], bool]:
    """Where each cell of the windows lies, and whether these stand side by side and fill the maps."""
    (rows, columns), (down, across) = window_grid(shape, size, step), step
    cells = [
        np.s_[i : i + down * (rows - 1) + 1 : down, :, j : j + across * (columns - 1) + 1 : across]
        for i in range(size[0])
        for j in range(size[1])
    ]
    return cells, size == step and (down * rows, across * columns) == shape[::2]  # False would be slower, not wrong


def summed(tiles: list[Array], out: Array | None = None) -> Array:
    """Sum over the tiles."""
    total = np.add(tiles[0], tiles[1] if len(tiles) > 1 else 0, out=out)
    for tile in tiles[2:]:
        np.add(total, tile, out=total)
    return total
