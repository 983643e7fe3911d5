"""Would the tests notice? Makes single changes to the code that decides results, and runs the tests of its room.

python tests/mutate.py --count 300 --seed 0      (an hour on two cores; nothing in the checkout is touched)

A change swaps an operator or a comparison, negates a condition, or moves a number by one. One that no test notices is
printed; if it is listed in `tests/unnoticed.txt`, with the reason why it is right that nobody notices, it counts as
explained.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path("src/cnnlab")
ROOMS = {  # what is changed, and the tests that should notice, quickest first
    "nn": ["tests/nn", "tests/parity/test_recorded.py"],
    "models": ["tests/test_models.py", "tests/test_lenet5_1998.py", "tests/parity/test_recorded.py"],
    "data": sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").glob("test_data_*.py")),
    "training.py": ["tests/test_training.py", "tests/test_data_distortion.py"],
    "measuring.py": ["tests/test_training.py"],
    "statistics": [f"tests/test_{name}.py" for name in ("statistics", "shares", "statistics_coverage", "contrasts")],
}
SWAPS: dict[type, type] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
    **{ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In},
}
LIMIT = 600  # seconds after which tests hang, which is noticed
PARTS = ("src", "conf", "tests", "experiments", "pyproject.toml", "README.md", "Makefile")


class Change(NamedTuple):
    """A place in a file: the number of a node of its syntax tree, and which of its operators."""

    file: Path
    node: int
    part: int


def places(file: Path) -> Iterator[Change]:
    """Every place of a file that can be changed; annotations are none."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    hints = [getattr(node, name, None) for node in ast.walk(tree) for name in ("annotation", "returns")]
    skipped = {id(node) for hint in hints if hint for node in ast.walk(hint)}
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Compare):
            yield from (Change(file, number, part) for part, op in enumerate(node.ops) if type(op) in SWAPS)
        elif (
            (isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS)
            or isinstance(node, ast.If | ast.IfExp | ast.While)
            or (isinstance(node, ast.Constant) and isinstance(node.value, int | float))
        ):
            yield Change(file, number, 0)


def changed(change: Change, text: str) -> tuple[str, str]:
    """The file's text with the change in it, and the change in words: where, the line, before, after."""
    tree = ast.parse(text)
    node: Any = list(ast.walk(tree))[change.node]
    before = ast.unparse(node).splitlines()[0]
    if isinstance(node, ast.Compare):
        node.ops[change.part] = SWAPS[type(node.ops[change.part])]()
    elif isinstance(node, ast.BinOp | ast.BoolOp):
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    after = ast.unparse(ast.fix_missing_locations(node)).splitlines()[0]
    where, line = change.file.relative_to(SOURCE).as_posix(), text.splitlines()[node.lineno - 1].strip()
    return ast.unparse(tree), f"{where}:{node.lineno}: {line}: {before}  ->  {after}"


def unnoticed(change: Change, copies: "Queue[Path]") -> str:
    """The change as a line if the tests of its room pass all the same, else nothing."""
    copy = copies.get()
    file, text = copy / change.file, (ROOT / change.file).read_text("utf-8")
    room = change.file.relative_to(SOURCE).parts[0]
    try:
        broken, line = changed(change, text)
        file.write_text(broken, "utf-8")
        quiet = {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *ROOMS[room]]
        done = subprocess.run(command, cwd=copy, env=os.environ | quiet, capture_output=True, timeout=LIMIT)
        return line if done.returncode == 0 else ""
    except subprocess.TimeoutExpired:
        return ""
    finally:
        file.write_text(text, "utf-8")
        copies.put(copy)


def main() -> int:
    """Print what nobody noticed; 1 if that is 5% or more, or is not explained."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--room", choices=ROOMS, help="change this room only")
    said = parser.parse_args()
    rooms = [said.room] if said.room else list(ROOMS)
    files = [ROOT / SOURCE / room for room in rooms]
    files = [file for room in files for file in (sorted(room.rglob("*.py")) if room.is_dir() else [room])]
    sites = [change for file in files for change in places(file.relative_to(ROOT))]
    chosen = random.Random(said.seed).sample(sites, min(said.count, len(sites)))
    reasons = (ROOT / "tests/unnoticed.txt").read_text("utf-8").splitlines()
    explained = {line.partition("  #")[0].strip() for line in reasons}
    with tempfile.TemporaryDirectory() as folder:
        copies: Queue[Path] = Queue()
        for number in range(said.jobs):
            copy = Path(folder, str(number))
            copy.mkdir()
            for part in PARTS:
                copied = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
                copied(ROOT / part, copy / part)
            copies.put(copy)
        lines = []
        with ThreadPoolExecutor(said.jobs) as pool:
            for number, line in enumerate(pool.map(lambda change: unnoticed(change, copies), chosen), 1):
                print(f"{number} of {len(chosen)}", end="\r", file=sys.stderr, flush=True)
                if line:
                    lines.append(line)
                    why = "explained" if _place_free(line) in explained else "NOT EXPLAINED"
                    print(f"{why}: {line}", flush=True)
    open_ = [line for line in lines if _place_free(line) not in explained]
    print(
        f"{len(lines)} of {len(chosen)} changes (of {len(sites)} that can be made) were not noticed, {len(open_)} open"
    )
    return int(bool(open_) or len(lines) >= 0.05 * len(chosen))


def _place_free(line: str) -> str:
    """A line without its number, which moves with the code above it."""
    file, _, rest = line.partition(":")
    return f"{file}:{rest.partition(':')[2]}"


if __name__ == "__main__":
    sys.exit(main())
