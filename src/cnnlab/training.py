"""Training: the loop from images to trained parameters, one record of measurements per epoch.

Four generators grow from a run's seed, one each for the initial weights, the order of the images, the
noise of stochastic layers and the distortion of images; so two arms of an ablation see the same images in
the same order, however many random numbers their layers draw.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from .data import Dataset, Distortion, Images
from .metrics import accuracy
from .nn import (
    Loss,
    Optimizer,
    Params,
    Schedule,
    Sequential,
    Workspace,
    mean_curvature,
    pack,
    saturation,
    segments,
    unpack,
)
from .nn import predict as outputs_of

Record = dict[str, float]
Tick = Callable[[int, int, float, float], None]  # images so far, images of this batch, loss, accuracy

MEASUREMENTS = 20  # steps in an epoch at which gradients and updates are measured
PROBE = 256  # training images on which saturation is measured
DISTORTED = 1000  # images that are distorted together: batches of one each would take ten times as long


class Diverged(ArithmeticError):
    """Training that met NaN or infinity, with the step (counted from 1) at which it did."""

    def __init__(self, step: int) -> None:
        super().__init__(f"NaN or infinity at step {step}")
        self.step = step


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained, its data and its seed apart."""

    network: Sequential
    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    rate: float
    epochs: int
    batch_size: int
    reshuffle: bool = True  # a new order in each epoch; else the same one in all, as in 1998
    distortion: Distortion = field(default_factory=Distortion)  # of training images only, anew in each epoch


@dataclass(frozen=True)
class Parts:
    """What a plan builds: the data, and the recipe that trains on it."""

    data: Dataset
    recipe: Recipe


@dataclass
class State:
    """Where a training stands between two epochs: all that is needed to go on, bit for bit."""

    theta: np.ndarray
    params: Params = field(repr=False)  # views of theta, by layer and name
    optimizer: dict[str, np.ndarray]
    order: np.random.Generator
    noise: np.random.Generator
    distortion: np.random.Generator
    history: list[Record]
    confusions: dict[str, list[list[int]]] = field(default_factory=dict)  # validation's, by epoch


def start(recipe: Recipe, shape: tuple[int, ...], seed: int) -> State:
    """The state before the first epoch, for images of this shape."""
    init, order, noise, distortion = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4))
    params, _ = recipe.network.init(shape, init)
    theta = pack(params)
    return State(theta, unpack(theta, params), recipe.optimizer.init(theta), order, noise, distortion, [])


def silent(*_: float) -> None:
    """A tick that nobody watches."""


def train(recipe: Recipe, state: State, data: Dataset, tick: Tick = silent) -> Iterator[Record]:
    """Train from where the state stands, yielding each epoch's record after adding it to the history.

    ``tick`` is called after every batch. ``train/loss`` and ``train/accuracy`` are running means over the
    epoch's batches as they were met, ``val/*`` are measured after it. Raises Diverged at the first step that
    is not finite.
    """
    workspace = Workspace(recipe.network, state.params, data.shape)
    while len(state.history) < recipe.epochs:
        began = perf_counter()
        with np.errstate(all="ignore"):
            record = _epoch(recipe, state, data, workspace, tick) | _saturation(recipe.network, state, data)
            seconds = perf_counter() - began
            if len(data.val):
                loss, right = evaluate(recipe, state, data, data.val)
                record |= {"val/loss": loss, "val/accuracy": right}
        record["time/epoch_s"] = perf_counter() - began
        record["time/images_per_s"] = len(data.train) / seconds
        state.history.append({"epoch": len(state.history) + 1, **record})
        yield state.history[-1]


def predict(network: Sequential, params: Params, data: Dataset, images: Images) -> np.ndarray:
    """The network's outputs for images, ``[classes, N]``."""
    return outputs_of(network, params, data.shape, len(images), lambda piece: data.batch(images, piece))


def evaluate(recipe: Recipe, state: State, data: Dataset, images: Images) -> tuple[float, float]:
    """Loss and accuracy on images, nothing being trained."""
    outputs = predict(recipe.network, state.params, data, images)
    return recipe.loss(outputs, images.labels)[0], accuracy(images.labels, outputs.argmax(0))


def _epoch(recipe: Recipe, state: State, data: Dataset, workspace: Workspace, tick: Tick) -> Record:
    """One pass over the training images."""
    images, size = data.train, recipe.batch_size
    steps = -(-len(images) // size)
    done, total = steps * len(state.history), steps * recipe.epochs
    order = _order(recipe, state, len(images))
    loss, right, measured = 0.0, 0, []
    for step, (shown, index) in enumerate(_batches(recipe, state, images, order)):
        labels = shown.labels[index]
        _look(recipe, state, data, step * size)
        x = data.batch(shown, index)
        value, outputs, gradient = workspace.loss_gradient(recipe.loss, x, labels, state.noise)
        if not np.isfinite(value):
            raise Diverged(done + step + 1)
        rate = recipe.rate * recipe.schedule((done + step) / total)
        update = _measured_update if step % max(1, steps // MEASUREMENTS) == 0 else _update
        measured.append(update(recipe, state, gradient, rate))
        loss += value * len(labels)
        right += int((outputs.argmax(0) == labels).sum())
        seen = step * size + len(labels)
        tick(len(state.history) * len(images) + seen, len(labels), loss / seen, right / seen)
    if not np.isfinite(state.theta).all():
        raise Diverged(done + steps)
    record = {"train/loss": loss / len(images), "train/accuracy": right / len(images), "lr": rate}
    return record | _means([found for found in measured if found])


def _batches(recipe: Recipe, state: State, images: Images, order: np.ndarray) -> Iterator[tuple[Images, np.ndarray]]:
    """Each batch in this order, as (images, index): of the images, or of copies distorted for a while ahead."""
    size = recipe.batch_size
    chunk = size * max(1, DISTORTED // size)
    for index in np.split(order, range(chunk, len(order), chunk)):
        shown = images
        if not recipe.distortion.idle:
            shown = Images(recipe.distortion(images.pixels[index], state.distortion), images.labels[index])
            index = np.arange(len(index))
        yield from ((shown, index[first : first + size]) for first in range(0, len(index), size))


def _order(recipe: Recipe, state: State, count: int) -> np.ndarray:
    return (state.order if recipe.reshuffle else deepcopy(state.order)).permutation(count)


def _look(recipe: Recipe, state: State, data: Dataset, seen: int) -> None:
    """Show the optimiser the curvature, if it wants to see it now."""
    every = recipe.optimizer.curvature_every
    if every and seen % every < recipe.batch_size:
        chosen = recipe.optimizer.curvature_patterns(len(data.train), state.noise)
        x, labels = data.batch(data.train, chosen), data.train.labels[chosen]
        curvature = mean_curvature(recipe.network, recipe.loss, state.params, x, labels)
        recipe.optimizer.observe_curvature(curvature, state.optimizer)


def _update(recipe: Recipe, state: State, gradient: np.ndarray, rate: float) -> Record:
    recipe.optimizer.step(state.theta, gradient, state.optimizer, rate)
    return {}


def _measured_update(recipe: Recipe, state: State, gradient: np.ndarray, rate: float) -> Record:
    """One update, and each layer's gradient norm and relative change by it (Euclidean norms)."""
    before, layers = state.theta.copy(), segments(state.params)
    record = {f"grad_norm/{name}": _norm(gradient[part]) for name, part in layers.items()}
    _update(recipe, state, gradient, rate)
    change = state.theta - before
    for name, part in layers.items():
        record[f"update_ratio/{name}"] = _norm(change[part]) / max(_norm(before[part]), 1e-12)
    return record


def _norm(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector))


def _means(records: list[Record]) -> Record:
    return {name: sum(record[name] for record in records) / len(records) for name in records[0]}


def _saturation(network: Sequential, state: State, data: Dataset) -> Record:
    """Each activation's fraction of saturated values on the first training images."""
    found = saturation(network, state.params, data.batch(data.train, slice(PROBE)))
    return {f"saturation/{name}": fraction for name, fraction in found.items()}
