"""How test images are changed, to see what a network makes of it: shifted, turned, scaled, noisy, and how far.

Each kind of change goes in two or four directions, each in steps. Words such as `shift=4` say how far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cnnlab.data.warping import Bytes, warp
from cnnlab.spelling import guess

Change = Callable[[Bytes, int, int], Bytes]  # images changed by an amount; the last number is their brightest pixel

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


def asked(words: Sequence[str]) -> dict[str, float]:
    """How far each kind of change goes, by words such as shift=4; without words, all kinds as far as is usual.

    ValueError, in one line, for a word that says nothing of the kind.
    """
    found: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in KINDS:
            raise ValueError(f"{word}: there is no such change{guess(name, KINDS)}: choose from {', '.join(KINDS)}")
        if name in found:
            raise ValueError(f"{word}: {name}={found[name]:g} is there already; one at a time, please")
        kind = KINDS[name]
        try:
            found[name] = float(value) if isinstance(kind.default, float) else int(value)
        except ValueError:
            found[name] = 0
        if not 1 <= found[name] <= kind.most:
            number = "number" if isinstance(kind.default, float) else "whole number"
            raise ValueError(f"{name}={value}: choose a {number} from 1 to {kind.most}, as in {name}={kind.default:g}")
    return found or {name: kind.default for name, kind in KINDS.items()}
