"""Which images train and which validate: decided by the labels alone, the same in every run."""

import numpy as np
from numpy.typing import NDArray

from cnnlab.data.dataset import Images, whole

SPLIT_SEED = 1998  # never the seed of a run: runs that differ in seed must share their test images


def stratified_order(labels: NDArray[np.int64]) -> NDArray[np.intp]:
    """A fixed shuffle whose every prefix has the class proportions of the whole, to an image or two.

    The k-th of the n shuffled members of a class is put at (k + 1/2) / n: that deals the classes out evenly.
    """
    # RandomState, because its stream is frozen for good; default_rng's may change with the version of NumPy.
    order = np.random.RandomState(SPLIT_SEED).permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels[order] == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(place, kind="stable")]


def hold_out(images: Images, validation: int | str, train: int | None = None) -> tuple[Images, Images]:
    """(training, validation) images: of the first `train` images, a stratified `validation` are held out.

    Both keep the order of `images`. Raises ValueError where a size does not fit.
    """
    images = first(images, "train", train)
    size = whole("validation", validation, 0, len(images) - 1)
    order = stratified_order(images.labels)
    return images[np.sort(order[size:])], images[np.sort(order[:size])]


def stratified_split(images: Images, tests: int) -> tuple[Images, Images]:
    """(training, test) images of a set that has no test images of its own: `tests` of them, stratified."""
    images = images[stratified_order(images.labels)]  # a table may be sorted by class
    return images[tests:], images[:tests]


def drawn(seed: int, *sets: Images) -> tuple[Images, ...]:
    """The sets of images in a random order, one after the other by NumPy's old generator, whose stream is frozen."""
    generator = np.random.RandomState(whole("draw", seed, 0, 2**32 - 1))
    return tuple(images[generator.permutation(len(images))] for images in sets)


def subset(images: Images, count: int, seed: int) -> Images:
    """So many of the images, drawn at random, in the order that they have; those of a seed contain each other."""
    order = np.random.RandomState(whole("subset_seed", seed, 0, 2**32 - 1)).permutation(len(images))
    return images[np.sort(order[: whole("subset", count, 1, len(images))])]


def first(images: Images, word: str, count: int | str | None) -> Images:
    """The first `count` images, or all; the word is what a ValueError calls a count that does not fit."""
    return images if count is None else images[: whole(word, count, 1, len(images))]
