"""No process outlives the command that started it, however the command ends.

A guardian, a small process of its own, waits for the end of the command. Then it kills every process that the command
started, directly or not, and removes the command's temporary folder. It knows them by a mark in their environment,
which is inherited, so that it does not matter who starts them (joblib, submitit, anything) and in which session they
are; a child that was forked without a new program has the mark's file open instead. A process that clears its
environment is not found.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

MARK = "CNNLAB_SWEEP"  # the environment variable that all processes of a command inherit
TEMPORARY = ("TMPDIR", "JOBLIB_TEMP_FOLDER")  # what decides where they put their temporary files
LOOK = 0.2  # seconds between two looks at whether the command is still there
GRACE = 2.0  # seconds that processes have to end by themselves, where they may
LOOKS = 3, 15  # looks in a row that must find nothing: while the launcher lives, and after its death


@contextmanager
def reaper(name: str, *leftovers: Path) -> Iterator[Path]:
    """While this lasts, all processes that are started belong to it, and end with it or with this process.

    `name` is for people to read; each reaper has a mark of its own. Gives the folder for temporary files, which goes
    when they are gone, and with it the files `leftovers`, and their folders if nothing else is in them. After Ctrl-C,
    which they hear too, they have two seconds to end by themselves.
    """
    token = uuid4().hex[:12]
    mark = f"{name} {token}"
    place = Path(tempfile.gettempdir()).resolve()  # asked now, so that this process's own stays
    folder = (place if str(place).isascii() else Path("/tmp")) / f"cnnlab-{token}"  # joblib's must be written in ASCII
    changed = {MARK: mark, **dict.fromkeys(TEMPORARY, str(folder))}
    before = {variable: os.environ.get(variable) for variable in changed}
    command = [sys.executable, "-P", __file__, str(os.getpid()), mark, str(folder), *map(os.path.abspath, leftovers)]
    environment = {name: value for name, value in os.environ.items() if name != MARK}  # another guardian spares it
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    guardian = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
    assert guardian.stdout is not None
    if not guardian.stdout.readline():
        guardian.communicate()
        raise OSError(f"cannot make the temporary folder {folder}")
    grace = 0.0
    try:
        with (folder / "mark").open("wb"):
            os.environ |= changed
            yield folder
    except KeyboardInterrupt:
        grace = GRACE
        raise
    finally:
        for variable, value in before.items():
            os.environ.pop(variable, None)
            if value is not None:
                os.environ[variable] = value
        with suppress(subprocess.TimeoutExpired):  # it goes on without this process
            guardian.communicate(str(grace).encode(), timeout=10)


def _guard(launcher: int, mark: str, folder: str, *leftovers: str) -> None:
    """What the guardian does: wait for the launcher's end, or for its word, and leave nothing of it."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    os.mkdir(folder, 0o700)
    with suppress(OSError):
        os.write(1, b"ready\n")
    grace = _wait(launcher)
    _kill_all(mark, folder, grace)
    shutil.rmtree(folder, ignore_errors=True)
    for file in leftovers:
        with suppress(FileNotFoundError):
            os.unlink(file)
        with suppress(OSError):
            os.rmdir(os.path.dirname(file))


def _wait(launcher: int) -> float | None:
    """The grace that the launcher gives, or None where it died without a word."""
    while os.getppid() == launcher:
        if select.select([0], [], [], LOOK)[0]:
            if word := os.read(0, 100):
                return float(word)
            time.sleep(LOOK / 10)  # its end of the pipe is closed: it is about to end
    return None


def _kill_all(mark: str, folder: str, grace: float | None) -> None:
    """Kill what carries the mark until nothing is left.

    A resource tracker of multiprocessing or of loky, which removes what the others leave behind, ends by itself
    after its launcher: while that lives it is spared, then it has a while for it. One look is not enough, since a
    process that has just begun shows no environment.
    """
    began, empty = time.monotonic(), 0
    while empty < LOOKS[grace is None]:
        empty += 1
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):  # one that has just ended, or is another user's
                marked = process.environ().get(MARK) == mark  # or, forked without a program, has the mark's file open
                if not marked and f"{folder}/mark" not in {file.path for file in process.open_files()}:
                    continue
                is_tracker = any("resource_tracker" in word for word in process.cmdline())
                if is_tracker and grace is not None:
                    continue
                empty = 0
                if time.monotonic() - began >= (2 * GRACE if is_tracker else grace or 0):
                    process.kill()
        time.sleep(LOOK / 10)


if __name__ == "__main__":
    _guard(int(sys.argv[1]), *sys.argv[2:])
