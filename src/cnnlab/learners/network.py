"""One network: trained by its recipe, tested once at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field

from cnnlab.data import Dataset
from cnnlab.journal import Journal
from cnnlab.measuring import Epoch, Metrics, outputs_for, scores, size, view
from cnnlab.models import describe
from cnnlab.nn import Sequential
from cnnlab.training import Recipe, start, trained


@dataclass(frozen=True)
class Network(Recipe):
    """A network and how it is trained; `model` builds it, given the background and the number of classes."""

    model: Callable[..., Sequential] = field(kw_only=True)

    def network(self, data: Dataset) -> Sequential:
        """The network for images like these."""
        return self.model(background=data.normalizer.background, classes=len(data.classes))

    def describe(self, data: Dataset) -> str:
        """The table of its layers, which must fit each other and the images."""
        if self.stop and not len(data.val):
            raise ValueError(f"stop.patience={self.stop}: no images are held out to stop by; choose null")
        return describe(self.network(data), data.shape)

    def learn(self, data: Dataset, seed: int, journal: Journal) -> Metrics:
        """Train, going on from a checkpoint if there is one; then test, where there are test images."""
        network = self.network(data)
        state = trained(self, network, data, seed, journal.keeper())
        outputs = outputs_for(network, state.params, data, data.test)
        metrics = size(network, data.shape) | scores("test", outputs, data.test.labels, self.loss)
        if self.stop:
            best = state.history[state.best_epoch - 1]
            metrics |= {key: value for key, value in best.items() if key.startswith("val/")}
            metrics["stop/best_epoch"] = state.best_epoch
        if len(state.views) > 1:  # then the run's page has a slider, and it opens at epoch 0
            untrained = start(self, network, data.shape, seed).params
            state.views[0] = view(Epoch(network, untrained, self.loss, data))
        journal.trained(self, [state], data, outputs)
        return metrics | {"time/total_s": sum(epoch["time/epoch_s"] for epoch in state.history)}
