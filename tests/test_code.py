"""The digest of a run's code: what changes a number changes it, and nothing else does."""

from __future__ import annotations

import ast
import inspect
import os
import py_compile
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cnnlab
from cnnlab import data, nn, statistics, training
from cnnlab.code import LEFT_OUT, digest

SOURCE = Path(cnnlab.__file__).parent
RUN = ("cnnlab.training.train", "cnnlab.models.lenet5", "cnnlab.data.mnist5k", "cnnlab.nn.MaxPool", "cnnlab.nn.SGD")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder that holds a copy of the package."""
    shutil.copytree(SOURCE, tmp_path / "lib/cnnlab", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "lib"


def digest_in(folder: Path, *targets: str) -> str:
    """The digest as a fresh process finds it that has cnnlab in a folder; it imports nothing but this room."""
    program = "import sys; from cnnlab.code import digest; print(digest(sys.argv[1:]), 'numpy' in sys.modules)"
    command = [sys.executable, "-B", "-c", program, *(targets or RUN)]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/", env=environment)
    found, numpy = run.stdout.split()
    assert (len(found), numpy) == (16, "False")
    return found


def file_of(thing: Any) -> str:
    """The file that something of cnnlab is defined in, below the package's folder."""
    return Path(inspect.getfile(inspect.unwrap(thing))).relative_to(SOURCE).as_posix()


def edit(path: Path, change: Callable[[str], str]) -> None:
    text = path.read_text("utf-8")
    assert change(text) != text
    path.write_text(change(text), "utf-8")


def inserted(what: str, into: str = "") -> Callable[[str], str]:
    """A change that puts a line below the docstring of a module, or of a class in it."""

    def change(text: str) -> str:
        body: Any = ast.parse(text).body
        if into:
            (body,) = (node.body for node in body if isinstance(node, ast.ClassDef) and node.name == into)
        lines = text.splitlines(keepends=True)
        return "".join([*lines[: body[0].end_lineno], what + "\n", *lines[body[0].end_lineno :]])

    return change


MORE = inserted("MORE = 7")
FOR_TYPES = """from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import cnnlab.nn.gradcheck
    from cnnlab.report import pages"""


def test_neither_place_nor_order_nor_repetition_counts(copied: Path) -> None:
    assert digest(RUN) == digest(reversed(RUN)) == digest([*RUN, RUN[0]]) == digest_in(copied)
    assert len({digest([target]) for target in RUN}) == len(RUN)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (file_of(nn.MaxPool), lambda text: re.sub(r'^( *""")(?=\w)', r"\1Said otherwise. ", text, flags=re.M)),
        (file_of(nn.Conv2D), lambda text: text.replace("\n\n\n", "\n\n\n\n# said in between\n\n")),
        (file_of(training.train), inserted(FOR_TYPES)),
        (file_of(nn.gradcheck), MORE),
        (file_of(data.mnist), MORE),
        (file_of(statistics.crossed), MORE),
        ("nn/__init__.py", inserted("from cnnlab.nn.gradcheck import gradcheck as checked")),
        ("nn/newcomer.py", None),
    ],
    ids=["docstrings", "layout", "types", "module", "another source", "comparisons", "name in a package", "new module"],
)
def test_what_computes_nothing_changes_no_digest(copied: Path, file: str, change: Callable[[str], str] | None) -> None:
    path = copied / "cnnlab" / file
    if change:
        edit(path, change)
    else:
        path.write_text("MORE = 7\n")
    assert digest_in(copied) == digest(RUN)


def test_rooms_that_only_show_change_no_digest(copied: Path) -> None:
    rooms = [path for path in copied.glob("cnnlab/*") if path.stem in LEFT_OUT]
    files = [file for room in rooms for file in (room.rglob("*.py") if room.is_dir() else [room])]
    assert len(files) > 10
    for file in files:
        if file.stem != "code":  # which this test runs
            file.write_text("MORE = 7\n")
    assert digest_in(copied) == digest(RUN)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (file_of(nn.MaxPool), inserted("    bound = 1", "MaxPool")),
        (file_of(nn.SGD), lambda text: text.replace("momentum: BelowOne = 0.0", "momentum: BelowOne = 0.1")),
        (file_of(training.train), MORE),
        (file_of(data.mnist5k), MORE),
        (file_of(statistics.accuracy), MORE),
        (file_of(data.Dataset), MORE),
        (file_of(nn.pack), MORE),
    ],
    ids=["constant in MaxPool", "default", "loop", "source of data", "counts", "its ground", "the engine's ground"],
)
def test_what_can_change_a_number_changes_the_digest(copied: Path, file: str, change: Callable[[str], str]) -> None:
    edit(copied / "cnnlab" / file, change)
    assert digest_in(copied) != digest(RUN)


def test_a_newcomer_has_a_digest_of_its_own(copied: Path) -> None:
    rule = copied / "cnnlab/rms.py"
    rule.write_text("from cnnlab.nn import Pool\n\n\nclass RMSPool(Pool):\n    power = 2\n")
    new = digest_in(copied, *RUN, "cnnlab.rms.RMSPool")
    assert digest_in(copied) == digest(RUN) != new
    edit(rule, lambda text: text.replace("2", "3"))
    assert digest_in(copied, *RUN, "cnnlab.rms.RMSPool") != new


def own_digests(folder: Path, *sources: str, file: str = "layers.py") -> list[str]:
    """The digest of `mine.layers.layer`, a module of another package, for each of its sources."""
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine/__init__.py").touch()
    found = []
    for source in sources:
        (folder / "mine" / file).write_text(source)
        found.append(digest_in(folder, "mine.layers.layer"))
    return found


MINE = """from time import monotonic as clock
class layer:
    size: int = 2
    def __call__(self, x: int): return clock()"""


@pytest.mark.parametrize(
    "other",
    [
        MINE.replace("layer:\n", "layer:\n    '''A layer.'''\n"),
        MINE.replace("layer:\n", "layer:  # a layer\n\n\n    ...\n"),
        MINE.replace("x: int", "x: float").replace("):", ") -> float:"),
        f"from typing import Any\nimport time\n{MINE.replace('x: int', 'x: Any')}",
        f"import typing\n{MINE}\nif typing.TYPE_CHECKING:\n    import json\n",
    ],
)
def test_how_it_is_written_does_not_count(copied: Path, other: str) -> None:
    assert len(set(own_digests(copied, MINE, other))) == 1


@pytest.mark.parametrize(
    "other",
    [
        MINE.replace("2", "2.0"),
        MINE.replace("2", "'2'"),
        MINE.replace("monotonic", "perf_counter"),
        MINE.replace("size: int", "size: ClassVar[int]"),  # no field of a dataclass
        MINE.replace("    size: int = 2\n", ""),
        MINE.replace("class", "@frozen\nclass"),
        f"{MINE}\nif typing.TYPE_CHECKING:\n    pass\nelse:\n    layer = None\n",
    ],
)
def test_what_it_says_counts(copied: Path, other: str) -> None:
    assert len(set(own_digests(copied, MINE, other))) == 2


@pytest.mark.parametrize("layout", ["{0}\ndef layer(): return {1}\n", "def layer():\n    {0}\n    return {1}\n"])
@pytest.mark.parametrize(
    ("statement", "use"),
    [
        ("from cnnlab.nn import MaxPool", "MaxPool(2)"),
        ("from cnnlab.nn import MaxPool as Largest", "Largest(2)"),
        ("from cnnlab import nn", "nn.MaxPool(2)"),
        ("import cnnlab.nn", "cnnlab.nn.MaxPool(2)"),
        ("import cnnlab.nn as engine", "engine.MaxPool(2)"),
        ("from mine.more import MaxPool", "MaxPool(2)"),
        ("from .more import MaxPool", "MaxPool(2)"),
        ("from . import more", "more.MaxPool(2)"),
    ],
)
def test_imports_of_every_form_are_followed(copied: Path, statement: str, use: str, layout: str) -> None:
    """Also through a package of somebody else, and only as far as they are used."""
    (copied / "mine").mkdir()
    (copied / "mine/more.py").write_text("from cnnlab.nn import MaxPool\n")
    source = layout.format(statement, use)
    (before,) = own_digests(copied, source)
    edit(copied / "cnnlab" / file_of(nn.gradcheck), MORE)
    assert own_digests(copied, source) == [before]
    edit(copied / "cnnlab" / file_of(nn.MaxPool), MORE)
    assert own_digests(copied, source) != [before]


@pytest.mark.parametrize("source", ["from cnnlab.nn import *", "import cnnlab.nn", "from cnnlab import nn\nlayer = nn"])
def test_a_package_that_is_used_as_a_whole_counts_as_a_whole(copied: Path, source: str) -> None:
    (before,) = own_digests(copied, source)
    edit(copied / "cnnlab" / file_of(nn.gradcheck), MORE)
    assert own_digests(copied, source) != [before]


def test_a_package_that_makes_its_names_counts_itself(copied: Path) -> None:
    package = copied / "mine"
    package.mkdir()
    seen = set()
    for number, body in enumerate(["def made(): return 1", "def made(): return 2", "def __getattr__(name): return x"]):
        (package / "__init__.py").write_text(f"from mine.other import x\n{body}\n")
        for value in (2 * number, 2 * number + 1):
            (package / "other.py").write_text(f"x = {value}\n")
            seen.add(digest_in(copied, "mine.made"))
    assert len(seen) == 6


def test_modules_without_source_count_by_their_bytes(copied: Path) -> None:
    package = copied / "mine"
    package.mkdir()
    seen = set()
    for constant in (1, 2):
        (package / "layers.py").write_text(f"POWER = {constant}\n")
        py_compile.compile(str(package / "layers.py"), cfile=str(package / "layers.pyc"), doraise=True)
        (package / "layers.py").unlink()
        seen.add(digest_in(copied, "mine.layers.POWER"))
    assert len(seen) == 2
    assert digest(["_struct.Struct"]) != digest(["sys.version"])


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"^nowhere\.Layer: there is no package named nowhere$"):
        digest(["nowhere.Layer"])
