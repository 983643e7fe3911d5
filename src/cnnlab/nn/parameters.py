"""One flat vector behind a network's parameters, so that an optimiser is a few array operations."""

import numpy as np

from .layer import Array, Params, leaves, mapped

_NOTHING = np.zeros(0, np.float32)  # what networks without parameters pack


def pack(tree: Params, like: Params | None = None) -> Array:
    """All arrays end to end in one vector, in the order of ``leaves``."""
    return np.concatenate([_NOTHING, *(leaf.ravel() for leaf in leaves(tree, like))])


def unpack(vector: Array, like: Params) -> Params:
    """A nested dict shaped as ``like`` whose arrays are views of the vector: change one, change both."""
    start = 0

    def view(leaf: Array) -> Array:
        nonlocal start
        start += leaf.size
        return vector[start - leaf.size : start].reshape(leaf.shape)

    return mapped(like, view)


def segments(params: Params) -> dict[str, slice]:
    """Where each layer that has parameters lies in the packed vector."""
    result, start = {}, 0
    for name, tree in params.items():
        stop = start + sum(leaf.size for leaf in leaves(tree))
        if stop > start:
            result[name] = slice(start, stop)
        start = stop
    return result
