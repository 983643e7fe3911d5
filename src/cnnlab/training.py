"""Training: the loop from images to trained parameters, with one dict of metrics an epoch.

Four generators grow from a run's seed, one each for the initial weights, the order of the images, the noise of
stochastic layers and the distortion of images; so two arms of an ablation see the same images in the same order,
however many random numbers their layers draw.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from time import perf_counter
from typing import Protocol

import numpy as np

from cnnlab import measuring
from cnnlab.data import Dataset, Distortion, Images
from cnnlab.measuring import Metrics
from cnnlab.nn import (
    Array,
    Loss,
    Optimizer,
    Params,
    Schedule,
    Sequential,
    Workspace,
    mean_curvature,
    pack,
    subnormals_flushed,
    unpack,
)

Progress = Callable[[int, int, int, float, float], None]  # images so far, of how many, in this batch, loss, accuracy

DISTORTED = 1000  # images that are distorted together: batches of one each would take ten times as long


class Diverged(ArithmeticError):
    """Training that met NaN or infinity, with the step (counted from 1) at which it did."""

    def __init__(self, step: int) -> None:
        super().__init__(f"NaN or infinity at step {step}")
        self.step = step


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: everything that decides it but the network, the data and the seed.

    An epoch shows `images_per_epoch` training images, by as many passes over them as it takes (None: each once), in a
    new order if it is to `reshuffle`, else in the same one, as in 1998; `augment` distorts them, anew each time.
    Training may `stop` so many epochs after the one with the lowest validation error, and then goes back to that one.
    A view of the network is kept every `confusion_every` epochs (0: after the last only), and the losses of the first
    `steps_recorded` updates.
    """

    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    lr: float
    epochs: int
    batch_size: int
    reshuffle: bool = True
    augment: Distortion | None = None
    confusion_every: int = 0
    images_per_epoch: int | None = None
    steps_recorded: int | None = None
    stop: int | None = None


@dataclass
class TrainingState:
    """A network in training, as it stands between two epochs: all that is needed to go on, bit for bit."""

    network: Sequential
    theta: Array
    params: Params = field(repr=False)  # views of theta, by layer and name
    optimizer: dict[str, Array]
    order: np.random.Generator
    noise: np.random.Generator
    distortion: np.random.Generator
    history: list[Metrics] = field(default_factory=list)
    views: dict[int, dict[str, Array]] = field(default_factory=dict)  # what there is to see after some epochs
    losses: list[float] = field(default_factory=list)  # of the first updates, as many as the recipe says
    best: Array | None = None  # theta after the epoch with the lowest validation error, for a recipe that may stop

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest validation error; 0 before all."""
        errors = [metrics["val/error_percent"] for metrics in self.history]
        return errors.index(min(errors)) + 1 if errors else 0


def start(recipe: Recipe, network: Sequential, shape: tuple[int, ...], seed: int) -> TrainingState:
    """The state of a network before its first epoch, for images of this shape."""
    init, order, noise, distortion = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4))
    params, _ = network.init(shape, init)
    theta = pack(params)
    best = theta.copy() if recipe.stop else None
    optimizer = recipe.optimizer.init(theta)
    return TrainingState(network, theta, unpack(theta, params), optimizer, order, noise, distortion, best=best)


def unwatched(*_: float) -> None:
    """A progress callback that does nothing."""


class Keeper(Protocol):
    """Somebody who keeps a training, so that it can go on where it was cut off."""

    def restore(self, state: TrainingState) -> None:
        """Bring a fresh state to where an earlier try was cut off, if there was one."""

    def progress(self, done: int, total: int, batch: int, loss: float, accuracy: float) -> None:
        """Hear of a batch, as the `progress` of `train` does."""

    def epoch(self, state: TrainingState) -> None:
        """Keep the state after an epoch."""


def trained(recipe: Recipe, network: Sequential, data: Dataset, seed: int, keeper: Keeper) -> TrainingState:
    """The state of a network after its training, from where the keeper says on; what the keeper raises ends it."""
    state = start(recipe, network, data.shape, seed)
    keeper.restore(state)
    for _ in train(recipe, state, data, keeper.progress):
        keeper.epoch(state)
    return state


def train(recipe: Recipe, state: TrainingState, data: Dataset, progress: Progress = unwatched) -> Iterator[Metrics]:
    """Train from where the state stands, yielding each epoch's metrics after adding them to the history.

    `progress` is called after every batch. `train/loss` and `train/accuracy` are running means over the epoch's
    batches as they were met; the rest is measured after it (see `measuring`). Raises Diverged at the first step that is
    not finite. A recipe that may stop early leaves the parameters of the best epoch.
    """
    workspace = Workspace(state.network, state.params, data.shape)
    while not _ended(recipe, state):
        began = perf_counter()
        with np.errstate(all="ignore"), subnormals_flushed():
            metrics = _epoch(recipe, state, data, workspace, progress)
            seconds = perf_counter() - began
            epoch = measuring.Epoch(state.network, state.params, recipe.loss, data)
            metrics |= measuring.of_epoch(epoch)
        metrics["time/epoch_s"] = perf_counter() - began
        metrics["time/images_per_s"] = (recipe.images_per_epoch or len(data.train)) / seconds
        state.history.append({"epoch": len(state.history) + 1, **metrics})
        done = len(state.history)
        if done == recipe.epochs or (recipe.confusion_every and done % recipe.confusion_every == 0):
            state.views[done] = measuring.view(epoch)
        if state.best is not None and state.best_epoch == done:
            state.best[:] = state.theta
        yield state.history[-1]
    if state.best is not None:
        state.theta[:] = state.best
        best = measuring.Epoch(state.network, state.params, recipe.loss, data)
        state.views[state.best_epoch] = measuring.view(best)


def _ended(recipe: Recipe, state: TrainingState) -> bool:
    """Whether all epochs are over, or too many since the best one."""
    done = len(state.history)
    return done == recipe.epochs or (recipe.stop is not None and done - state.best_epoch >= recipe.stop)


def _epoch(recipe: Recipe, state: TrainingState, data: Dataset, workspace: Workspace, progress: Progress) -> Metrics:
    """One pass over the training images."""
    images, size = data.train, recipe.batch_size
    order = _order(recipe, state, len(images))
    steps, seen_before = -(-len(order) // size), len(state.history) * len(order)
    done, total = steps * len(state.history), steps * recipe.epochs
    loss, right, measured = 0.0, 0, []
    for step, (shown, index) in enumerate(_batches(recipe, state, images, order)):
        labels = shown.labels[index]
        _observe_curvature(recipe, state, data, step * size)
        x = data.batch(shown, index)
        value, outputs, gradient = workspace.loss_gradient(recipe.loss, x, labels, state.noise)
        if not isfinite(value):
            raise Diverged(done + step + 1)
        if done + step < (recipe.steps_recorded or 0):
            state.losses.append(float(value))
        rate = recipe.lr * recipe.schedule((done + step) / total)
        update = partial(recipe.optimizer.step, state.theta, gradient, state.optimizer, rate)
        if step % max(1, steps // measuring.STEPS):
            update()
        else:
            measured.append(measuring.of_update(update, state.theta, gradient, state.params))
        loss += value * len(labels)
        right += int(np.count_nonzero(outputs.argmax(0) == labels))
        seen = step * size + len(labels)
        progress(seen_before + seen, recipe.epochs * len(order), len(labels), loss / seen, right / seen)
    if not np.isfinite(state.theta).all():
        raise Diverged(done + steps)
    found = {"train/loss": loss / len(order), "train/accuracy": right / len(order), "lr": rate}
    return found | measuring.mean(measured)


def _batches(recipe: Recipe, state: TrainingState, images: Images, order: Array) -> Iterator[tuple[Images, Array]]:
    """Each batch in this order, as (images, index): of the images, or of copies distorted for a while ahead."""
    size = recipe.batch_size
    chunk = size * max(1, DISTORTED // size)
    for index in np.split(order, range(chunk, len(order), chunk)):
        shown = images
        if recipe.augment and not recipe.augment.idle:
            shown = Images(recipe.augment(images.pixels[index], state.distortion), images.labels[index])
            index = np.arange(len(index))
        yield from ((shown, index[first : first + size]) for first in range(0, len(index), size))


def _order(recipe: Recipe, state: TrainingState, count: int) -> Array:
    """The images of an epoch, pass by pass; the last pass may be cut."""
    shown = recipe.images_per_epoch or count
    passes = range(-(-shown // count))
    orders = [(state.order if recipe.reshuffle else deepcopy(state.order)).permutation(count) for _ in passes]
    return np.concatenate(orders)[:shown]


def _observe_curvature(recipe: Recipe, state: TrainingState, data: Dataset, seen: int) -> None:
    """Measure the curvature for an optimiser that asks for it after so many images."""
    every = recipe.optimizer.curvature_every
    if every and seen % every < recipe.batch_size:
        chosen = recipe.optimizer.curvature_patterns(len(data.train), state.noise)
        x, labels = data.batch(data.train, chosen), data.train.labels[chosen]
        found = mean_curvature(state.network, recipe.loss, state.params, x, labels)
        recipe.optimizer.observe_curvature(found, state.optimizer)
