"""A batch through a network, in pieces whose maps stay in the processor's cache."""

from itertools import pairwise

import numpy as np

from .layer import Array, Layer, Params, Rng
from .losses import Loss
from .parameters import pack

PIECE = 64  # images: LeNet-5's largest array is then 1.2 MB

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
    pieces = -(-count // PIECE)
    for first, stop in pairwise(count * piece // pieces for piece in range(pieces + 1)):
        y, backward = network.forward(params, x[..., first:stop], rng)
        value, dy = loss(y, labels[first:stop])
        share = (stop - first) / count
        grads = backward(dy if pieces == 1 else dy * share)[1]
        if first == 0:
            pack(grads, params, out=out)
        else:
            out += pack(grads, params)
        total += share * value
        outputs.append(y)
    return total, outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1)
