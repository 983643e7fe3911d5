"""A network and its arrays, made once; and large batches in pieces, so that these arrays fit the cache."""

from collections.abc import Callable, Iterator

import numpy as np

from cnnlab.nn.layer import Array, Bound, Layer, Params, Rng, Shape
from cnnlab.nn.losses import Loss
from cnnlab.nn.parameters import pack, unpack

Criterion = Callable[[Array, Array], tuple[float, Array]]  # a loss, or what is carried back in place of its gradient

LARGEST = 2**17  # values in a layer's output for a piece: half a megabyte
FEWEST = 32  # images in a piece, however large they are: with fewer, calls take more time than computing
LEAST = 7_000_000  # multiply-accumulates in a piece, for the same reason: 112 images in Zhou's network
LANES = 16  # a piece is a multiple of this: vector units and matrix products work in sixteens


class Workspace:
    """A network with its parameters and all the arrays that a step needs, made once for each size of batch.

    It always reads the parameters as they now are, so that they may be changed in place, and computes in their dtype.
    What a method returns is valid until the next call.
    """

    def __init__(self, network: Layer, params: Params, shape: Shape, bind: Callable[..., Bound] | None = None) -> None:
        self._network, self._params, self._shape, self._bind = network, params, shape, bind or network.bind
        self._gradient = pack(params)
        self._bound: dict[int, tuple[Array, Bound]] = {}
        self._split: dict[int, list[slice]] = {}

    def predict(self, x: Array) -> Array:
        """The network's outputs `[classes, N]`, for as many images as make a piece."""
        return self._forward(x, None).y

    def loss_gradient(self, loss: Criterion, x: Array, labels: Array, rng: Rng | None) -> tuple[float, Array, Array]:
        """The mean loss of a batch, the network's outputs, and the gradient in the order of `pack`.

        Each piece goes forward and backward before the next one.
        """
        pieces = self._pieces(len(labels))
        if len(pieces) == 1:
            value, outputs = self._step(loss, x, labels, rng, 1.0)
            return value, outputs, self._gradient
        total, gradient, parts = 0.0, np.zeros_like(self._gradient), []
        for part in pieces:
            share = (part.stop - part.start) / len(labels)
            value, outputs = self._step(loss, x[..., part], labels[part], rng, share)
            total += share * value
            gradient += self._gradient
            parts.append(outputs.copy())
        return total, np.concatenate(parts, axis=1), gradient

    def _step(self, loss: Criterion, x: Array, labels: Array, rng: Rng | None, share: float) -> tuple[float, Array]:
        bound = self._forward(x, rng)
        value, dy = loss(bound.y, labels)
        np.multiply(dy, share, out=bound.dy)
        bound.backward()
        return value, bound.y

    def _forward(self, x: Array, rng: Rng | None) -> Bound:
        if x.shape[:-1] != self._shape:
            raise ValueError(f"images of shape {x.shape[:-1]} for a network laid out for {self._shape}")
        images, bound = self._arrays(x.shape[-1])
        np.copyto(images, x)
        bound.forward(rng)
        return bound

    def _arrays(self, count: int) -> tuple[Array, Bound]:
        """An array for so many images, and the network bound to it."""
        if count not in self._bound:
            x = np.empty((*self._shape, count), self._gradient.dtype)
            grads = unpack(self._gradient, self._params)
            self._bound[count] = x, self._bind(self._params, x, None, grads)
        return self._bound[count]

    def _pieces(self, count: int) -> list[slice]:
        if count not in self._split:
            self._split[count] = list(split(self._network, self._shape, count))
        return self._split[count]


def predict(network: Layer, params: Params, shape: Shape, count: int, batch: Callable[[slice], Array]) -> Array:
    """The network's outputs `[classes, count]` for images of this shape, of which `batch` gives a slice."""
    workspace = Workspace(network, params, shape)
    return np.concatenate([workspace.predict(batch(piece)).copy() for piece in split(network, shape, count)], axis=1)


def mean_curvature(network: Layer, loss: Loss, params: Params, x: Array, labels: Array) -> Array:
    """The mean loss's second derivatives, by `Loss.curvature` and `Layer.curvature`: a vector like `pack`'s."""
    workspace = Workspace(network, params, x.shape[:-1], network.bind_curvature)
    return workspace.loss_gradient(lambda y, labels: (0.0, loss.curvature(y, labels)), x, labels, None)[2]


def split(network: Layer, shape: Shape, count: int) -> Iterator[slice]:
    """The pieces of `count` images of this shape, all of a size but the last, which may be smaller."""
    fitting = max(FEWEST, LARGEST // network.widest(shape), LEAST // max(1, network.cost(shape).macs))
    number = max(1, -(-count // fitting))
    size = max(1, -(-count // (number * LANES))) * LANES
    return (slice(first, min(first + size, count)) for first in range(0, max(1, count), size))
