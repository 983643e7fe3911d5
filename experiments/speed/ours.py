"""The work in cnnlab that is timed beside PyTorch and JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count

import numpy as np

import commands
from cases import (
    EPOCH,
    EPOCH_RATE,
    MOMENTUM,
    PEAK_SIZE,
    PREDICT,
    PREDICTED,
    RACE,
    RACES,
    RUN,
    STEP,
    STEP_RATE,
    SWEEP,
    Case,
    Work,
    rehearsed,
)
from cnnlab.data import Dataset, Images, Normalizer, mnist
from cnnlab.measuring import outputs_for
from cnnlab.models import DenseOutput, keras_convnet, lenet5, nielsen_mlp, zhou
from cnnlab.nn import (
    SGD,
    AvgPool,
    Constant,
    FanInUniform,
    Glorot,
    MaxPool,
    OneCycle,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    Workspace,
    subnormals_flushed,
)
from cnnlab.training import Recipe, start, train

SHAPE = (28, 1, 28)
LENET5 = partial(lenet5, init=FanInUniform(), output=DenseOutput(), connections="full")  # PyTorch starts so too
NETWORKS: dict[str, Callable[..., Sequential]] = {
    "lenet5_tanh": partial(LENET5, Tanh(), AvgPool(2)),
    "lenet5_relu": partial(LENET5, ReLU(), MaxPool(2)),
    "zhou": zhou,
    "keras_convnet": keras_convnet,
    "nielsen_mlp": nielsen_mlp,
}


# What is used of `cnnlab.training`, all of it: the rest, and `profiling`, use these.


@dataclass(frozen=True)
class Training(Recipe):
    """How a network is trained, and which."""

    network: Sequential = field(kw_only=True)


def recipe(case: Case, rate: float, background: float = 0.0) -> Training:
    """How both sides train, for as many epochs as are asked for.

    One loss for all, so that a step is the same work everywhere; Nielsen's network was published with another.
    """
    network = NETWORKS[case.network](background=background)
    rules = (SoftmaxCrossEntropy(), SGD(momentum=MOMENTUM), Constant())
    return Training(*rules, rate, 10**6, case.batch, network=network)


def race_recipe(case: Case, background: float) -> Training:
    """How both sides train in the race: Glorot's start, weight decay, and one cycle of the rate."""
    network = NETWORKS[case.network](background=background, init=Glorot())
    optimizer, schedule = SGD(weight_decay=RACE.decay, momentum=MOMENTUM), OneCycle(RACE.warmup)
    rules = (SoftmaxCrossEntropy(), optimizer, schedule)
    return Training(*rules, RACE.rate, RACE.epochs, case.batch, network=network)


def stepping(how: Training) -> Callable[[], None]:
    """A training step on one batch, to be called again and again."""
    rng, state = np.random.default_rng(0), start(how, how.network, SHAPE, seed=0)
    x = rng.random((*SHAPE, how.batch_size), np.float32)
    labels, workspace = rng.integers(10, size=how.batch_size), Workspace(how.network, state.params, SHAPE)

    def step() -> None:
        _, _, gradient = workspace.loss_gradient(how.loss, x, labels, state.noise)
        how.optimizer.step(state.theta, gradient, state.optimizer, how.lr)

    return step


def epochs(how: Training, data: Dataset) -> Iterator[Mapping[str, float]]:
    """A training, epoch by epoch: the metrics of each."""
    return train(how, start(how, how.network, SHAPE, seed=0), data)


def trained(how: Training, data: Dataset, seed: int = 0) -> float:
    """A whole training; the accuracy on the test images after it."""
    state = start(how, how.network, SHAPE, seed)
    for _ in train(how, state, data):
        pass
    outputs = outputs_for(how.network, state.params, data, data.test)
    return float((outputs.argmax(0) == data.test.labels).mean())


# The work that is timed beside PyTorch's.


def work(case: Case) -> Work:
    """The case's work, ready to be repeated."""
    kinds: dict[str, Callable[[Case], Work]] = {
        **{STEP: _step, PREDICT: _predict, EPOCH: _epoch, RACES: _race},
        **{SWEEP: commands.sweep, RUN: commands.run},
    }
    return kinds[case.kind](case)


def peak(case: Case) -> Work:
    """The product of two square matrices: where BLAS reaches the machine's peak, if anywhere."""
    a, b = np.random.default_rng(0).random((2, PEAK_SIZE, PEAK_SIZE), np.float32)
    out = np.empty_like(a)

    def run() -> None:
        np.matmul(a, b, out=out)

    return Work(run, flops=2 * PEAK_SIZE**3)


def step_flops(network: Sequential, shape: tuple[int, ...], batch: int) -> int:
    """Floating-point operations of the matrix products in a training step: 2 for each multiply-accumulate.

    Each layer's products are computed three times: forward, for the weights' gradient and for the input's. The
    first layer's gradient of the image is never computed. Everything else is not counted.
    """
    first = next(iter(network.layers.values())).cost(shape).macs
    return 2 * batch * (3 * network.cost(shape).macs - first)


def _step(case: Case) -> Work:
    how = recipe(case, STEP_RATE)
    parameters, flops = how.network.cost(SHAPE).parameters, step_flops(how.network, SHAPE, case.batch)
    return Work(stepping(how), parameters, flops, within=subnormals_flushed)  # as `train` does


def _predict(case: Case) -> Work:
    rng, network = np.random.default_rng(0), NETWORKS[case.network](background=0.0)
    images = Images(rng.integers(256, size=(PREDICTED, 28, 28), dtype=np.uint8), np.zeros(PREDICTED, np.int64))
    data = Dataset("noise", images, images[:0], images, tuple("0123456789"), Normalizer(1.0, 0.0))
    params, _ = network.init(SHAPE, rng)

    def run() -> None:
        outputs_for(network, params, data, images)

    return Work(run, network.cost(SHAPE).parameters)


def _epoch(case: Case) -> Work:
    data = mnist(validation=0)
    data = replace(data, val=data.test)
    how = recipe(case, EPOCH_RATE, data.normalizer.background)
    few = replace(data, train=data.train[: rehearsed(len(data.train), case.batch)], val=data.val[:1000])
    training = epochs(how, data)
    return Work(
        lambda: next(training)["val/accuracy"],
        how.network.cost(SHAPE).parameters,
        rehearse=lambda: next(epochs(how, few))["val/accuracy"],
    )


def _race(case: Case) -> Work:
    data = mnist(validation=0)
    how, seeds = race_recipe(case, data.normalizer.background), count()
    few = replace(data, train=data.train[: rehearsed(len(data.train), case.batch)])
    return Work(
        lambda: trained(how, data, next(seeds)),
        how.network.cost(SHAPE).parameters,
        rehearse=lambda: trained(how, few),
    )
