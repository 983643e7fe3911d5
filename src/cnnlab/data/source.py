"""How a set of images becomes a dataset: a source reads it, and what is done to the images is written once, here.

A new set is a function that returns `RawData`, decorated by `source`, and a file in `conf/data/` that names it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, get_type_hints

from cnnlab.data.dataset import Dataset, Images, normalizer
from cnnlab.data.deslant import deslanted
from cnnlab.data.scaling import enlarged, scaled
from cnnlab.data.splits import drawn, first, hold_out, subset
from cnnlab.paths import data_folder


@dataclass(frozen=True)
class RawData:
    """What a source reads: images for training and for the test, the names of the classes, the brightest pixel."""

    name: str
    train: Images
    test: Images
    classes: tuple[str, ...]
    levels: int = 255


@dataclass(frozen=True)
class Choices:
    """What is done to the images of any source, in this order:

    - `train`, `test`: only the first so many images (None: all), or with `draw` so many drawn at random by that seed;
      with `test` "hidden" there are no test images at all, so that nothing can be chosen by them;
    - `validation`: so many are held out of the training images; "test" holds out none and watches the test images
      (see `Dataset`);
    - `subset`: only so many of the training images that are left, drawn at random by `subset_seed` (None: 0);
    - `enlarge`: each pixel becomes a square of that side;
    - `deslant`: grey images are made upright and cropped to 20x20 (see `deslanted`);
    - `size`, `margin`: what an image shows is scaled to a square of that side, and put in a frame (see `scaled`);
      with `resize` "bilinear" the whole image is, by interpolation;
    - `normalization`: from bytes to inputs (see `normalizer`).

    `folder` is where a source that reads files looks: by default `CNNLAB_DATA`, else `data/`.
    """

    normalization: str = "standardised"
    validation: int | str = 0
    train: int | None = None
    test: int | str | None = None
    size: int | None = None
    margin: int = 0
    draw: int | None = None
    resize: str = "area"
    enlarge: int = 1
    deslant: bool = False
    folder: str | Path | None = None
    subset: int | None = field(default=None, kw_only=True)
    subset_seed: int | None = field(default=None, kw_only=True)

    def dataset(self, raw: RawData) -> Dataset:
        """The dataset of these choices. Raises ValueError, in one line, where a choice does not fit."""
        if not (raw.train.pixels.size and raw.test.pixels.size):
            found = f"{raw.train.pixels.shape} and {raw.test.pixels.shape}"
            raise ValueError(f"{raw.name}: expected images for training and for the test, found {found}")
        if isinstance(self.validation, str) and self.validation != "test":
            raise ValueError(f"validation={self.validation}: choose a whole number from 0 up, or test")
        watch = self.validation == "test"
        training, tests = (raw.train, raw.test) if self.draw is None else drawn(self.draw, raw.train, raw.test)
        train, val = hold_out(training, 0 if watch else self.validation, self.train)
        if self.subset is not None:
            train = subset(train, self.subset, self.subset_seed or 0)
        elif self.subset_seed is not None:
            raise ValueError(f"subset_seed={self.subset_seed}: choose null, or how many images with subset=")
        tested = tests[:0] if self.test == "hidden" else first(tests, "test", self.test)
        train, val, test = (self._processed(images) for images in (train, val, tested))
        rule = normalizer(self.normalization, train.pixels, raw.levels)
        return Dataset(raw.name, train, val, test, raw.classes, rule, watch)

    def _processed(self, images: Images) -> Images:
        large = enlarged(images, self.enlarge)
        return scaled(deslanted(large) if self.deslant else large, self.size, self.margin, self.resize)


def source(**defaults: Any) -> Callable[[Callable[..., RawData]], Callable[..., Dataset]]:
    """A decorator: turns a function that returns `RawData` into one that returns a `Dataset`.

    The new one takes the arguments of `Choices`, with these defaults, and as keywords those of the function itself,
    which is given its `folder`, if it has such an argument, as a Path.
    """

    def decorate(read: Callable[..., RawData]) -> Callable[..., Dataset]:
        own = inspect.signature(read).parameters
        common = inspect.signature(Choices).parameters
        parameters = [
            *(each.replace(default=defaults.get(name, each.default)) for name, each in common.items()),
            *(each.replace(kind=each.KEYWORD_ONLY) for name, each in own.items() if name not in common),
        ]
        signature = inspect.Signature(parameters, return_annotation=Dataset)

        @wraps(read)
        def load(*arguments: Any, **words: Any) -> Dataset:
            said = signature.bind(*arguments, **words).arguments
            choices = Choices(**defaults | {name: value for name, value in said.items() if name in common})
            given = {name: value for name, value in said.items() if name not in common}
            folder = {"folder": data_folder(choices.folder)} if "folder" in own else {}
            return choices.dataset(read(**given, **folder))

        load.__annotations__ = read.__annotations__ | get_type_hints(Choices) | {"return": Dataset}
        load.__signature__ = signature  # type: ignore[attr-defined]
        return load

    return decorate
