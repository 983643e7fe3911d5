"""One run of a network, from its plan to what is kept of it: skipped if done, resumed if cut off."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .boosting import boosted
from .checkpoint import save_state
from .config import Plan
from .data import Dataset, Images
from .metrics import confusion_matrix
from .models import describe
from .recording import (
    Outcome,
    checked,
    keep_circumstances,
    keep_confusion,
    keep_distortion,
    keep_test,
    keep_training,
    recorded,
    resume,
)
from .tracking.log import RunLog
from .training import Parts, Recipe, Record, State, Tick, predict, silent, start, train


def execute(plan: Plan, build: Callable[[], Parts], log: RunLog, tick: Tick = silent) -> Outcome:
    """Train the network of a plan, or three of a kind, unless that is done; ``tick`` sees each batch."""
    make = boosted if plan.config["boost"] else _train_and_test
    tags = {"cnnlab.lr_source": plan.lr_source}
    return recorded(plan, tags, log, lambda log, checkpoint: make(plan, build(), log, checkpoint, tick))


def _train_and_test(plan: Plan, parts: Parts, log: RunLog, checkpoint: Path, tick: Tick) -> Record:
    """Train, test and keep everything that there is to see; the metrics of the test."""
    data, recipe = parts.data, parts.recipe
    state = start(recipe, data.shape, plan.config["seed"])
    resume(checkpoint, state, log)
    keep_circumstances(plan, data, log)
    log.text("config/network.txt", describe(recipe.network, data.shape) + "\n")
    for record in state.history:
        log.epoch(record)
    for record in train(recipe, state, data, checked(log, tick)):
        epoch, every = len(state.history), plan.config["confusion_every"]
        if len(data.val) and (epoch == recipe.epochs or (every and epoch % every == 0)):
            state.confusions[str(epoch)] = _confusion(recipe, state, data, data.val).tolist()
        log.check(begun=True)  # nothing is kept of a run that has no record
        save_state(checkpoint, state)
        log.epoch(record)
    _keep_results(recipe, state, data, log)
    metrics = _test(recipe, state, data, log)
    metrics["time/total_s"] = sum(record["time/epoch_s"] for record in state.history)
    cost = recipe.network.cost(data.shape)
    metrics |= {"size/parameters": cost.parameters, "size/macs": cost.macs}
    log.metrics(metrics, recipe.epochs)
    return state.history[-1] | metrics


def _confusion(recipe: Recipe, state: State, data: Dataset, images: Images) -> np.ndarray:
    answers = predict(recipe.network, state.params, data, images).argmax(0)
    return confusion_matrix(images.labels, answers, len(data.classes))


def _test(recipe: Recipe, state: State, data: Dataset, log: RunLog) -> Record:
    """What the network is worth on the test images."""
    outputs = predict(recipe.network, state.params, data, data.test)
    loss, _ = recipe.loss(outputs, data.test.labels)
    return {"test/loss": loss} | keep_test(outputs, data, log)


def _keep_results(recipe: Recipe, state: State, data: Dataset, log: RunLog) -> None:
    """Confusion on validation images, distorted images, and what all trainings leave."""
    for epoch, matrix in state.confusions.items():
        keep_confusion(log, f"val_epoch_{int(epoch):03}", np.array(matrix), data.classes)
    keep_distortion(recipe.distortion, data, log)
    keep_training(state.history, [(recipe.network, state.params)], data, log)
