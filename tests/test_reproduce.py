"""`cnnlab reproduce`: the rows of the sweep `lenet_family`, here two tiny ones and a vote, for real."""

import csv
import importlib
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.conftest import CONF, ROOT, Home, is_one_line

from cnnlab.composing import sweep_of
from cnnlab.data import Dataset
from cnnlab.report.rows import Result, Row
from cnnlab.report.tables import as_csv

FAMILY = CONF / "sweep/lenet_family.yaml"
ROWS = yaml.safe_load(FAMILY.read_text())["hydra"]["sweeper"]["rows"]
SMALL = "data=mnist5k data.train=120 data.validation=20 data.test=50 epochs=2"
TINY = f"""# @package _global_
# A question.
study: lenet_family
hydra:
  mode: MULTIRUN
  sweeper:
    rows:
      lenet5_1998:
        words: experiment=lenet5_1998 {SMALL}
        seeds: 2
        paper: 0.95
        source: a paper
        goal: [0, 1]
      vote:
        votes: lenet5_1998
        source: a paper
      linear:
        words: model=linear data=mnist5k data.train=300 data.validation=0
        paper: 12
        source: a paper
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def family(home: Home) -> Home:
    """A home whose rows are tiny."""
    (home.folder / "conf").unlink()
    shutil.copytree(CONF, home.folder / "conf")
    (home.folder / "conf/sweep/lenet_family.yaml").write_text(TINY)
    return home


@pytest.fixture
def update(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The notebook's program, which is a script: it finds its figures beside it."""
    monkeypatch.syspath_prepend(str(ROOT / "experiments/lenet_family"))
    yield importlib.import_module("update")
    for name in ("update", "figures"):
        sys.modules.pop(name, None)


def table(said: str) -> dict[str, dict[str, str]]:
    """The table of rows that a sweep prints or a report begins with, by the name of the row."""
    first = said[said.index("| row") :].split("\n\n")[0]
    lines = [line.strip("|").split("|") for line in first.splitlines() if line.startswith("|")]
    head = [cell.strip() for cell in lines[0]]
    cells = [dict(zip(head, map(str.strip, line), strict=True)) for line in lines[2:]]
    return {row["row"]: row for row in cells}


def test_rows_are_made_and_judged_each_once(
    family: Home, digits: Dataset, update: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = family.command("reproduce", "linear", "--jobs", "1")
    assert (one.code, one.err) == (0, "")
    assert one.out.startswith("lenet_family: 1 arm to do, 0 finished, 1 worker\n")
    assert table(one.out).keys() == {"linear"} and len(family.runs("lenet_family")) == 1
    text = (family.folder / "reports/lenet_family/report.md").read_text()
    assert "\n    cnnlab sweep lenet_family --only=linear --jobs=1\n" in text

    for name, value in family.places.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    notebook = tmp_path / "notebook"
    notebook.mkdir()
    kept = {"name": "lenet5_1998", "our_error_mean": "1.500", "our_error_sd": "0.1000", "seeds": "2", "passes": "2"}
    whole = update.line_of(Result.of(Row("lenet5_1998"), [])) | kept  # type: ignore[attr-defined]
    (notebook / "results.csv").write_text(as_csv([whole]))
    update.main(notebook)  # type: ignore[attr-defined]
    lines = {line["name"]: line for line in csv.DictReader((notebook / "results.csv").read_text().splitlines())}
    assert kept.items() <= lines["lenet5_1998"].items()  # a row that was not run here keeps its line
    assert (lines["linear"]["seeds"], lines["vote"]["verdict"]) == ("1", "not run")

    every = family.command("reproduce")
    assert (every.code, every.err) == (0, "")
    assert every.out.startswith("lenet_family: 2 arms to do, 1 finished, 2 workers\n")
    rows = table(every.out)
    assert list(rows) == ["lenet5_1998", "vote", "linear"]
    star, vote = rows["lenet5_1998"], rows["vote"]
    assert [star[name] for name in ("seeds", "passes", "parameters", "goal")] == ["2", "2", "60,000", "0 to 1"]
    assert star["verdict"] in ("missed", "2 seeds cannot tell")  # 60 images teach nobody
    assert rows["linear"]["verdict"] in ("agrees", "differs", "cannot tell") and rows["linear"]["passes"] == "–"
    runs = [run for run in family.runs("lenet_family") if run.data.params["model"] == "lenet5"]
    errors = [run.data.metrics["test/error_percent"] for run in runs]
    assert len(errors) == 2 and float(star["ours (%)"].split()[0]) == pytest.approx(np.mean(errors), abs=0.006)
    answers = np.array([np.load(family.artifacts(run)["answers.npz"])["answers"] for run in runs])  # a tie goes down
    wrong = 100 * np.mean(answers.min(0) != digits.test.labels[:50])
    assert float(vote["ours (%)"].split()[0]) == pytest.approx(wrong, abs=0.006)
    assert (vote["seeds"], vote["parameters"], vote["verdict"]) == ("1", "120,000", "")

    older = next(run for run in family.runs("lenet_family") if run.data.params["model"] == "linear")
    family.client().set_tag(older.info.run_id, "cnnlab.code", "older")
    again = family.command("reproduce")
    assert again.out.startswith("lenet_family: nothing to do, 3 arms finished\n")
    assert "1 of these were made by other code" in again.out and "has runs by other code" in again.out
    assert list(table(again.out)) == ["lenet5_1998", "vote", "linear*"]
    page = family.folder / "reports/lenet_family/index.html"
    assert "by other code" in page.read_text()
    written = page.read_bytes()
    page.unlink()
    assert family.command("report", "lenet_family").code == 0 and page.read_bytes() == written
    listed = table(page.with_name("report.md").read_text().replace("\\", ""))
    assert [row["words"] for row in listed.values()] == [
        *(f"experiment=lenet5_1998 {SMALL}", "the vote of lenet5_1998"),
        "model=linear data=mnist5k data.train=300 data.validation=0",
    ]
    shown = ("ours (%)", "seeds", "source's error (%)", "source", "goal", "verdict")
    assert all(listed[name][column] == rows[name.strip("*")][column] for name in listed for column in shown)
    assert len(family.runs("lenet_family")) == 3

    update.main(notebook)  # type: ignore[attr-defined]
    lines = {line["name"]: line for line in csv.DictReader((notebook / "results.csv").read_text().splitlines())}
    assert {name: line["verdict"] for name, line in lines.items()} == {
        name.strip("*"): row["verdict"] for name, row in rows.items()
    }
    assert lines["linear"]["code"] == "older" and lines["vote"]["runs"] == lines["lenet5_1998"]["runs"]
    assert "| lenet5_1998 " in (notebook / "README.md").read_text()
    drawn = {"errors", "passes", "mistakes", "layers", "kernels_C1", "kernels_C3"}
    assert {file.stem for file in notebook.glob("*.png")} == drawn

    family.artifacts(runs[0])["answers.npz"].unlink()
    lost = family.command("reproduce")
    assert (lost.code, lost.err) == (0, "") and table(lost.out)["vote"]["verdict"] == "not run"
    assert f"run {runs[0].info.run_id} of study lenet_family" in lost.out and "rerun=true makes it again" in lost.out
    assert {row: table(lost.out)[row] for row in ("lenet5_1998", "linear*")} == {
        row: table(again.out)[row] for row in ("lenet5_1998", "linear*")
    }


def test_a_row_that_cannot_be_stops_no_other(family: Home) -> None:
    page = family.folder / "conf/sweep/lenet_family.yaml"
    page.write_text(page.read_text().replace("data.train=120", "data.train=9999"))
    said = family.command("reproduce", "--jobs", "1")
    assert (said.code, said.err) == (1, "")
    (lost,) = (line for line in said.out.splitlines() if line.startswith("FAILED"))
    assert "train=9999: choose" in lost
    assert [run.info.status for run in family.runs("lenet_family")] == ["FINISHED"]
    rows = table(said.out)
    assert rows["linear"]["seeds"] == "1" and rows["lenet5_1998"]["verdict"] == rows["vote"]["verdict"] == "not run"


@pytest.mark.parametrize(
    ("votes", "words", "line"),
    [
        ("lenet5_1998", ["alexnet"], "there is no row alexnet: choose from lenet5_1998 vote linear"),
        ("lenet6", ["linear"], "there is no row lenet6: choose from lenet5_1998 vote linear"),
        ("lenet5_1998", ["--jobs", "two"], "cnnlab reproduce: argument --jobs: invalid whole number above 0"),
        ("lenet5_1998", ["--jobs", "0"], "cnnlab reproduce: argument --jobs: invalid whole number above 0"),
    ],
)
def test_what_cannot_be_made_gets_one_line(votes: str, words: list[str], line: str, family: Home) -> None:
    page = family.folder / "conf/sweep/lenet_family.yaml"
    page.write_text(page.read_text().replace("votes: lenet5_1998", f"votes: {votes}"))
    said = family.command("reproduce", *words)
    assert said.code in (1, 2) and is_one_line(said.err) and said.err.startswith(line)
    assert family.runs("lenet_family") == []


def test_some_rows_can_be_listed_without_making_them(family: Home) -> None:
    said = family.command("sweep", "lenet_family", "--only", "linear", "--only=vote", "--dry-run")
    assert (said.code, said.err) == (0, "")
    assert sum(line.startswith("to do") for line in said.out.splitlines()) == 3
    assert said.out.splitlines()[-1] == "0 of 3 arms are finished"


@pytest.mark.parametrize("name", ROWS)
def test_every_row_has_its_words_and_a_range_that_makes_sense(name: str) -> None:
    row = Row(name, **ROWS[name])
    assert row.seeds >= (1 if row.votes or not row.words.startswith(("experiment=", "model=lenet")) else 3)
    assert row.votes in ROWS if row.votes else row.words
    assert row.source


def test_the_words_of_every_row_can_be_composed(digits: Dataset, family: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """On few images, since MNIST need not be here, and with one seed, since the others differ in nothing else."""
    monkeypatch.setattr("cnnlab.composing.plans.load", lambda _: digits)
    monkeypatch.setenv("CNNLAB_HOME", str(family.folder))
    text = re.sub(r"seeds: \d+", "seeds: 1", FAMILY.read_text())
    (family.folder / "conf/sweep/lenet_family.yaml").write_text(text)
    sweep = sweep_of("lenet_family")
    assert sweep.refused == [] and [row.name for row in sweep.rows] == list(ROWS)
    assert {len(plans) for plans in sweep.rows.values()} == {1}
    voters = {row.name: row.votes for row in sweep.rows if row.votes}
    plans = {row.name: plans for row, plans in sweep.rows.items()}
    assert all(plans[name] == plans[votes] for name, votes in voters.items())
    assert len(sweep.plans) == len({plan.key for plan in sweep.plans}) == len(ROWS) - len(voters)
