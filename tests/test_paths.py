"""Folders with unusual names, addresses of SQLite files, and code of another checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT, is_one_line

import cnnlab.tracking  # noqa: F401 - silences MLflow before it is imported
from cnnlab.paths import settle, sqlite_file, sqlite_uri, typed

NAMES = ["plain", "two words", "what?", "a#b", "50%41 %", "größe", "a+b@c:d;e&f=g", "[x]'\"y"]


@pytest.mark.parametrize("name", NAMES)
def test_an_address_and_its_file(name: str) -> None:
    file = Path("/x", name, "mlflow.db")
    assert sqlite_file(sqlite_uri(file)) == sqlite_file(f"{sqlite_uri(file)}?timeout=60") == file


@pytest.mark.parametrize("name", NAMES)
def test_places_that_are_relative_mean_the_same_elsewhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / name
    here.mkdir()
    monkeypatch.chdir(here)
    for variable, place in {
        "CNNLAB_HOME": "home",
        "CNNLAB_DATA": "data",
        "MLFLOW_TRACKING_URI": "sqlite:///own.db?timeout=60",
    }.items():
        monkeypatch.setenv(variable, place)
    settle()
    assert (os.environ["CNNLAB_HOME"], os.environ["CNNLAB_DATA"]) == (str(here / "home"), str(here / "data"))
    assert sqlite_file(os.environ["MLFLOW_TRACKING_URI"]) == here / "own.db"
    assert os.environ["MLFLOW_TRACKING_URI"].endswith("?timeout=60")
    for absolute in ("http://server:5000", "sqlite:////x/own.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", absolute)
        settle()
        assert os.environ["MLFLOW_TRACKING_URI"] == absolute


def test_ordinary_addresses_stay_as_they_were() -> None:
    assert sqlite_uri(Path("/x/two words/mlflow.db")) == "sqlite:////x/two words/mlflow.db"
    assert sqlite_file("sqlite:///mlflow.db") == Path("mlflow.db")


@pytest.mark.parametrize(
    "uri",
    ["http://127.0.0.1:5000", "postgresql://x:y@z/db", "sqlite://", "sqlite:///:memory:", "mlruns", "file:///x/y"],
)
def test_other_stores_have_no_file(uri: str) -> None:
    assert sqlite_file(uri) is None


@pytest.mark.parametrize(("name", "query"), [("two words", ""), ("what? 50%41 #1 größe", "?timeout=60")])
def test_mlflow_finds_the_file_and_makes_nothing_else(
    name: str, query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "home" / name
    folder.mkdir(parents=True)
    client = MlflowClient(sqlite_uri(folder / "mlflow.db") + query)
    run = client.create_run(client.create_experiment("study", (folder / "mlartifacts/study").as_uri()))
    client.log_text(run.info.run_id, "text", "plots/note.txt")
    kept = f"mlartifacts/study/{run.info.run_id}/artifacts/plots/note.txt"
    assert (folder / kept).read_text() == "text"
    assert Path(client.download_artifacts(run.info.run_id, "plots/note.txt")).read_text() == "text"
    assert {path.relative_to(folder).parts[0] for path in folder.iterdir()} == {"mlflow.db", "mlartifacts"}
    assert list(folder.parent.iterdir()) == [folder] and list(tmp_path.iterdir()) == [folder.parent]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of this checkout's benchmark and of the files by which a checkout is known."""
    for name in ("pyproject.toml", "src/cnnlab/__init__.py", "src/cnnlab/paths.py"):
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "copy" / name)
    shutil.copytree(ROOT / "experiments/speed", tmp_path / "copy/experiments/speed")
    return tmp_path / "copy"


def run(script: Path, folder: Path, source: Path) -> "subprocess.CompletedProcess[str]":
    """The script's `--help`, run in a folder with cnnlab's code from a source."""
    command = [sys.executable, str(script), "--help"]
    variables = os.environ | {"PYTHONPATH": str(source)}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_where_a_wheel_is_installed_nobody_is_told_to_type_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typed("ui PORT=5001", "cnnlab ui --port=5001") == "`make ui PORT=5001`"
    monkeypatch.setattr("cnnlab.paths.CHECKOUT", tmp_path)  # a folder of installed packages is no checkout
    assert typed("ui PORT=5001", "cnnlab ui --port=5001") == "`cnnlab ui --port=5001`"


def test_a_copy_does_not_run_the_code_of_the_original(copy: Path, tmp_path: Path) -> None:
    program = Path("experiments/speed/bench.py")
    for script, folder in ((copy / program, tmp_path), (ROOT / program, copy / "src")):
        done = run(script, folder, ROOT / "src")
        assert done.returncode == 1 and is_one_line(done.stderr)
        assert done.stderr.startswith(f"{copy} would run the code of {ROOT}:")
    assert run(copy / program, tmp_path, copy / "src").returncode == 0
    assert run(ROOT / program, tmp_path, ROOT / "src").returncode == 0
