"""Parameters and gradients: nested dicts of arrays, and one flat vector behind them for the optimiser."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = np.ndarray
Params = dict[str, Any]  # {name: array}, and {layer: {name: array}} for a network

_NOTHING = np.zeros(0, np.float32)  # what networks without parameters pack


def leaves(tree: Params, like: Params | None = None) -> Iterator[Array]:
    """The arrays of a nested dict, in the order of its keys or of another dict's with the same keys."""
    for name, branch in (like or tree).items():
        yield from leaves(tree[name], branch) if isinstance(branch, dict) else [tree[name]]


def mapped(tree: Params, make: Callable[[Array], Array]) -> Params:
    """A nested dict with the same keys, each array replaced by what `make` returns for it."""
    return {k: mapped(v, make) if isinstance(v, dict) else make(v) for k, v in tree.items()}


def pack(tree: Params, like: Params | None = None) -> Array:
    """All arrays end to end in one vector, in the order of `leaves`."""
    return np.concatenate([_NOTHING, *(leaf.ravel() for leaf in leaves(tree, like))])


def unpack(vector: Array, like: Params) -> Params:
    """A nested dict with the keys and shapes of `like`, its arrays views of the vector: change one, change both."""
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
