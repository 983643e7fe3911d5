"""A recipe together with the network that it is for, as tests of the training loop pass them around."""

from dataclasses import dataclass, field

from cnnlab.data import Dataset
from cnnlab.nn import Sequential
from cnnlab.training import Recipe, TrainingState, start


@dataclass(frozen=True)
class Training(Recipe):
    """How a network is trained, and which."""

    network: Sequential = field(kw_only=True)

    def start(self, data: Dataset, seed: int = 0) -> TrainingState:
        """The state before the first epoch."""
        return start(self, self.network, data.shape, seed)
