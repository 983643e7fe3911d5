"""The record of a run: begun unless the run is finished, closed however it ends, and what every run keeps in it."""

import csv
import io
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from . import plots
from .checkpoint import network_bytes, restore_state
from .config import Plan
from .data import Dataset, Distortion
from .metrics import accuracy, confusion_matrix
from .nn import Params, Sequential
from .tracking import circumstances
from .tracking.log import DIVERGED, REASON, AlreadyFinished, RunLog
from .tracking.store import FINGERPRINT, KIND, SWEEP, one_line, state_folder
from .training import Diverged, Record, State, Tick


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``finished``, ``skipped`` (it was finished before) or ``failed``, and why."""

    status: str
    run_id: str
    label: str
    metrics: dict[str, float] = field(default_factory=dict)
    reason: str = ""


LAUNCHER = "CNNLAB_LAUNCHER"  # the process that makes a sweep: its workers end when it does
PARENT = str(os.getppid())  # as long as it lives: then a process is given to another
Trained = tuple[Sequential, Params]
Make = Callable[[RunLog, Path], Record]  # what makes a run, given its record and a place for its checkpoint


def recorded(plan: Plan, tags: Mapping[str, str], log: RunLog, make: Make) -> Outcome:
    """Make the run of a plan and its record, unless it is finished.

    A lock that the system takes away from a dead process keeps two processes off the same run. Whatever
    goes wrong inside becomes a FAILED record with its traceback, and the reason of the outcome; OSError
    where the store does not work.
    """
    from filelock import FileLock, Timeout

    _end_with_sweep()
    place = state_folder() / plan.study
    place.mkdir(parents=True, exist_ok=True)
    tags = {FINGERPRINT: plan.fingerprint, KIND: "run", SWEEP: plan.study, **tags, **circumstances.process()}
    lock = FileLock(place / f"{plan.fingerprint}.lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another process, which makes {plan.label}", flush=True)
        held = lock.acquire()
    with held:
        try:
            log.begin(plan.study, plan.label, plan.words, tags, plan.config["rerun"])
            return _closed(plan, make, log, place / f"{plan.fingerprint}.npz")
        except AlreadyFinished as made:
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
    except AlreadyFinished:  # which the record found out while the training went on
        raise
    except Exception as error:
        run_id, reason = log.run_id, f"{type(error).__name__}: {one_line(error)}"
        with suppress(Exception):  # a disk that is full, say, cannot take the record of it either
            _record_failure(log, error, reason)
        return Outcome("failed", run_id, plan.label, reason=reason)
    except BaseException:  # interrupted: the checkpoint stays for the next time
        with suppress(Exception):
            log.close("KILLED")
        raise
    for file in checkpoint.parent.glob(f"{checkpoint.stem}*{checkpoint.suffix}"):  # of one network, or of several
        file.unlink(missing_ok=True)
    return Outcome("finished", log.run_id, plan.label, metrics)


def _record_failure(log: RunLog, error: Exception, reason: str) -> None:
    if isinstance(error, Diverged):
        log.tag(DIVERGED, f"step {error.step}")
    log.tag(REASON, reason)
    log.text("traceback.txt", traceback.format_exc())
    log.upload()
    log.close("FAILED")


def checked(log: RunLog, tick: Tick) -> Tick:
    """``tick`` that also ends a training whose record says that it is not wanted, or whose sweep is dead."""

    def checking(*progress: Any) -> None:
        log.check()
        _end_with_sweep()
        tick(*progress)

    return checking


def _end_with_sweep() -> None:
    """Leave the arm, which is one of a dead sweep's; its worker may hold more of them."""
    if os.environ.get(LAUNCHER) == PARENT != str(os.getppid()):
        raise SystemExit("the sweep that this run belongs to was killed")


def keep_circumstances(plan: Plan, data: Dataset, log: RunLog) -> None:
    """What was asked for, by which code and packages, on which data: enough to make the run again."""
    log.dataset(data.name, data.digest, "training")
    log.tag("data.digest", data.digest)
    log.text("config/config.yaml", yaml.safe_dump(plan.config, sort_keys=False))
    log.text("config/overrides.txt", "".join(f"{override}\n" for override in plan.overrides))


def keep_test(outputs: np.ndarray, data: Dataset, log: RunLog) -> Record:
    """What outputs [classes, N] for the test images are worth, with their confusion matrix and worst mistakes.

    The worst are those whose answer outscores the truth by the largest margin.
    """
    labels, answers = data.test.labels, outputs.argmax(0)
    right = accuracy(labels, answers)
    keep_confusion(log, "test", confusion_matrix(labels, answers, len(data.classes)), data.classes)
    log.figure("plots/mistakes.png", plots.mistakes, *by_margin(outputs, data))
    return {"test/accuracy": right, "test/error": 1 - right}


def by_margin(outputs: np.ndarray, data: Dataset) -> tuple[Any, ...]:
    """What ``plots.mistakes`` asks for, of the test images, by how far each answer outscores the truth."""
    images = data.test
    margin = outputs.max(0) - outputs[images.labels, np.arange(len(images))]
    return images.pixels, images.labels, outputs.argmax(0), margin, data.classes


def resume(checkpoint: Path, state: State, log: RunLog, before: int = 0) -> None:
    """Bring a fresh state to where an earlier try ended, and say so, counting the epochs ``before`` this training."""
    if restore_state(checkpoint, state):
        log.tag("cnnlab.resumed_after_epoch", str(before + len(state.history)))


def keep_distortion(distortion: Distortion, data: Dataset, log: RunLog) -> None:
    """A sheet of training images beside distorted copies, if any are made."""
    if not distortion.idle:
        shown = (data.train.pixels[:100], distortion, "training images and distorted copies")
        log.figure("plots/distortions.png", plots.distortions, *shown)


def keep_training(history: list[Record], networks: Sequence[Trained], data: Dataset, log: RunLog) -> None:
    """What a training leaves: its history, the first layer's kernels, and the network; or several, to be added up."""
    log.figure("plots/learning_curves.png", plots.learning_curves, history, "learning curves")
    log.figure("plots/gradient_norms.png", plots.gradient_norms, history, "gradient norms")
    first = next(params["W"] for params in networks[0][1].values() if "W" in params)
    log.figure("plots/kernels.png", plots.kernels, first, "first-layer kernels", data.shape)
    log.text("history.csv", _table(history))
    log.model([network_bytes(*trained, data.shape, data.normalizer) for trained in networks], data.shape)


def _table(history: list[Record]) -> str:
    """A history as CSV, an epoch a line."""
    file = io.StringIO()
    table = csv.DictWriter(file, list(history[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    return file.getvalue()


def keep_confusion(log: RunLog, name: str, matrix: np.ndarray, classes: Sequence[str]) -> None:
    """A confusion matrix as a picture and as numbers."""
    log.figure(f"confusion/{name}.png", plots.confusion, matrix, classes, name.replace("_", " "))
    log.json(f"confusion/{name}.json", {"classes": list(classes), "rows are truth": matrix.tolist()})
