"""A batch through a network, in pieces whose maps stay in the processor's cache."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from .layer import Array, Layer, Params, Rng, Shape
from .losses import Loss
from .parameters import pack

LARGEST = 2**19  # values of a layer's output in a piece, 2 MB: 111 images in LeNet-5
FEWEST = 32  # images in a piece, however large: fewer are mostly overhead

# glibc hands large freed blocks back to the system, and pages fresh from there take half of a step's time.
# Once a block of nearly 32 MB was freed, the largest that it reckons with, it keeps what is smaller.
np.empty(2**25 - 2**13, np.uint8)


def loss_gradient(
    network: Layer, loss: Loss, params: Params, x: Array, labels: Array, rng: Rng | None, out: Array
) -> tuple[float, Array]:
    """The mean loss of a batch and the network's outputs ``[classes, N]``; the gradient goes into ``out``.

    ``out`` is a vector in the order of ``pack``. Each piece goes forward and backward before the next one.
    """
    count, total, outputs = len(labels), 0.0, []
    for first, stop in split(network, x.shape[:-1], count):
        y, backward = network.forward(params, x[..., first:stop], rng)
        value, dy = loss(y, labels[first:stop])
        share = (stop - first) / count
        grads = backward(dy if share == 1 else dy * share)[1]
        if first == 0:
            pack(grads, params, out=out)
        else:
            out += pack(grads, params)
        total += share * value
        outputs.append(y)
    return total, outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1)


def mean_curvature(network: Layer, loss: Loss, params: Params, x: Array, labels: Array) -> Array:
    """The diagonal of the mean loss's Gauss-Newton matrix, a vector in the order of ``pack``."""
    found = []
    for first, stop in split(network, x.shape[:-1], len(labels)):
        part, truth = x[..., first:stop], labels[first:stop]
        h = loss.curvature(network.forward(params, part)[0], truth)
        share = len(truth) / len(labels)
        found.append(pack(network.curvature(params, part)(h * share)[1], params))
    return np.add.reduce(found)


def split(network: Layer, shape: Shape, count: int) -> Iterator[tuple[int, int]]:
    """Where the pieces of ``count`` images of this shape begin and end; they are of a size, give or take one."""
    number = -(-count // max(FEWEST, LARGEST // network.widest(shape)))
    return pairwise(count * piece // number for piece in range(number + 1))
