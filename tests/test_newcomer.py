"""A newcomer's pooling rule, as the README has it: one class, one YAML file, and no other change."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from tests.conftest import CONF, ROOT, SMALL, Home

from cnnlab.checkpoint import load_network
from cnnlab.nn import gradcheck

README = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Add a pooling rule")[2]
CLASS, OPTION = (README.partition(f"```{language}\n")[2].partition("```")[0] for language in ("python", "yaml"))


@pytest.fixture
def newcomer(home: Home) -> Home:
    """A home with a copy of the configs, to which the rule was added."""
    (home.folder / "conf").unlink()
    shutil.copytree(CONF, home.folder / "conf")
    (home.folder / "conf/pooling/rms.yaml").write_text(OPTION.replace("cnnlab.rms", "newcomer"))
    (home.folder / "newcomer.py").write_text(CLASS)
    return home


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("newcomer", path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_its_gradient_is_right(newcomer: Home) -> None:
    rms = module(newcomer.folder / "newcomer.py").RMSPool
    for layer in (rms(), rms(2), rms((2, 3), (1, 2)), rms(3, 2)):
        assert gradcheck(layer, (7, 2, 6)) < 1e-6


@pytest.mark.slow
def test_it_is_a_word_like_any_other(newcomer: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("pooling=rms", "pooling.size=3", "epochs=1", *SMALL)
    said = newcomer.train(*words, PYTHONPATH=str(newcomer.folder))
    assert (said.code, said.err) == (0, "")
    run = newcomer.run()
    assert (run.info.status, run.data.params["pooling"]) == ("FINISHED", "rms")
    assert "grad_norm/C1" in run.data.metrics
    monkeypatch.syspath_prepend(newcomer.folder)
    network, *_ = load_network(newcomer.artifacts(run)["model/artifacts/network.npz"])
    assert [type(network.layers[name]).__name__ for name in ("S2", "S4")] == ["RMSPool", "RMSPool"]
    assert network.layers["S2"].size == 3
    wrong = newcomer.train("pooling=rmss", PYTHONPATH=str(newcomer.folder))
    assert "did you mean rms?" in wrong.err
