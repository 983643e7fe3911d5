"""The layer contract, and Sequential: a row of named layers.

A layer is a frozen dataclass that says *what to compute*. It owns no numbers: parameters come in as a
dict, and ``forward`` hands back the output together with the function that carries gradients back
through that very call. Maps are ``[H, C, W, N]`` (rows, channels, columns, batch), vectors ``[D, N]``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, ClassVar, NamedTuple
from zlib import crc32

import numpy as np

Array = np.ndarray
Shape = tuple[int, ...]
Params = dict[str, Any]
Backward = Callable[[Array], tuple[Any, Params]]
Rng = np.random.Generator


class Cost(NamedTuple):
    """What a layer costs for one image, counted as the 1998 paper counts."""

    parameters: int = 0
    connections: int = 0
    macs: int = 0


@dataclass(frozen=True)
class Layer:
    """One step of a network, without parameters of its own unless it says so.

    Shapes leave the batch out: ``(H, C, W)`` for maps, ``(D,)`` for vectors.
    """

    stochastic: ClassVar[bool] = False  # draws random numbers while training
    increasing: ClassVar[bool] = False  # works value by value, and a larger input never gives a smaller output
    takes_largest: ClassVar[bool] = False  # every output is the largest of some inputs

    def out_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of this shape; ValueError where there is none."""
        return shape

    def init(self, shape: Shape, rng: Rng) -> tuple[Params, Shape]:
        """Fresh float32 parameters for an input of this shape, and the shape of the output."""
        return {}, self.out_shape(shape)

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """Output and its backward; with a generator the layer is training, without it predicting.

        ``backward(dy)`` returns the gradient of the input and those of the parameters, under their names.
        """
        raise NotImplementedError

    def curvature(self, params: Params, x: Array) -> Backward:
        """A backward for second derivatives: from the outputs' to the input's and the parameters'.

        They are the diagonal of the Gauss-Newton matrix, ``h_x = sum (dy/dx)^2 h_y`` (LeCun et al. 1998, App. C).
        What only copies, picks or drops values has derivatives 0 and 1, whose squares are the same.
        """
        return self.forward(params, x)[1]

    def cost(self, shape: Shape) -> Cost:
        """Parameters, connections and multiply-accumulates for an input of this shape."""
        return Cost()

    def widest(self, shape: Shape) -> int:
        """Values in the largest array that one sample becomes on its way."""
        return max(size(shape), size(self.out_shape(shape)))


def squared(params: Params) -> Params:
    """The parameters of a layer, squared: a layer that is linear in them carries curvature back as it does errors."""
    return {name: np.square(value) for name, value in params.items()}


def size(shape: Shape) -> int:
    """Number of values in one sample of this shape."""
    return prod(shape)


@dataclass(frozen=True)
class Sequential(Layer):
    """Named layers, each fed with the output of the one before.

    Parameters and gradients are dicts under the layers' names. Each layer draws from a generator of its
    own, keyed by its name: two networks that share a layer start it identically, whatever stands around
    it, so that arms of an ablation are paired. The gradient of the input image is None unless asked for.
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
        """Parameters of every layer, ``{name: {parameter: array}}``, and the output's shape."""
        self.out_shape(shape)
        key, params = _key(rng), {}
        for name, layer in self.layers.items():
            params[name], shape = layer.init(shape, _child(key, name))
        return params, shape

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """Output of the last layer, and the chain rule from there back to the first."""
        key = _key(rng) if rng is not None and self._draws else 0
        backwards = []
        for name, layer in self._steps:
            noise = _child(key, name) if rng is not None and layer.stochastic else rng
            x, back = layer.forward(params[name], x, noise)
            backwards.append((name, back))
        return x, self._chain(backwards)

    def curvature(self, params: Params, x: Array) -> Backward:
        """The layers' own, one after the other."""
        backwards = []
        for name, layer in self._steps:
            backwards.append((name, layer.curvature(params[name], x)))
            x, _ = layer.forward(params[name], x)
        return self._chain(backwards)

    def widest(self, shape: Shape) -> int:
        """Of the input and of the layers' outputs."""
        if shape not in self._widest:
            self._widest[shape] = max(map(size, self.shapes(shape)))
        return self._widest[shape]

    @cached_property
    def _widest(self) -> dict[Shape, int]:
        """What was found, by shape: it is asked for at each step."""
        return {}

    def _chain(self, backwards: Sequence[tuple[str, Backward]]) -> Backward:
        """From the last layer back to the first."""

        def backward(dy: Array) -> tuple[Array | None, Params]:
            grads: Params = {}
            for name, back in reversed(backwards):
                dy, grads[name] = back(dy)
            return dy if self.input_gradient else None, {name: grads[name] for name in self.layers}

        return backward

    def outputs(self, params: Params, x: Array) -> dict[str, Array]:
        """Every layer's output when predicting, by name."""
        result = {}
        for name, layer in self.layers.items():
            x = result[name] = layer.forward(params[name], x)[0]
        return result

    def cost(self, shape: Shape) -> Cost:
        """Sum over the layers."""
        costs = [layer.cost(s) for layer, s in zip(self.layers.values(), self.shapes(shape), strict=False)]
        return Cost(*map(sum, zip(*costs, strict=True)))

    @cached_property
    def _draws(self) -> bool:
        """Whether a layer draws random numbers while training: a key for them costs time."""
        return any(layer.stochastic for layer in self.layers.values())

    @cached_property
    def _steps(self) -> list[tuple[str, Layer]]:
        """The layers in the order in which they are computed, each told whether its input's gradient is needed.

        The first layer's often is not. An increasing function trades places with the maximum behind it, since
        f(max x) = max f(x): the same values and gradients, from a quarter of the work where windows are 2x2.
        """
        steps = [
            (name, replace(layer, input_gradient=i > 0 or self.input_gradient))  # type: ignore[call-arg]
            if hasattr(layer, "input_gradient")
            else (name, layer)
            for i, (name, layer) in enumerate(self.layers.items())
        ]
        for i in range(len(steps) - 1):
            if steps[i][1].increasing and steps[i + 1][1].takes_largest:
                steps[i], steps[i + 1] = steps[i + 1], steps[i]
        return steps


def _key(rng: Rng) -> int:
    return int(rng.integers(2**63))


def _child(key: int, name: str) -> Rng:
    return np.random.default_rng([key, crc32(name.encode())])
