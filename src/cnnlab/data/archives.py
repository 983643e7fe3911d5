"""MNIST and its drop-in replacement Fashion-MNIST, read from four IDX files under their original names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cnnlab.data.choices import Choices
from cnnlab.data.dataset import Dataset, Images, normalizer
from cnnlab.data.deslant import deslanted
from cnnlab.data.idx import read_idx
from cnnlab.paths import data_folder

SHAPES: Mapping[str, tuple[int, ...]] = {
    "train-images-idx3-ubyte": (60000, 28, 28),
    "train-labels-idx1-ubyte": (60000,),
    "t10k-images-idx3-ubyte": (10000, 28, 28),
    "t10k-labels-idx1-ubyte": (10000,),
}


@dataclass(frozen=True)
class Archive:
    """Four IDX files: where they are looked for, what proves them right, and what fetches them."""

    name: str
    classes: tuple[str, ...]
    folders: tuple[str, ...]  # inside the data folder; the first is the one that a download writes to
    remedy: str
    mirrors: tuple[str, ...]
    sha256: Mapping[str, str] = field(default_factory=dict)  # of the plain bytes
    md5: Mapping[str, str] = field(default_factory=dict)  # of the .gz as published
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: SHAPES)


MNIST = Archive(
    name="mnist",
    classes=tuple("0123456789"),
    folders=("mnist", "."),
    remedy="run `make data`",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    sha256={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)

FASHION_MNIST = Archive(
    name="fashion_mnist",
    classes=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    folders=("fashion_mnist",),
    remedy="run `make data ARGS=fashion_mnist`",
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    md5={
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)  # fmt: skip


def mnist(
    normalization: str = "standardised",
    validation: int | str = 5000,
    train: int | None = None,
    test: int | None = None,
    size: int | None = None,
    margin: int = 0,
    folder: str | Path | None = None,
) -> Dataset:
    """The 70,000 MNIST digits (28x28, 0..255): 55,000 / 5,000 / 10,000, the last being the original test set.

    `train` keeps only the first so many of the 60,000, and `test` of the 10,000; the validation images are held out
    of the former, or are the test images ("test": see `Choices`). `size` scales the digits, `margin` puts them in a
    frame (see `scaled`).
    The files are looked for in `folder`, else in the data folder, there in `mnist/` and outside it.
    """
    return _dataset(MNIST, Choices(normalization, validation, train, test, size, margin), data_folder(folder))


def mnist_deslanted(
    normalization: str = "standardised",
    validation: int | str = 5000,
    train: int | None = None,
    test: int | None = None,
    folder: str | Path | None = None,
) -> Dataset:
    """MNIST with each digit made upright and cropped to 20x20 pixels; splits and words as for `mnist`."""
    plain = mnist("unit", validation, train, test, folder=folder)
    training, held_out, tests = (deslanted(images) for images in (plain.train, plain.val, plain.test))
    rule = normalizer(normalization, training.pixels)
    return Dataset("mnist_deslanted", training, held_out, tests, plain.classes, rule)


def fashion_mnist(
    normalization: str = "standardised",
    validation: int | str = 5000,
    train: int | None = None,
    test: int | None = None,
    size: int | None = None,
    margin: int = 0,
    folder: str | Path | None = None,
) -> Dataset:
    """The 70,000 images of clothes (Xiao, Rasul, Vollgraf 2017): sizes, splits and words as for `mnist`.

    The files are looked for in `fashion_mnist/` of `folder`, else of the data folder.
    """
    return _dataset(FASHION_MNIST, Choices(normalization, validation, train, test, size, margin), data_folder(folder))


def locate(archive: Archive, file: str, folder: Path) -> Path:
    """The path of one of the four files, .gz or plain; if there is none, the path where it should be."""
    candidates = list(_candidates(archive, file, folder))
    return next((path for path in candidates if path.is_file()), candidates[0])


def read_checked(archive: Archive, file: str, path: Path) -> np.ndarray:
    """The uint8 array of one of the four files, shape and content checked; errors as `read_idx`."""
    array = read_idx(path, archive.shapes[file], archive.sha256.get(file), archive.remedy)
    if array.ndim == 1 and array.max(initial=0) >= len(archive.classes):
        last = len(archive.classes) - 1
        raise ValueError(f"{path}: expected labels from 0 to {last}, found {array.max()}; {archive.remedy}")
    return array


def _candidates(archive: Archive, file: str, folder: Path) -> Iterator[Path]:
    for inside in archive.folders:
        yield folder / inside / f"{file}.gz"
        yield folder / inside / file


def _images(archive: Archive, part: str, folder: Path) -> Images:
    names = (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
    pixels, labels = (read_checked(archive, name, locate(archive, name, folder)) for name in names)
    return Images(pixels, labels.astype(np.int64))


def _dataset(archive: Archive, choices: Choices, home: Path) -> Dataset:
    training, test = (_images(archive, part, home) for part in ("train", "t10k"))
    return choices.dataset(archive.name, training, test, archive.classes)
