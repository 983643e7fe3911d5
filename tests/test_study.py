"""The folder of a study: its files tell all that its page says."""

import csv
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from experiments import study, tables
from experiments.study import FOLDER, keep, kept, main, rate_lines, told, write_figures, write_page
from tests.conftest import ROOT, Home

from cnnlab import rates
from cnnlab.composing import asked_of, sweep_of
from cnnlab.journal import Watcher
from cnnlab.rates import Key
from cnnlab.report import changed, tuned
from cnnlab.report.arms import RunRecord, arms, swept
from cnnlab.report.contrasts import Asked, Contrast
from cnnlab.report.pages import numbers
from cnnlab.report.tables import as_csv
from cnnlab.robustness import metric
from cnnlab.runs import make
from cnnlab.tracking.log import REASON, RunLog

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
    asked = asked_of(name)
    page = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    assert numbers(name, records, asked) in page and told(name, FOLDER / name, asked) in page


def test_the_tables_of_the_notebook_are_those_of_its_studies() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert tables.spread() in page and tables.costs() in page


def test_a_study_costs_what_its_runs_took_and_each_tuning_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "FOLDER", tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one/results.csv").write_text('seconds\n600\n1200\n""\n')
    (tmp_path / "one/rates.csv").write_text(
        "tuned_for,setting,budget_runs,budget_seconds\na,x,8,240\na,x,8,240\nb,x,9,360\n"
    )
    table, _, total = tables.costs(tmp_path).splitlines()[-3:]
    assert table.replace(" ", "") == "|one|3|15|17|5|20|" and total == "All of them: 0.3 hours."


def test_errors_that_are_independent_deviate_as_the_table_says() -> None:
    of = np.random.default_rng(0).random((400, 10_000)) < np.linspace(0, 0.05, 10_000)
    _, error, deviation, tossed, _, halves = tables.row("made up", of)
    assert float(error) == pytest.approx(2.5, abs=0.05) and float(deviation) == pytest.approx(float(tossed), rel=0.1)
    assert [float(half) for half in halves.split(" / ")] == pytest.approx([1.25, 3.75], abs=0.05)


def test_the_answer_of_the_readme_is_that_of_its_study() -> None:
    """Its intervals stand on the study's page; what a step does first and last follows from the study's results."""
    name, words = (
        "classic_to_modern",
        {"activation": "ReLU", "loss": "cross-entropy", "padding": "same", "pooling": "max"},
    )
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The answer")[2].partition("| question |")[0]
    page = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    intervals = re.findall(r"\(([+-]?[\d.]+)\s+to\s+([+-]?[\d.]+)\)", text)
    assert len(intervals) == 8 and all(f"{low} to {high}" in page for low, high in intervals)
    errors: dict[tuple[str, ...], list[float]] = {}
    for record in kept(FOLDER / name):
        errors.setdefault(tuple(record.words[word] for word in words), []).append(record.error("test"))
    mean = {arm: float(np.mean(found)) for arm, found in errors.items()}
    old, new = ("sigmoid", "mse", "valid", "avg"), ("relu", "cross_entropy", "same", "max")
    for place, option in enumerate(words.values()):
        (row,) = (line for line in text.splitlines() if line.startswith("|") and option in line.partition("|")[2][:45])
        alone, others = (
            of[:place] + step[place : place + 1] + of[place + 1 :] for of, step in ((old, new), (new, old))
        )
        assert row.endswith(f"| {mean[alone] - mean[old]:+.2f} | {mean[new] - mean[others]:+.2f} |")


SETTING = "digits epochs=1"
CURVES: dict[str, dict[str, Any]] = {
    "tanh": {
        "rate": 0.01,
        "validation_errors": {0.001: [9.0], 0.01: [4.0, 4.2], 0.03: [4.4, 4.6], 0.1: ["diverged"]},
        "budget": {"runs": 6, "seconds": 1800},
    },
    "relu": {
        "rate": 0.01,
        "validation_errors": {0.003: [3.5, "diverged"], 0.01: [3.0, 3.2], 0.03: [4.9, 5.1], 0.1: [7.0]},
        "budget": {"runs": 7, "seconds": 5400},
    },
}


@pytest.fixture
def tuned_records(monkeypatch: pytest.MonkeyPatch) -> list[RunRecord]:
    """An arm and a seed each, at the rates that were chosen for them."""
    monkeypatch.setattr(rates, "table", lambda: {"tuned": {SETTING: CURVES}})
    found = [run("tanh", 0, 40), run("relu", 0, 10)]
    for record in found:
        record.words["lr"] = "0.01"
    return found


def test_a_study_keeps_how_its_rates_were_chosen(tuned_records: list[RunRecord], tmp_path: Path) -> None:
    found = arms(tuned_records, swept(tuned_records))
    keys = {record.run_id: Key(record.words["activation"], SETTING) for record in tuned_records}
    lines = rate_lines(found, keys)
    (tmp_path / "rates.csv").write_text(as_csv(lines))
    rows = list(csv.DictReader((tmp_path / "rates.csv").read_text().splitlines()))
    assert [row["seed"] for row in rows if row["arm"] == "tanh"] == ["1000", "1000", "1001", "1000", "1001", "1000"]
    curves = tuned.curves(rows)
    for name, curve in curves.items():
        assert curve == CURVES[name] | {"tuned_for": (name, SETTING)}
    assert tuned.second_best(curves["tanh"]) == tuned.second_best(curves["relu"]) == 0.03

    keep(tuned_records, tmp_path)
    write_page("activation", tmp_path, Asked(("activation=tanh->relu",)))
    write_figures("activation", tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert "2 arms were chosen on validation images, by the same rule for all: 13 runs, 2.0 hours of training" in page
    assert "conditional on the chosen rates" in page
    assert "diverged, which counts as worse than any error: tanh at 0.1, relu at 0.003." in page
    assert "0 of 1 contrasts keep the sign of their change of the tuning runs' validation error; not activation" in page
    assert re.search(r"\| activation=tanh → relu +\| -1.00 +\| \+0.50 +\| no +\|", page)
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_at_another_rate_than_the_chosen_one_is_without_its_curve(tuned_records: list[RunRecord]) -> None:
    tuned_records[0].words["lr"] = "0.03"
    found = arms(tuned_records, swept(tuned_records))
    keys = {record.run_id: Key(record.words["activation"], SETTING) for record in tuned_records}
    curves = tuned.curves({name: str(value) for name, value in line.items()} for line in rate_lines(found, keys))
    assert list(curves) == ["0.01 / relu"] or list(curves) == ["relu"]
    contrast = Contrast.parse("activation=tanh->relu")
    assert all(map(math.isnan, tuned.differences(contrast, found, curves)))
    said = tuned.section(curves, found, [contrast])
    assert "No curve is kept of the rates of tanh." in said and "contrasts keep" not in said


def test_an_arm_without_a_second_rate_leaves_its_contrast_unjudged() -> None:
    alone = {"rate": 0.1, "validation_errors": {0.1: [2.0, 2.0], 0.3: ["diverged"]}}
    assert math.isnan(tuned.second_best(alone))


def test_errors_on_changed_images_are_means_over_seeds_and_like_directions() -> None:
    def line(arm: str, seed: int, kind: str, direction: str, amount: int, error: float) -> dict[str, str]:
        unit = {"shift": "pixels", "scale": "% larger or smaller"}[kind]
        values = (arm, seed, kind, direction, unit, amount, error)
        names = ("arm", "seed", "kind", "direction", "unit", "amount", "error")
        return dict(zip(names, map(str, values), strict=True))

    lines = [line("max", seed, "shift", way, 4, 10 * seed + (way == "up")) for seed in (1, 2) for way in ("up", "down")]
    lines += [line("max", 1, "scale", "larger", 10, 3), line("mlp", 1, "scale", "larger", 20, 90)]
    found = changed.errors(lines)
    assert found == {
        "shift (pixels)": {"max": {4: 15.5}},
        "scale, larger (%)": {"max": {10: 3.0}, "mlp": {20: 90.0}},
    }
    said = changed.section(found)
    assert re.search(r"\| shift \(pixels\) +\| +4 \|", said) and re.search(r"\| max +\| 15.50 \|", said)
    assert re.search(r"\| max +\| 3.00 \| +– \|", said)
    figure = changed.figure(found, "title")
    assert len(figure.axes) == 2 and figure.axes[0].get_yscale() == "log"


def test_a_sweep_that_asks_for_changed_images_has_them_on_its_page(
    inside: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data=mnist5k", "data.test=200", "data.train=500", "data.validation=100", "epochs=1", "lr=0.01")
    sweep = sweep_of("robustness", [*words, "seed=0,1"], ["mlp", "mlp_shift"])
    assert sweep.changes == {"shift": 8, "rotation": 45, "scale": 2.0, "noise": 10}
    sweep.changes.clear()
    sweep.changes.update(shift=2, noise=2)
    monkeypatch.setattr(study, "sweep_of", lambda name, words: sweep)
    made = [make(plan, RunLog(), Watcher()).run_id for plan in sweep.plans[:3]]
    with pytest.raises(SystemExit, match="robustness: 1 run of 4 not begun, so nothing is written"):
        main("robustness", folder=tmp_path)
    assert list(tmp_path.glob("*.csv")) == []
    monkeypatch.setattr(study, "sweep_of", lambda name, words: replace(sweep, plans=sweep.plans[:3]))
    main("robustness", folder=tmp_path)
    said = capsys.readouterr().out
    assert "mlp, seed 0: shift\n" in said and said.endswith(f"written: {tmp_path / 'README.md'}\n")
    lines = list(csv.DictReader((tmp_path / "changed.csv").read_text().splitlines()))
    assert len(lines) == 3 * (4 * 3 + 2 * 2)
    by_place = {(x["arm"], x["seed"], x["kind"], x["direction"], x["amount"]): float(x["error"]) for x in lines}
    curves = inside.curves(inside.client().get_run(made[1]))
    for direction in ("up", "down", "left", "right"):
        assert by_place["mlp", "1", "shift", direction, "2"] == pytest.approx(curves[metric("shift", direction)][2])
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    mean = np.mean([error for place, error in by_place.items() if place[0] == "mlp" and place[2:5:2] == ("shift", "2")])
    assert "## On changed test images" in page and f" {mean:.2f} |" in page
    assert told("robustness", tmp_path, sweep.asked) in page
    assert (tmp_path / "changed.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "rates.csv").exists()  # all rates were given

    before = (tmp_path / "changed.csv").read_text()
    main("robustness", folder=tmp_path)  # nothing is computed again
    assert "mlp" not in capsys.readouterr().out and (tmp_path / "changed.csv").read_text() == before
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == page


def test_a_run_that_diverges_is_part_of_the_answer_one_that_fails_is_not(
    inside: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data=mnist5k", "data.test=100", "data.train=200", "data.validation=50", "epochs=1", "seed=0")
    sweep = sweep_of("learning_rate", [*words, "lr=0.01,1e30"])
    monkeypatch.setattr(study, "sweep_of", lambda name, words: sweep)
    assert [make(plan, RunLog(), Watcher()).status for plan in sweep.plans] == ["finished", "failed"]
    main("learning_rate", folder=tmp_path)
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "2 runs, 1 with a result" in page and "Diverged: NaN or infinity at step" in page
    (run,) = (run for run in inside.runs("learning_rate") if run.info.status == "FAILED")
    inside.client().set_tag(run.info.run_id, REASON, "MemoryError: too little")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main("learning_rate", folder=tmp_path)
    assert ended.value.code == 1 and "learning_rate: 1 run failed" in capsys.readouterr().out
