"""Locks: one holder at a time, whatever happens, and no file stays."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cnnlab
from cnnlab.locks import locked

FIGHTER = """
import os, random, sys
from pathlib import Path
from cnnlab.locks import locked

folder, waited = Path(sys.argv[1]), []
for turn in range(200):
    with locked(folder / "locks/0123.lock", lambda: waited.append(turn)):
        inside = os.open(folder / "inside", os.O_CREAT | os.O_EXCL)  # fails if another one is in
        count = int((folder / "count").read_text())
        (folder / "count").write_text(str(count + 1))
        os.close(inside)
        os.unlink(folder / "inside")
assert len(waited) == len(set(waited))
print(len(waited))
"""
HOLDER = "import sys, time\nfrom pathlib import Path\nfrom cnnlab.locks import locked\n" + (
    "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)\n"
)


def start(program: str, argument: Path) -> subprocess.Popen[str]:
    source = str(Path(cnnlab.__file__).parents[1])
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {source!r})\n{program}", str(argument)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_four_processes_fight_and_never_two_are_inside(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    fighters = [start(FIGHTER, tmp_path) for _ in range(4)]
    ends = [(*fighter.communicate(timeout=120), fighter.returncode) for fighter in fighters]
    assert [(err, code) for _, err, code in ends] == 4 * [("", 0)]
    assert sum(int(out) for out, _, _ in ends) > 0  # somebody had to wait
    assert (tmp_path / "count").read_text() == "800"
    assert list((tmp_path / "locks").iterdir()) == []


def refuse() -> None:
    raise TimeoutError("another process has it")


def test_who_does_not_want_to_wait_hears_of_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path), pytest.raises(TimeoutError, match=r"^another process has it$"), locked(path, refuse):
        pass
    with locked(path, refuse):
        assert path.exists()
    assert not path.exists()


def test_a_lock_is_let_go_by_an_error_and_by_death(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(ZeroDivisionError), locked(path):
        raise ZeroDivisionError
    assert not path.exists()
    holder = start(HOLDER, path)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(TimeoutError), locked(path, refuse):
        pass
    holder.send_signal(signal.SIGKILL)
    with locked(path):
        pass
    holder.communicate()
    assert list(tmp_path.iterdir()) == []
