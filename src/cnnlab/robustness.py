"""How a finished run's network answers the test images when these are shifted, turned, scaled or noisy.

Each kind of change goes in two or four directions, each in steps: the test error at every step, in per cent, is the
metric `test_error_percent/KIND_DIRECTION` of the run, so that MLflow draws error over amount.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cnnlab import plots
from cnnlab.composing import load
from cnnlab.config import targets
from cnnlab.data import Dataset
from cnnlab.data.warping import Bytes, warp
from cnnlab.locks import locked
from cnnlab.measuring import scores
from cnnlab.networks import trusted
from cnnlab.predictor import Predictor
from cnnlab.runs import threads
from cnnlab.tracking import records
from cnnlab.tracking.log import RunLog
from cnnlab.tracking.store import Study, state_folder

Curve = dict[int, float]  # test error in per cent, by amount
Change = Callable[[Bytes, int, int], Bytes]  # images changed by an amount; the last number is their brightest pixel

FAMILY = "test_error_percent"
PIECE = 1000  # images that get noise together
SEED = 0  # of the noise, so that it is the same for every run


def moved(pixels: Bytes, down: float = 0, right: float = 0, size: float = 1, turn: float = 0) -> Bytes:
    """Images shifted by so many pixels, made `size` times as large and turned to the left by `turn` degrees.

    But for the shift their middle is fixed; what comes in from outside is background.
    """
    height, width = pixels.shape[1:3]
    cos, sin = math.cos(math.radians(turn)) / size, math.sin(math.radians(turn)) / size
    y, x = np.arange(height)[:, None] - (height - 1) / 2 - down, np.arange(width) - (width - 1) / 2 - right
    places = (cos * y + sin * x + (height - 1) / 2, cos * x - sin * y + (width - 1) / 2)
    rows, columns = (np.broadcast_to(place.astype(np.float32), pixels.shape[:3]) for place in places)
    return warp(pixels, rows, columns)


def gaussian(pixels: Bytes, amount: int, levels: int) -> Bytes:
    """Images with Gaussian noise, whose standard deviation is so many per cent of the range from black to white."""
    rng, deviation = np.random.default_rng(SEED), np.float32(amount / 100 * levels)

    def noisy(piece: Bytes) -> Bytes:
        drawn = piece + deviation * rng.standard_normal(piece.shape, np.float32)
        return np.rint(drawn).clip(0, levels).astype(np.uint8)

    return _by_pieces(noisy, pixels)


def salt_and_pepper(pixels: Bytes, amount: int, levels: int) -> Bytes:
    """Images of which so many per cent of the pixels are replaced: half of these by black ones, half by white ones."""
    rng, half = np.random.default_rng(SEED), amount / 200

    def noisy(piece: Bytes) -> Bytes:
        drawn = rng.random(piece.shape[:3]).reshape(*piece.shape[:3], *(1 for _ in piece.shape[3:]))
        return np.where(drawn < half, 0, np.where(drawn >= 1 - half, levels, piece)).astype(np.uint8)

    return _by_pieces(noisy, pixels)


def _by_pieces(change: Callable[[Bytes], Bytes], pixels: Bytes) -> Bytes:
    return np.concatenate([change(pixels[first : first + PIECE]) for first in range(0, len(pixels), PIECE)])


@dataclass(frozen=True)
class Direction:
    """A change of images in one direction, and the largest amount that a word asks for."""

    change: Change
    reach: Callable[[float], float] = float


@dataclass(frozen=True)
class Kind:
    """A kind of change: the unit of its amounts, which are `every` so many, and its directions.

    Its word says how far to go: `default` unless said, at most `most`.
    """

    unit: str
    every: int
    default: float
    most: int
    directions: Mapping[str, Direction]

    def amounts(self, direction: str, word: float) -> list[int]:
        """From 0 to what the word asks for in that direction, and that itself."""
        largest = math.floor(self.directions[direction].reach(word) + 1e-9)
        return [*range(0, largest, self.every), largest]


KINDS = {
    "shift": Kind(
        "pixels",
        every=1,
        default=4,
        most=99,
        directions={
            "up": Direction(lambda pixels, amount, _: moved(pixels, down=-amount)),
            "down": Direction(lambda pixels, amount, _: moved(pixels, down=amount)),
            "left": Direction(lambda pixels, amount, _: moved(pixels, right=-amount)),
            "right": Direction(lambda pixels, amount, _: moved(pixels, right=amount)),
        },
    ),
    "rotation": Kind(
        "degrees",
        every=5,
        default=45,
        most=180,
        directions={
            "left": Direction(lambda pixels, amount, _: moved(pixels, turn=amount)),
            "right": Direction(lambda pixels, amount, _: moved(pixels, turn=-amount)),
        },
    ),
    "scale": Kind(  # scale=2: to twice the size, which is 100% larger, and to half of it, which is 50% smaller
        "% larger or smaller",
        every=10,
        default=2.0,
        most=10,
        directions={
            "larger": Direction(
                lambda pixels, amount, _: moved(pixels, size=1 + amount / 100), lambda factor: 100 * factor - 100
            ),
            "smaller": Direction(
                lambda pixels, amount, _: moved(pixels, size=1 - amount / 100), lambda factor: 100 - 100 / factor
            ),
        },
    ),
    "noise": Kind(
        "%",
        every=2,
        default=10,
        most=100,
        directions={"gaussian": Direction(gaussian), "salt_and_pepper": Direction(salt_and_pepper)},
    ),
}


def metric(kind: str, direction: str) -> str:
    """The name of the metric that a run has for a kind of change in a direction."""
    return f"{FAMILY}/{kind}_{direction}"


@dataclass(frozen=True)
class Evaluated:
    """What a run answered its test by: the data and its networks."""

    data: Dataset
    predictor: Predictor
    threads: int

    @classmethod
    def of(cls, study: Study, run: Any) -> Evaluated:
        """Those of a finished run. ValueError or OSError, in one line, where it has no network or its data are gone."""
        config, predictor = records.config(study, run), records.predictor(study, run)
        for target in targets(config["data"]):
            if not trusted(target):
                package = target.partition(".")[0]
                raise ValueError(f"{target} reads its images: if you trust that, say CNNLAB_TRUST={package}")
        data = load(config["data"])
        if data.digest != run.data.tags["data.digest"]:
            raise ValueError(f"the images of data={run.data.params['data']} are others now than when it was made")
        return cls(data, predictor, config["threads"])

    def error_percent(self, kind: str, direction: str, amount: int) -> float:
        """The error in per cent when the test images are changed by this amount."""
        if not amount:
            return self._plain
        change, levels = KINDS[kind].directions[direction].change, self.data.normalizer.levels
        return self._error_percent(change(self.data.test.pixels, amount, levels))

    @cached_property
    def _plain(self) -> float:
        return self._error_percent(self.data.test.pixels)

    def _error_percent(self, pixels: Bytes) -> float:
        return scores("test", self.predictor.outputs(pixels), self.data.test.labels)["test/error_percent"]


def evaluate(study: Study, run: Any, words: Mapping[str, float]) -> Iterator[tuple[str, dict[str, Curve], bool]]:
    """The test error of a finished run under each kind of change, as far as `words` say; it becomes part of the run.

    Gives each kind, its curves by direction, and whether any of it was new. What the run knows already is not
    computed again, so what was cut off goes on with the kind that it was at. ValueError or OSError, in one line, where
    the run cannot be evaluated.
    """
    subject: Evaluated | None = None
    busy = f"waiting for another process, which evaluates {run.info.run_name}"
    with locked(state_folder() / f"evaluate-{run.info.run_id}.lock", lambda: print(busy, flush=True)):
        curves = {
            name: {each: records.curve(study, run, metric(name, each)) for each in kind.directions}
            for name, kind in KINDS.items()
        }
        for kind, word in words.items():
            todo = [
                (direction, amount)
                for direction in KINDS[kind].directions
                for amount in KINDS[kind].amounts(direction, word)
                if amount not in curves[kind][direction]
            ]
            if todo:
                subject = subject or Evaluated.of(study, run)
                with threads(subject.threads):
                    for direction, amount in todo:
                        curves[kind][direction][amount] = subject.error_percent(kind, direction, amount)
                _keep(study, run, kind, todo, curves)
            yield kind, curves[kind], bool(todo)


def _keep(
    study: Study, run: Any, kind: str, new: Sequence[tuple[str, int]], curves: Mapping[str, Mapping[str, Curve]]
) -> None:
    """Write down what is new of a kind: the picture first, so that it has all that the run's metrics have."""
    shown = {f"{name} ({KINDS[name].unit})": lines for name, lines in curves.items() if any(lines.values())}
    with RunLog.reopened(study, run.info.run_id) as log:
        log.figure("plots/robustness.png", plots.robustness, shown, "test error on changed images")
        log.upload()
        for step in sorted({amount for _, amount in new}):
            found = {direction: curves[kind][direction][step] for direction, amount in new if amount == step}
            log.metrics({metric(kind, direction): error for direction, error in found.items()}, step)
