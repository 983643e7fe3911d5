"""A lock that one holder at a time has, and that leaves no file behind."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, busy: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold the lock of this path, alone among all processes and threads of this machine.

    `busy` is called once if somebody else holds it, before waiting for them; what it raises comes out instead. A
    holder that dies lets go; its empty file stays until the next one is done with it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if busy:
                    busy()
                    busy = None
                fcntl.flock(file, fcntl.LOCK_EX)
            if not os.fstat(file.fileno()).st_nlink:
                continue  # while this one waited, the holder before removed the file: another one may be locked by now
            try:
                yield
            finally:
                path.unlink(missing_ok=True)  # while it is locked, so that it is surely this one
            return
