"""The journal of a run: what a learner writes down while it learns, and where it can go on after a kill."""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cnnlab import plots
from cnnlab.checkpoint import Checkpoints
from cnnlab.data import Dataset
from cnnlab.measuring import Metrics
from cnnlab.networks import network_bytes
from cnnlab.nn import Array
from cnnlab.report.tables import as_csv
from cnnlab.statistics import confusion_matrix
from cnnlab.tracking.access import without_password
from cnnlab.tracking.log import DIVERGED, PRUNED, REASON, RunLog
from cnnlab.training import Diverged, Recipe, TrainingState

ON_PAGE = 4  # epochs whose pictures are on a run's page, 0 among them: their drawing takes a tenth of a second
KERNELS = "first-layer kernels"  # a title


class Stopped(Exception):
    """Raised by a watcher that has seen enough of a run: it ends there, with this as the reason."""


class Watcher:
    """Somebody who is told how far a run is; this one does nothing with it."""

    def progress(self, done: int, total: int, batch: int, loss: float, accuracy: float) -> None:
        """`done` of `total` images so far, `batch` of them just now; loss and accuracy of this epoch so far."""

    def epoch(self, metrics: Metrics) -> None:
        """An epoch has ended with these metrics, now or, of a resumed run, earlier; may raise Stopped."""


@dataclass(frozen=True)
class Journal:
    """What a run writes down: epochs and files in its record, training states in checkpoints, progress to a watcher."""

    log: RunLog
    checkpoints: Checkpoints
    watcher: Watcher
    history: list[Metrics] = field(default_factory=list)  # of all epochs

    @property
    def last(self) -> Metrics:
        """The metrics of the newest epoch."""
        return self.history[-1] if self.history else {}

    def keeper(self, number: int = 0, count: int = 1) -> "KeptTraining":
        """Who keeps the training of this `number`, from 0, of the `count` of a run, which follow one another."""
        return KeptTraining(self, number, count, len(self.history))

    def finished(self, metrics: Metrics) -> None:
        """The end: what is known once, at step 0; a metric that epochs have too goes to a step after the last epoch.

        A store shows the value of the highest step: so of boosted networks that of all together, not of the last one.
        The checkpoints go when the record is closed; a kill in between leaves them marked as those of a whole run.
        """
        again = {name: value for name, value in metrics.items() if name in self.last}
        self.log.metrics({name: value for name, value in metrics.items() if name not in again})
        if again:
            self.log.metrics(again, len(self.history) + 1)
        self._over("FINISHED")

    def stopped(self, reason: str) -> None:
        """The end of a run that its watcher has seen enough of: it is not to be gone on with."""
        self.log.tag(PRUNED, reason)
        self.log.text("history.csv", as_csv(self.history))
        self._over("KILLED")

    def _over(self, status: str) -> None:
        self.log.upload()
        self.checkpoints.retire()
        self.log.close(status)
        self.checkpoints.forget()

    def failed(self, error: Exception, reason: str) -> None:
        """The end after an error: its reason in a line, where it diverged, and the traceback."""
        if isinstance(error, Diverged):
            self.log.tag(DIVERGED, f"step {error.step}")
        self.log.tag(REASON, reason)
        self.log.text("traceback.txt", without_password("".join(traceback.format_exception(error))))
        self.log.upload()
        self.log.close("FAILED")

    def answers(self, outputs: Array, data: Dataset) -> None:
        """The answers to the test images, of outputs `[classes, N]`: all of them, their confusion, the worst mistakes.

        The worst are those whose answer outscores the truth by the largest margin.
        """
        labels, answers = data.test.labels, outputs.argmax(0)
        if not len(labels):
            return
        small = np.min_scalar_type(len(data.classes))  # a byte for each, but where there are hundreds of classes
        self._confusion("test", confusion_matrix(labels, answers, len(data.classes)), data)
        self.log.arrays("answers.npz", answers=answers.astype(small), labels=labels.astype(small))
        margin = outputs.max(0) - outputs[labels, np.arange(len(labels))]
        worst = (data.test.pixels, labels, answers, margin, data.classes)
        self.log.figure("plots/mistakes.png", plots.mistakes, *worst)

    def _confusion(self, name: str, matrix: Array, data: Dataset, epoch: int | None = None) -> None:
        """A confusion matrix as numbers and as a picture, which an epoch puts on the run's page; of epoch 0 no more."""
        if epoch != 0:
            self.log.json(f"confusion/{name}.json", {"classes": data.classes, "rows are truth": matrix.tolist()})
        file, drawn = f"confusion/{name}.png", (plots.confusion, matrix, data.classes, name.replace("_", " "))
        if epoch is None:
            self.log.figure(file, *drawn)
        else:
            self.log.picture("confusion", epoch, *drawn, file=file if epoch else "")

    def _views(self, views: Mapping[int, Mapping[str, Array]], weights: Array, data: Dataset) -> bool:
        """What there was to see of a network after some epochs, beside a slider over these on the run's page.

        Epoch 0 is the untrained network. Of many epochs a few are on the page, the first and the last among them;
        confusion matrices of all trained ones are kept. Kernels that are the network's own, its first `weights`, are
        kept as a file, too; returns whether some are.
        """
        kept, epochs = False, sorted(views)
        count = min(ON_PAGE, sum(epoch > 0 for epoch in epochs))
        places = np.linspace(len(epochs) - 1, 0, count).round().astype(int)  # of one alone: the last
        shown = {epochs[place] for place in places}
        for epoch, view in sorted(views.items()):
            if "confusion" in view:
                name = f"val_epoch_{epoch:03}"
                self._confusion(name, view["confusion"], data, epoch if epoch in shown else None)
            if epoch in shown:
                drawn, own = (plots.kernels, view["kernels"], KERNELS, data.shape), (view["kernels"] == weights).all()
                self.log.picture("kernels", epoch, *drawn, file="plots/kernels.png" if own else "")
                kept |= bool(own)
                self.log.picture("activations", epoch, plots.activations, view, "what each layer makes of an image")
        return kept

    def trained(self, recipe: Recipe, states: Sequence[TrainingState], data: Dataset, outputs: Array) -> None:
        """What a training leaves, or several of networks whose `outputs` for the test images add up.

        The answers, curves, first kernels, distorted images, the networks themselves, and views of a single one.
        """
        weights = next(params["W"] for params in states[0].params.values() if "W" in params)
        views = states[0].views if len(states) == 1 else {}
        shown = self._views(views, weights, data)
        self.answers(outputs, data)
        if not shown:
            self.log.figure("plots/kernels.png", plots.kernels, weights, KERNELS, data.shape)
        if recipe.augment and not recipe.augment.idle:
            distorted = (data.train.pixels[:100], recipe.augment, "training images and distorted copies")
            self.log.figure("plots/distortions.png", plots.distortions, *distorted)
        self.log.figure("plots/learning_curves.png", plots.learning_curves, self.history, "learning curves")
        norms = (self.history, "grad_norm", "gradient norms", "gradient norm")
        self.log.figure("plots/gradient_norms.png", plots.by_layer, *norms, log=True)
        self.log.curve("first_steps/loss", states[0].losses)
        self.log.text("history.csv", as_csv(self.history))
        about = (data.shape, data.normalizer, data.classes, data.dark_ground)
        networks = [network_bytes(state.network, state.params, *about) for state in states]
        self.log.model(networks, data.shape)


@dataclass(frozen=True)
class KeptTraining:
    """One of a run's trainings, whose state is kept after each epoch, so that a kill costs one at most.

    It is the training of this `number` of `count`, and the run has had so many epochs `before`.
    """

    journal: Journal
    number: int
    count: int
    before: int

    @property
    def part(self) -> str:
        """The ending of its checkpoint's name."""
        return f".{self.number}" if self.count > 1 else ""

    def restore(self, state: TrainingState) -> None:
        """Bring a fresh state to where an earlier try was cut off, and write down the epochs that it had."""
        if done := self.journal.checkpoints.restore(state, self.part):
            self.journal.log.tag("cnnlab.resumed_after_epoch", str(self.before + done))
            self._write_down(state.history)

    def progress(self, done: int, total: int, batch: int, loss: float, accuracy: float) -> None:
        """Show how far the run is; raises what has gone wrong with its record meanwhile."""
        self.journal.log.check()
        self.journal.watcher.progress(self.number * total + done, self.count * total, batch, loss, accuracy)

    def epoch(self, state: TrainingState) -> None:
        """Keep the state after an epoch, once the run has a record, and write down the epoch's metrics."""
        self.journal.log.check(begun=True)
        self.journal.checkpoints.save(state, self.part)
        self._write_down(state.history[-1:])

    def _write_down(self, history: Sequence[Metrics]) -> None:
        """Write these epochs' metrics into the record, numbered on from those before, and tell the watcher."""
        for metrics in history:
            numbered = metrics | {"epoch": self.before + metrics["epoch"]}
            self.journal.history.append(numbered)
            self.journal.log.epoch(numbered)
            self.journal.watcher.epoch(numbered)
