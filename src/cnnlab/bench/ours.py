"""The work in cnnlab, and the matrix product that shows what the machine can do."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np

from ..data import Dataset, Images, Normalizer, mnist
from ..models import DenseOutput, keras_convnet, lenet5, nielsen_mlp, zhou
from ..nn import (
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
)
from ..training import Recipe, evaluate, start, train
from ..training import predict as predicted
from .cases import EPOCH_RATE, MOMENTUM, PEAK_SIZE, PREDICTED, RACE, STEP_RATE, Case, Work, rehearsed

SHAPE = (28, 1, 28)
LENET5 = partial(lenet5, init=FanInUniform(), output=DenseOutput(), connections="full")  # PyTorch starts so too
NETWORKS: dict[str, Callable[..., Sequential]] = {
    "lenet5_tanh": partial(LENET5, Tanh(), AvgPool(2)),
    "lenet5_relu": partial(LENET5, ReLU(), MaxPool(2)),
    "zhou": zhou,
    "keras_convnet": keras_convnet,
    "nielsen_mlp": nielsen_mlp,
}


def work(case: Case) -> Work:
    """The case's work, ready to be repeated."""
    return {"step": _step, "predict": _predict, "epoch": _epoch, "race": _race}[case.kind](case)


def peak(case: Case) -> Work:
    """The product of two square matrices: where BLAS reaches the machine's peak, if anywhere."""
    a, b = np.random.default_rng(0).random((2, PEAK_SIZE, PEAK_SIZE), np.float32)
    out = np.empty_like(a)

    def run() -> None:
        np.matmul(a, b, out=out)

    return Work(run, flops=2 * PEAK_SIZE**3)


def step_flops(network: Sequential, shape: tuple[int, ...], batch: int) -> int:
    """Floating-point operations of the matrix products in a training step: 2 for each multiply-accumulate.

    Each layer's products are computed three times, forward, for the weights' gradient and for the input's; only
    the gradient of the image is not, which the first layer would compute. Everything else is not counted.
    """
    first = next(iter(network.layers.values())).cost(shape).macs
    return 2 * batch * (3 * network.cost(shape).macs - first)


def recipe(case: Case, rate: float, background: float = 0.0) -> Recipe:
    """How both sides train, for as many epochs as are asked for.

    One loss for all, so that a step is the same work everywhere; Nielsen's network was published with another.
    """
    network = NETWORKS[case.network](background=background)
    return Recipe(network, SoftmaxCrossEntropy(), SGD(momentum=MOMENTUM), Constant(), rate, 10**6, case.batch)


def stepping(how: Recipe) -> Callable[[], None]:
    """A training step on one batch, to be called again and again."""
    rng, state = np.random.default_rng(0), start(how, SHAPE, seed=0)
    x = rng.random((*SHAPE, how.batch_size), np.float32)
    labels, workspace = rng.integers(10, size=how.batch_size), Workspace(how.network, state.params, SHAPE)

    def step() -> None:
        _, _, gradient = workspace.loss_gradient(how.loss, x, labels, state.noise)
        how.optimizer.step(state.theta, gradient, state.optimizer, how.rate)

    return step


def _step(case: Case) -> Work:
    how = recipe(case, STEP_RATE)
    return Work(stepping(how), how.network.cost(SHAPE).parameters, step_flops(how.network, SHAPE, case.batch))


def _predict(case: Case) -> Work:
    rng, network = np.random.default_rng(0), NETWORKS[case.network](background=0.0)
    images = Images(rng.integers(256, size=(PREDICTED, 28, 28), dtype=np.uint8), np.zeros(PREDICTED, np.int64))
    data = Dataset("noise", images, images[:0], images, tuple("0123456789"), Normalizer(1.0, 0.0))
    params, _ = network.init(SHAPE, rng)

    def run() -> None:
        predicted(network, params, data, images)

    return Work(run, network.cost(SHAPE).parameters)


def _epoch(case: Case) -> Work:
    data = mnist(validation=0)
    data = replace(data, val=data.test)
    how = recipe(case, EPOCH_RATE, data.normalizer.background)
    epochs = train(how, start(how, SHAPE, seed=0), data)
    few = replace(data, train=data.train[: rehearsed(len(data.train), case.batch)], val=data.val[:1000])

    def rehearse() -> None:
        next(train(how, start(how, SHAPE, seed=0), few))

    return Work(lambda: next(epochs)["val/accuracy"], how.network.cost(SHAPE).parameters, rehearse=rehearse)


def _race(case: Case) -> Work:
    data = mnist(validation=0)
    network = NETWORKS[case.network](background=data.normalizer.background, init=Glorot())
    optimizer, schedule = SGD(weight_decay=RACE.decay, momentum=MOMENTUM), OneCycle(RACE.warmup)
    how = Recipe(network, SoftmaxCrossEntropy(), optimizer, schedule, RACE.rate, RACE.epochs, case.batch)
    few, seeds = replace(data, train=data.train[: rehearsed(len(data.train), case.batch)]), count()

    def run() -> float:
        state = start(how, SHAPE, next(seeds))
        for _ in train(how, state, data):
            pass
        return evaluate(how, state, data, data.test)[1]

    def rehearse() -> None:
        list(train(how, start(how, SHAPE, 0), few))

    return Work(run, network.cost(SHAPE).parameters, rehearse=rehearse)
