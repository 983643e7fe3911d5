"""The kinds of pooling without parameters: maximum, mean, a mixture of both, a draw, the mean of whole maps."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import ClassVar

import numpy as np

from cnnlab.nn.layer import Array, Backward, Bound, Layer, Params, Rng, Shape
from cnnlab.nn.options import Fraction
from cnnlab.nn.pool import Pool, Spread, summed
from cnnlab.nn.windows import pair, refuse_vectors


@dataclass(frozen=True)
class MaxPool(Pool):
    """Largest value of each window; its gradient goes to where that value stands, in a tie to the first place."""

    takes_largest: ClassVar[bool] = True

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """`y = max_k x_k` over the tiles, so that `dx_k = dy` for the k of the largest value and 0 for the others.

        Going forward, `largest[k]` is the maximum of the tiles up to k. Going back from the last tile, a tile holds
        the window's maximum if it raised that of the tiles before; it then takes dy, and nothing of it is left for
        those before.
        """
        tiles, y, dy, parts, collect = self._arrays(x, dx)
        largest = [*np.empty((len(tiles) - 1, *y.shape), x.dtype), y]
        taken = np.empty_like(y)

        def forward(rng: Rng | None) -> None:
            np.copyto(largest[0], tiles[0])
            for (before, after), tile in zip(pairwise(largest), tiles[1:], strict=True):
                np.maximum(before, tile, out=after)

        def backward() -> None:
            for (after, before), part in zip(pairwise(reversed(largest)), reversed(parts[1:]), strict=True):
                np.not_equal(before, after, out=taken)
                np.multiply(taken, dy, out=taken)
                np.subtract(dy, taken, out=dy)
                np.copyto(part, taken)
            np.copyto(parts[0], dy)
            collect()

        return Bound(y, dy, forward, backward)

    def curvature(self, params: Params, x: Array) -> Backward:
        """The same as the backward of errors, since the derivatives are 0 and 1."""
        return self.forward(params, x)[1]


@dataclass(frozen=True)
class AvgPool(Pool):
    """Mean of each window."""

    forgets_output: ClassVar[bool] = True

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """`y = sum_k x_k / K` over the K values of a window, so that `dx_k = dy / K` for each."""
        sums, share = self._sums(x, dx), 1 / prod(pair(self.size))
        y, dy = sums.y, sums.dy

        def forward(rng: Rng | None) -> None:
            sums.forward(rng)
            np.multiply(y, share, out=y)

        def backward() -> None:
            np.multiply(dy, share, out=dy)
            sums.backward()

        return Bound(y, dy, forward, backward)

    def curvature(self, params: Params, x: Array) -> Backward:
        """`h / K^2` for each."""
        backward, share = self.forward(params, x)[1], 1 / prod(pair(self.size))
        return lambda h: backward(h * share)


@dataclass(frozen=True)
class MixedPool(Pool):
    """`mix` parts maximum and `1 - mix` parts mean (Lee, Gallagher and Tu 2016, Eq. 4)."""

    mix: Fraction = 0.5

    def _kinds(self) -> tuple[Pool, Pool]:
        return MaxPool(self.size, self.stride), AvgPool(self.size, self.stride)

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """Weighted sum of the two kinds, and of their gradients."""
        (largest, to_largest), (mean, to_all) = (kind.forward(params, x, rng) for kind in self._kinds())

        def backward(dy: Array) -> tuple[Array, Params]:
            return self.mix * to_largest(dy)[0] + (1 - self.mix) * to_all(dy)[0], {}

        return self.mix * largest + (1 - self.mix) * mean, backward

    def curvature(self, params: Params, x: Array) -> Backward:
        """`(mix 1[largest] + (1 - mix) / K)^2 h`, with K values in a window."""
        to_largest, to_all = (kind.curvature(params, x) for kind in self._kinds())
        both = self.mix**2 + 2 * self.mix * (1 - self.mix) / prod(pair(self.size))
        return lambda h: (both * to_largest(h)[0] + (1 - self.mix) ** 2 * to_all(h)[0], {})


@dataclass(frozen=True)
class StochasticPool(Pool):
    """One value of each window, drawn with probability `p_i = a_i / sum a` while training (a >= 0).

    When predicting, the expectation `sum p_i a_i`. Windows full of zeros give 0 and pass no gradient back
    (Zeiler and Fergus 2013, Eqs. 4 to 6).
    """

    stochastic: ClassVar[bool] = True
    needs_nonnegative: ClassVar[bool] = True

    def rule(self, tiles: list[Array], rng: Rng | None) -> tuple[Array, Spread]:
        """A sampled tile while training, the probability-weighted mean when predicting."""
        if min(tile.min(initial=0) for tile in tiles) < 0:  # of no images there is no lowest
            raise ValueError("stochastic pooling needs activations that are never negative (relu, sigmoid, softplus)")
        return self._expected(tiles) if rng is None else self._sampled(tiles, rng)

    def _sampled(self, tiles: list[Array], rng: Rng) -> tuple[Array, Spread]:
        """The tile in which a point drawn between 0 and the sum falls, if the tiles lie end to end from 0 on."""
        total = summed(tiles)
        left = rng.random(total.shape, np.float32).astype(total.dtype) * total
        undecided, y, picks = total > 0, np.zeros_like(total), []
        for tile in tiles:
            left = left - tile
            pick = undecided & ((left < 0) | (tile is tiles[-1]))  # the last one also where rounding left too much
            undecided &= ~pick
            y += pick * tile
            picks.append(pick)
        return y, lambda dy: (dy * pick for pick in picks)

    def _expected(self, tiles: list[Array]) -> tuple[Array, Spread]:
        """`y = sum a_i^2 / sum a`, so that `da_i = (2 a_i - y) / sum a dy`."""
        total = summed(tiles)
        total = np.where(total > 0, total, 1)
        y = summed([tile * (tile / total) for tile in tiles])
        return y, lambda dy: (dy * (2 * tile - y) / total for tile in tiles)


@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """Mean of each whole map: `[H, C, W, N]` becomes the vector `[C, N]`."""

    def out_shape(self, shape: Shape) -> Shape:
        """The shape of the means, (C,): one for each map."""
        refuse_vectors(shape)
        return (shape[1],)

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """`y = sum x / (H W)`, so that `dx = dy / (H W)`."""
        share = x.dtype.type(1 / (x.shape[0] * x.shape[2]))

        def backward(dy: Array) -> tuple[Array, Params]:
            return np.broadcast_to((dy * share)[None, :, None], x.shape).copy(), {}

        return x.sum((0, 2)) * share, backward

    def curvature(self, params: Params, x: Array) -> Backward:
        """`h / (H W)^2`."""
        backward, share = self.forward(params, x)[1], x.dtype.type(1 / (x.shape[0] * x.shape[2]))
        return lambda h: backward(h * share)
