"""A project that was moved or copied keeps its artifacts, and leaves those of others alone."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tests.conftest import Home

from cnnlab.paths import sqlite_uri
from cnnlab.tracking.moved import follow_move


@pytest.fixture
def old(new_home: Callable[..., Home], tmp_path: Path) -> Path:
    """A project with a finished run in the studies `one` and `one/two`, and a study without runs."""
    folder = new_home(tmp_path / "old %41 place").folder
    client = MlflowClient(sqlite_uri(folder / "mlflow.db"))
    for study in ("one", "one/two", "empty"):
        identity = client.create_experiment(study, (folder / "mlartifacts" / study).as_uri())
        if study != "empty":
            run = client.create_run(identity, run_name=study)
            client.log_text(run.info.run_id, f"note of {study}", "note.txt")
    return folder


def follow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("CNNLAB_HOME", str(folder))
    return follow_move(sqlite_uri(folder / "mlflow.db"))


def places(folder: Path) -> dict[str, Path]:
    """By study, the folder in which a new run of it would have its artifacts."""
    client = MlflowClient(sqlite_uri(folder / "mlflow.db"))
    known = {found.name: found for found in client.search_experiments() if found.name != "Default"}
    runs = {name: client.create_run(found.experiment_id) for name, found in known.items()}
    for run in runs.values():
        client.log_text(run.info.run_id, "", "new.txt")
    found = {path.parts[-3]: path for path in folder.parent.rglob("new.txt")}
    return {name: found[run.info.run_id].parents[2] for name, run in runs.items()}


def notes(folder: Path) -> dict[str, str]:
    """By study, what its runs' notes say."""
    client = MlflowClient(sqlite_uri(folder / "mlflow.db"))
    runs = client.search_runs([found.experiment_id for found in client.search_experiments()])
    files = {run.info.run_name: client.download_artifacts(run.info.run_id, "note.txt") for run in runs}
    return {name: Path(file).read_text() for name, file in files.items()}


def own(folder: Path) -> dict[str, Path]:
    return {study: folder / "mlartifacts" / study for study in ("one", "one/two", "empty")}


KEPT = {study: f"note of {study}" for study in ("one", "one/two")}


def test_a_moved_project_finds_its_artifacts(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = old.rename(tmp_path / "new?place")
    assert (follow(new, monkeypatch), follow(new, monkeypatch)) == (3, 0)
    assert notes(new) == KEPT
    assert places(new) == own(new)
    assert not old.exists()


def test_a_copied_project_leaves_the_original_alone(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = shutil.copytree(old, tmp_path / "new", symlinks=True)
    (new / "mlartifacts/one").rename(new / "moved")  # to see which of the two is read
    shutil.copytree(new / "moved", new / "mlartifacts/one")
    for note in (new / "mlartifacts/one").glob("*/artifacts/note.txt"):
        note.write_text("the copy's")
    assert follow(new, monkeypatch) == 3
    assert notes(new) == KEPT | {"one": "the copy's"}
    assert places(new) == own(new)
    assert follow(old, monkeypatch) == 0
    assert notes(old) == KEPT and places(old) == own(old)


def test_artifacts_that_only_another_project_has_stay_there(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two projects on one store: the artifacts of a study lie with the one that began it."""
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(old / "mlflow.db", new)
    assert follow(new, monkeypatch) == 1
    assert notes(new) == KEPT
    assert places(new) == own(old) | {"empty": new / "mlartifacts/empty"}


def test_other_stores_are_left_alone(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = old.rename(tmp_path / "new")
    monkeypatch.setenv("CNNLAB_HOME", str(tmp_path))
    for uri in (sqlite_uri(new / "mlflow.db"), "http://127.0.0.1:1", sqlite_uri(tmp_path / "mlflow.db"), "sqlite://"):
        assert follow_move(uri) == 0
    assert not (tmp_path / "mlflow.db").exists()


def test_a_store_without_tables_is_left_to_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow.db").touch()
    assert follow(tmp_path, monkeypatch) == 0


@pytest.mark.parametrize("how", ["cut off", "no database", "a folder"])
def test_a_store_that_cannot_be_read_is_not_said_to_have_moved(
    how: str, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = old / "mlflow.db"
    content = store.read_bytes()[:20_000]
    store.unlink()
    if how == "a folder":  # MLflow would try for minutes to open it
        store.mkdir()
    else:
        store.write_bytes(content if how == "cut off" else b"no database")
    with pytest.raises(OSError, match=r"mlflow.db cannot be read: "):
        follow(old, monkeypatch)


def test_a_store_that_cannot_be_changed_is_one_line(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = old.rename(tmp_path / "new")
    with sqlite3.connect(new / "mlflow.db") as store:
        store.execute("create trigger no before update on runs begin select raise(abort, 'not today'); end")
    with pytest.raises(OSError, match=r"was moved, and its artifacts' new place cannot be written .*: not today$"):
        follow(new, monkeypatch)
    with sqlite3.connect(new / "mlflow.db") as store:
        assert not list(store.execute("select 1 from experiments where artifact_location like '%/new/%'"))
