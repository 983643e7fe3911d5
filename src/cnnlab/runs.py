"""One run, from its plan to its finished record: skipped if done, resumed if cut off, never done twice."""

import csv
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from . import plots
from .checkpoint import restore_state, save_network, save_state
from .config import Plan
from .data import Dataset, Images
from .metrics import accuracy, confusion_matrix
from .models import describe
from .tracking.log import DIVERGED, REASON, RunLog, changes, packages
from .tracking.model import write_model
from .tracking.store import FINGERPRINT, KIND, SWEEP, Study, one_line, state_folder, store_errors
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


def execute(plan: Plan, build: Callable[[], Parts], sweep: bool = False, tick: Tick = silent) -> Outcome:
    """Train the network of a plan, unless that is done; ``tick`` sees each batch."""
    tags = {"cnnlab.lr_source": plan.lr_source} | ({SWEEP: plan.study} if sweep else {})
    return recorded(plan, tags, lambda log, checkpoint: _made(plan, build(), log, checkpoint, tick))


def recorded(plan: Plan, tags: Mapping[str, str], make: Make) -> Outcome:
    """Make the run of a plan, unless it is finished.

    A lock that the system takes away from a dead process keeps two processes off the same run. Whatever
    goes wrong inside becomes a FAILED record with its traceback, and the reason of the outcome.
    """
    from filelock import FileLock

    study = Study.open(plan.study)
    place = state_folder() / study.name
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / f"{plan.fingerprint}.lock"), store_errors():
        study.close_stale(plan.fingerprint)
        done = study.finished().get(plan.fingerprint)
        if done and not plan.config["rerun"]:
            return Outcome("skipped", done.info.run_id, plan.label, done.data.metrics)
        log = RunLog(study, plan.label, plan.words, {FINGERPRINT: plan.fingerprint, KIND: "run", **tags})
        return _closed(plan, make, log, place / f"{plan.fingerprint}.npz")


def _closed(plan: Plan, make: Make, log: RunLog, checkpoint: Path) -> Outcome:
    """The run inside its record: whatever happens, the record says how it ended."""
    try:
        metrics = make(log, checkpoint)
        log.upload()
        log.close("FINISHED")
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        with suppress(Exception):  # a disk that is full, say, cannot take the record of it either
            _record_failure(log, error, reason)
        return Outcome("failed", log.run_id, plan.label, reason=reason)
    except BaseException:  # interrupted: the checkpoint stays for the next time
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
    for record in train(recipe, state, data, tick):
        epoch, every = len(state.history), plan.config["confusion_every"]
        if len(data.val) and (epoch == recipe.epochs or (every and epoch % every == 0)):
            state.confusions[str(epoch)] = _confusion(recipe, state, data, data.val).tolist()
        save_state(checkpoint, state)
        log.epoch(record)
    metrics = _test(recipe, state, data, log)
    metrics["time/total_s"] = sum(record["time/epoch_s"] for record in state.history)
    log.metrics(metrics, recipe.epochs)
    _keep_results(recipe, state, data, log)
    return state.history[-1] | metrics


def _confusion(recipe: Recipe, state: State, data: Dataset, images: Images) -> np.ndarray:
    answers = predict(recipe.network, state.params, data, images).argmax(0)
    return confusion_matrix(images.labels, answers, len(data.classes))


def keep_circumstances(plan: Plan, data: Dataset, log: RunLog) -> None:
    """What was asked for, by which code and packages, on which data: enough to make the run again."""
    log.dataset(data.name, data.digest, "training")
    log.tag("data.digest", data.digest)
    log.text("config/config.yaml", yaml.safe_dump(plan.config, sort_keys=False))
    log.text("config/overrides.txt", "".join(f"{override}\n" for override in plan.overrides))
    log.text("config/packages.txt", packages())
    log.text("config/git.diff", changes())


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
    figure = plots.mistakes(images.pixels, images.labels, answers, margin, data.classes, measure="margin")
    log.figure("plots/mistakes.png", figure)
    return {"test/accuracy": right, "test/error": 1 - right}


def _keep_confusion(log: RunLog, name: str, matrix: np.ndarray, classes: Sequence[str]) -> None:
    log.figure(f"confusion/{name}.png", plots.confusion(matrix, classes, name.replace("_", " ")))
    log.json(f"confusion/{name}.json", {"classes": list(classes), "rows are truth": matrix.tolist()})


def _keep_results(recipe: Recipe, state: State, data: Dataset, log: RunLog) -> None:
    """Figures, tables and the network itself."""
    for epoch, matrix in state.confusions.items():
        _keep_confusion(log, f"val_epoch_{int(epoch):03}", np.array(matrix), data.classes)
    log.figure("plots/learning_curves.png", plots.learning_curves(state.history, "learning curves"))
    log.figure("plots/gradient_norms.png", plots.gradient_norms(state.history, "gradient norms"))
    first = next(params["W"] for params in state.params.values() if "W" in params)
    log.figure("plots/kernels.png", plots.kernels(first, "first-layer kernels", data.shape))
    if not recipe.distortion.idle:
        sheet = plots.distortions(data.train.pixels, recipe.distortion, "training images and distorted copies")
        log.figure("plots/distortions.png", sheet)
    with log.path("history.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(state.history[0]))
        table.writeheader()
        table.writerows(state.history)
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder, "network.npz")
        save_network(network, recipe.network, state.params, data.shape, data.normalizer)
        write_model(log.path("model"), network, data.shape)
