"""Sequential: a network of named layers, one after the other."""

from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np

from cnnlab.nn.activations import Activation
from cnnlab.nn.layer import Array, Backward, Bound, Cost, Layer, Params, Rng, Shape, run_once, size
from cnnlab.nn.workspace import split


@dataclass(frozen=True)
class Sequential(Layer):
    """Named layers, each fed with the output of the one before.

    Parameters and gradients are dicts under the layers' names. Each layer draws from a generator of its own, keyed by
    its name: two networks that share a layer start it identically, whatever other layers they have, so that arms of an
    ablation are paired. The gradient of the input image is None unless asked for.
    """

    layers: dict[str, Layer]
    input_gradient: bool = False

    def out_shape(self, shape: Shape) -> Shape:
        """Shape of the last layer's output; a ValueError names the layer that does not fit."""
        return self.shapes(shape)[-1]

    def shapes(self, shape: Shape) -> list[Shape]:
        """Shapes on the way through: the input's, then each layer's output."""
        shapes = [shape]
        for name, layer in self.layers.items():
            try:
                shapes.append(layer.out_shape(shapes[-1]))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return shapes

    def init(self, shape: Shape, rng: Rng) -> tuple[Params, Shape]:
        """Parameters of every layer, `{name: {parameter: array}}`, and the output's shape."""
        self.out_shape(shape)
        key, params = _key(rng), {}
        for name, layer in self.layers.items():
            params[name], shape = layer.init(shape, _child(key, name))
        return params, shape

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """Output of the last layer, and the chain rule from there back to the first."""
        return run_once(Sequential.bind, self, params, x, rng, self.input_gradient)

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """Each layer bound to the arrays of the one before: its `x` is that one's `y`, and its `dx` that one's `dy`."""
        bounds, y, dy = [], x, dx
        below = None
        for name, layer in self._steps:
            if isinstance(layer, Activation) and layer.in_place and below and below.forgets_output:
                bounds.append(layer.bind_over(y, y, dy))
            else:
                bounds.append(layer.bind(params[name], y, dy, grads[name]))
            y, dy, below = bounds[-1].y, bounds[-1].dy, layer
        draws = [name if layer.stochastic else "" for name, layer in self._steps]
        any_draws = any(draws)  # if none does, a step need not make a key, which takes time

        def forward(rng: Rng | None) -> None:
            key = _key(rng) if rng is not None and any_draws else 0
            for bound, name in zip(bounds, draws, strict=True):
                bound.forward(_child(key, name) if rng is not None and name else rng)

        def backward() -> None:
            for bound in reversed(bounds):
                bound.backward()

        return Bound(y, np.empty_like(y) if dy is None else dy, forward, backward)

    def bind_curvature(self, params: Params, x: Array, hx: Array | None, found: Params) -> Bound:
        """Each layer's curvature bound to the arrays of the one before, as in `bind`."""
        bounds, y, h = [], x, hx
        for name, layer in self._steps:
            bounds.append(layer.bind_curvature(params[name], y, h, found[name]))
            y, h = bounds[-1].y, bounds[-1].dy

        def forward(rng: Rng | None) -> None:
            for bound in bounds:
                bound.forward(None)

        def backward() -> None:
            for bound in reversed(bounds):
                bound.backward()

        return Bound(y, np.empty_like(y) if h is None else h, forward, backward)

    def widest(self, shape: Shape) -> int:
        """The largest of the layers'."""
        inside = (layer.widest(s) for layer, s in zip(self.layers.values(), self.shapes(shape), strict=False))
        return max(size(shape), *inside)

    def outputs(self, params: Params, x: Array) -> dict[str, Array]:
        """Every layer's output when predicting, by name."""
        result = {}
        for name, layer in self.layers.items():
            x = result[name] = layer.forward(params[name], x)[0]
        return result

    def cost(self, shape: Shape) -> Cost:
        """The sum of the layers' costs."""
        costs = [layer.cost(s) for layer, s in zip(self.layers.values(), self.shapes(shape), strict=False)]
        return Cost(*map(sum, zip(*costs, strict=True)))

    @cached_property
    def _steps(self) -> list[tuple[str, Layer]]:
        """The layers in the order in which they are computed.

        An increasing function changes places with a maximum that follows it, since f(max x) = max f(x): the same
        values and gradients, with a quarter of the work where windows are 2x2.
        """
        steps = list(self.layers.items())
        for i in range(len(steps) - 1):
            if steps[i][1].increasing and steps[i + 1][1].takes_largest:
                steps[i], steps[i + 1] = steps[i + 1], steps[i]
        return steps


def saturation(network: Sequential, params: Params, x: Array) -> dict[str, float]:
    """For each activation, the fraction of a batch's values at which its slope is under a tenth of its steepest."""
    limits = {name: 0.1 * layer.steepest for name, layer in network.layers.items() if isinstance(layer, Activation)}
    flat, values = dict.fromkeys(limits, 0), dict.fromkeys(limits, 0)
    for piece in split(network, x.shape[:-1], x.shape[-1]):
        y = x[..., piece]
        for name, layer in network.layers.items():
            y, backward = layer.forward(params[name], y)
            if name in limits:
                slopes, _ = backward(np.ones_like(y))
                flat[name] += int(np.count_nonzero(np.abs(slopes) < limits[name]))
                values[name] += slopes.size
    return {name: flat[name] / values[name] for name in limits}


def _key(rng: Rng) -> int:
    return int(rng.integers(2**63))


def _child(key: int, name: str) -> Rng:
    return np.random.default_rng([key, crc32(name.encode())])
