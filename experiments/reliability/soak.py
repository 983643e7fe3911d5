"""Is anything lost? Real runs are killed at random moments, files damaged, nonsense typed, and what is lost counted.

python experiments/reliability/soak.py [--rounds 50] [--fuzz 2000] adds to `rounds.csv` and `kills.csv`, writes
`inputs.csv` anew, and the tables of README.md, which are made from these files alone.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import count, islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tabulate import tabulate

from cnnlab.commands import Parser, in_one_line
from cnnlab.paths import refuse_other_checkout, write_atomically
from cnnlab.report.tables import as_csv, replaced
from rounds import BAD, KILLS, PHASES, PROMPT, ROOT, Soak

FOLDER = Path(__file__).resolve().parent
TESTS = {  # what is tried, and the tests that try it
    "command lines": ["tests/test_fuzz.py"],
    "damaged images, networks and pictures": ["tests/test_damaged.py", "-k", "not numpy_writes"],
    "damaged checkpoints": ["tests/test_checkpoint.py", "-k", "aside or bomb or pickle"],
    "configs that want to run a program": [
        "tests/test_trust.py",
        "-k",
        "not may_be_named and not on_the_list",
    ],
}

PYTEST = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"  # no script of another folder, as `-m pytest` may be

Lines = Sequence[Mapping[str, Any]]


def main(words: Sequence[str], folder: Path = FOLDER) -> int:
    """Add rounds, try inputs, and write the page; how many rounds and tests found a fault."""
    parse = Parser("soak", description="kill real runs, damage files, type nonsense, and count what is lost")
    parse.add_argument("--rounds", type=int, default=50, help="rounds of kills to add (default %(default)s)")
    parse.add_argument(
        "--seed", type=int, help="repeat the round of this seed instead, and put it in the old one's place"
    )
    parse.add_argument(
        "--fuzz", type=int, default=2000, help="command lines to try; 0: no inputs (default %(default)s)"
    )
    said = parse.parse_args(words)
    faults = 0
    known = {int(line["seed"]) for line in read(folder / "rounds.csv")}
    new = islice((seed for seed in count() if seed not in known), max(0, said.rounds))
    seeds = [said.seed] if said.seed is not None else list(new)
    if seeds:
        place = Path(tempfile.mkdtemp(prefix="soak-"))
        soak = Soak(place)
        for seed in seeds:
            found, kills = soak.round(seed)
            add(folder / "rounds.csv", [asdict(found)], seed)
            add(folder / "kills.csv", [asdict(kill) for kill in kills], seed)
            wrong = [text for text in (found.fault, *(kill.fault for kill in kills)) if text]
            faults += bool(wrong or any(getattr(found, name) for name in BAD))
            shown = "; ".join(f"{kill.kill} while {kill.phase} {kill.detail}".strip() for kill in kills) or "no kill"
            print(f"round {seed}: {shown}: {'; '.join(wrong) or 'nothing lost'}", flush=True)
        if faults:
            print(f"the homes of rounds with a fault are kept in {place}")
        else:
            soak.remove()
    if said.fuzz:
        inputs = [tried(what, tests, said.fuzz) for what, tests in TESTS.items()]
        write_atomically(folder / "inputs.csv", as_csv(inputs).encode())
        faults += sum(int(line["failures"]) for line in inputs)
    page = folder / "README.md"
    text = page.read_text(encoding="utf-8")
    made = numbers(*(read(folder / f"{name}.csv") for name in ("rounds", "kills", "inputs")))
    write_atomically(page, replaced(text, "numbers", made).encode())
    print(made)
    return faults


def read(path: Path) -> list[dict[str, str]]:
    """The lines of a table; none where it is not there."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []


def add(path: Path, lines: Lines, seed: int) -> None:
    """Put the lines of a round into a table, in the place of those that this seed had."""
    kept = [line for line in read(path) if line["seed"] != str(seed)]
    write_atomically(path, as_csv([*kept, *lines]).encode())


def tried(what: str, tests: Sequence[str], fuzz: int) -> dict[str, Any]:
    """Run tests with so many inputs: how many there were, and how many tests failed.

    A test says how many inputs it tries by its property `tried`; one that does not tries one.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "tests.xml")
        command = [sys.executable, "-c", PYTEST, "-p", "no:cacheprovider", f"--junitxml={found}"]
        command += ["-o", "junit_family=xunit1", *tests]  # which has properties
        paths = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
        changed = {"CNNLAB_FUZZ": str(fuzz), "PYTHONPATH": paths}
        done = subprocess.run(command, cwd=ROOT, env=os.environ | changed, capture_output=True, text=True)
        if not found.exists():
            raise ValueError(f"{tests[0]} could not be run: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        cases = list(ElementTree.parse(found).getroot().iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    if failed:
        print(done.stdout[-5000:])
    inputs = sum(int(_property(case, "tried") or 1) for case in cases)
    line = {"what": what, "tests": len(cases), "inputs": inputs, "failures": len(failed)}
    print(f"{what}: {inputs} inputs in {len(cases)} tests, {len(failed)} failed", flush=True)
    return line


def _property(case: ElementTree.Element, name: str) -> str:
    return next((str(one.get("value")) for one in case.iter("property") if one.get("name") == name), "")


def numbers(rounds: Lines, kills: Lines, inputs: Lines) -> str:
    """The part of the page that is made from the tables."""
    total = {name: sum(int(line[name]) for line in rounds) for name in ("arms", "resumed", *BAD)}
    training = sum(line["phase"] == "training" for line in kills)
    told = [line for line in kills if not line["kill"].startswith("SIGKILL")]
    longest = max((float(line["ended"]) for line in told), default=0)
    tried = {line["what"]: int(line["inputs"]) for line in inputs}
    failures = sum(int(line["failures"]) for line in inputs)
    lines = [
        ("rounds of kills", f"{len(rounds)}"),
        ("kills survived", f"{sum(not line['fault'] for line in kills)} of {len(kills)}"),
        ("of these in training", f"{training}"),
        ("runs that had to be finished", f"{total['arms'] + total['lost']}"),
        ("runs that went on from a checkpoint", f"{total['resumed']}"),
        ("runs lost", f"{total['lost']}"),
        ("runs doubled", f"{total['doubled']}"),
        ("runs not bit-equal to undisturbed ones", f"{total['unequal']}"),
        ("processes left behind", f"{total['processes']}"),
        ("temporary folders left behind", f"{total['temporary']}"),
        ("locks still held", f"{total['locks']}"),
        ("other files, or open records, left behind", f"{total['others']}"),
        (f"told to end, without a line or longer than {PROMPT:.0f} s", f"{sum(bool(line['fault']) for line in told)}"),
        (f"the longest that one of {len(told)} took to end", f"{longest:.1f} s"),
        *((what, f"{number:,}") for what, number in tried.items()),
        ("tests of such inputs that failed", f"{failures}" if inputs else "none was made"),
    ]
    counts = Counter((line["kill"], line["phase"]) for line in kills)
    rows = [[kill, *(counts[kill, phase] for phase in PHASES)] for kill in KILLS]
    right = ["right"] * len(PHASES)
    table = tabulate(lines, ["what", "count"], tablefmt="github", disable_numparse=True, colalign=["left", "right"])
    phases = tabulate(rows, ["killed while", *PHASES], tablefmt="github", colalign=["left", *right])
    return f"{table}\n\n{phases}"


if __name__ == "__main__":
    refuse_other_checkout()
    with in_one_line():
        sys.exit(bool(main(sys.argv[1:])))
