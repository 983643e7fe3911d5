"""The training step in JAX, as its users write it. No other file imports jax, and only workers import this one.

What JAX is at its best with here: the whole step, update included, is one compiled program (`jit`), whose parameters
and velocities are overwritten (donated); the batch stays on the device; channels come last, as XLA's convolutions on
CPUs want them; a pool is a maximum or mean over a reshaped array, whose gradient is faster than `reduce_window`'s.
"""

import os
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import relu, sigmoid

from cases import MOMENTUM, STEP_RATE, Case, Work

Params = dict[str, dict[str, jax.Array]]  # of convolutions: (rows, columns, channels, filters); dense: (inputs, units)
Network = Callable[[Params, jax.Array, jax.Array | None], jax.Array]  # a key is given where values are dropped
State = tuple[Params, Params, jax.Array | None]  # parameters, velocities, and the key of what is dropped


def _conv(layer: dict[str, jax.Array], x: jax.Array, padding: str = "VALID") -> jax.Array:
    y = jax.lax.conv_general_dilated(x, layer["W"], (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y + layer["b"] if "b" in layer else y


def _dense(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return x.reshape(len(x), -1) @ layer["W"] + layer["b"]


def _tiles(x: jax.Array) -> jax.Array:
    """(N, rows, 2, columns, 2, channels), without an odd last row and column."""
    count, height, width, channels = x.shape
    rows, columns = height // 2, width // 2
    return x[:, : 2 * rows, : 2 * columns].reshape(count, rows, 2, columns, 2, channels)


def _max_pool(x: jax.Array) -> jax.Array:
    return _tiles(x).max((2, 4))


def _avg_pool(x: jax.Array) -> jax.Array:
    return _tiles(x).mean((2, 4))


def _lenet5(squash: Any, pool: Any, params: Params, x: jax.Array, key: jax.Array | None) -> jax.Array:
    x = pool(squash(_conv(params["C1"], x, "SAME")))
    x = pool(squash(_conv(params["C3"], x)))
    return _dense(params["OUT"], squash(_dense(params["F6"], squash(_dense(params["C5"], x)))))


def _zhou(params: Params, x: jax.Array, key: jax.Array | None) -> jax.Array:
    return _dense(params["OUT"], _max_pool(_conv(params["C1"], x)))


def _keras_convnet(params: Params, x: jax.Array, key: jax.Array | None) -> jax.Array:
    x = _max_pool(relu(_conv(params["C1"], x)))
    x = _max_pool(relu(_conv(params["C3"], x)))
    if key is not None:
        x = jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0)
    return _dense(params["OUT"], x)


def _nielsen_mlp(params: Params, x: jax.Array, key: jax.Array | None) -> jax.Array:
    return sigmoid(_dense(params["OUT"], sigmoid(_dense(params["F1"], x))))


LENET5 = {"C1": (5, 5, 1, 6), "C3": (5, 5, 6, 16), "C5": (400, 120), "F6": (120, 84), "OUT": (84, 10)}
# By name: the network, and the shapes of its weights.
TWINS: dict[str, tuple[Network, dict[str, tuple[int, ...]]]] = {
    "lenet5_tanh": (partial(_lenet5, jnp.tanh, _avg_pool), LENET5),
    "lenet5_relu": (partial(_lenet5, relu, _max_pool), LENET5),
    "zhou": (_zhou, {"C1": (3, 3, 1, 8), "OUT": (1352, 10)}),
    "keras_convnet": (_keras_convnet, {"C1": (3, 3, 1, 32), "C3": (3, 3, 32, 64), "OUT": (1600, 10)}),
    "nielsen_mlp": (_nielsen_mlp, {"F1": (784, 30), "OUT": (30, 10)}),
}
NO_BIAS, DROPS = {("zhou", "C1")}, {"keras_convnet"}


def jitted(case: Case) -> Work:
    """A training step as one compiled program, ready when its loss is."""
    _hold_to(int(os.environ["OMP_NUM_THREADS"]))
    keys = jax.random.split(jax.random.key(0), 4)
    x, labels = jax.random.uniform(keys[0], (case.batch, 28, 28, 1)), jax.random.randint(keys[1], (case.batch,), 0, 10)
    params = start(case.network, keys[2])
    step = stepping(TWINS[case.network][0], STEP_RATE)
    state = params, jax.tree.map(jnp.zeros_like, params), keys[3] if case.network in DROPS else None
    parameters = sum(array.size for array in jax.tree.leaves(params))

    def run() -> None:
        nonlocal state
        state, loss = step(state, x, labels)
        loss.block_until_ready()

    return Work(run, parameters)


def stepping(network: Network, rate: float) -> Callable[[State, jax.Array, jax.Array], tuple[State, jax.Array]]:
    """A compiled step of SGD with momentum: from the state, which it uses up, and a batch to the next and the loss."""

    def loss_of(params: Params, x: jax.Array, labels: jax.Array, key: jax.Array | None) -> jax.Array:
        likely = jax.nn.log_softmax(network(params, x, key))
        return -jnp.take_along_axis(likely, labels[:, None], 1).mean()

    def step(state: State, x: jax.Array, labels: jax.Array) -> tuple[State, jax.Array]:
        params, velocity, key = state
        key, drop = (None, None) if key is None else jax.random.split(key)
        loss, gradient = jax.value_and_grad(loss_of)(params, x, labels, drop)
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, gradient)
        params = jax.tree.map(lambda p, v: p - rate * v, params, velocity)
        return (params, velocity, key), loss

    return jax.jit(step, donate_argnums=0)


def start(name: str, key: jax.Array) -> Params:
    """Weights within 1/sqrt(inputs), as PyTorch's layers start, and no biases."""
    params = {}
    for layer, shape in TWINS[name][1].items():
        key, drawn = jax.random.split(key)
        bound = prod(shape[:-1]) ** -0.5
        params[layer] = {"W": jax.random.uniform(drawn, shape, minval=-bound, maxval=bound)}
        if (name, layer) not in NO_BIAS:
            params[layer]["b"] = jnp.zeros(shape[-1])
    return params


def _hold_to(threads: int) -> None:
    """Keep this process to that many cores: XLA makes a pool of threads for each that it may use, as it starts.

    No option of its own holds it to one: it goes on to pass work around between the threads of the pool.
    """
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
