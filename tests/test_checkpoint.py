"""Checkpoints: whole or not at all, no pickle, nothing lost on the way, and what does not fit is set aside."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import stat
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import untimed
from tests.recipes import Training

from cnnlab import checkpoint
from cnnlab.checkpoint import Checkpoints, sealed
from cnnlab.data import Dataset, Distortion
from cnnlab.nn import (
    SGD,
    Adam,
    Conv2D,
    Cosine,
    Dense,
    Dropout,
    MaxPool,
    OneCycle,
    Optimizer,
    ReLU,
    Schedule,
    Sequential,
    SoftmaxCrossEntropy,
    Steps,
    StochasticPool,
)
from cnnlab.training import TrainingState, train

STAMP = {"identity": "0123abcd", "code": "4567ef01"}
SEED = 7
NOISY = Sequential(
    {
        "C1": Conv2D(4, 5, stride=2),
        "A1": ReLU(),
        "S2": StochasticPool(2),
        "D2": Dropout(0.3),
        "OUT": Dense(10),
    }
)


def recipe(optimizer: Optimizer, schedule: Schedule, network: Sequential = NOISY) -> Training:
    return Training(SoftmaxCrossEntropy(), optimizer, schedule, 0.01, 5, 30, network=network)


ADAM = recipe(Adam(), OneCycle())
RECIPES = {
    "adam one_cycle": ADAM,
    "momentum steps": recipe(SGD(weight_decay=0.01, momentum=0.9), Steps()),
    "nesterov cosine": recipe(SGD(clip_norm=1, momentum=0.9, nesterov=True), Cosine()),
    "distorted": replace(ADAM, augment=Distortion(translation=2, alpha=20)),
    "subset, first losses": replace(ADAM, images_per_epoch=90, steps_recorded=4),
    "views, best epoch": replace(ADAM, confusion_every=2, stop=9),
    "sgd without noise": recipe(SGD(), Cosine(), replace(NOISY, layers=NOISY.layers | {"S2": MaxPool(2)})),
}


@pytest.fixture
def saved(digits: Dataset, tmp_path: Path) -> tuple[Path, TrainingState]:
    """Two epochs' state, and its file."""
    state = begun(ADAM, digits, epochs=2)
    state.views[1] = {"maps/C1": np.ones((2, 3, 4), np.float32)}
    Checkpoints(tmp_path / "state.npz", STAMP).save(state)
    return tmp_path / "state.npz", state


def begun(recipe: Training, data: Dataset, epochs: int) -> TrainingState:
    state = recipe.start(data, SEED)
    list(itertools.islice(train(recipe, state, data), epochs))
    return state


def content(state: TrainingState) -> dict[str, Any]:
    """All that a state is, for comparison."""
    generators = [getattr(state, name).bit_generator.state for name in ("order", "noise", "distortion")]
    views = {f"{epoch} {name}": array for epoch, view in state.views.items() for name, array in view.items()}
    best = {} if state.best is None else {"best": state.best}
    arrays = {
        name: array.tobytes() for name, array in {**state.optimizer, "theta": state.theta, **best, **views}.items()
    }
    history = [untimed(record) for record in state.history]
    measured = {"history": history, "losses": state.losses}
    return arrays | {"generators": generators} | measured


@pytest.mark.parametrize("chosen", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("epochs", [1, 4])
def test_a_cut_training_ends_bit_equal(chosen: Training, epochs: int, digits: Dataset, tmp_path: Path) -> None:
    uncut = begun(chosen, digits, epochs=5)
    Checkpoints(tmp_path / "state.npz", STAMP).save(begun(chosen, digits, epochs))
    state = chosen.start(digits, SEED)
    assert Checkpoints(tmp_path / "state.npz", STAMP).restore(state)
    assert len(state.history) == epochs
    list(train(chosen, state, digits))
    assert content(state) == content(uncut)
    assert all(np.shares_memory(array, state.theta) for array in state.params["OUT"].values())


def test_everything_comes_back(
    saved: tuple[Path, TrainingState], digits: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    path, state = saved
    other = ADAM.start(digits, SEED)
    assert content(other) != content(state)
    assert Checkpoints(path, STAMP).restore(other)
    assert content(other) == content(state)
    assert other.history == state.history  # clocks too
    assert (path.exists(), capsys.readouterr().out) == (True, "")


def test_where_nothing_is_nothing_is_said(digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not Checkpoints(tmp_path / "state.npz", STAMP).restore(ADAM.start(digits, SEED))
    assert (list(tmp_path.iterdir()), capsys.readouterr().out) == ([], "")


@pytest.fixture
def refused(digits: Dataset, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`refused(path)`: the line that is said of a file which is set aside as it is, the state being left alone."""

    def refused(path: Path, recipe: Training = ADAM, stamp: dict[str, str] = STAMP, seed: int = SEED) -> str:
        before, others = path.read_bytes(), set(path.parent.iterdir())
        state = recipe.start(digits, seed)
        fresh = content(state)
        assert not Checkpoints(path, stamp).restore(state)
        assert content(state) == fresh
        (aside,) = set(path.parent.iterdir()) - others
        assert (path.exists(), aside.read_bytes(), aside.suffix == ".npz") == (False, before, False)
        (line,) = capsys.readouterr().out.splitlines()
        said = f"starting afresh: the checkpoint {path.name} does not fit, "
        assert line.startswith(said) and line.endswith(f"; it is now {aside.name}")
        return line[len(said) :].rpartition(";")[0]

    return refused


Edit = Callable[[dict[str, Any], dict[str, np.ndarray]], Any]


def rewritten(path: Path, edit: Edit, right: bool) -> Path:
    """A checkpoint after somebody changed it with NumPy, with its checksum made right again or not."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    outer = json.loads(arrays.pop("header").item())
    edit(outer["header"], arrays)
    np.savez(path, allow_pickle=False, header=np.array(json.dumps(outer)), **arrays)
    if right:
        path.write_bytes(sealed(path.read_bytes()))
    return path


EDITS: dict[str, tuple[Edit, str]] = {  # what is changed, and what is said of it even if the checksum is made right
    "zeroed moments": (lambda header, arrays: arrays["optimizer.mean"].fill(0), ""),
    "an epoch less": (lambda header, arrays: header["history"].pop(0), ""),
    "no generator": (lambda header, arrays: header.pop("noise"), "its content is not a checkpoint's"),
    "half a generator": (lambda header, arrays: header["noise"].pop("state"), "its content is not a checkpoint's"),
    "another shape": (
        lambda header, arrays: arrays.update(theta=arrays["theta"][1:]),
        "its arrays are not those of this training",
    ),
    "another dtype": (
        lambda header, arrays: arrays.update(theta=arrays["theta"].astype(float)),
        "its arrays are not those of this training",
    ),
    "another optimiser": (
        lambda header, arrays: arrays.pop("optimizer.mean"),
        "its arrays are not those of this training",
    ),
}


@pytest.mark.parametrize(("edit", "said"), EDITS.values(), ids=EDITS)
def test_what_was_changed_is_set_aside(
    edit: Edit, said: str, saved: tuple[Path, TrainingState], refused: Callable[..., str]
) -> None:
    path, _ = saved
    whole = path.read_bytes()
    assert "checksum is wrong" in refused(rewritten(path, edit, right=False))
    path.write_bytes(whole)
    if said:
        assert refused(rewritten(path, edit, right=True)) == said


def test_the_checkpoint_of_another_run_is_set_aside(
    saved: tuple[Path, TrainingState], refused: Callable[..., str]
) -> None:
    path, _ = saved
    whole = path.read_bytes()
    cases: dict[str, dict[str, Any]] = {
        "its code is 4567ef01 and should be 99": {"stamp": STAMP | {"code": "99"}},
        "its identity is 0123abcd and should be 99": {"stamp": STAMP | {"identity": "99"}},
        "its data is not said and should be 99": {"stamp": STAMP | {"data": "99"}},
        "its code is 4567ef01 and should be not said": {"stamp": {"identity": "0123abcd"}},
        "its arrays are not those of this training": {"recipe": replace(ADAM, optimizer=SGD(momentum=0.9))},
    }
    for number, (said, how) in enumerate(cases.items(), 1):
        path.write_bytes(whole)
        assert refused(path, **how) == said
        assert path.with_name(f"state.npz.set-aside-{number}").exists()  # none is written over


@pytest.mark.parametrize("schema", [2, 4, "3", None])
def test_another_format_is_set_aside(
    schema: Any, digits: Dataset, tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "SCHEMA", schema)
        Checkpoints(tmp_path / "state.npz", STAMP).save(begun(ADAM, digits, epochs=1))
    assert refused(tmp_path / "state.npz") == f"it is of format {schema}, and this cnnlab reads 3"


def test_the_first_format_is_set_aside(saved: tuple[Path, TrainingState], refused: Callable[..., str]) -> None:
    """As cnnlab wrote it before there were stamps: the same arrays, the header bare, no checksum."""
    path, _ = saved
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    header = json.loads(arrays.pop("header").item())["header"]
    np.savez(path, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)
    assert refused(path) == "its checksum is wrong: it is damaged, cut off, or of an older cnnlab"


def test_a_file_cut_off_anywhere_is_set_aside(
    saved: tuple[Path, TrainingState], refused: Callable[..., str], tries: Callable[..., Iterator[int]]
) -> None:
    path, _ = saved
    whole = path.read_bytes()
    for length in tries([*range(0, len(whole), len(whole) // 40), len(whole) - 1]):
        path.write_bytes(whole[:length])
        assert "cut off" in refused(path), length


def test_a_file_with_a_flipped_bit_is_set_aside(
    saved: tuple[Path, TrainingState], refused: Callable[..., str], tries: Callable[..., Iterator[int]]
) -> None:
    path, _ = saved
    whole = path.read_bytes()
    for place in tries(np.random.default_rng(0).integers(len(whole), size=40)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert "damaged" in refused(path), place


def handmade(path: Path, pack: Callable[[zipfile.ZipFile], None]) -> Path:
    """A zip file that somebody made by hand, with the right checksum."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        pack(archive)
    path.write_bytes(sealed(buffer.getvalue()))
    return path


def npy(claimed: str, content: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(claimed).to_bytes(2, "little") + claimed.encode() + content


@pytest.mark.parametrize("garbage", [b"", b"\0" * 999, b"PK\x03\x04 or so", b'{"theta": 1}'])
def test_garbage_is_set_aside(garbage: bytes, tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "state.npz"
    path.write_bytes(garbage)
    assert "checksum is wrong" in refused(path)
    path.write_bytes(sealed(garbage))
    assert refused(path) == "it is no npz file, or a damaged one"


def test_a_bomb_is_not_unpacked(tmp_path: Path, refused: Callable[..., str]) -> None:
    path, claim = tmp_path / "state.npz", "{'descr': '<U1', 'fortran_order': False, 'shape': (SIZE,)}\n"
    zeros = npy(claim.replace("SIZE", f"{1 << 26}"), bytes(1 << 28))
    tracemalloc.start()
    packed = handmade(path, lambda archive: archive.writestr("header.npy", zeros, zipfile.ZIP_DEFLATED))
    tracemalloc.reset_peak()
    assert packed.stat().st_size < 1 << 20
    assert refused(path) == f"it would unpack to {len(zeros):,} bytes, more than it may"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (1 << 28) + (1 << 26)  # the zeros that this test made, and little else
    huge = npy(claim.replace("SIZE", f"{1 << 40}"), b"")
    handmade(path, lambda archive: archive.writestr("header.npy", huge))
    assert refused(path) == f"it has an array that claims {1 << 42:,} bytes and has 0"


def test_what_cannot_be_read_is_set_aside(digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state.npz").mkdir()
    assert not Checkpoints(tmp_path / "state.npz", STAMP).restore(ADAM.start(digits, SEED))
    said = "starting afresh: the checkpoint state.npz does not fit, it cannot be read (Is a directory); "
    assert capsys.readouterr().out == said + "it is now state.npz.set-aside-1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz.set-aside-1"]


def test_no_pickle_inside(saved: tuple[Path, TrainingState]) -> None:
    with np.load(saved[0], allow_pickle=False) as archive:
        kinds = {name: archive[name].dtype.kind for name in archive.files}
    assert kinds.pop("header") == "U"
    optimizer = {"optimizer.mean": "f", "optimizer.square": "f", "optimizer.steps": "i"}
    assert kinds == {"theta": "f", "view.1.maps/C1": "f", **optimizer}


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, replace_file = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def named(self: Path, target: Path) -> Path:
        steps.append("name")
        return replace_file(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", named)
    Checkpoints(tmp_path / "state.npz", STAMP).save(begun(ADAM, digits, epochs=1))
    assert steps == ["file", "name", "folder"]


@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
def test_a_write_that_fails_leaves_the_old_file(
    failing: str, saved: tuple[Path, TrainingState], digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = saved
    old, write = path.read_bytes(), Path.write_bytes

    def full(self: Path, content: Any) -> None:
        write(self, content[: len(content) // 2] if isinstance(content, bytes) else b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, failing, full if failing == "write_bytes" else refuse)
        with pytest.raises(OSError, match="No space left"):
            Checkpoints(path, STAMP).save(begun(ADAM, digits, epochs=1))
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def refuse(self: Path, target: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
