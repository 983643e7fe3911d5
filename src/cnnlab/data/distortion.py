"""Random distortions of the training images: whole pixels, planar affine maps, elastic fields, all in one warp."""

import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np

from cnnlab.data.warping import Bytes, Floats, warp
from cnnlab.nn.options import Fraction, Limit, TypeChecked

PIECE = 128  # images that are warped together: few enough for the processor's cache
STEPS = np.array([[0, -1, 1, 0, 0], [0, 0, 0, -1, 1]])  # rows, columns


def _within(low: float, high: float, kind: str = "a number") -> Limit:
    return Limit(f"{kind} from {low} to {high}", lambda value: low <= value <= high)


@dataclass(frozen=True)
class Distortion(TypeChecked):
    """Distorted copies of images, new ones at each call; with amplitudes of 0, the images themselves.

    Each image is distorted by numbers of its own, uniform between minus and plus the amplitudes:

    - `shift`: whole pixels up, down, left or right, or (one time in five) not at all: the five positions of
      Nielsen, "Neural Networks and Deep Learning" (2015), chapter 6;
    - `translation`: pixels, vertically and horizontally;
    - `scale`: a fraction a; the image becomes (1 + a)^u times as large, u in -1..1;
    - `squeeze`: a fraction a; it becomes (1 + a)^u times as wide and (1 + a)^-u times as high;
    - `shear`: horizontal, pixels to the right for each pixel up;
    - `rotation`: radians;
    - `alpha`, `sigma`: an elastic field, which is noise in -1..1 smoothed by a Gaussian of `sigma` pixels and
      multiplied by `alpha`. It moves a pixel by alpha / (2 sigma sqrt(3 pi)) pixels (rms) along each axis.

    Translation, scale, squeeze and shear are those of LeCun, Bottou, Bengio and Haffner 1998, section III.A,
    which gives no amplitudes; the field is that of Simard, Steinkraus and Platt 2003 (often quoted: alpha 34,
    sigma 4). The middle of the image is fixed but for shift, translation and field; what comes in from
    outside is 0. ValueError on an amplitude that cannot be.
    """

    shift: Annotated[int, _within(0, 99, "a whole number")] = 0
    translation: Annotated[float, _within(0, 99)] = 0.0
    scale: Fraction = 0.0
    squeeze: Fraction = 0.0
    shear: Fraction = 0.0
    rotation: Annotated[float, _within(0, 3.1416)] = 0.0
    alpha: Annotated[float, _within(0, 999)] = 0.0
    sigma: Annotated[float, _within(1, 99)] = 4.0

    @property
    def idle(self) -> bool:
        """Whether all amplitudes are 0, so that nothing is ever changed."""
        return not any(astuple(self)[:-1])

    def __call__(self, pixels: Bytes, rng: np.random.Generator) -> Bytes:
        """A distorted copy of each image, (N, H, W) or (N, H, W, 3), whose colours move together."""
        if self.idle:
            return pixels
        pieces = (pixels[first : first + PIECE] for first in range(0, len(pixels), PIECE))
        return np.concatenate([pixels[:0], *(warp(piece, *self.places(piece.shape[:3], rng)) for piece in pieces)])

    def places(self, shape: tuple[int, ...], rng: np.random.Generator) -> Iterator[Floats]:
        """Where in its image each new pixel comes from: rows (N, H, W), then columns."""
        count, *sizes = shape
        matrix, move = self._affine(count, rng)
        field = self._field(shape, rng) if self.alpha else np.zeros((2, 1, 1, 1), np.float32)
        middle = [np.float32((size - 1) / 2) for size in sizes]
        down, right = (np.arange(sizes[i], dtype=np.float32) - middle[i] - move[i, :, None] for i in (0, 1))
        for axis in (0, 1):
            by_row, by_column = matrix[axis, 0, :, None] * down, matrix[axis, 1, :, None] * right
            yield (by_row + middle[axis])[:, :, None] + by_column[:, None] + field[axis]

    def _affine(self, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """What undoes the affine maps, (2, 2, N), after their moves (2, N) are undone; rows before columns."""
        scale, squeeze, shear, turn, *translation = rng.uniform(-1, 1, (6, count))
        smaller = (1 + self.scale) ** -scale
        lower, narrower = smaller * (1 + self.squeeze) ** squeeze, smaller * (1 + self.squeeze) ** -squeeze
        slant, cos, sin = self.shear * shear, np.cos(self.rotation * turn), np.sin(self.rotation * turn)
        matrix = [[lower * cos, lower * sin], [narrower * (slant * cos - sin), narrower * (slant * sin + cos)]]
        step = STEPS[:, rng.integers(5, size=count)]
        move = self.translation * np.array(translation) + self.shift * step
        return np.array(matrix, np.float32), move.astype(np.float32)

    def _field(self, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Elastic displacements, (2, N, H, W): G noise G', as a Gaussian smooths along one axis after the other."""
        count, height, width = shape
        vertical, horizontal = _smoothing(height, self.sigma), _smoothing(width, self.sigma)
        noise = rng.random((2, count, vertical.shape[1], horizontal.shape[1]), np.float32)
        noise -= np.float32(0.5)
        noise *= np.float32(2 * self.alpha / (2 * self.sigma * math.sqrt(math.pi)))  # a Gaussian's own norm
        return vertical @ (noise @ horizontal.T)


@lru_cache
def _smoothing(size: int, sigma: float) -> Floats:
    """A matrix (size, points) that smooths noise along one axis by a Gaussian, and keeps its variance.

    The points are `sigma` apart: what is left of noise after smoothing shows no difference from noise at
    every pixel (its variance ripples by 0.02 %).
    """
    points = np.arange(-sigma, size + 2 * sigma, sigma)
    weights = np.exp(-((np.arange(size)[:, None] - points) ** 2) / (2 * sigma**2))
    return (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)
