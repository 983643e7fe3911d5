"""Imports only go down: the engine stands alone, and heavy libraries are imported where they are used."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import HEAVY

import cnnlab

SOURCE = Path(cnnlab.__file__).parent
FILES = {path.relative_to(SOURCE).as_posix(): path for path in sorted(SOURCE.rglob("*.py"))}
MODULES = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}
FLOORS = (  # from the ground up: a room imports from lower floors only, wherever in its files
    "code locks nn npz paths pictures signals statistics streams texts",
    "config data models plots trust",
    "report spelling",
    "changes measuring rates",
    "training",
    "checkpoint networks",
    "predictor",
    "orphans tracking",
    "journal",
    "learners",
    "composing",
    "runs summaries",
    "robustness sweeps",
    "tuning",
    "api estimator search",
    "commands",
)
LEVELS = {room: level for level, floor in enumerate(FLOORS) for room in floor.split()}
ROOF = len(FLOORS)  # where a new room stands: nothing imports it yet
SCRIPTS = {"tracking/pyfunc.py": {"mlflow"}}  # MLflow runs this file itself; nothing may import it
ESTIMATOR = {"estimator.py": {"sklearn"}}  # its base classes; nothing imports it but who asks for `cnnlab.Classifier`


def imports(tree: ast.AST, path: str, lazy: bool = True) -> Iterator[str]:
    """Full names that a module imports; without `lazy` only what runs when it is imported itself."""
    package = ["cnnlab", *path.split("/")[:-1]]
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif lazy or not (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or for_types_only(node)):
            yield from imports(node, path, lazy)


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def tops(path: str, lazy: bool = True) -> set[str]:
    """First parts of the names that a module imports."""
    return {name.partition(".")[0] for name in imports(MODULES[path], path, lazy)}


@pytest.mark.parametrize("path", MODULES)
def test_imports_only_go_down(path):
    named = tops(path)
    assert not named & {"hydra_plugins", "experiments"}
    assert path.startswith("composing/") or path == "commands/train.py" or not named & {"hydra", "omegaconf"}
    assert path == "search.py" or "optuna" not in named
    assert path.startswith("tracking") or "mlflow" not in named
    assert not tops(path, lazy=False) & HEAVY - (SCRIPTS | ESTIMATOR).get(path, set())
    scripts = {"cnnlab." + script.removesuffix(".py").replace("/", ".") for script in SCRIPTS}
    assert not any(name.startswith(tuple(scripts)) for name in imports(MODULES[path], path))
    assert not any(name.startswith("cnnlab.estimator") for name in imports(MODULES[path], path, lazy=False))


@pytest.mark.parametrize("path", MODULES)
def test_a_room_stands_on_lower_floors(path):
    room = path.partition("/")[0].removesuffix(".py")
    inside = {name.split(".")[1] for name in imports(MODULES[path], path) if name.startswith("cnnlab.")} - {room}
    assert [other for other in inside if LEVELS.get(other, ROOF) >= LEVELS.get(room, ROOF)] == []


@pytest.mark.parametrize("path", [path for path in MODULES if path.startswith("nn/")])
def test_the_engine_imports_numpy_and_itself(path):
    assert tops(path) <= {"numpy", "cnnlab", *sys.stdlib_module_names}
    inside = {name for name in imports(MODULES[path], path) if name.startswith("cnnlab")}
    assert all(name.startswith("cnnlab.nn.") for name in inside)


@pytest.mark.parametrize("floor", ["cnnlab.nn", "cnnlab.data", "cnnlab.statistics", "cnnlab.training"])
def test_a_floor_is_light_to_import(floor):
    unwanted = HEAVY | {"hydra", "omegaconf", "torch"}
    program = f"import sys, {floor}; print(*sorted({unwanted!r} & sys.modules.keys()))"
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=SOURCE.parent)
    assert (run.returncode, run.stdout.split(), run.stderr) == (0, [], "")


def test_the_reader_of_imports_sees_every_form():
    tree = ast.parse("import a.b\nfrom . import c\nfrom ..d import e\ndef f():\n    from g.h import i\n")
    assert list(imports(tree, "nn/conv.py")) == ["a.b", "cnnlab.nn.c", "cnnlab.d.e", "g.h.i"]
    assert list(imports(tree, "nn/conv.py", lazy=False)) == ["a.b", "cnnlab.nn.c", "cnnlab.d.e"]


def test_text_is_read_and_written_in_a_named_encoding() -> None:
    """Without one it is the locale's: in an ASCII one a report's `\u00b1` ended a sweep."""
    unnamed = [
        f"{name}:{node.lineno}"
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if (node.func.attr == "read_text" and not (node.args or node.keywords))
        or (node.func.attr == "write_text" and len(node.args) + len(node.keywords) < 2)
    ]
    assert not unnamed
