"""The work in cnnlab: what is timed beside PyTorch, where a step's time goes, how a training's time grows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import count
from math import log
from time import perf_counter
from typing import Any

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
    Activation,
    AvgPool,
    Bound,
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


# What is used of `cnnlab.training`, all of it: the rest of this file calls these five.


def recipe(case: Case, rate: float, background: float = 0.0) -> Recipe:
    """How both sides train, for as many epochs as are asked for.

    One loss for all, so that a step is the same work everywhere; Nielsen's network was published with another.
    """
    network = NETWORKS[case.network](background=background)
    return Recipe(network, SoftmaxCrossEntropy(), SGD(momentum=MOMENTUM), Constant(), rate, 10**6, case.batch)


def race_recipe(case: Case, background: float) -> Recipe:
    """How both sides train in the race: Glorot's start, weight decay, and one cycle of the rate."""
    network = NETWORKS[case.network](background=background, init=Glorot())
    optimizer, schedule = SGD(weight_decay=RACE.decay, momentum=MOMENTUM), OneCycle(RACE.warmup)
    return Recipe(network, SoftmaxCrossEntropy(), optimizer, schedule, RACE.rate, RACE.epochs, case.batch)


def stepping(how: Recipe) -> Callable[[], None]:
    """A training step on one batch, to be called again and again."""
    rng, state = np.random.default_rng(0), start(how, SHAPE, seed=0)
    x = rng.random((*SHAPE, how.batch_size), np.float32)
    labels, workspace = rng.integers(10, size=how.batch_size), Workspace(how.network, state.params, SHAPE)

    def step() -> None:
        _, _, gradient = workspace.loss_gradient(how.loss, x, labels, state.noise)
        how.optimizer.step(state.theta, gradient, state.optimizer, how.rate)

    return step


def epochs(how: Recipe, data: Dataset) -> Iterator[Mapping[str, float]]:
    """A training, epoch by epoch: the metrics of each."""
    return train(how, start(how, SHAPE, seed=0), data)


def trained(how: Recipe, data: Dataset, seed: int = 0) -> float:
    """A whole training; the accuracy on the test images after it."""
    state = start(how, SHAPE, seed)
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


# Where the time of a training step goes: layer by layer, forward and backward.

SECONDS, FEWEST = 3.0, 30  # how long a profile takes, and how many steps at least
SHOWN = 10  # one of so many steps is shown, the fastest: what else is going on here has slowed the others
FORWARD, BACKWARD = "forward", "backward"
Clock = dict[tuple[str, str], float]  # seconds of one step, by part and direction
WHOLE = ("step", FORWARD)


def profile(network: str, batch: int, seconds: float = SECONDS) -> str:
    """The table of a step's parts: milliseconds forward and backward, and their share of the step.

    They are means over the fastest steps, and over the same ones for all parts and for the whole: so they add up.
    """
    clock: Clock = {}
    how = instrumented(recipe(Case(STEP, network, batch), STEP_RATE), clock)
    step = _clocked(stepping(how), clock, WHOLE)
    steps: list[Clock] = []
    with subnormals_flushed():
        for _ in range(5):
            step()  # the first steps are slower
        while sum(measured[WHOLE] for measured in steps) < seconds or len(steps) < FEWEST:
            clock.clear()
            step()
            steps.append(dict(clock))
    fastest = sorted(steps, key=lambda measured: measured[WHOLE])[: len(steps) // SHOWN]
    parts = how.network.layers | {"loss": how.loss, "optimiser": how.optimizer}
    title = f"{network}, batch {batch}: means of the {len(fastest)} fastest of {len(steps)} steps"
    return f"{title}\n\n{_profile_table({name: type(part).__name__ for name, part in parts.items()}, fastest)}"


def instrumented(how: Recipe, clock: Clock) -> Recipe:
    """The recipe with a clock in each layer, in the loss and in the optimiser."""
    layers = {
        name: _timed(layer, "bind_over" if isinstance(layer, Activation) else "bind", name, clock)
        for name, layer in how.network.layers.items()
    }
    return replace(
        how,
        network=replace(how.network, layers=layers),
        loss=_timed(how.loss, "__call__", "loss", clock),
        optimizer=_timed(how.optimizer, "step", "optimiser", clock),
    )


def _timed(thing: Any, method: str, name: str, clock: Clock) -> Any:
    """The same dataclass with a clock in one of its methods, or in what its `bind` or `bind_over` returns.

    Its class is a subclass of the original, so that `isinstance` answers as before.
    """
    original = getattr(type(thing), method)

    def bound(self: Any, *arguments: Any) -> Bound:
        found = original(self, *arguments)
        return found._replace(
            forward=_clocked(found.forward, clock, (name, FORWARD)),
            backward=_clocked(found.backward, clock, (name, BACKWARD)),
        )

    with_clock = bound if method.startswith("bind") else _clocked(original, clock, (name, FORWARD))
    kind = type(type(thing).__name__, (type(thing),), {method: with_clock})
    return kind(**{field.name: getattr(thing, field.name) for field in fields(thing) if field.init})


def _clocked(f: Callable[..., Any], clock: Clock, key: tuple[str, str]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        began = perf_counter()
        answer = f(*arguments)
        clock[key] = clock.get(key, 0.0) + perf_counter() - began  # a batch may come in several pieces
        return answer

    return call


def _profile_table(parts: Mapping[str, str], steps: Sequence[Clock]) -> str:
    from tabulate import tabulate

    def milliseconds(part: str, way: str) -> float:
        return 1e3 * statistics.fmean(step.get((part, way), 0.0) for step in steps)

    whole = milliseconds(*WHOLE)
    times = [(name, kind, milliseconds(name, FORWARD), milliseconds(name, BACKWARD)) for name, kind in parts.items()]
    rest = whole - sum(forward + backward for *_, forward, backward in times)
    times += [("rest", "", rest, 0.0), ("step", "", whole, 0.0)]
    rows = [
        (name, kind, *(f"{time:.3f}" if time else "" for time in pair), f"{sum(pair) / whole:.1%}")
        for name, kind, *pair in times
    ]
    headers = ("part", "", "forward ms", "backward ms", "share")
    return tabulate(rows, headers, colalign=("left", "left", "right", "right", "right"), disable_numparse=True)


# How the time of a training grows with images and epochs: it should be in proportion to both.

IMAGES, EPOCHS, FEW = (5_000, 15_000, 30_000, 60_000), (1, 2, 4, 8), 5_000
GROWTH_ROUNDS = 3
Size = tuple[int, int]  # training images, epochs
SIZES: tuple[Size, ...] = (*((images, 1) for images in IMAGES), *((FEW, number) for number in EPOCHS[1:]))


def growth(network: str = "lenet5_relu", batch: int = 64) -> dict[Size, list[float]]:
    """Seconds of whole trainings, without evaluation, by size: round by round, the sizes in turns."""
    data = mnist(validation=0)
    how = recipe(Case(EPOCH, network, batch), EPOCH_RATE, data.normalizer.background)
    seconds: dict[Size, list[float]] = {size: [] for size in SIZES}
    for _ in range(GROWTH_ROUNDS):
        for (images, number), measured in seconds.items():
            part, short = replace(data, train=data.train[:images]), replace(how, epochs=number)
            began = perf_counter()
            for _ in epochs(short, part):
                pass
            measured.append(perf_counter() - began)
    return seconds


def exponent(seconds: Mapping[Size, list[float]]) -> float:
    """The p of `seconds = c (images x epochs)^p`, by least squares over logarithms; 1 is in proportion."""
    images = [log(images * number) for images, number in seconds]
    return statistics.linear_regression(images, [log(statistics.median(times)) for times in seconds.values()]).slope


def growth_table(seconds: Mapping[Size, list[float]]) -> str:
    """The sizes, one a row, and the exponent."""
    from tabulate import tabulate

    medians = {size: statistics.median(times) for size, times in seconds.items()}
    rows = [
        (f"{images:,}", number, f"{median:.2f}", f"{1e6 * median / (images * number):.1f}")
        for (images, number), median in medians.items()
    ]
    headers = ("images", "epochs", "seconds", "microseconds per image and epoch")
    columns = tabulate(rows, headers, colalign=("right",) * 4, disable_numparse=True)
    return f"{columns}\n\nseconds grow as (images x epochs)^{exponent(seconds):.3f}"
