"""What a newcomer adds, as the README has it: a file or two, and no other change.

A pooling rule, an activation, a set of images in an npz file, and a metric of each epoch with its figure.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tests.conftest import CONF, ROOT, SMALL, Home

from cnnlab.data import mnist5k
from cnnlab.networks import load_network
from cnnlab.nn import gradcheck

README = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Add a pooling rule")[2]
RULE, OTHERS = (part.partition("\n## ")[0] for part in README.split("## Add an activation, images, a metric"))
POOLING = dict(re.findall(r"`(\S+)`:\n\n```\w+\n(.+?)```", RULE, re.DOTALL))  # what to write, by name
SWISH, LETTERS, METRIC = re.findall(r"```python\n(.+?)```", OTHERS, re.DOTALL)
LINES = dict(re.findall(r"`(conf/\S+)` has the line\s+`(.+?)`", OTHERS))
ACTIVATION = {"src/cnnlab/swish.py": SWISH, "conf/activation/swish.yaml": LINES["conf/activation/swish.yaml"] + "\n"}
IMAGES = {"src/cnnlab/letters.py": LETTERS, "conf/data/letters.yaml": LINES["conf/data/letters.yaml"] + "\n"}
EDITS = {  # of files that are there: what is found, once, and what it becomes
    "measuring.py": {
        "STEP_METRICS: tuple": METRIC + "\n\nSTEP_METRICS: tuple",
        "(saturated, held_out, watched)": "(saturated, held_out, watched, largest_weight)",
    },
    "journal.py": {
        '        self.log.curve("first_steps': """        largest = (self.history, "largest", "largest weights")
        self.log.figure("plots/largest.png", plots.by_layer, *largest)
        self.log.curve("first_steps""",
    },
}


@pytest.fixture
def newcomer(home: Home) -> Home:
    """A home with a copy of the configs and of the sources, to which all four were added."""
    (home.folder / "conf").unlink()
    shutil.copytree(CONF, home.folder / "conf")
    shutil.copytree(ROOT / "src", home.folder / "src")
    for name, content in (POOLING | ACTIVATION | IMAGES).items():
        assert not (home.folder / name).exists()
        (home.folder / name).write_text(content)
    for name, edits in EDITS.items():
        file = home.folder / "src/cnnlab" / name
        for old, new in edits.items():
            text = file.read_text()
            assert text.count(old) == 1
            file.write_text(text.replace(old, new))
    return home


@pytest.mark.parametrize(
    "trial", [ACTIVATION, IMAGES, {name: "".join(edits.values()) for name, edits in EDITS.items()}]
)
def test_each_takes_at_most_twenty_lines(trial: dict[str, str]) -> None:
    assert sum(len([line for line in content.splitlines() if line.strip()]) for content in trial.values()) <= 20


@pytest.fixture
def added(newcomer: Home, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The new modules, in this very process."""
    found = {}
    for name in ("rms", "swish"):
        spec = importlib.util.spec_from_file_location(f"cnnlab.{name}", newcomer.folder / f"src/cnnlab/{name}.py")
        assert spec is not None and spec.loader is not None
        found[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found[name])
        monkeypatch.setitem(sys.modules, f"cnnlab.{name}", found[name])
    return found


def test_their_gradients_are_right(added: dict[str, ModuleType]) -> None:
    pool = added["rms"].RMSPool
    for layer in (pool(), pool(2), pool((2, 3), (1, 2)), pool(3, 2), added["swish"].Swish()):
        assert gradcheck(layer, (7, 2, 6)) < 1e-6


def letters(folder: Path, data_folder: Path) -> np.ndarray:
    """Write the newcomer's file, of digits that pass for letters; the test labels."""
    digits = mnist5k(train=300, test=200, validation=0, folder=data_folder)
    labels = np.concatenate([digits.train.labels, digits.test.labels])
    np.savez(folder / "letters.npz", pixels=np.concatenate([digits.train.pixels, digits.test.pixels]), labels=labels)
    return digits.test.labels


@pytest.mark.slow
def test_they_are_words_like_any_other(newcomer: Home, added: dict[str, ModuleType], data_folder: Path) -> None:
    labels = letters(newcomer.folder, data_folder)
    variables = {"PYTHONPATH": str(newcomer.folder / "src"), "CNNLAB_DATA": str(newcomer.folder)}
    words = ("pooling=rms", "pooling.size=3", "activation=swish", "data=letters", "model=lenet5", "epochs=2")
    said = newcomer.train(*words, **variables)
    assert (said.code, said.err) == (0, "")
    run = newcomer.run()
    chosen = {"pooling": "rms", "activation": "swish", "data": "letters"}
    assert run.info.status == "FINISHED" and chosen.items() <= run.data.params.items()
    assert run.inputs.dataset_inputs[0].dataset.name == "letters"
    curves, files = newcomer.curves(run), newcomer.artifacts(run)
    assert {"grad_norm/C1", "saturation/A1", "val/error_percent"} <= curves.keys()
    largest = {key for key in curves if key.startswith("largest/")}
    assert {"largest/C1", "largest/C3", "largest/F6"} <= largest
    network, params, *_ = load_network(files["model/artifacts/network.npz"])
    for key in largest:
        assert sorted(curves[key]) == [1, 2]
        assert curves[key][2] == pytest.approx(float(np.abs(params[key.removeprefix("largest/")]["W"]).max()))
    assert "plots/largest.png" in files
    assert largest <= set(files["history.csv"].read_text().splitlines()[0].split(","))
    assert [type(network.layers[name]).__name__ for name in ("S2", "A3", "S4")] == ["RMSPool", "Swish", "RMSPool"]
    assert network.layers["S2"].size == 3
    with np.load(files["answers.npz"]) as kept:
        assert (kept["labels"] == labels).all()
    wrong = newcomer.train("pooling=rmss", *SMALL, **variables)
    assert "did you mean rms?" in wrong.err
