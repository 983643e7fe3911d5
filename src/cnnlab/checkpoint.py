"""Checkpoints: where a training stands, in a file that is written whole and read only where it fits.

The file is an npz without pickle: the arrays as they are, and a header in JSON. It carries a *stamp*, which says what
it belongs to (the run's identity, the code's digest), the version of this format, and a checksum over all its bytes.
A file that does not fit is set aside under another name, with a line that says why, and the training starts afresh.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.paths import write_atomically
from cnnlab.training import TrainingState

SCHEMA = 2  # the version of the format: 1 had neither stamp nor checksum
RETIRED = ".done"  # ending of the checkpoints of a run that is all but finished
HEADER = "header"  # the entry that holds everything but arrays
GENERATORS = ("order", "noise", "distortion")
CHECKSUM = 64  # hex digits of SHA-256, kept as the comment that may end a zip file

Arrays = Mapping[str, np.ndarray]


class Unfit(ValueError):
    """A checkpoint that cannot be gone on from, and why."""


def save(path: Path, stamp: Mapping[str, str], header: Mapping[str, Any], arrays: Arrays) -> None:
    """Write a checkpoint, all or nothing of it, and see it to the disk; `header` is anything that JSON can hold."""
    buffer = io.BytesIO()
    text = json.dumps({"schema": SCHEMA, "stamp": dict(stamp), "header": header})
    np.savez(buffer, allow_pickle=False, **{HEADER: np.array(text)}, **arrays)
    body = buffer.getvalue()[:-2] + CHECKSUM.to_bytes(2, "little")  # a zip file ends with its comment's length
    write_atomically(path, body + hashlib.sha256(body).hexdigest().encode())


def load(path: Path, stamp: Mapping[str, str], like: Arrays) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Header and arrays of the checkpoint that fits, or None.

    It fits if its stamp is this one and its arrays have the names, shapes and dtypes of those in `like`. Where there
    is one that does not, it is set aside.
    """
    try:
        return _read(path, stamp, like)
    except FileNotFoundError:
        return None
    except OSError as error:
        set_aside(path, f"it cannot be read ({error.strerror})")
    except Unfit as error:
        set_aside(path, str(error))
    return None


def set_aside(path: Path, why: str) -> Path:
    """Rename a checkpoint that does not fit, so that it can still be looked at, and print one line about it."""
    names = (path.with_name(f"{path.name}.set-aside-{number}") for number in count(1))
    aside = path.rename(next(name for name in names if not name.exists()))
    print(f"starting afresh: the checkpoint {path.name} does not fit, {why}; it is now {aside.name}", flush=True)
    return aside


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run: `place` is that of its training, or of several that each have a `part` of their own."""

    place: Path
    stamp: Mapping[str, str]

    def save(self, state: TrainingState, part: str = "") -> None:
        """Keep the state of a training between two epochs."""
        save_state(self._of(part), state, self.stamp)

    def restore(self, state: TrainingState, part: str = "") -> bool:
        """Bring a fresh state to where its checkpoint stands; False where there is none that fits."""
        return restore_state(self._of(part), state, self.stamp)

    def _of(self, part: str) -> Path:
        return self.place.with_name(f"{self.place.stem}{part}{self.place.suffix}")

    def retire(self) -> None:
        """Rename those of a run whose record is about to be closed as finished."""
        for file in self._all(self.place.suffix):
            file.rename(file.with_suffix(RETIRED))

    def recover(self, again: bool) -> None:
        """Rename back those of a run that was cut off at its close, or remove them if it is made `again`."""
        for file in self._all(RETIRED):
            if again:
                file.unlink()
            else:
                file.rename(file.with_suffix(self.place.suffix))

    def forget(self) -> None:
        """Remove those of a run that is finished, and drafts that were being written when it was killed."""
        drafts = self.place.parent.glob(f".{self.place.stem}*")
        for file in (*self._all(RETIRED), *drafts):
            file.unlink(missing_ok=True)

    @property
    def retired(self) -> bool:
        """Whether a run was cut off while its record was closed."""
        return bool(self._all(RETIRED))

    def _all(self, suffix: str) -> list[Path]:
        return list(self.place.parent.glob(f"{self.place.stem}*{suffix}"))


def save_state(path: Path, state: TrainingState, stamp: Mapping[str, str]) -> None:
    """Parameters, optimiser, generators, history and confusions of a training between two epochs."""
    generators = {name: getattr(state, name).bit_generator.state for name in GENERATORS}
    save(path, stamp, {"history": state.history, "confusions": state.confusions, **generators}, _arrays(state))


def restore_state(path: Path, state: TrainingState, stamp: Mapping[str, str]) -> bool:
    """Bring a fresh state to where its checkpoint stands; False, and untouched, where there is none that fits.

    The state must be one of the same seed: a generator's stream, which never changes, tells whose it is.
    """
    if (found := load(path, stamp, _arrays(state))) is None:
        return False
    header, arrays = found
    try:
        history, confusions = _history(header), list(header["confusions"])
        generators = {name: _generator(header[name], getattr(state, name)) for name in GENERATORS}
    except Exception as error:  # a header that was written by hand can be wrong in any way
        set_aside(path, str(error) if isinstance(error, Unfit) else "its header is not that of a training")
        return False
    state.theta[:] = arrays.pop("theta")
    state.optimizer = {name.partition(".")[2]: array for name, array in arrays.items()}
    state.history, state.confusions = history, confusions
    for name, generator in generators.items():
        setattr(state, name, generator)
    return True


def _arrays(state: TrainingState) -> dict[str, np.ndarray]:
    return {"theta": state.theta, **{f"optimizer.{name}": array for name, array in state.optimizer.items()}}


def _read(path: Path, stamp: Mapping[str, str], like: Arrays) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a checkpoint; Unfit before more is unpacked than belongs there."""
    with path.open("rb") as file:
        size = _checked_size(file)
        try:
            with zipfile.ZipFile(file) as archive:
                if any(e.compress_type != zipfile.ZIP_STORED or e.file_size > size for e in archive.infolist()):
                    raise Unfit("it would unpack to more than it holds")
                return _header(archive, stamp), _unpacked(archive, like)
        except (Unfit, OSError):
            raise
        except Exception as error:  # a file that was made by hand, with the right checksum, can be wrong in any way
            raise Unfit("its content is not that of a checkpoint") from error


def _checked_size(file: io.BufferedReader) -> int:
    """Size of a file in bytes, if its checksum is right."""
    size = file.seek(0, io.SEEK_END)
    found, left = hashlib.sha256(), max(size - CHECKSUM, 0)
    file.seek(0)
    while left and (piece := file.read(min(left, 1 << 20))):
        found.update(piece)
        left -= len(piece)
    if found.hexdigest().encode() != file.read():
        raise Unfit("its checksum is wrong: it is damaged, cut off, or of an older cnnlab")
    return size


def _header(archive: zipfile.ZipFile, stamp: Mapping[str, str]) -> dict[str, Any]:
    """The caller's part of the header, if the schema and the stamp are right."""
    content = json.loads(_array(archive, HEADER, None).item())
    if content["schema"] != SCHEMA:
        raise Unfit(f"it is of format {content['schema']}, and this cnnlab reads {SCHEMA}")
    for name in sorted({*stamp, *content["stamp"]}):
        theirs, ours = (of.get(name, "not said") for of in (content["stamp"], stamp))
        if theirs != ours:
            raise Unfit(f"its {name} is {theirs} and should be {ours}")
    return content["header"]


def _unpacked(archive: zipfile.ZipFile, like: Arrays) -> dict[str, np.ndarray]:
    names = {name.removesuffix(".npy") for name in archive.namelist()} - {HEADER}
    if names != like.keys():
        raise Unfit(f"it has {', '.join(sorted(names)) or 'no array'} and should have {', '.join(sorted(like))}")
    return {name: _array(archive, name, expected) for name, expected in like.items()}


def _array(archive: zipfile.ZipFile, name: str, like: np.ndarray | None) -> np.ndarray:
    """An array, read only if it is as large as its entry, and has the shape and dtype of another."""
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        room = entry.file_size - file.tell()
    if like is not None and (shape, dtype) != (like.shape, like.dtype):
        raise Unfit(f"its {name} is {dtype} {shape} and should be {like.dtype} {like.shape}")
    if prod(shape) * dtype.itemsize != room:
        raise Unfit(f"its {name} is not as large as it claims")
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _history(header: dict[str, Any]) -> list[dict[str, float]]:
    """The records of one epoch or more, in order."""
    if header.keys() != {"history", "confusions", *GENERATORS}:
        raise Unfit("its header is not that of a training")
    history: list[dict[str, float]] = header["history"]
    if not history or [record["epoch"] for record in history] != list(range(1, len(history) + 1)):
        raise Unfit("its history is empty or has gaps")
    if not all(isinstance(value, int | float) for record in history for value in record.values()):
        raise Unfit("its history holds what is no number")
    return history


def _generator(kept: dict[str, Any], fresh: np.random.Generator) -> np.random.Generator:
    """A generator that goes on where another of the same stream was."""
    generator = np.random.default_rng()
    generator.bit_generator.state = kept
    if kept["state"]["inc"] != fresh.bit_generator.state["state"]["inc"]:
        raise Unfit("its random numbers are of another seed")
    return generator
