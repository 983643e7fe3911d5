"""A case: one computation, done by cnnlab and by PyTorch, told in cnnlab's layout and names.

Inputs, weights and covectors are drawn from a seed, so that a recorded answer needs no recorded question;
they are numbers that float32 holds exactly, so that the question is the same in both precisions. PyTorch
is never imported here: what computes with it is given the module as its argument `t`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnlab.nn import Layer, Loss, Optimizer

Array = np.ndarray
Numbers = dict[str, Array]  # results by name: y, loss, dx, and a gradient for each parameter

# What may differ in float64 and in float32, relative to the largest value of an array.
FLOAT64, FLOAT32 = 1e-12, 1e-5

# Axes by number of dimensions: [D, N] -> (N, D) and [H, C, W, N] -> (N, C, H, W), and the way back.
MAPS, MAPS_BACK = {2: (1, 0), 4: (3, 1, 0, 2)}, {0: (), 2: (1, 0), 4: (2, 1, 3, 0)}
# Rows change places with channels, (F, K_h, C, K_w) <-> (F, C, K_h, K_w): the same there and back.
WEIGHTS = {1: (0,), 2: (0, 1), 3: (1, 0, 2), 4: (0, 2, 1, 3)}


class Draw:
    """Normally distributed numbers from the one generator whose stream NumPy has frozen for good (NEP 19)."""

    def __init__(self, dtype: type = np.float64, seed: int = 0) -> None:
        self.dtype, self.state = dtype, np.random.RandomState(seed)

    def normal(self, *shape: int, domain: Callable[[Array], Array] = np.asarray) -> Array:
        """An array of them, put through `domain`."""
        return domain(self.state.standard_normal(shape)).astype(np.float32).astype(self.dtype)

    def parameters(self, layer: Layer, shape: tuple[int, ...]) -> dict[str, Any]:
        """Parameters with the names and shapes that the layer asks for, scaled by fan-in; no bias is zero."""
        asked = layer.init(shape, np.random.default_rng(0))[0]
        return mapped(lambda p: self.normal(*p.shape, domain=lambda a: a / np.sqrt(a[0].size)), asked)


def mapped(f: Callable[[Any], Any], tree: dict[str, Any]) -> dict[str, Any]:
    """The nested dict with f applied to each leaf."""
    return {k: mapped(f, v) if isinstance(v, dict) else f(v) for k, v in tree.items()}


def flattened(tree: dict[str, Any], prefix: str = "d") -> dict[str, Any]:
    """The leaves of a nested dict under dotted names: dW, dC1.W."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def to_torch(t: Any, array: Array, layout: dict[int, tuple[int, ...]]) -> Any:
    """A leaf tensor with PyTorch's order of axes, which wants its gradient."""
    turned = np.ascontiguousarray(array.transpose(layout[array.ndim]))
    return t.tensor(turned, requires_grad=True)


def from_torch(tensor: Any, layout: dict[int, tuple[int, ...]]) -> Array:
    """The tensor's values with cnnlab's order of axes."""
    array: Array = tensor.detach().numpy()
    return array.transpose(layout[array.ndim])


@dataclass(frozen=True)
class Case:
    """A layer or network (`peer(t, x, **params)` in PyTorch), with a loss behind it or a random covector.

    `peer` sees (N, C, H, W) or (N, D), and `criterion(t, output, labels)` an output (N, classes).
    `domain` maps normally distributed inputs to those that the layer is made for.
    """

    layer: Layer
    shape: tuple[int, ...]
    peer: Callable[..., Any]
    loss: Loss | None = None
    criterion: Callable[..., Any] | None = None
    domain: Callable[[Array], Array] = np.asarray
    batch: int = 3
    tolerance: float = FLOAT64

    def question(self, dtype: type) -> tuple[Array, dict[str, Any], Array, Array]:
        """Input, parameters, covector on the output, and labels."""
        draw, out = Draw(dtype), self.layer.out_shape(self.shape)
        x = draw.normal(*self.shape, self.batch, domain=self.domain)
        params, covector = draw.parameters(self.layer, self.shape), draw.normal(*out, self.batch)
        return x, params, covector, np.arange(self.batch) * 7 % out[0]

    def ours(self, dtype: type) -> Numbers:
        """What cnnlab computes."""
        x, params, dy, labels = self.question(dtype)
        y, backward = self.layer.forward(params, x)
        results = {"y": y}
        if self.loss is not None:
            value, dy = self.loss(y, labels)
            results["loss"] = np.asarray(value, dtype)
        dx, grads = backward(dy)
        return results | {"dx": dx} | flattened(grads)

    def theirs(self, t: Any, dtype: type) -> Numbers:
        """What PyTorch computes, every gradient by its autograd."""
        arrays, params, covector, labels = self.question(dtype)
        x, leaves = to_torch(t, arrays, MAPS), mapped(lambda p: to_torch(t, p, WEIGHTS), params)
        y = self.peer(t, x, **leaves)
        results = {"y": from_torch(y, MAPS_BACK)}
        if self.criterion is None:
            y.backward(to_torch(t, covector, MAPS))
        else:
            value = self.criterion(t, y, t.tensor(labels))
            value.backward()
            results["loss"] = from_torch(value, MAPS_BACK)
        grads = {name: from_torch(p.grad, WEIGHTS) for name, p in flattened(leaves).items()}
        return results | {"dx": from_torch(x.grad, MAPS_BACK)} | grads


@dataclass(frozen=True)
class OptimizerCase:
    """Twenty steps down given gradients, at a rate that changes, and where they lead.

    `peer(t, parameters)` makes PyTorch's optimiser, over two tensors where cnnlab has one vector;
    `clip_norm` is what PyTorch clips their joint gradient to.
    """

    optimizer: Optimizer
    peer: Callable[..., Any]
    clip_norm: float | None = None
    tolerance: float = FLOAT64
    steps: int = 20

    def question(self, dtype: type) -> tuple[Array, Array, Array]:
        """Where to start, the gradients (some small enough to escape clipping), the rates."""
        draw = Draw(dtype)
        theta, gradients = draw.normal(7), draw.normal(self.steps, 7)
        gradients[::3] /= 8
        return theta, gradients, 0.1 / (1 + np.arange(self.steps) % 4)

    def ours(self, dtype: type) -> Numbers:
        """Theta after each step of cnnlab."""
        theta, gradients, rates = self.question(dtype)
        state, path = self.optimizer.init(theta), []
        for gradient, rate in zip(gradients, rates, strict=True):
            self.optimizer.step(theta, gradient, state, float(rate))
            path.append(theta.copy())
        return {"theta": np.stack(path)}

    def theirs(self, t: Any, dtype: type) -> Numbers:
        """Theta after each step of PyTorch."""
        theta, gradients, rates = self.question(dtype)
        parts = [to_torch(t, part, WEIGHTS) for part in np.split(theta, [3])]
        optimizer, path = self.peer(t, parts), []
        for gradient, rate in zip(gradients, rates, strict=True):
            for part, grad in zip(parts, np.split(gradient, [3]), strict=True):
                part.grad = t.tensor(grad)
            if self.clip_norm is not None:
                t.nn.utils.clip_grad_norm_(parts, self.clip_norm)
            optimizer.param_groups[0]["lr"] = float(rate)
            optimizer.step()
            path.append(np.concatenate([part.detach().numpy() for part in parts]))
        return {"theta": np.stack(path)}


def allowed(case: Case | OptimizerCase, dtype: type) -> float:
    """The deviation that a precision may cause."""
    return max(case.tolerance, FLOAT32 if dtype is np.float32 else 0.0)


def deviations(results: Numbers, expected: Numbers) -> dict[str, float]:
    """For each array, the largest difference over the largest value expected; infinite where one is NaN."""
    assert list(results) == list(expected), f"results {list(results)} beside {list(expected)}"
    return {name: _deviation(a, expected[name]) for name, a in results.items()}


def _deviation(a: Array, b: Array) -> float:
    assert a.shape == b.shape, f"shape {a.shape} beside {b.shape}"
    worst = float(np.abs(a - b).max()) / (float(np.abs(b).max()) or 1.0)
    return worst if np.isfinite(worst) else np.inf
