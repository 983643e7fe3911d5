"""How our cost grows with images and epochs: it should be in proportion to both."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import log
from statistics import linear_regression, median
from time import perf_counter

from ..data import mnist
from ..training import start, train
from .cases import EPOCH_RATE, Case
from .ours import SHAPE, recipe

IMAGES, EPOCHS, FEW = (5_000, 15_000, 30_000, 60_000), (1, 2, 4, 8), 5_000
ROUNDS = 3
Size = tuple[int, int]  # training images, epochs


def growth(network: str = "lenet5_relu", batch: int = 64) -> dict[Size, list[float]]:
    """Seconds of whole trainings, without evaluation, by size: round by round, the sizes in turns."""
    data = mnist(validation=0)
    how = recipe(Case("epoch", network, batch), EPOCH_RATE, data.normalizer.background)
    seconds: dict[Size, list[float]] = {size: [] for size in _sizes()}
    for _ in range(ROUNDS):
        for (images, epochs), measured in seconds.items():
            part, short = replace(data, train=data.train[:images]), replace(how, epochs=epochs)
            began = perf_counter()
            for _ in train(short, start(short, SHAPE, 0), part):
                pass
            measured.append(perf_counter() - began)
    return seconds


def _sizes() -> Iterator[Size]:
    """More and more images for one epoch, then more and more epochs of a few."""
    yield from ((images, 1) for images in IMAGES)
    yield from ((FEW, epochs) for epochs in EPOCHS[1:])


def exponent(seconds: Mapping[Size, list[float]]) -> float:
    """The p of ``seconds = c (images x epochs)^p``, by least squares over logarithms; 1 is in proportion."""
    work = [log(images * epochs) for images, epochs in seconds]
    return linear_regression(work, [log(median(measured)) for measured in seconds.values()]).slope


def table(seconds: Mapping[Size, list[float]]) -> str:
    """The sizes, one a row, and the exponent."""
    from tabulate import tabulate

    rows = [
        (f"{images:,}", epochs, f"{median(measured):.2f}", f"{1e6 * median(measured) / (images * epochs):.1f}")
        for (images, epochs), measured in seconds.items()
    ]
    headers = ("images", "epochs", "seconds", "microseconds per image and epoch")
    columns = tabulate(rows, headers, colalign=("right",) * 4, disable_numparse=True)
    return f"{columns}\n\nseconds grow as (images x epochs)^{exponent(seconds):.3f}"
