"""Labelled images kept as bytes, the rule that turns bytes into inputs, and the dataset made of both."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import astuple, dataclass
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.integer[Any]] | slice
LARGEST = 2**30  # bytes of pixels that are taken into memory at once


def whole(word: str, value: int | str, least: int, most: int) -> int:
    """Check that an option is a whole number from `least` to `most`, and return it; ValueError names the option."""
    if isinstance(value, Integral) and least <= value <= most:
        return int(value)
    raise ValueError(f"{word}={value}: choose a whole number from {least} to {most}")


def grounds(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How bright what each image is drawn on is, (N,): the median of its outermost pixels."""
    edge = np.ones(pixels.shape[1:3], bool)
    edge[1:-1, 1:-1] = False
    return np.median(pixels[:, edge].reshape(len(pixels), -1), axis=1)


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images: `pixels` uint8, grey (N, H, W) or colour (N, H, W, 3), and `labels` int64 (N,).

    Other arrays raise ValueError.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        kinds = (self.pixels.dtype.name, self.labels.dtype.name, self.labels.shape)
        shaped = self.pixels.ndim == 3 or (self.pixels.ndim == 4 and self.pixels.shape[3] == 3)
        if not shaped or kinds != ("uint8", "int64", self.pixels.shape[:1]):
            found = f"{self.pixels.dtype} {self.pixels.shape} and {self.labels.dtype} {self.labels.shape}"
            wanted = "pixels uint8 (N, H, W) or (N, H, W, 3) and labels int64 (N,)"
            raise ValueError(f"images: expected {wanted}, found {found}")

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: Index) -> Images:
        return Images(self.pixels[index], self.labels[index])

    @cached_property
    def digest(self) -> str:
        """The SHA-256 (hex) of shape, pixels and labels, the same on machines of either byte order."""
        sha = hashlib.sha256(repr(self.pixels.shape).encode())
        sha.update(np.ascontiguousarray(self.pixels).data)
        sha.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return sha.hexdigest()


@dataclass(frozen=True)
class Normalizer:
    """The rule from a pixel p in 0..levels to an input, the same for every colour: x = scale * p / levels + shift."""

    scale: float
    shift: float
    levels: int = 255

    @cached_property
    def table(self) -> NDArray[np.float32]:
        """The input of every possible byte, float32 (256,): with so few values, normalising is a look-up."""
        table = (self.scale * np.arange(256) / self.levels + self.shift).astype(np.float32)
        table.setflags(write=False)
        return table

    @property
    def background(self) -> float:
        """The input of an empty pixel (p = 0), which is what a border should be padded with."""
        return self.shift


RULES: dict[str, tuple[float, float] | None] = {  # scale and shift; None: what the training pixels make of it
    "lecun": (1.275, -0.1),
    "standardised": None,
    "unit": (1.0, 0.0),
    "centred": (1.0, -0.5),
    "signed": (2.0, -1.0),
}


def normalizer(name: str, train_pixels: NDArray[np.uint8], levels: int = 255) -> Normalizer:
    """The normalisation of that name; `standardised` looks at the training pixels, uint8 of any shape.

    - `lecun`: background -0.1, foreground 1.175 (LeCun, Bottou, Bengio and Haffner 1998, section II.B);
    - `standardised`: mean 0 and standard deviation 1 over the training pixels;
    - `unit`: 0 to 1;
    - `centred`: -0.5 to 0.5;
    - `signed`: -1 to 1.

    Raises ValueError on another name, and on training pixels that are all alike.
    """
    if name not in RULES:
        raise ValueError(f"normalization={name}: choose one of {', '.join(RULES)}")
    if rule := RULES[name]:
        return Normalizer(*rule, levels)
    count, total = train_pixels.size, int(train_pixels.sum(dtype=np.int64))  # no machine rounds whole numbers
    squares = int(np.square(train_pixels, dtype=np.uint16).sum(dtype=np.int64))
    spread = math.sqrt(count * squares - total**2)  # N times the standard deviation
    if spread == 0:
        raise ValueError("normalization=standardised: training pixels are all alike; choose lecun or unit")
    return Normalizer(count * levels / spread, -total / spread, levels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images in three splits, the names of their classes, and their normalisation.

    `val` holds images that are held out of training, and may be empty. With `watch_test` it is: then the test images
    are looked at after every epoch, as in papers that trained on everything, and nothing may be chosen by what is seen.
    ValueError where the splits differ in the size of their images, or a label has no class.
    """

    name: str
    train: Images
    val: Images
    test: Images
    classes: tuple[str, ...]
    normalizer: Normalizer
    watch_test: bool = False

    def __post_init__(self) -> None:
        splits = self.splits.values()
        if len({images.pixels.shape[1:] for images in splits}) > 1:
            found = ", ".join(str(images.pixels.shape) for images in splits)
            raise ValueError(f"{self.name}: expected images of one size in train, val and test, found {found}")
        labels = np.concatenate([images.labels for images in splits])
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.classes):
            found = f"{labels.min()} to {labels.max()}"
            raise ValueError(f"{self.name}: expected labels from 0 to {len(self.classes) - 1}, found {found}")
        if self.watch_test and len(self.val):
            raise ValueError(f"{self.name}: test images are watched in place of validation images, found both")

    @property
    def dark_ground(self) -> bool:
        """Whether every training image is drawn on a ground in the darkest quarter of its levels."""
        return bool((grounds(self.train.pixels) < self.normalizer.levels / 4).all())

    @property
    def splits(self) -> dict[str, Images]:
        """The three splits, by the name that their metrics have."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one input, (H, C, W): one channel for grey images, three for colour."""
        height, width, *channels = self.train.pixels.shape[1:]
        return height, channels[0] if channels else 1, width

    @cached_property
    def digest(self) -> str:
        """The SHA-256 (hex) of all that can change a result: pixels, labels, splits, classes, normalisation, watching.

        A run's identity holds it: a name alone does not prove that two runs saw the same data.
        """
        splits = [images.digest for images in self.splits.values()]
        content = [splits, self.classes, astuple(self.normalizer), self.watch_test]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def batch(self, images: Images, index: Index) -> NDArray[np.float32]:
        """The normalised inputs of those images: float32 [H, C, W, B], contiguous, batch last."""
        pixels = images.pixels[index]
        channels_last = pixels if pixels.ndim == 4 else pixels[..., None]
        return np.take(self.normalizer.table, channels_last.transpose(1, 3, 2, 0))
