"""The programs in experiments/ without the runs, images or files that they read: one line, and an exit code."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import ROOT, Home, is_one_line

Ends = Callable[..., str]


@pytest.fixture
def ends(inside: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ends:
    """The line that a program ends with, where there is nothing that it could read."""

    def ends(program: str, *words: str) -> str:
        file = ROOT / "experiments" / program
        monkeypatch.setattr(sys, "argv", [str(file), *words])
        monkeypatch.setattr(sys, "path", [str(file.parent), *sys.path])
        monkeypatch.setattr("cnnlab.paths.refuse_other_checkout", lambda: None)
        monkeypatch.setenv("CNNLAB_DATA", str(inside.folder / "nothing"))
        before = set(sys.modules)
        with pytest.raises(SystemExit) as over:
            runpy.run_path(str(file), run_name="__main__")
        for name in set(sys.modules) - before:
            if (file.parent / f"{name}.py").exists():  # a program's neighbours have common names
                del sys.modules[name]
        assert isinstance(over.value.code, str) and is_one_line(over.value.code)
        return over.value.code

    return ends


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["study.py"], "say which study, as in"),
        (["study.py", "pooling"], "train-images-idx3-ubyte"),
        (["study.py", "nosuch"], "sweep=nosuch: "),
        (["study.py", "../x"], "sweep=../x: "),
        (["study.py", "smoke", "activation=nosuch"], "activation=nosuch: "),
        (["study.py", "smoke", "data=digits"], "smoke: no run of it was found"),
        (["lenet_family/update.py"], "train-images-idx3-ubyte"),
        (["speed/notebook.py", "gone.json"], "notebook: gone.json is not there: `make bench` writes it"),
    ],
)
def test_what_is_missing_is_said_in_one_line(words: list[str], line: str, ends: Ends) -> None:
    assert line in ends(*words)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", json.dumps({"speed": [1], "machine": {}, "rehearsal": False})]
)
def test_a_report_that_is_none_is_said_to_be(content: str, ends: Ends, tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(content)
    assert "bench.json cannot be read: `make bench` writes it anew" in ends(
        "speed/notebook.py", f"{tmp_path}/bench.json"
    )
