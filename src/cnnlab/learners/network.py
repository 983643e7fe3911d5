"""One network: trained by its recipe, tested once at the end."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cnnlab.data import Dataset, Distortion
from cnnlab.journal import Journal
from cnnlab.measuring import Metrics, outputs_for, scores
from cnnlab.models import describe
from cnnlab.nn import Loss, Optimizer, Schedule, Sequential
from cnnlab.statistics import confusion_matrix
from cnnlab.training import Recipe, TrainingState, start, train


@dataclass(frozen=True)
class Network:
    """A network and how it is trained.

    `model` builds it for images with so many classes and such a background; `augment` distorts the training images;
    every `confusion_every` epochs (0: after the last only) a confusion matrix of the validation images is kept.
    """

    model: Callable[..., Sequential]
    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    lr: float
    epochs: int
    batch_size: int
    reshuffle: bool = True
    augment: Distortion | None = None
    confusion_every: int = 0

    def recipe(self, data: Dataset) -> Recipe:
        """The recipe for images like these."""
        network = self.model(background=data.normalizer.background, classes=len(data.classes))
        return Recipe(
            network,
            self.loss,
            self.optimizer,
            self.schedule,
            self.lr,
            self.epochs,
            self.batch_size,
            self.reshuffle,
            self.augment or Distortion(),
        )

    def check(self, data: Dataset) -> None:
        """The layers must fit each other and the images."""
        self.recipe(data).network.out_shape(data.shape)

    def learn(self, data: Dataset, seed: int, journal: Journal) -> Metrics:
        """Train, going on from the journal's checkpoint if there is one; then test."""
        recipe = self.recipe(data)
        state = start(recipe, data.shape, seed)
        journal.describe(describe(recipe.network, data.shape))
        journal.resume(state)
        for metrics in train(recipe, state, data, journal.progress):
            if self._confusion_is_due(len(state.history)) and len(data.val):
                state.confusions[str(len(state.history))] = _validation_confusion(recipe, state, data).tolist()
            journal.save(state)
            journal.epoch(metrics)
        for epoch, matrix in state.confusions.items():
            journal.confusion(f"val_epoch_{int(epoch):03}", np.array(matrix), data.classes)
        journal.trained(state.history, [(recipe.network, state.params)], data, recipe.distortion)
        outputs = outputs_for(recipe.network, state.params, data, data.test)
        journal.answers(outputs, data)
        cost = recipe.network.cost(data.shape)
        return scores("test", outputs, data.test.labels) | {
            "test/loss": recipe.loss(outputs, data.test.labels)[0],
            "time/total_s": sum(metrics["time/epoch_s"] for metrics in state.history),
            "size/parameters": cost.parameters,
            "size/macs": cost.macs,
        }

    def _confusion_is_due(self, epoch: int) -> bool:
        return epoch == self.epochs or bool(self.confusion_every and epoch % self.confusion_every == 0)


def _validation_confusion(recipe: Recipe, state: TrainingState, data: Dataset) -> np.ndarray:
    answers = outputs_for(recipe.network, state.params, data, data.val).argmax(0)
    return confusion_matrix(data.val.labels, answers, len(data.classes))
