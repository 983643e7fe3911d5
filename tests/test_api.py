"""Runs from Python: made, listed and loaded; and the lines of the README."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from tests.conftest import ROOT, Home, is_one_line

import cnnlab
from cnnlab import load, records, run

WORDS = "model=mlp model.hidden=[8] data.train=300 data.validation=100 data.test=100 epochs=2"
README = (ROOT / "README.md").read_text(encoding="utf-8").partition("## From Python")[2].partition("\n## ")[0]


@pytest.fixture
def apart(inside: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home that this process is in, whose environment a run may change."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return inside


@pytest.mark.slow
def test_a_run_is_made_once_and_listed(apart: Home) -> None:
    made = run(WORDS)
    kept = apart.run()
    assert (made.run_id, made.status, made.words) == (kept.info.run_id, "FINISHED", kept.data.params)
    assert made.metrics == kept.data.metrics and len(made.history) == 2
    shown = f"<run {made.run_id}: activation=relu loss=cross_entropy model=mlp"
    assert repr(made).startswith(shown) and repr(made).endswith(f"test error {made.error('test'):.2f}%>")
    assert run(WORDS.split()).run_id == made.run_id
    bad = run([*WORDS.split(), "seed=1", "lr=1e30"])
    assert bad.status == "FAILED" and "NaN or infinity" in bad.reason
    table = records("runs")
    assert list(table.run_id) == [made.run_id, bad.run_id] and list(table.status) == ["FINISHED", "FAILED"]
    assert list(table.seed) == [0, 1] and list(table.epochs) == [2, 2] and list(table.lr)[1] == 1e30
    assert list(table.pooling) == ["none", "none"] and list(table["model.hidden"]) == ["[8]", "[8]"]
    assert table["test/error_percent"][0] == made.metrics["test/error_percent"]
    assert math.isnan(table["test/error_percent"][1]) and table["val/error_percent"].dtype == float
    assert list(table.columns[-4:]) == ["val/error_percent", "test/error_percent", "status", "run_id"]
    accuracy = records("runs", metrics=["test/accuracy"])["test/accuracy"]
    assert accuracy[0] == pytest.approx(1 - made.error("test") / 100)
    with pytest.raises(ValueError, match=r"^there is no study 'rums' \(did you mean runs\?\): choose from runs$"):
        records("rums")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("activation=rellu", r"activation=rellu: there is no such choice \(did you mean relu\?\)"),
        ("activation=relu,tanh", r"activation=relu,tanh: several values make a sweep"),
        ("-m seed=1", "-m: choose words of a single run; `cnnlab sweep` makes sweeps"),
        ("sweep=pooling", "sweep=pooling: choose words of a single run"),
        ("epochs", "epochs: write epochs="),
        (["epochs=1", "epochs=2"], "epochs=2: epochs=1 is there already"),
    ],
)
def test_words_that_are_wrong_are_refused_in_one_line(words: str | list[str], said: str, apart: Home) -> None:
    with pytest.raises(ValueError, match=f"^{said}") as refused:
        run(words)
    assert is_one_line(str(refused.value)) and apart.runs() == []


def test_a_home_without_runs_has_no_studies(fresh_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, value in fresh_home.places.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"^there is no study 'runs': choose from none yet$"):
        records("runs")
    assert not (fresh_home.folder / "mlflow.db").exists()


@pytest.mark.slow
def test_the_lines_of_the_readme(apart: Home) -> None:
    (code,) = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
    assert len(code.strip().splitlines()) == 7
    X, y = load_digits(return_X_y=True)
    said = {"images": np.zeros((3, 28, 28), np.uint8), "X": X[:300], "y": y[:300]}
    exec(code.replace("epochs=1", f"epochs=1 {WORDS.rpartition(' ')[0]}"), said)
    assert said["chances"].shape == (3, 10) and len(said["table"]) == 1
    assert said["made"].run_id == apart.run("python").info.run_id
    assert repr(load(said["made"].run_id)) == repr(said["network"]) == "<Predictor: 28x28 grey images, 10 classes>"
    assert repr(said["digits"]) == "Classifier(activation='tanh')" and said["digits"].score(X[:300], y[:300]) > 0.8


def test_a_version_and_types_come_with_the_package() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", cnnlab.__version__)
    assert Path(cnnlab.__file__).with_name("py.typed").is_file()
