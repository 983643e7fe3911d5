"""One network: trained by its recipe, tested once at the end."""

from collections.abc import Callable
from dataclasses import dataclass

from cnnlab.data import Dataset, Distortion
from cnnlab.journal import Journal
from cnnlab.measuring import Epoch, Metrics, outputs_for, scores, size, view
from cnnlab.models import describe
from cnnlab.nn import Loss, Optimizer, Schedule, Sequential
from cnnlab.training import Recipe, start, train


@dataclass(frozen=True)
class Network:
    """A network and how it is trained.

    `model` builds it, given the background and the number of classes; `augment` distorts the training images;
    every `confusion_every` epochs (0: after the last only) a view of it is kept, and the losses of the first
    `steps_recorded` updates are. An epoch shows `images_per_epoch` images (None: all of them once). Training may `stop`
    so many epochs after the one with the lowest validation error, and then goes back to that one.
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
    images_per_epoch: int | None = None
    steps_recorded: int | None = None
    stop: int | None = None

    def recipe(self, data: Dataset) -> Recipe:
        """The recipe for images like these."""
        network = self.model(background=data.normalizer.background, classes=len(data.classes))
        choices = (self.optimizer, self.schedule, self.lr, self.epochs, self.batch_size, self.reshuffle)
        more = (self.augment or Distortion(), self.images_per_epoch, self.steps_recorded or 0)
        return Recipe(network, self.loss, *choices, *more, self.stop, self.confusion_every)

    def describe(self, data: Dataset) -> str:
        """The table of its layers, which must fit each other and the images."""
        if self.stop and not len(data.val):
            raise ValueError(f"stop.patience={self.stop}: no images are held out to stop by; choose null")
        return describe(self.recipe(data).network, data.shape)

    def learn(self, data: Dataset, seed: int, journal: Journal) -> Metrics:
        """Train, going on from a checkpoint if there is one; then test, where there are test images."""
        recipe = self.recipe(data)
        training = journal.training(start(recipe, data.shape, seed))
        state = training.state
        for _ in train(recipe, state, data, training.progress):
            training.epoch()
        outputs = outputs_for(recipe.network, state.params, data, data.test)
        metrics = size(recipe.network, data.shape) | scores("test", outputs, data.test.labels, recipe.loss)
        if self.stop:
            best = state.history[state.best_epoch - 1]
            metrics |= {key: value for key, value in best.items() if key.startswith("val/")}
            metrics["stop/best_epoch"] = state.best_epoch
        if len(state.views) > 1:  # then the run's page has a slider, and it opens at epoch 0
            untrained = start(recipe, data.shape, seed).params
            state.views[0] = view(Epoch(recipe.network, untrained, self.loss, data))
        journal.trained(recipe, [state], data, outputs)
        return metrics | {"time/total_s": sum(epoch["time/epoch_s"] for epoch in state.history)}
