"""One flat vector behind a network's parameters, so that an optimiser is a few array operations."""

from collections.abc import Iterator

import numpy as np

from .layer import Array, Params

_NOTHING = np.zeros(0, np.float32)  # what networks without parameters pack


def leaves(tree: Params, like: Params | None = None) -> Iterator[Array]:
    """The arrays of a nested dict, in the order of its keys or of another dict's with the same keys."""
    for name, shape in (like or tree).items():
        yield from leaves(tree[name], shape) if isinstance(shape, dict) else [tree[name]]


def pack(tree: Params, like: Params | None = None, out: Array | None = None) -> Array:
    """All arrays end to end in one vector (``out``, where given), in the order of ``leaves``."""
    return np.concatenate([_NOTHING, *(leaf.ravel() for leaf in leaves(tree, like))], out=out)


def unpack(vector: Array, like: Params) -> Params:
    """A nested dict shaped as ``like`` whose arrays are views of the vector: change one, change both."""
    start = 0

    def views(tree: Params) -> Params:
        nonlocal start
        result: Params = {}
        for name, value in tree.items():
            if isinstance(value, dict):
                result[name] = views(value)
            else:
                result[name] = vector[start : start + value.size].reshape(value.shape)
                start += value.size
        return result

    return views(like)


def segments(params: Params) -> dict[str, slice]:
    """Where each layer that has parameters lies in the packed vector."""
    result, start = {}, 0
    for name, tree in params.items():
        stop = start + sum(leaf.size for leaf in leaves(tree))
        if stop > start:
            result[name] = slice(start, stop)
        start = stop
    return result
