"""Boosting: three networks of a kind, each trained on what those before it find hard, whose outputs are added.

LeCun et al. 1998, III-C.9, after Drucker, Schapire and Simard 1993: the second sees images half of which the
first gets wrong, the third images on which these two disagree. Both sets are drawn once, from distorted training
images, since there are not enough others; the first network is trained "the usual way", without distortions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from cnnlab.data import Dataset, Distortion, Images
from cnnlab.journal import Journal
from cnnlab.learners.network import Network
from cnnlab.measuring import Metrics, outputs_for, scores, size
from cnnlab.training import TrainingState, trained

NETWORKS = 3
DRAWN = 5_000  # images drawn at a time
PASSES = 500  # so many times the training images are drawn before the search for hard ones is given up

Answers = Callable[[Images], np.ndarray]


@dataclass(frozen=True)
class BoostedNetworks(Network):
    """Three networks like the one that is described, boosted; `augment` distorts the images that are drawn."""

    def describe(self, data: Dataset) -> str:
        """Hard images are drawn from distorted ones, so there must be distortions."""
        if not self.augment or self.augment.idle:
            raise ValueError("boosting looks for hard images among distorted ones: choose another augment than none")
        if self.steps_recorded:
            raise ValueError(f"steps_recorded={self.steps_recorded}: choose null for boosted networks")
        if self.stop:
            raise ValueError(f"stop.patience={self.stop}: choose null for boosted networks")
        return f"{NETWORKS} networks, each\n{super().describe(data)}"

    def learn(self, data: Dataset, seed: int, journal: Journal) -> Metrics:
        """Train the three, one after the other, each from its own checkpoint if there is one; test their sum."""
        network, plain, distortion = self.network(data), replace(self, augment=None), self.augment or Distortion()
        states: list[TrainingState] = []
        searched = 0.0  # seconds
        for number, find in enumerate((None, _half_wrong, _disputed)):
            images = data.train
            if find:
                rng, began = np.random.default_rng([seed, number]), perf_counter()
                images = find([_answers(state, data) for state in states], data.train, distortion, rng)
                searched += perf_counter() - began
            shown = replace(data, train=images)
            keeper = journal.keeper(number, NETWORKS)
            states.append(trained(plain, network, shown, NETWORKS * seed + number, keeper))
        means = {split: _mean(states, data, images) for split, images in data.splits.items()}
        found = {name: NETWORKS * value for name, value in size(network, data.shape).items()}
        for split, outputs in means.items():
            found |= scores(split, outputs, data.splits[split].labels, self.loss)
        seconds = searched + sum(metrics["time/epoch_s"] for state in states for metrics in state.history)
        journal.trained(self, states, data, means["test"])
        return found | {"time/total_s": seconds}


def _half_wrong(nets: list[Answers], images: Images, distortion: Distortion, rng: np.random.Generator) -> Images:
    """As many images as there are, half of which the first network gets wrong."""
    (first,), half = nets, len(images) // 2
    wrong = _drawn(images, distortion, rng, lambda drawn: first(drawn) != drawn.labels, half)
    right = _drawn(images, distortion, rng, lambda drawn: first(drawn) == drawn.labels, len(images) - half)
    return _joined([wrong, right])


def _disputed(nets: list[Answers], images: Images, distortion: Distortion, rng: np.random.Generator) -> Images:
    """As many images as there are, on which the first two networks disagree."""
    first, second = nets
    return _drawn(images, distortion, rng, lambda drawn: first(drawn) != second(drawn), len(images))


def _drawn(
    images: Images,
    distortion: Distortion,
    rng: np.random.Generator,
    wanted: Callable[[Images], np.ndarray],
    count: int,
) -> Images:
    """`count` distorted images, all of them `wanted`."""
    found: list[Images] = []
    for _ in range(-(-PASSES * len(images) // DRAWN)):
        chosen = images[rng.integers(len(images), size=DRAWN)]
        drawn = Images(distortion(chosen.pixels, rng), chosen.labels)
        found.append(drawn[np.flatnonzero(wanted(drawn))])
        if sum(map(len, found)) >= count:
            return _joined(found)[:count]
    few = sum(map(len, found))
    raise ValueError(
        f"boosting needs {count} hard images and found {few} among {PASSES * len(images):,} distorted ones: "
        "choose an augment that distorts more"
    )


def _joined(parts: list[Images]) -> Images:
    return Images(np.concatenate([p.pixels for p in parts]), np.concatenate([p.labels for p in parts]))


def _answers(state: TrainingState, data: Dataset) -> Answers:
    return lambda images: outputs_for(state.network, state.params, data, images).argmax(0)


def _mean(states: list[TrainingState], data: Dataset, images: Images) -> np.ndarray:
    """The networks' mean outputs for images, `[classes, N]`: what they say together, as large as what one says."""
    return np.mean([outputs_for(state.network, state.params, data, images) for state in states], axis=0)
