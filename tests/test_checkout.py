"""`.venv` belongs to the folder that it was made in: `make` in a copied or moved checkout touches no other.

Python is replaced by scripts that write down where they lie and what they are asked for, so that nothing is installed.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT

BASE = """#!/bin/sh
if [ "$2" != venv ]; then exec {python} "$@"; fi
rm -rf .venv/*
mkdir -p .venv/bin
echo "command = {python} -m venv --clear $(pwd -P)/.venv" >.venv/pyvenv.cfg
cp {inner} .venv/bin/python
"""
INNER = """#!/bin/sh
echo "$(cd "$(dirname "$0")" && pwd -P) $*" >>{log}
"""
NEW, AGAIN = "setup: making .venv with", "setup: .venv is of another folder or its Python is gone: making .venv with"


class Bench:
    """A folder of checkouts, and what was run in their environments."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        for name, text in {"base": BASE, "inner": INNER}.items():
            script = folder / name
            script.write_text(text.format(python=sys.executable, inner=folder / "inner", log=self.log))
            script.chmod(0o755)

    def checkout(self, name: str) -> Path:
        """A checkout without an environment."""
        place = self.folder / name
        place.mkdir()
        for file in ("Makefile", "pyproject.toml", "requirements.lock"):
            shutil.copy(ROOT / file, place)
        return place

    def make(self, place: Path, *words: str) -> tuple[list[str], list[str]]:
        """The lines that `make` says, and what it ran: the folder of a Python with its arguments."""
        self.log.write_text("")
        command = ["make", f"PYTHON={self.folder / 'base'}", *words]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        done = subprocess.run(command, cwd=place, env=clean, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines(), self.log.read_text().splitlines()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def state(place: Path) -> dict[str, tuple[float, bytes]]:
    """Every file below a folder: its time and content."""
    files = [path for path in place.rglob("*") if path.is_file()]
    return {str(path.relative_to(place)): (path.stat().st_mtime, path.read_bytes()) for path in files}


def test_an_environment_is_made_once(bench: Bench) -> None:
    place = bench.checkout("with a space")
    said, ran = bench.make(place, "train")
    assert len(said) == 1 and said[0].startswith(NEW)
    assert [line.startswith(f"{place}/.venv/bin -m pip install") for line in ran] == [True, True, False]
    said, ran = bench.make(place, "train")
    assert said == [] and len(ran) == 1 and ran[0].startswith(f"{place}/.venv/bin -m cnnlab train")


@pytest.mark.parametrize("how", ["copied", "moved"])
def test_another_place_gets_an_environment_of_its_own(how: str, bench: Bench) -> None:
    old = bench.checkout("old")
    bench.make(old, "setup")
    before, new = state(old), bench.folder / "new"
    if how == "moved":
        old.rename(new)
    else:
        shutil.copytree(old, new, symlinks=True)
    said, ran = bench.make(new, "train")
    assert len(said) == 1 and said[0].startswith(AGAIN)
    assert len(ran) == 3 and all(line.startswith(f"{new}/.venv/bin ") for line in ran)
    assert bench.make(new, "setup")[1] == []
    if how == "copied":
        assert state(old) == before
        assert bench.make(old, "setup")[1] == []


def test_a_link_to_anothers_environment_is_replaced(bench: Bench) -> None:
    old, new = bench.checkout("old"), bench.checkout("new")
    bench.make(old, "setup")
    (new / ".venv").symlink_to(old / ".venv")
    before = state(old)
    said, ran = bench.make(new, "setup")
    assert len(said) == 1 and said[0].startswith(NEW)
    assert len(ran) == 2 and all(line.startswith(f"{new}/.venv/bin ") for line in ran)
    assert state(old) == before and not (new / ".venv").is_symlink()


def test_an_environment_without_its_python_is_made_again(bench: Bench) -> None:
    place = bench.checkout("checkout")
    bench.make(place, "setup")
    (place / ".venv/bin/python").unlink()
    said, ran = bench.make(place, "setup")
    assert len(said) == 1 and said[0].startswith(AGAIN) and len(ran) == 2


def test_a_folder_that_mlflow_cannot_work_in_is_refused(bench: Bench) -> None:
    place = bench.checkout("50%41")
    done = subprocess.run(["make", "setup"], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "setup: MLflow does not work below a folder with % in its name"
    assert not (place / ".venv").exists()


def test_targets_run_python_alone() -> None:
    """The other programs in `bin/` begin with the path of the Python that they were installed by."""
    assert set(re.findall(r"\$\(BIN\)/(\w+)", (ROOT / "Makefile").read_text())) == {"python"}


@pytest.mark.parametrize(
    ("target", "variable", "word"),
    [
        ("sweep", "SWEEP", "{}"),
        *(("sweep", variable, word) for variable, word in [("SEEDS", "--seeds={}"), ("JOBS", "--jobs={}")]),
        *(("sweep", variable, word) for variable, word in [("DATA", "data={}"), ("EPOCHS", "epochs={}")]),
        *((target, "LAUNCHER", "--launcher={}") for target in ("sweep", "study")),
        ("report", "SWEEP", "{}"),
        *(("study", variable, word) for variable, word in [("STUDY", "{}"), ("JOBS", "--jobs={}")]),
        ("reproduce", "JOBS", "--jobs={}"),
        ("evaluate", "RUN", "{}"),
        ("predict", "RUN", "--run={}"),
        *(("compare", variable, "{}") for variable in "AB"),
        ("ui", "PORT", "--port={}"),
        *(("server", name, f"--{name.lower()}={{}}") for name in ("ADMIN", "STORE", "HOST", "PORT")),
    ],
)
def test_what_a_variable_holds_is_one_word(target: str, variable: str, word: str, bench: Bench) -> None:
    place = bench.checkout("ours")
    bench.make(place, "setup")
    text = "x';y\"; touch y #& $(shell touch y) `touch y` $$(touch y)\ntouch y"
    _, ran = bench.make(place, target, f"{variable}={text}")
    said = word.format(text.replace("\n", " "))
    assert ran and not (place / "y").exists()
    assert all(f" {said}" in line for line in ran[: 2 if variable in ("JOBS", "LAUNCHER") else None]), ran


def test_whom_to_serve_is_not_taken_from_the_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """In which some shells name the machine, so that a server would be open to all who reach it."""
    place = bench.checkout("ours")
    bench.make(place, "setup")
    monkeypatch.setenv("HOST", "0.0.0.0")
    assert bench.make(place, "server")[1] == [f"{place}/.venv/bin -m cnnlab server"]


@pytest.mark.parametrize(("target", "variable"), [("reproduce", "ONLY"), ("predict", "IMAGE")])
def test_several_rows_or_pictures_are_a_word_each(target: str, variable: str, bench: Bench) -> None:
    place = bench.checkout("ours")
    bench.make(place, "setup")
    _, ran = bench.make(place, target, f"{variable}=linear x;touch<y $(shell touch y)")
    assert ran == [f"{place}/.venv/bin -m cnnlab {target} linear x;touch<y $(shell touch y)"]
    assert not (place / "y").exists() and not (place / "touch").exists()


def test_a_pattern_means_the_files_that_are_there(bench: Bench) -> None:
    place = bench.checkout("ours")
    bench.make(place, "setup")
    for name in ("a.png", "b;touch_y.png", "c.txt"):
        (place / name).touch()
    _, ran = bench.make(place, "predict", "IMAGE=*.png *.gif")
    assert ran == [f"{place}/.venv/bin -m cnnlab predict a.png b;touch_y.png *.gif"]
    assert not (place / "y").exists()


@pytest.mark.parametrize("study", ["$(shell touch y)", "../../elsewhere", "%", "x ../elsewhere", "x cost"])
def test_only_the_project_s_own_programs_are_part_of_a_study(study: str, bench: Bench) -> None:
    place = bench.checkout("ours")
    bench.make(place, "setup")
    for folder in (place / "experiments/loss", place.parent / "elsewhere", place / "elsewhere"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "slowdown.py").touch()
    _, ran = bench.make(place, "study", f"STUDY={study}")
    assert len(ran) == 3 and not (place / "y").exists() and "slowdown" not in "".join(ran)
    assert "experiments/loss/slowdown.py" in bench.make(place, "study", "STUDY=loss")[1][-1]
