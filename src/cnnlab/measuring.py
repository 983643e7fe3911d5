"""What is measured while a network trains: each function here gives a metric, or a family of them, `family/member`.

Step metrics are measured at some updates of an epoch, and averaged over these; epoch metrics are measured on the
network after it. Add a function to one of the two tuples below, and every run has it in its curves and in history.csv.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cnnlab.data import Dataset, Images
from cnnlab.nn import Array, Params, Sequential, predict, saturation, segments
from cnnlab.statistics import accuracy, confusion_matrix

if TYPE_CHECKING:
    from cnnlab.nn import Loss

Metrics = dict[str, float]

STEPS = 20  # updates of an epoch that are measured
PROBE = 256  # training images on which saturation is measured


@dataclass(frozen=True)
class Update:
    """One update of the parameters: the vector before it, its gradient, the change, and where each layer lies."""

    before: Array
    gradient: Array
    change: Array
    layers: dict[str, slice]


def gradient_norm(update: Update) -> Metrics:
    """The Euclidean norm of each layer's gradient."""
    return {f"grad_norm/{name}": _norm(update.gradient[part]) for name, part in update.layers.items()}


def update_ratio(update: Update) -> Metrics:
    """How far an update moves each layer's parameters, as a share of their own norm."""
    return {
        f"update_ratio/{name}": _norm(update.change[part]) / max(_norm(update.before[part]), 1e-12)
        for name, part in update.layers.items()
    }


@dataclass(frozen=True)
class Epoch:
    """A network after an epoch: its parameters, its loss, and the data it is trained on."""

    network: Sequential
    params: Params
    loss: Loss
    data: Dataset

    @cached_property
    def val_outputs(self) -> Array:
        """The outputs for the validation images, `[classes, N]`."""
        return outputs_for(self.network, self.params, self.data, self.data.val)


def saturated(epoch: Epoch) -> Metrics:
    """For each activation the share of units, over the first training images, that pass back little of an error."""
    found = saturation(epoch.network, epoch.params, epoch.data.batch(epoch.data.train, slice(PROBE)))
    return {f"saturation/{name}": share for name, share in found.items()}


def held_out(epoch: Epoch) -> Metrics:
    """Loss, accuracy and error on the validation images, if any are held out."""
    return scores("val", epoch.val_outputs, epoch.data.val.labels, epoch.loss)


def watched(epoch: Epoch) -> Metrics:
    """The same on the test images, where a run asks to watch them; nothing may be chosen by it."""
    if not epoch.data.watch_test:
        return {}
    outputs = outputs_for(epoch.network, epoch.params, epoch.data, epoch.data.test)
    return scores("watch", outputs, epoch.data.test.labels, epoch.loss)


STEP_METRICS: tuple[Callable[[Update], Metrics], ...] = (gradient_norm, update_ratio)
EPOCH_METRICS: tuple[Callable[[Epoch], Metrics], ...] = (saturated, held_out, watched)


def of_update(make: Callable[[], None], theta: Array, gradient: Array, params: Params) -> Metrics:
    """Make an update of theta, by a gradient that it may overwrite; every metric of it."""
    before, kept = theta.copy(), gradient.copy()
    make()
    update = Update(before, kept, theta - before, segments(params))
    return {name: value for metric in STEP_METRICS for name, value in metric(update).items()}


def of_epoch(epoch: Epoch) -> Metrics:
    """Every metric of an epoch."""
    return {name: value for metric in EPOCH_METRICS for name, value in metric(epoch).items()}


def mean(found: Iterable[Metrics]) -> Metrics:
    """The mean of each metric over several measurements of all of them."""
    rows = list(found)
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]} if rows else {}


def view(epoch: Epoch) -> dict[str, Array]:
    """What there is to see of a network after an epoch, by name.

    `kernels` are the first weights, `confusion` how often each class of the validation images (row) was taken for each
    (column), `digit` is an image, and `maps/<layer>` (H, C, W) is what a layer makes of it.
    """
    data, classes = epoch.data, len(epoch.data.classes)
    shown = data.val if len(data.val) else data.train
    found = {"kernels": next(params["W"] for params in epoch.params.values() if "W" in params).copy()}
    found["digit"] = shown.pixels[0]
    for name, output in epoch.network.outputs(epoch.params, data.batch(shown, slice(1))).items():
        if output.ndim == 4:
            found[f"maps/{name}"] = output[..., 0]
    if len(data.val):
        found["confusion"] = confusion_matrix(data.val.labels, epoch.val_outputs.argmax(0), classes)
    return found


def scores(split: str, outputs: Array, labels: Array, loss: Loss | None = None) -> Metrics:
    """Accuracy (0 to 1), error (per cent) and loss, if one is given, of outputs `[classes, N]`; the largest answers.

    Of no images there are none.
    """
    if not len(labels):
        return {}
    right = accuracy(labels, outputs.argmax(0))
    found = {f"{split}/accuracy": right, f"{split}/error_percent": 100 * (1 - right)}
    return found | ({f"{split}/loss": loss(outputs, labels)[0]} if loss else {})


def size(network: Sequential, shape: tuple[int, ...]) -> Metrics:
    """How many parameters a network has for images of this shape, and what one image costs."""
    cost = network.cost(shape)
    return {"size/parameters": cost.parameters, "size/macs": cost.macs}


def outputs_for(network: Sequential, params: Params, data: Dataset, images: Images) -> Array:
    """The network's outputs for images, `[classes, N]`."""
    return predict(network, params, data.shape, len(images), lambda piece: data.batch(images, piece))


def _norm(vector: Array) -> float:
    return float(np.linalg.norm(vector))
