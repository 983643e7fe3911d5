"""One run, from its plan to its finished record: skipped if done, resumed if cut off, never done twice."""

import csv
import io
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from . import plots
from .checkpoint import restore_state, save_network, save_state
from .config import Plan
from .data import Dataset, Images
from .metrics import accuracy, confusion_matrix
from .models import describe
from .tracking import circumstances
from .tracking.log import DIVERGED, REASON, Made, RunLog
from .tracking.store import FINGERPRINT, KIND, SWEEP, one_line, state_folder
from .training import Diverged, Recipe, Record, State, Tick, predict, silent, start, train


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``finished``, ``skipped`` (it was finished before) or ``failed``, and why."""

    status: str
    run_id: str
    label: str
    metrics: dict[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Parts:
    """What a plan builds: the data, and the recipe that trains on it."""

    data: Dataset
    recipe: Recipe


Make = Callable[[RunLog, Path], Record]  # what makes a run, given its record and a place for its checkpoint


def execute(plan: Plan, build: Callable[[], Parts], log: RunLog, sweep: bool = False, tick: Tick = silent) -> Outcome:
    """Train the network of a plan, or three of a kind, unless that is done; ``tick`` sees each batch."""
    from .boosting import boosted

    tags = {"cnnlab.lr_source": plan.lr_source} | ({SWEEP: plan.study} if sweep else {})
    make = boosted if plan.config["boost"] else _made
    return recorded(plan, tags, log, lambda log, checkpoint: make(plan, build(), log, checkpoint, tick))


def recorded(plan: Plan, tags: Mapping[str, str], log: RunLog, make: Make) -> Outcome:
    """Make the run of a plan and its record, unless it is finished.

    A lock that the system takes away from a dead process keeps two processes off the same run. Whatever
    goes wrong inside becomes a FAILED record with its traceback, and the reason of the outcome; OSError
    where the store does not work.
    """
    from filelock import FileLock

    place = state_folder() / plan.study
    place.mkdir(parents=True, exist_ok=True)
    tags = {FINGERPRINT: plan.fingerprint, KIND: "run", **tags, **circumstances.process()}
    with FileLock(place / f"{plan.fingerprint}.lock"):
        try:
            log.begin(plan.study, plan.label, plan.words, tags, plan.config["rerun"])
            return _closed(plan, make, log, place / f"{plan.fingerprint}.npz")
        except Made as made:
            return Outcome("skipped", made.run_id, plan.label, made.metrics)
        except KeyboardInterrupt:  # one that came while the record was begun
            with suppress(Exception):
                log.close("KILLED")
            raise


def _closed(plan: Plan, make: Make, log: RunLog, checkpoint: Path) -> Outcome:
    """The run inside its record: whatever happens, the record says how it ended.

    The store may still be opening while the first epoch is trained: ``run_id`` waits for it.
    """
    try:
        metrics = make(log, checkpoint)
        log.upload()
        log.close("FINISHED")
    except Exception as error:
        run_id, reason = log.run_id, f"{type(error).__name__}: {one_line(error)}"
        with suppress(Exception):  # a disk that is full, say, cannot take the record of it either
            _record_failure(log, error, reason)
        return Outcome("failed", run_id, plan.label, reason=reason)
    except BaseException:  # interrupted: the checkpoint stays for the next time
        with suppress(Exception):
            log.close("KILLED")
        raise
    checkpoint.unlink(missing_ok=True)
    return Outcome("finished", log.run_id, plan.label, metrics)


def _record_failure(log: RunLog, error: Exception, reason: str) -> None:
    if isinstance(error, Diverged):
        log.tag(DIVERGED, f"step {error.step}")
    log.tag(REASON, reason)
    log.text("traceback.txt", traceback.format_exc())
    log.upload()
    log.close("FAILED")


def _made(plan: Plan, parts: Parts, log: RunLog, checkpoint: Path, tick: Tick) -> Record:
    """Train, test and keep everything that there is to see; the metrics of the test."""
    data, recipe = parts.data, parts.recipe
    state = start(recipe, data.shape, plan.config["seed"])
    if restore_state(checkpoint, state):
        log.tag("cnnlab.resumed_after_epoch", str(len(state.history)))
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


def checked(log: RunLog, tick: Tick) -> Tick:
    """``tick`` that also ends a training whose record says that it is not wanted, or not possible."""

    def checking(*progress: Any) -> None:
        log.check()
        tick(*progress)

    return checking


def _confusion(recipe: Recipe, state: State, data: Dataset, images: Images) -> np.ndarray:
    answers = predict(recipe.network, state.params, data, images).argmax(0)
    return confusion_matrix(images.labels, answers, len(data.classes))


def keep_circumstances(plan: Plan, data: Dataset, log: RunLog) -> None:
    """What was asked for, by which code and packages, on which data: enough to make the run again."""
    log.dataset(data.name, data.digest, "training")
    log.tag("data.digest", data.digest)
    log.text("config/config.yaml", yaml.safe_dump(plan.config, sort_keys=False))
    log.text("config/overrides.txt", "".join(f"{override}\n" for override in plan.overrides))


def _test(recipe: Recipe, state: State, data: Dataset, log: RunLog) -> Record:
    """The one look at the test images."""
    outputs = predict(recipe.network, state.params, data, data.test)
    loss, _ = recipe.loss(outputs, data.test.labels)
    return {"test/loss": loss} | keep_test(outputs, data, log)


def keep_test(outputs: np.ndarray, data: Dataset, log: RunLog) -> Record:
    """What outputs [classes, N] for the test images are worth, with their confusion matrix and worst mistakes.

    The worst are those whose answer outscores the truth by the largest margin.
    """
    images, answers = data.test, outputs.argmax(0)
    right = accuracy(images.labels, answers)
    margin = outputs.max(0) - outputs[images.labels, np.arange(len(images))]
    _keep_confusion(log, "test", confusion_matrix(images.labels, answers, len(data.classes)), data.classes)
    seen = (images.pixels, images.labels, answers, margin, data.classes)
    log.figure("plots/mistakes.png", plots.mistakes, *seen, measure="margin")
    return {"test/accuracy": right, "test/error": 1 - right}


def _keep_confusion(log: RunLog, name: str, matrix: np.ndarray, classes: Sequence[str]) -> None:
    log.figure(f"confusion/{name}.png", plots.confusion, matrix, classes, name.replace("_", " "))
    log.json(f"confusion/{name}.json", {"classes": list(classes), "rows are truth": matrix.tolist()})


def _keep_results(recipe: Recipe, state: State, data: Dataset, log: RunLog) -> None:
    """Figures, tables and the network itself."""
    for epoch, matrix in state.confusions.items():
        _keep_confusion(log, f"val_epoch_{int(epoch):03}", np.array(matrix), data.classes)
    log.figure("plots/learning_curves.png", plots.learning_curves, state.history, "learning curves")
    log.figure("plots/gradient_norms.png", plots.gradient_norms, state.history, "gradient norms")
    first = next(params["W"] for params in state.params.values() if "W" in params)
    log.figure("plots/kernels.png", plots.kernels, first, "first-layer kernels", data.shape)
    if not recipe.distortion.idle:
        shown = (data.train.pixels[:100], recipe.distortion, "training images and distorted copies")
        log.figure("plots/distortions.png", plots.distortions, *shown)
    log.text("history.csv", _table(state.history))
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder, "network.npz")
        save_network(network, recipe.network, state.params, data.shape, data.normalizer)
        log.model(network.read_bytes(), data.shape)


def _table(history: Sequence[Record]) -> str:
    """A history as CSV, an epoch a line."""
    file = io.StringIO()
    table = csv.DictWriter(file, list(history[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    return file.getvalue()
