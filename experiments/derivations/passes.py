"""A network gone through layer by layer, forward and back: the chain rule as a loop that one can look into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cnnlab import nn
from cnnlab.nn.layer import Backward
from cnnlab.plots.style import Array


class Passed(NamedTuple):
    """A layer that was gone through: its name, its output, and its backward."""

    name: str
    y: Array
    backward: Backward


def forward(network: nn.Sequential, params: nn.Params, x: Array) -> list[Passed]:
    """Every layer's output, with the function that carries errors back through that very layer."""
    passed = []
    for name, layer in network.layers.items():
        x, backward = layer.forward(params[name], x)
        passed.append(Passed(name, x, backward))
    return passed


def way_back(passed: Sequence[Passed], error: Array) -> tuple[dict[str, Array], nn.Params]:
    """The error at every layer's output and at the input, and the gradients of all parameters."""
    errors, grads = {}, {}
    for name, _, backward in reversed(passed):
        errors[name] = error
        error, grads[name] = backward(error)
    return errors | {"input": error}, {name: grads[name] for name, *_ in passed}
