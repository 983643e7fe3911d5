"""Where things live on disk: the project root, its folders, addresses of SQLite files, and safe writing."""

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parents[1]  # the checkout that this file belongs to; meaningless in a wheel


def root() -> Path:
    """The project root: `CNNLAB_HOME` if set, else the checkout that this file belongs to, else the current folder."""
    if home := os.environ.get("CNNLAB_HOME"):
        return Path(home).expanduser().resolve()
    return CHECKOUT if _is_checkout(CHECKOUT) else Path.cwd()


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk is full, or a user's share of it."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def data_folder(folder: str | Path | None = None) -> Path:
    """The folder of the datasets: the argument, else `CNNLAB_DATA`, else `data/` at the project root."""
    chosen = folder or os.environ.get("CNNLAB_DATA")
    return Path(chosen).expanduser() if chosen else root() / "data"


def conf_folder() -> Path:
    """The folder of configs: the project root's `conf/`, else the checkout's, else an installed wheel's copy."""
    places = [root() / "conf", CHECKOUT / "conf", PACKAGE / "conf"]
    return next((place for place in places if (place / "train.yaml").is_file()), places[-1])


def refuse_other_checkout() -> None:
    """Exit with one line if the running script or the current folder belongs to another checkout than this code.

    That happens in a copied or moved checkout whose `.venv` still imports `cnnlab` from the old place.
    """
    for place in (Path(sys.argv[0]).resolve(), Path.cwd()):
        found = next((folder for folder in (place, *place.parents) if _is_checkout(folder)), CHECKOUT)
        if found != CHECKOUT:
            sys.exit(f"{found} would run the code of {CHECKOUT}: `make setup` in it makes an environment of its own")


def _is_checkout(folder: Path) -> bool:
    """Whether cnnlab's sources are here, with the files that a wheel leaves out."""
    return (folder / "pyproject.toml").is_file() and (folder / "src/cnnlab/paths.py").is_file()


def typed(make: str, command: str) -> str:
    """What to type, in a line for people: a target of `make` in a checkout, the command where a wheel is installed."""
    return f"`make {make}`" if _is_checkout(CHECKOUT) else f"`{command}`"


UI = typed("ui", "cnnlab ui")  # what serves MLflow's pages


def sqlite_uri(file: Path) -> str:
    """The address of an SQLite file, as SQLAlchemy and MLflow read it.

    Only `%` and `?` are quoted, the two characters that have a meaning there. MLflow would make an empty folder of
    the quoted name where the scheme is plain `sqlite`; it does not where the driver is named.
    """
    quoted = str(file).replace("%", "%25").replace("?", "%3F")
    return f"{'sqlite' if quoted == str(file) else 'sqlite+pysqlite'}:///{quoted}"


def sqlite_file(uri: str) -> Path | None:
    """The file that an SQLite address means; None for other addresses and for databases in memory."""
    scheme, found, rest = uri.partition(":///")
    database = unquote(rest.partition("?")[0])
    is_file = found and scheme.partition("+")[0] == "sqlite" and not database.startswith((":memory:", "file:"))
    return Path(database) if is_file and database else None


def settle() -> None:
    """Make the places that the environment names absolute, for workers that begin in another folder."""
    os.environ["CNNLAB_HOME"] = str(root())
    if os.environ.get("CNNLAB_DATA"):
        os.environ["CNNLAB_DATA"] = str(data_folder().absolute())
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if (file := sqlite_file(uri)) and not file.is_absolute():
        here = sqlite_uri(Path.cwd()).partition(":///")[2]
        os.environ["MLFLOW_TRACKING_URI"] = uri.replace(":///", f":///{here}/", 1)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file completely or not at all, even if the writer is killed or the power fails."""
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
