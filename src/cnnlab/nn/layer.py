"""The layer contract: what every layer is, computes and costs.

A layer is a frozen dataclass that says *what to compute*. It holds no arrays: parameters are a dict that it is given.
`forward` returns the output together with the function that carries gradients back through that very call; `bind`
does the same over arrays that are made once, to be run often.
Maps are `[H, C, W, N]` (rows, channels, columns, batch), vectors `[D, N]`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from cnnlab.nn.options import TypeChecked
from cnnlab.nn.parameters import Array as Array
from cnnlab.nn.parameters import Params as Params
from cnnlab.nn.parameters import leaves, mapped

Shape = tuple[int, ...]
Backward = Callable[[Array], tuple[Any, Params]]
Rng = np.random.Generator


class Cost(NamedTuple):
    """What a layer costs for one image, counted as the 1998 paper counts."""

    parameters: int = 0
    connections: int = 0
    macs: int = 0  # multiply-accumulates


class Bound(NamedTuple):
    """A layer and the arrays it works on, made once: at small batches, making them anew would take half the time.

    `forward(rng)` reads the input and the parameters as they now are and fills `y`; `backward()` reads `dy`, which it
    may overwrite, and fills the gradients.
    """

    y: Array
    dy: Array
    forward: Callable[[Rng | None], None]
    backward: Callable[[], None]


SAID = {"increasing", "takes_largest", "forgets_output", "nonnegative", "in_place"}  # by a class, of how it computes


@dataclass(frozen=True)
class Layer(TypeChecked):
    """One step of a network; without parameters, unless its `init` returns some.

    Shapes leave the batch out: `(H, C, W)` for maps, `(D,)` for vectors. A kind of layer writes either `forward`,
    which is plain, or `bind`, which is fast; the other one is made from it.
    """

    stochastic: ClassVar[bool] = False  # draws random numbers while training
    increasing: ClassVar[bool] = False  # works value by value, and a larger input never gives a smaller output
    takes_largest: ClassVar[bool] = False  # every output is the largest of some inputs
    forgets_output: ClassVar[bool] = False  # its backward never reads the output again: it may be written over
    nonnegative: ClassVar[bool] = False  # no output is below 0

    def __init_subclass__(cls) -> None:
        """Make `bind` from the `forward` that a class writes, or `forward` from its `bind`; so too for curvature."""
        written = vars(cls)
        if "forward" in written and "bind" not in written:
            cls.bind = _bind_by(cls.forward)  # type: ignore[method-assign]
        elif "bind" in written and "forward" not in written:
            cls.forward = _forward_by(cls.bind)  # type: ignore[method-assign]
        if "curvature" in written and "bind_curvature" not in written:
            cls.bind_curvature = Layer.bind_curvature  # type: ignore[method-assign]
        elif "bind_curvature" in written and "curvature" not in written:
            cls.curvature = _curvature_by(cls.bind_curvature)  # type: ignore[method-assign]
        if {"f", "derivative", "forward", "bind"} & written.keys():  # what a parent says holds for its own way alone
            for said in SAID - written.keys():
                setattr(cls, said, False)

    def out_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of this shape; ValueError where there is none."""
        return shape

    def init(self, shape: Shape, rng: Rng) -> tuple[Params, Shape]:
        """Fresh float32 parameters for an input of this shape, and the shape of the output."""
        return {}, self.out_shape(shape)

    def forward(self, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        """Output and its backward; with a generator the layer is training, without one it is predicting.

        `backward(dy)` returns the gradient of the input, and those of the parameters under their names. It may read
        the arrays that went in and came out: change none of them before it is called.
        """
        raise NotImplementedError

    def bind(self, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        """The layer over these arrays, all contiguous: it reads `x` and `params`, and fills `dx` and `grads`.

        With `dx=None` the gradient of the input is not computed.
        """
        raise NotImplementedError

    def curvature(self, params: Params, x: Array) -> Backward:
        """A backward for second derivatives: from the outputs' to the input's and the parameters'.

        They approximate the diagonal of the Gauss-Newton matrix layer by layer, leaving out how units of a layer
        interact: `h_x = sum (dy/dx)^2 h_y` (LeCun et al. 1998, App. C). Where every dy/dx is 0 or 1, its square is
        the same and the ordinary backward will do.
        """
        return self.forward(params, x)[1]

    def bind_curvature(self, params: Params, x: Array, hx: Array | None, found: Params) -> Bound:
        """`curvature` over arrays made once: after `forward` put h into `dy`; `backward` fills `hx` and `found`.

        `hx` gets the second derivatives of the input, `found` those of the parameters. A class writes either this or
        `curvature`.
        """
        return _bind_by(Layer._predicting)(self, params, x, hx, found)

    def _predicting(self, params: Params, x: Array, rng: Rng | None) -> tuple[Array, Backward]:
        """Output and curvature."""
        return self.forward(params, x)[0], self.curvature(params, x)

    def cost(self, shape: Shape) -> Cost:
        """Parameters, connections and multiply-accumulates for an input of this shape."""
        return Cost()

    def widest(self, shape: Shape) -> int:
        """Number of values, for one sample, in the largest array between layers."""
        return max(size(shape), size(self.out_shape(shape)))


def _forward_by(bind: Callable[..., Bound]) -> Callable[..., tuple[Array, Backward]]:
    """A `forward` that binds its layer to fresh arrays and runs it once."""

    def forward(self: Layer, params: Params, x: Array, rng: Rng | None = None) -> tuple[Array, Backward]:
        return run_once(bind, self, params, x, rng)

    forward.__doc__ = Layer.forward.__doc__
    return forward


def _curvature_by(bind_curvature: Callable[..., Bound]) -> Callable[..., Backward]:
    """A `curvature` that binds its layer to fresh arrays."""

    def curvature(self: Layer, params: Params, x: Array) -> Backward:
        return run_once(bind_curvature, self, params, x, None)[1]

    curvature.__doc__ = bind_curvature.__doc__
    return curvature


def bind_squares(layer: Layer, squared: Layer, params: Params, x: Array, hx: Array | None, found: Params) -> Bound:
    """The curvature of a layer that is linear: the backward of its squared weights over the squared input.

    `squared` is the layer with the squares of whatever constants it has.
    """
    plain = layer.bind(params, x, None, found)
    weights, inputs = mapped(params, lambda leaf: np.empty(leaf.shape, leaf.dtype)), np.empty_like(x)
    bound = squared.bind(weights, inputs, hx, found)

    def forward(rng: Rng | None) -> None:
        plain.forward(rng)
        np.square(x, out=inputs)
        for square, leaf in zip(leaves(weights), leaves(params), strict=True):
            np.square(leaf, out=square)
        bound.forward(rng)

    return Bound(plain.y, bound.dy, forward, bound.backward)


def _bind_by(forward: Callable[..., tuple[Array, Backward]]) -> Callable[..., Bound]:
    """A `bind` that copies what its layer's `forward` and backward return into the given arrays."""

    def bind(self: Layer, params: Params, x: Array, dx: Array | None, grads: Params) -> Bound:
        y = np.empty((*self.out_shape(x.shape[:-1]), x.shape[-1]), x.dtype)
        dy, back = np.empty_like(y), None

        def run(rng: Rng | None) -> None:
            nonlocal back
            y[...], back = forward(self, params, x, rng)

        def backward() -> None:
            found, named = back(dy)  # type: ignore[misc]
            if dx is not None:
                if found is None:
                    raise TypeError(f"{type(self).__name__} gives no gradient of its input")
                dx[...] = found
            for mine, its in zip(leaves(grads), leaves(named, grads), strict=True):
                mine[...] = its

        return Bound(y, dy, run, backward)

    bind.__doc__ = Layer.bind.__doc__
    return bind


def run_once(
    bind: Callable[..., Bound], layer: Layer, params: Params, x: Array, rng: Rng | None, input_gradient: bool = True
) -> tuple[Array, Backward]:
    """Output and backward of a layer bound to arrays of its own, so that no given array is ever changed."""
    x = np.ascontiguousarray(x)
    dx, grads = np.empty_like(x) if input_gradient else None, mapped(params, lambda leaf: np.empty(leaf.shape, x.dtype))
    bound = bind(layer, params, x, dx, grads)
    bound.forward(rng)

    def backward(dy: Array) -> tuple[Array | None, Params]:
        bound.dy[...] = dy
        bound.backward()
        return None if dx is None else dx.copy(), mapped(grads, np.copy)

    return bound.y, backward


def size(shape: Shape) -> int:
    """Number of values in one sample of this shape."""
    return prod(shape)
