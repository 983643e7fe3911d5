"""Artifacts of a project that was moved or copied: MLflow keeps absolute addresses, which are brought up to date."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from cnnlab.paths import root, sqlite_file

FOLDER = "mlartifacts"
ADDRESSES = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))


def own_store(uri: str) -> Path | None:
    """The project's own store, `mlflow.db` at its root, if that is what the address means."""
    file = sqlite_file(uri)
    return file if file and file.resolve() == root() / "mlflow.db" else None


def follow_move(uri: str) -> int:
    """Point the project's own store to the artifacts beside it; how many experiments pointed elsewhere.

    An experiment whose folder exists at the old place alone is left as it is: another project may share the store.
    So is any store but `mlflow.db` at the project root. Raises OSError where the store cannot be changed,
    and SQLite's own where another process has it locked.
    """
    file = own_store(uri)
    if file is None or not file.exists():
        return 0
    trouble = "cannot be read"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, timeout=20)) as store:
            if not any(_moved(store)):
                return 0
            trouble = "was moved, and its artifacts' new place cannot be written into it"
            with store:  # one transaction
                store.execute("begin immediate")
                moved = list(_moved(store))  # again: another process may have been faster
                for experiment, old, new in moved:
                    for table, column in ADDRESSES:
                        change = f"update {table} set {column} = ? || substr({column}, ?) where experiment_id = ?"
                        same = f"substr({column} || '/', 1, ?) = ?"
                        store.execute(f"{change} and {same}", (new, len(old) + 1, experiment, len(old) + 1, f"{old}/"))
            return len(moved)
    except sqlite3.Error as error:
        if "locked" in str(error):  # that passes
            raise
        raise OSError(f"{file} {trouble}: {error}") from error


def _moved(store: sqlite3.Connection) -> Iterator[tuple[int, str, str]]:
    """Experiments with the old and the new addresses of their folders; none where the store has no tables yet."""
    if not store.execute("select 1 from sqlite_master where name = 'experiments'").fetchone():
        return
    here = (root() / FOLDER).as_uri()
    for experiment, old in store.execute("select experiment_id, artifact_location from experiments"):
        before, _, study = (old or "").rpartition(f"/{FOLDER}/")
        new = f"{here}/{study}"
        if before.startswith("file:///") and new != old and (_path(new).is_dir() or not _path(old).is_dir()):
            yield experiment, old, new


def _path(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))
