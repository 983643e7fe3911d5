"""Checkpoints: where a training stands, in a file that is written whole and read only where it fits.

The file is an npz without pickle: the arrays as they are, and a header in JSON. It carries a *stamp*, which says what
it belongs to (the run's identity, the code's digest), the version of this format, and a checksum over all its bytes.
A file that does not fit is set aside under another name, with a line that says why, and the training starts afresh.
"""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.npz import unpacked
from cnnlab.paths import write_atomically
from cnnlab.training import TrainingState

SCHEMA = 3  # the version of the format: 1 had neither stamp nor checksum, 2 no views
RETIRED = ".done"  # ending of the checkpoints of a run that is all but finished
HEADER = "header"  # the entry that holds everything but arrays
VIEW = re.compile(r"view\.(\d+)\.(.+)")  # the name of an array of a view, after which epoch
GENERATORS = ("order", "noise", "distortion")
CHECKSUM = 64  # hex digits of SHA-256, kept as the comment that may end a zip file


class Unfit(ValueError):
    """A checkpoint that cannot be gone on from, and why."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run: `place` is that of its training, or of several that each have a `part` of their own."""

    place: Path
    stamp: Mapping[str, str]

    def save(self, state: TrainingState, part: str = "") -> None:
        """Keep a training between two epochs: all or nothing of it, and see it to the disk."""
        kept = {name: getattr(state, name).bit_generator.state for name in GENERATORS}
        kept |= {"history": state.history, "losses": state.losses}
        header = json.dumps({"schema": SCHEMA, "stamp": dict(self.stamp), "header": kept})
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{HEADER: np.array(header)}, **_arrays(state), **_views(state))
        write_atomically(self._of(part), sealed(buffer.getvalue()))

    def restore(self, state: TrainingState, part: str = "") -> int:
        """Bring a fresh state to where its checkpoint stands, which is after so many epochs; 0 where none fits."""
        path = self._of(part)
        try:
            header, found = _read(path, self.stamp)
            arrays = {name: array for name, array in found.items() if not VIEW.fullmatch(name)}
            if _kinds(arrays) != _kinds(_arrays(state)):
                raise Unfit("its arrays are not those of this training")
            history, losses = list(header["history"]), list(header["losses"])
            generators = {name: np.random.default_rng() for name in GENERATORS}
            for name, generator in generators.items():
                generator.bit_generator.state = header[name]
        except FileNotFoundError:
            return 0
        except Exception as error:  # a file that was made by hand, with the right checksum, can be wrong in any way
            unread = f"it cannot be read ({error.strerror})" if isinstance(error, OSError) else ""
            set_aside(path, str(error) if isinstance(error, Unfit) else unread or "its content is not a checkpoint's")
            return 0
        state.theta[:] = arrays.pop("theta")
        state.best = arrays.pop("best", None)
        state.optimizer = {name.partition(".")[2]: array for name, array in arrays.items()}
        state.history, state.losses = history, losses
        for name in found.keys() - arrays.keys():
            if view := VIEW.fullmatch(name):
                state.views.setdefault(int(view[1]), {})[view[2]] = found[name]
        for name, generator in generators.items():
            setattr(state, name, generator)
        return len(history)

    def epochs(self) -> int:
        """How many whole epochs are kept, of all parts together."""
        kept = 0
        for file in (*self._all(self.place.suffix), *self._all(RETIRED)):
            with suppress(Exception):  # one that does not fit is none to go on from
                kept += len(_read(file, self.stamp)[0]["history"])
        return kept

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


def set_aside(path: Path, why: str) -> None:
    """Rename a checkpoint that does not fit, so that it can still be looked at, and print one line about it."""
    names = (path.with_name(f"{path.name}.set-aside-{number}") for number in count(1))
    aside = path.rename(next(name for name in names if not name.exists()))
    print(f"starting afresh: the checkpoint {path.name} does not fit, {why}; it is now {aside.name}", flush=True)


def sealed(archive: bytes) -> bytes:
    """A zip file with its checksum as its comment, before which it has the comment's length."""
    body = archive[:-2] + CHECKSUM.to_bytes(2, "little")
    return body + hashlib.sha256(body).hexdigest().encode()


def _read(path: Path, stamp: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a checkpoint that is as it was written, by this format and with this stamp."""
    content = path.read_bytes()
    if sealed(content[:-CHECKSUM]) != content:
        raise Unfit("its checksum is wrong: it is damaged, cut off, or of an older cnnlab")
    try:
        arrays = unpacked(content)
    except ValueError as error:
        raise Unfit(str(error)) from None
    header = json.loads(arrays.pop(HEADER).item())
    if header["schema"] != SCHEMA:
        raise Unfit(f"it is of format {header['schema']}, and this cnnlab reads {SCHEMA}")
    for name in sorted({*stamp, *header["stamp"]}):
        theirs, ours = (of.get(name, "not said") for of in (header["stamp"], stamp))
        if theirs != ours:
            raise Unfit(f"its {name} is {theirs} and should be {ours}")
    return header["header"], arrays


def _arrays(state: TrainingState) -> dict[str, np.ndarray]:
    best = {} if state.best is None else {"best": state.best}
    return {"theta": state.theta, **best, **{f"optimizer.{name}": array for name, array in state.optimizer.items()}}


def _views(state: TrainingState) -> dict[str, np.ndarray]:
    return {f"view.{epoch}.{name}": array for epoch, view in state.views.items() for name, array in view.items()}


def _kinds(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}
