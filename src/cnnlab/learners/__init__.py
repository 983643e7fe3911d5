"""What can learn from labelled images: networks, boosted networks, and the classifiers that LeNet-5 was compared with.

A learner is a frozen dataclass; `learn` trains it on a dataset, writes what there is to see into a journal, and
returns its metrics. Everything else (plans, records, resuming, sweeps) treats all learners alike.
"""

from typing import Protocol

from cnnlab.data import Dataset
from cnnlab.journal import Journal
from cnnlab.learners.boosted import BoostedNetworks
from cnnlab.learners.classifiers import KNN, SVM, Linear, PairwiseLinear, PCAQuadratic, RBFNetwork
from cnnlab.learners.network import Network
from cnnlab.measuring import Metrics


class Learner(Protocol):
    """Something that learns to tell classes of images apart."""

    def describe(self, data: Dataset) -> str:
        """The learner as text; ValueError, in one line, if it cannot learn this data."""

    def learn(self, data: Dataset, seed: int, journal: Journal) -> Metrics:
        """Train on the data, test if there are test images, and write epochs and pictures into the journal.

        Returns the metrics that are known once, at the end.
        """


__all__ = [
    "KNN",
    "SVM",
    "BoostedNetworks",
    "Learner",
    "Linear",
    "Network",
    "PCAQuadratic",
    "PairwiseLinear",
    "RBFNetwork",
]
