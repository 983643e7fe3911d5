"""Folders with unusual names, addresses of SQLite files, and code of another checkout."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.conftest import ROOT, SMALL, Home, is_one_line

import cnnlab.tracking  # noqa: F401 - silences MLflow before it is imported
from cnnlab.paths import settle, sqlite_file, sqlite_uri, typed
from cnnlab.spelling import _quoted, _searched

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


ODD = "-a b'\"%41 #1?größe日[x]{y};e&f=g :h@i,j$k\\l"  # signs that mean something to a shell, in SQL, in an address


@pytest.mark.slow
def test_commands_work_in_a_folder_of_an_odd_name(new_home: Callable[..., Home], tmp_path: Path) -> None:
    """The home and the current folder of a new store, its runs' files, workers, a report, and configs of one's own."""
    from mlflow import MlflowClient

    home = new_home(tmp_path / ODD, fresh=True)
    own = home.folder / "-own, [x]"
    (own / "activation").mkdir(parents=True)
    (own / "activation/mine.yaml").write_text("_target_: cnnlab.nn.Tanh\namplitude: 1.5\n")
    words = ("model=mlp", "model.hidden=[8]", "epochs=1", *SMALL)
    page = home.folder / "reports/smoke/index.html"
    asked: dict[str, tuple[str, ...]] = {
        "sweep": ("smoke", "--jobs=2", *words),
        "train": (f"hydra.searchpath=[{_quoted(str(own))}]", "activation=mine", "study=smoke", *words),
        "report": ("smoke",),
        "predict": (str(ROOT / "tests/digits/font_4.png"), "--out", str(home.folder / "four.png")),
    }
    for command, arguments in asked.items():
        said = home.command(command, *arguments)
        assert (said.code, said.err) == (0, ""), (command, said)
        assert command != "report" or str(page) in said.out
    client = MlflowClient(sqlite_uri(home.folder / "mlflow.db"))
    (study,) = [known for known in client.search_experiments() if known.name == "smoke"]
    runs = client.search_runs([study.experiment_id])
    assert sorted(run.data.params.get("activation", "summary") for run in runs) == ["mine", "relu", "summary", "tanh"]
    for run in runs:
        place = f"mlartifacts/smoke/{run.info.run_id}/artifacts"
        kept = {path.relative_to(home.folder / place) for path in (home.folder / place).rglob("*") if path.is_file()}
        assert kept and {Path(file.path) for file in client.list_artifacts(run.info.run_id) if not file.is_dir} <= kept
    pictures = re.findall(r'(?:src|href)="([^"#:]+)"', page.read_text("utf-8"))
    assert [name for name in pictures if not (page.parent / unquote(name)).exists()] == []
    there = {path.name for path in home.folder.iterdir()}
    assert there == {"-own, [x]", "conf", "four.png", "mlartifacts", "mlflow.db", "outputs", "reports"}
    assert {path.name for path in tmp_path.iterdir()} == {ODD, f"{ODD}.tmp"}


@pytest.mark.parametrize("name", [*NAMES, ODD, "end\\", "a\\'b"])
def test_folders_to_search_are_those_that_hydra_finds(name: str, tmp_path: Path) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    places = [tmp_path / name, tmp_path]
    places[0].mkdir()
    word = f'hydra.searchpath=[{_quoted(str(places[0]))}, "{tmp_path}"]'
    assert list(map(Path, OverridesParser.create().parse_override(word).value())) == places  # type: ignore[arg-type]
    assert _searched(word.partition("=")[2]) == places


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
