"""`make soak`: a round of kills, and the page on which rounds are counted."""

from pathlib import Path
from typing import Any

import pytest
from tests.conftest import is_one_line

import rounds
import soak
from rounds import BAD, Soak, complaint

ROUND = {"seed": 0, "command": "sweep", "commit": "c", "kills": 2, "arms": 3, "resumed": 2} | dict.fromkeys(BAD, 0)
KILL = {"seed": 0, "kill": "SIGHUP to the command", "phase": "training", "ended": 1.5, "fault": ""}


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round of the smallest kind, Ctrl-C and a closed terminal; sweeps are killed by tests of their own."""
    words = (*(word for word in rounds.COMMANDS["run"] if not word.startswith("epochs=")), "epochs=4")
    monkeypatch.setattr(rounds, "EPOCHS", 4)
    monkeypatch.setattr(rounds, "COMMANDS", {"sweep": words, "run": words})
    found, kills = Soak(tmp_path).round(4)
    assert found.kills == len(kills) >= 1 and not any(kill.fault for kill in kills), kills
    assert (found.arms, found.fault) == (1, "") and {getattr(found, name) for name in BAD} == {0}, found
    assert not (tmp_path / "round_4").exists()


def test_what_is_said_is_one_line_on_what_is_kept() -> None:
    assert complaint("interrupted: 1 of 4 arms finished: the same command goes on from there\n") == ""
    assert complaint("") == "it says nothing"
    noise = "Traceback\ninterrupted: kept\nKeyError: 'x'\n"
    assert complaint(noise) and not complaint(noise, alone=False)
    for wrong in ("Traceback ...\nKeyboardInterrupt\n", "Terminated\n", "interrupted: kept\nand more\n"):
        assert complaint(wrong).startswith("no line on what is kept, but ") and is_one_line(complaint(wrong))


def test_a_round_that_is_repeated_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    table = tmp_path / "rounds.csv"
    for seed, lost in ((0, 0), (1, 1), (1, 0)):
        soak.add(table, [ROUND | {"seed": seed, "lost": lost}], seed)
    assert [(line["seed"], line["lost"]) for line in soak.read(table)] == [("0", "0"), ("1", "0")]


def test_everything_that_is_wrong_is_counted() -> None:
    def count(what: str, **changed: Any) -> str:
        made = soak.numbers([ROUND | changed, ROUND], [KILL, KILL | {"fault": changed.get("fault", "")}], [])
        (line,) = (line for line in made.splitlines() if line.startswith(f"| {what} "))
        return line.split("|")[2].strip()

    for what, column in zip(
        ("runs lost", "runs doubled", "runs not bit-equal", "processes", "temporary", "locks", "other files"),
        BAD,
        strict=True,
    ):
        made = [soak.numbers([ROUND | {column: wrong}, ROUND], [KILL], []) for wrong in (0, 3)]
        counted = [line for page in made for line in page.splitlines() if line.startswith(f"| {what}")]
        assert [line.split("|")[2].strip() for line in counted] == ["0", "3"], column
    assert (count("kills survived"), count("kills survived", fault="it says nothing")) == ("2 of 2", "1 of 2")
    assert count("the longest that one of 2 took to end") == "1.5 s"


def test_the_page_is_made_from_the_kept_tables() -> None:
    made = soak.numbers(*(soak.read(soak.FOLDER / f"{name}.csv") for name in ("rounds", "kills", "inputs")))
    assert made in (soak.FOLDER / "README.md").read_text(encoding="utf-8")
