"""Boosting: three networks of a kind, each trained on what those before it find hard, whose outputs are added.

LeCun et al. 1998, III-C.9, after Drucker, Schapire and Simard 1993: the second sees images half of which the
first gets wrong, the third images on which these two disagree. Both sets are drawn once, from distorted training
images, since there are not enough others; the first network is trained "the usual way", without distortions.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from .checkpoint import save_state
from .config import Plan
from .data import Dataset, Distortion, Images
from .metrics import accuracy
from .models import describe
from .recording import checked, keep_circumstances, keep_distortion, keep_test, keep_training, resume
from .tracking.log import RunLog
from .training import Parts, Recipe, Record, State, Tick, predict, start, train

NETWORKS = 3
DRAWN = 5_000  # images drawn at a time
PASSES = 500  # so many times the training images are drawn before the search for hard ones is given up

Answers = Callable[[Images], np.ndarray]


def boosted(plan: Plan, parts: Parts, log: RunLog, checkpoint: Path, tick: Tick) -> Record:
    """Train the three, one after the other, and test their sum; the metrics of the test."""
    data, recipe, seed = parts.data, parts.recipe, plan.config["seed"]
    plain = replace(recipe, distortion=Distortion())
    keep_circumstances(plan, data, log)
    log.text("config/network.txt", describe(recipe.network, data.shape) + "\n")
    states: list[State] = []
    history: list[Record] = []  # of all three, one after the other
    searched = 0.0  # seconds

    def keep(record: Record) -> None:
        history.append(record | {"epoch": len(history) + 1})
        log.epoch(history[-1])

    for number, find in enumerate((None, _half_wrong, _disputed)):
        images = data.train
        if find:
            rng, began = np.random.default_rng([seed, number]), perf_counter()
            images = find([_answers(recipe, state, data) for state in states], data.train, recipe.distortion, rng)
            searched += perf_counter() - began
        state, place = start(plain, data.shape, NETWORKS * seed + number), checkpoint.with_suffix(f".{number}.npz")
        resume(place, state, log, len(history))
        for record in state.history:
            keep(record)
        for record in train(plain, state, replace(data, train=images), checked(log, tick)):
            log.check(begun=True)
            save_state(place, state)
            keep(record)
        states.append(state)
    keep_distortion(recipe.distortion, data, log)
    keep_training(history, [(recipe.network, state.params) for state in states], data, log)
    metrics = _tested(recipe, states, data, log)
    metrics["time/total_s"] = searched + sum(record["time/epoch_s"] for record in history)
    log.metrics(metrics, NETWORKS * recipe.epochs)
    return metrics


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
    """That many distorted images that are wanted."""
    found: list[Images] = []
    for _ in range(-(-PASSES * len(images) // DRAWN)):
        chosen = images[rng.integers(len(images), size=DRAWN)]
        drawn = Images(distortion(chosen.pixels, rng), chosen.labels)
        found.append(drawn[np.flatnonzero(wanted(drawn))])
        if sum(map(len, found)) >= count:
            return _joined(found)[:count]
    few = sum(map(len, found))
    raise ValueError(f"boost=true: of {PASSES} times the training images only {few} of {count} were hard; distort more")


def _joined(parts: list[Images]) -> Images:
    return Images(np.concatenate([p.pixels for p in parts]), np.concatenate([p.labels for p in parts]))


def _answers(recipe: Recipe, state: State, data: Dataset) -> Answers:
    return lambda images: predict(recipe.network, state.params, data, images).argmax(0)


def _tested(recipe: Recipe, states: list[State], data: Dataset, log: RunLog) -> Record:
    """What the sum of the outputs is worth, on test, training and validation images as they are.

    A loss is that of their mean, which is as large as the outputs of one network.
    """

    def outputs(images: Images) -> np.ndarray:
        return sum(predict(recipe.network, state.params, data, images) for state in states)  # type: ignore[return-value]

    cost = recipe.network.cost(data.shape)
    found: Record = {}
    splits = {"train": data.train, "val": data.val, "test": data.test}
    summed = {split: outputs(images) for split, images in splits.items() if len(images)}
    for split, sums in summed.items():
        labels = splits[split].labels
        found[f"{split}/loss"] = recipe.loss(sums / NETWORKS, labels)[0]
        found[f"{split}/accuracy"] = accuracy(labels, sums.argmax(0))
    found |= keep_test(summed["test"], data, log)
    return found | {"size/parameters": NETWORKS * cost.parameters, "size/macs": NETWORKS * cost.macs}
