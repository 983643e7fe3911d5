"""The journal of a run: what a learner writes down while it learns, and where it can go on after a kill."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from cnnlab import plots
from cnnlab.checkpoint import restore_state, save_state
from cnnlab.data import Dataset, Distortion
from cnnlab.measuring import Metrics
from cnnlab.networks import network_bytes
from cnnlab.nn import Array, Params, Sequential
from cnnlab.statistics import confusion_matrix
from cnnlab.tracking.log import RunLog
from cnnlab.training import TrainingState

RETIRED = ".done"  # ending of the checkpoints of a run that is all but finished
Trained = tuple[Sequential, Params]


class Watcher:
    """What somebody sees while a run is made: here nothing."""

    def describe(self, text: str) -> None:
        """What is about to be trained, as a table of its layers."""

    def progress(self, done: int, total: int, batch: int, loss: float, accuracy: float) -> None:
        """`done` of `total` images so far, `batch` of them just now; loss and accuracy of this epoch so far."""


@dataclass(frozen=True)
class Journal:
    """A run's pages: epochs and files go to its record, training states to its checkpoint, progress to a watcher.

    A checkpoint carries the run's `stamp`, and is not gone on from where that differs.
    """

    log: RunLog
    checkpoint: Path
    stamp: Mapping[str, str]
    watcher: Watcher
    last: Metrics = field(default_factory=dict)  # of the newest epoch

    def asked(self, config: Mapping[str, object], overrides: Sequence[str]) -> None:
        """What was asked for: the resolved config, and the words that made it."""
        self.log.text("config/config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
        self.log.text("config/overrides.txt", "".join(f"{override}\n" for override in overrides))

    def dataset(self, data: Dataset) -> None:
        """Which images were learned."""
        self.log.dataset(data.name, data.digest, "training")
        self.log.tag("data.digest", data.digest)

    def describe(self, text: str) -> None:
        """What is trained, as a table of its layers."""
        self.log.text("config/network.txt", text + "\n")
        self.watcher.describe(text)

    def progress(self, done: int, total: int, batch: int, loss: float, accuracy: float) -> None:
        """Show how far the training is; raises what has gone wrong with the record meanwhile."""
        self.log.check()
        self.watcher.progress(done, total, batch, loss, accuracy)

    def resume(self, state: TrainingState, part: str = "", before: int = 0) -> None:
        """Bring a fresh state to where an earlier try ended, if one did, and write down its epochs.

        A run of several trainings keeps each in a `part` of its own, and counts the epochs `before` it.
        """
        if restore_state(self._place(part), state, self.stamp):
            self.log.tag("cnnlab.resumed_after_epoch", str(before + len(state.history)))
        for metrics in state.history:
            self.epoch(metrics | {"epoch": before + metrics["epoch"]})

    def save(self, state: TrainingState, part: str = "") -> None:
        """Keep a state between two epochs, once the run has a record."""
        self.log.check(begun=True)
        save_state(self._place(part), state, self.stamp)

    def _place(self, part: str) -> Path:
        return self.checkpoint.with_name(f"{self.checkpoint.stem}{part}{self.checkpoint.suffix}")

    def recover(self, again: bool) -> None:
        """Take up the checkpoints of a run that was cut off while its record was closed, unless it is made `again`.

        Once the run has a record: were it finished, they would not be needed.
        """
        for file in self._kept(RETIRED):
            self.log.check(begun=True)
            if again:
                file.unlink()
            else:
                file.rename(file.with_suffix(self.checkpoint.suffix))

    def retire(self) -> None:
        """Put the checkpoints aside, of a run whose record is about to be closed as finished."""
        for file in self._kept(self.checkpoint.suffix):
            file.rename(file.with_suffix(RETIRED))

    def forget(self) -> None:
        """Remove the checkpoints of a run that is finished."""
        for file in self._kept(RETIRED):
            file.unlink(missing_ok=True)

    def _kept(self, suffix: str) -> list[Path]:
        return list(self.checkpoint.parent.glob(f"{self.checkpoint.stem}*{suffix}"))

    def epoch(self, metrics: Metrics) -> None:
        """One epoch's metrics."""
        self.last.update(metrics)
        self.log.epoch(metrics)

    def found(self, metrics: Metrics) -> None:
        """What is known once, at step 0; what has been measured after each epoch too comes after the last of these.

        A store gives out the value of the highest step: of boosted networks that of all together, not of the last one.
        """
        again = {name: value for name, value in metrics.items() if name in self.last}
        self.log.metrics({name: value for name, value in metrics.items() if name not in again})
        if again:
            self.log.metrics(again, int(self.last["epoch"]) + 1)

    def answers(self, outputs: Array, data: Dataset) -> None:
        """The answers to the test images, of outputs `[classes, N]`: all of them, their confusion, the worst mistakes.

        The worst are those whose answer outscores the truth by the largest margin.
        """
        labels, answers = data.test.labels, outputs.argmax(0)
        self.log.arrays("answers.npz", answers=answers.astype(np.uint8), labels=labels.astype(np.uint8))
        self.confusion("test", confusion_matrix(labels, answers, len(data.classes)), data.classes)
        margin = outputs.max(0) - outputs[labels, np.arange(len(labels))]
        self.log.figure("plots/mistakes.png", plots.mistakes, data.test.pixels, labels, answers, margin, data.classes)

    def confusion(self, name: str, matrix: Array, classes: Sequence[str]) -> None:
        """A confusion matrix as a picture and as numbers."""
        self.log.figure(f"confusion/{name}.png", plots.confusion, matrix, classes, name.replace("_", " "))
        self.log.json(f"confusion/{name}.json", {"classes": list(classes), "rows are truth": matrix.tolist()})

    def trained(
        self, history: list[Metrics], networks: Sequence[Trained], data: Dataset, distortion: Distortion
    ) -> None:
        """What a training leaves: its history, the first layer's kernels, distorted images, and the networks."""
        if not distortion.idle:
            shown = (data.train.pixels[:100], distortion, "training images and distorted copies")
            self.log.figure("plots/distortions.png", plots.distortions, *shown)
        self.log.figure("plots/learning_curves.png", plots.learning_curves, history, "learning curves")
        self.log.figure("plots/gradient_norms.png", plots.gradient_norms, history, "gradient norms")
        first = next(params["W"] for params in networks[0][1].values() if "W" in params)
        self.log.figure("plots/kernels.png", plots.kernels, first, "first-layer kernels", data.shape)
        self.log.text("history.csv", _as_csv(history))
        self.log.model([network_bytes(*trained, data.shape, data.normalizer) for trained in networks], data.shape)


def _as_csv(history: list[Metrics]) -> str:
    """A history as CSV, an epoch a line; a metric that an epoch lacks is left empty."""
    file = io.StringIO()
    columns = dict.fromkeys(name for metrics in history for name in metrics)
    table = csv.DictWriter(file, list(columns), lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    return file.getvalue()
