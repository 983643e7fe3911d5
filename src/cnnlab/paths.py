"""Where things live on disk: the project root, the data folder, and how a file is put there."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

CHECKOUT = Path(__file__).resolve().parents[2]  # where this file is in a clone; elsewhere it means nothing


def root() -> Path:
    """The project root: `CNNLAB_HOME` if set, else the checkout this file is in, else the current folder.

    A checkout is recognised by its `conf/` and `pyproject.toml`; an installed wheel has neither.
    """
    if home := os.environ.get("CNNLAB_HOME"):
        return Path(home).expanduser().resolve()
    is_checkout = (CHECKOUT / "conf").is_dir() and (CHECKOUT / "pyproject.toml").is_file()
    return CHECKOUT if is_checkout else Path.cwd()


def data_folder(folder: str | Path | None = None) -> Path:
    """The folder of the datasets: the argument, else `CNNLAB_DATA`, else `data/` at the project root."""
    chosen = folder or os.environ.get("CNNLAB_DATA")
    return Path(chosen).expanduser() if chosen else root() / "data"


def write_atomically(path: Path, content: bytes) -> None:
    """The file `path` with this content, all or none of it, even if the writer is killed or the power fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        draft.write_bytes(content)
        _sync(draft)
        draft.replace(path)
        with suppress(OSError):  # some network file systems cannot sync a folder
            _sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """See a file's content, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, busy: Callable[[], object] | None = None) -> Iterator[None]:
    """A lock that one holder at a time has, among all processes and threads of this machine, and that leaves no file.

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


def conf_folder() -> Path:
    """The folder of configs: the project root's `conf/`, else the checkout's, else an installed wheel's copy."""
    places = [root() / "conf", CHECKOUT / "conf", Path(__file__).resolve().parent / "conf"]
    return next((place for place in places if (place / "train.yaml").is_file()), places[-1])
