"""Gradient check: whether a hand-written backward agrees with its forward."""

from collections.abc import Callable, Iterator

import numpy as np

from cnnlab.nn.layer import Array, Backward, Layer, Rng, Shape
from cnnlab.nn.losses import Loss
from cnnlab.nn.parameters import leaves, pack, unpack


def gradcheck(
    layer: Layer, shape: Shape, batch: int = 3, seed: int = 0, training: bool = False, x: Array | None = None
) -> float:
    """Worst relative error of a layer's (or network's) gradients in float64: about 1e-8 where all is well.

    The input and each parameter in turn move along a random direction; the change of the output's product with a random
    covector is compared with what backward says. (With a covector of ones, a backward that mixes positions up would
    pass.) `training` repeats the same random draws at every evaluation; `x` replaces the normally distributed input
    where a layer needs special values.
    """
    rng = np.random.default_rng(seed)
    params = layer.init(shape, rng)[0]
    theta = pack(params).astype(np.float64)
    theta += 0.1 * rng.standard_normal(theta.shape)  # away from zero biases and masks
    x = rng.standard_normal((*shape, batch)) if x is None else x.astype(np.float64)

    def forward(theta: Array, x: Array) -> tuple[Array, Backward]:
        return layer.forward(unpack(theta, params), x, np.random.default_rng(seed) if training else None)

    y, backward = forward(theta, x)
    covector = rng.standard_normal(y.shape)
    dx, grads = backward(covector)
    gradient = pack(grads, params)
    errors = []
    if dx is not None:
        direction = rng.standard_normal(x.shape)
        errors.append(_error(lambda z: np.vdot(forward(theta, z)[0], covector), x, dx, direction))
    for direction in _directions(list(leaves(params)), rng):
        errors.append(_error(lambda t: np.vdot(forward(t, x)[0], covector), theta, gradient, direction))
    return float(np.max(errors, initial=0.0))  # a NaN among them comes out as NaN


def gradcheck_loss(loss: Loss, output: Array, labels: Array, seed: int = 0) -> float:
    """Relative error of a loss's gradient at these outputs `[classes, N]`, along a random direction."""
    output = output.astype(np.float64)
    direction = np.random.default_rng(seed).standard_normal(output.shape)
    return _error(lambda z: loss(z, labels)[0], output, loss(output, labels)[1], direction)


def _directions(arrays: list[Array], rng: Rng) -> Iterator[Array]:
    """A direction in the packed vector for each array, zero outside its place."""
    ends = np.cumsum([array.size for array in arrays])
    for array, end in zip(arrays, ends, strict=True):
        direction = np.zeros(ends[-1])
        direction[end - array.size : end] = rng.standard_normal(array.size)
        yield direction


def _error(f: Callable[[Array], float], point: Array, gradient: Array, direction: Array) -> float:
    """Relative difference between the central difference of f along a direction and what the gradient says.

    Where both are nearly 0, it is relative to a hundredth of the gradient's length.
    """
    step = 1e-6
    measured = (f(point + step * direction) - f(point - step * direction)) / (2 * step)
    claimed = float(np.vdot(gradient, direction))
    return abs(measured - claimed) / max(abs(measured), abs(claimed), 0.01 * float(np.linalg.norm(gradient)), 1e-9)
