"""The journal of a run: what a learner writes down while it learns, and where it can go on after a kill."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import yaml

from cnnlab import plots
from cnnlab.checkpoint import Checkpoints
from cnnlab.data import Dataset, Distortion
from cnnlab.measuring import Metrics
from cnnlab.networks import network_bytes
from cnnlab.nn import Array, Params, Sequential
from cnnlab.report.tables import as_csv
from cnnlab.statistics import confusion_matrix
from cnnlab.tracking.log import RunLog
from cnnlab.training import TrainingState

Trained = tuple[Sequential, Params]


class Watcher:
    """Somebody who is told how far a run is; this one does nothing with it."""

    def progress(self, done: int, total: int, batch: int, loss: float, accuracy: float) -> None:
        """`done` of `total` images so far, `batch` of them just now; loss and accuracy of this epoch so far."""


@dataclass(frozen=True)
class Journal:
    """What a run writes down: epochs and files in its record, training states in checkpoints, progress to a watcher."""

    log: RunLog
    checkpoints: Checkpoints
    watcher: Watcher
    last: Metrics = field(default_factory=dict)  # of the newest epoch

    def asked(self, config: Mapping[str, object], overrides: Sequence[str], description: str) -> None:
        """What was asked for: the resolved config, the words that made it, and the learner as text."""
        self.log.text("config/network.txt", description + "\n")
        self.log.text("config/config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
        self.log.text("config/overrides.txt", "".join(f"{override}\n" for override in overrides))

    def dataset(self, data: Dataset) -> None:
        """Which images were learned."""
        self.log.dataset(data.name, data.digest, "training")
        self.log.tag("data.digest", data.digest)

    def resumed(self, state: TrainingState, part: str = "", before: int = 0) -> TrainingState:
        """The fresh state, brought to where an earlier try was cut off, if any; its epochs are written down again.

        A run of several trainings keeps each in a `part` of its own, and counts the epochs `before` it.
        """
        if self.checkpoints.restore(state, part):
            self.log.tag("cnnlab.resumed_after_epoch", str(before + len(state.history)))
        for metrics in state.history:
            self._write(metrics, before)
        return state

    def progress(self, done: int, total: int, batch: int, loss: float, accuracy: float) -> None:
        """Show how far the training is; raises what has gone wrong with the record meanwhile."""
        self.log.check()
        self.watcher.progress(done, total, batch, loss, accuracy)

    def epoch(self, state: TrainingState, part: str = "", before: int = 0) -> None:
        """Keep the state after an epoch, once the run has a record, and write down the epoch's metrics."""
        self.log.check(begun=True)
        self.checkpoints.save(state, part)
        self._write(state.history[-1], before)

    def _write(self, metrics: Metrics, before: int) -> None:
        numbered = metrics | {"epoch": before + metrics["epoch"]}
        self.last.update(numbered)
        self.log.epoch(numbered)

    def losses(self, losses: Sequence[float]) -> None:
        """The loss of each of the first updates, if a run records them: the metric `first_steps/loss`, by update."""
        if losses:
            self.log.curve("first_steps/loss", losses)

    def found(self, metrics: Metrics) -> None:
        """Write down what is known once, at step 0; a metric that epochs have too goes to a step after the last epoch.

        A store shows the value of the highest step: so of boosted networks that of all together, not of the last one.
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
        small = np.min_scalar_type(len(data.classes))  # a byte for each, but where there are hundreds of classes
        self.log.arrays("answers.npz", answers=answers.astype(small), labels=labels.astype(small))
        self._confusion("test", confusion_matrix(labels, answers, len(data.classes)), data.classes)
        margin = outputs.max(0) - outputs[labels, np.arange(len(labels))]
        self.log.figure("plots/mistakes.png", plots.mistakes, data.test.pixels, labels, answers, margin, data.classes)

    def _confusion(self, name: str, matrix: Array, classes: Sequence[str]) -> None:
        """A confusion matrix as a picture and as numbers."""
        self.log.figure(f"confusion/{name}.png", plots.confusion, matrix, classes, name.replace("_", " "))
        self.log.json(f"confusion/{name}.json", {"classes": list(classes), "rows are truth": matrix.tolist()})

    def trained(
        self,
        history: list[Metrics],
        networks: Sequence[Trained],
        data: Dataset,
        distortion: Distortion,
        confusions: Mapping[int, list[list[int]]],
    ) -> None:
        """What a training leaves: its history, the first layer's kernels, distorted images, and the networks.

        `confusions` are those of the validation images, by epoch.
        """
        for epoch, matrix in confusions.items():
            self._confusion(f"val_epoch_{epoch:03}", np.array(matrix), data.classes)
        if not distortion.idle:
            shown = (data.train.pixels[:100], distortion, "training images and distorted copies")
            self.log.figure("plots/distortions.png", plots.distortions, *shown)
        self.log.figure("plots/learning_curves.png", plots.learning_curves, history, "learning curves")
        norms = (history, "grad_norm", "gradient norms", "gradient norm")
        self.log.figure("plots/gradient_norms.png", plots.by_layer, *norms, log=True)
        first = next(params["W"] for params in networks[0][1].values() if "W" in params)
        self.log.figure("plots/kernels.png", plots.kernels, first, "first-layer kernels", data.shape)
        self.log.text("history.csv", as_csv(history))
        self.log.model([network_bytes(*trained, data.shape, data.normalizer) for trained in networks], data.shape)
