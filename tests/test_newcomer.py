"""A newcomer's pooling rule, as the README has it: one class, one YAML file, and no other change."""

import importlib.util
import re
import shutil
import sys
from types import ModuleType

import pytest
from tests.conftest import CONF, ROOT, SMALL, Home

from cnnlab.checkpoint import load_network
from cnnlab.nn import gradcheck

README = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Add a pooling rule")[2].partition("\n## ")[0]
FILES = dict(re.findall(r"`(\S+)`:\n\n```\w+\n(.+?)```", README, re.DOTALL))  # what to write, by name


@pytest.fixture
def newcomer(home: Home) -> Home:
    """A home with a copy of the configs and of the package, to which the rule was added."""
    (home.folder / "conf").unlink()
    shutil.copytree(CONF, home.folder / "conf")
    shutil.copytree(ROOT / "src/cnnlab", home.folder / "src/cnnlab")
    for name, content in FILES.items():
        (home.folder / name).write_text(content)
    return home


@pytest.fixture
def rms(newcomer: Home, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The rule's module, in this very process."""
    spec = importlib.util.spec_from_file_location("cnnlab.rms", newcomer.folder / "src/cnnlab/rms.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    monkeypatch.setitem(sys.modules, "cnnlab.rms", found)
    return found


def test_its_gradient_is_right(rms: ModuleType) -> None:
    for layer in (rms.RMSPool(), rms.RMSPool(2), rms.RMSPool((2, 3), (1, 2)), rms.RMSPool(3, 2)):
        assert gradcheck(layer, (7, 2, 6)) < 1e-6


@pytest.mark.slow
def test_it_is_a_word_like_any_other(newcomer: Home, rms: ModuleType) -> None:
    words = ("pooling=rms", "pooling.size=3", "epochs=1", *SMALL)
    said = newcomer.train(*words, PYTHONPATH=str(newcomer.folder / "src"))
    assert (said.code, said.err) == (0, "")
    run = newcomer.run()
    assert (run.info.status, run.data.params["pooling"]) == ("FINISHED", "rms")
    assert "grad_norm/C1" in run.data.metrics
    network, *_ = load_network(newcomer.artifacts(run)["model/artifacts/network.npz"])
    assert [type(network.layers[name]).__name__ for name in ("S2", "S4")] == ["RMSPool", "RMSPool"]
    assert network.layers["S2"].size == 3
    wrong = newcomer.train("pooling=rmss", PYTHONPATH=str(newcomer.folder / "src"))
    assert "did you mean rms?" in wrong.err
