"""The folder of a study: its two files tell all that its page says."""

from pathlib import Path

import numpy as np
import pytest
from experiments.study import FOLDER, keep, kept, write_page

from cnnlab.composing import sweep_of
from cnnlab.report.arms import RunRecord
from cnnlab.report.contrasts import Asked
from cnnlab.report.pages import numbers

STUDIES = sorted(file.parent.name for file in FOLDER.glob("*/answers.npz"))


def run(activation: str, seed: int, wrong: int, status: str = "FINISHED") -> RunRecord:
    """A run with so many of 300 images wrong."""
    words = {"activation": activation, "seed": str(seed), "lr": "0.1"}
    if status != "FINISHED":
        return RunRecord(f"{activation}{seed}", words, status, reason="NaN at step 3")
    labels = np.arange(300, dtype=np.uint8) % 10
    answers = np.where(np.arange(300) < wrong, (labels + 1 + seed) % 10, labels).astype(np.uint8)
    metrics = {"test/error_percent": wrong / 3, "val/error_percent": 1.25, "train/loss": 0.5, "time/total_s": 2.0}
    return RunRecord(f"{activation}{seed}", words, status, metrics, answers=answers, labels=labels, code="c")


@pytest.fixture
def records() -> list[RunRecord]:
    """Two arms of five seeds, and a run that failed."""
    found = [run(name, seed, wrong + seed) for name, wrong in (("tanh", 40), ("relu", 10)) for seed in range(5)]
    return [*found, run("relu", 5, 0, "FAILED")]


def test_a_study_is_read_back_as_it_was_written(records: list[RunRecord], tmp_path: Path) -> None:
    keep(records, tmp_path)
    for ours, theirs in zip(records, kept(tmp_path), strict=True):
        assert theirs.words == ours.words and theirs.metrics == pytest.approx(ours.metrics, rel=1e-5)
        assert (theirs.run_id, theirs.status, theirs.reason) == (ours.run_id, ours.status, ours.reason)
        if ours.answers is not None:
            np.testing.assert_array_equal(theirs.answers, ours.answers)
            np.testing.assert_array_equal(theirs.labels, ours.labels)
    asked = Asked(("activation=tanh->relu",))
    assert numbers("a", kept(tmp_path), asked) == numbers("a", records, asked)


def test_a_page_keeps_what_is_written_by_hand(records: list[RunRecord], tmp_path: Path) -> None:
    keep(records, tmp_path)
    write_page("activation", tmp_path, Asked())
    page = tmp_path / "README.md"
    first = page.read_text()
    assert "took off 10.00 points" in first and "make study STUDY=activation" in first
    page.write_text(first.replace("## Open", "## Open\n\nNothing.").replace("10.00 points", "11 points"))
    write_page("activation", tmp_path, Asked())
    assert page.read_text() == first.replace("## Open", "## Open\n\nNothing.")


@pytest.mark.parametrize("name", STUDIES)
def test_the_numbers_of_a_study_are_those_of_its_answers(name: str) -> None:
    records = kept(FOLDER / name)
    for record in records:
        if record.answers is not None:
            found = 100 * float((record.answers != record.labels).mean())
            assert record.metrics["test/error_percent"] == pytest.approx(found, abs=1e-4), record.run_id
    assert numbers(name, records, sweep_of(name).asked) in (FOLDER / name / "README.md").read_text(encoding="utf-8")
