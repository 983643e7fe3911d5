"""The rows of LeNet-5's family: what is printed of them, and a real reproduction of two tiny ones."""

import csv
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from cnnlab.metrics import binomial_interval, mean_interval
from cnnlab.report.family import COLUMNS, Result, Row, replaced, results_csv, results_table
from tests.conftest import CONF, Home, end, is_one_line

from cnnlab import plots
from cnnlab.data import Dataset
from cnnlab.report import RunRecord

ROWS = yaml.safe_load((CONF / "reproduce.yaml").read_text())["rows"]
PAGE = "Question.\n<!-- results -->\nold\n<!-- /results -->\nOpen.\n"


def run(error: float, seconds: float = 10.0, epochs: str = "20") -> RunRecord:
    metrics = {"test/error": error, "train/accuracy": 0.99, "time/total_s": seconds, "size/parameters": 60000.0}
    return RunRecord("id", {"epochs": epochs}, "FINISHED", metrics)


def result(*errors: float, paper: float = 1.0, goal: tuple[float, float] | None = None) -> Result:
    row = Row("net", "experiment=net", "a source, 1998", paper, len(errors), goal)
    return Result.of(row, [run(error) for error in errors])


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (result(0.009, 0.011, goal=(0.9, 1.1)), "met"),
        (result(0.009, 0.011, goal=(0.2, 0.9)), "missed"),
        (result(0.0105), "agrees"),
        (result(0.0118), "agrees"),  # 118 of 10,000: 0.99 to 1.41
        (result(0.0125), "higher"),  # 1.05 to 1.49
        (result(0.008, 0.0081), "lower"),
        (result(0.02, 0.0201), "higher"),
        (result(0.01, 0.03), "agrees"),  # the interval is as wide as a house
        (result(0.01, paper=math.nan), ""),
        (result(), "not run"),
        (replace(result(0.009), row=Row("net", seeds=5, goal=(0.9, 1.1))), "1 of 5 seeds"),
        (Result.of(Row("few", paper=1.0, images=1000), [run(0.0125)]), "agrees"),  # of 1,000 0.7 to 2.2
    ],
)
def test_the_verdict(found: Result, verdict: str) -> None:
    assert found.verdict == verdict


def test_the_table_for_machines() -> None:
    rows = list(csv.DictReader(results_csv([result(0.009, 0.011, goal=(0.9, 1.1)), result()]).splitlines()))
    assert list(rows[0]) == list(COLUMNS)
    assert list(rows[0].values()) == [
        *("net", "1.00", "a source, 1998", "1.000", "0.1414", "2", "20", "1.00", "60000", "", "10", "met")
    ]
    assert rows[1]["our_error_mean"] == rows[1]["passes"] == "" and rows[1]["seeds"] == "0"


def test_a_line_says_what_the_records_said() -> None:
    for found in (result(0.009, 0.011, 0.0104), result(0.012), result()):
        (line,) = csv.DictReader(results_csv([found]).splitlines())
        again = Result.read(found.row, line)
        assert again.cells() == found.cells()
        assert results_table([again]) == results_table([found])


def test_the_table_for_people() -> None:
    head, _, line, _ = results_table([result(0.009, 0.011), result()]).splitlines()
    assert [cell.strip() for cell in head.split("|")][1:4] == ["row", "source's error (%)", "ours (%)"]
    assert "1.00 ± 1.27" in line and "60,000" in line
    one, single = results_table([result(0.0295)]).splitlines()[-1], binomial_interval(295, 10_000)
    assert f"2.95 [{100 * single.low:.2f}, {100 * single.high:.2f}]" in one


def test_a_page_keeps_what_is_written_by_hand() -> None:
    page = replaced(PAGE, "results", "new")
    assert page == replaced(page, "results", "new") == PAGE.replace("old", "\nnew\n")
    with pytest.raises(ValueError, match="no place between <!-- figures -->"):
        replaced(PAGE, "figures", "new")


@pytest.mark.parametrize("name", ROWS)
def test_every_row_has_its_words_and_a_range_that_makes_sense(name: str) -> None:
    row = Row(name, **ROWS[name])
    assert row.seeds >= (1 if row.votes or row.words.startswith("classifier=") else 3)
    assert row.votes in ROWS if row.votes else row.words
    assert row.goal is None or row.goal[0] < row.goal[1]
    assert row.source


def test_the_figures_show_what_they_are_given() -> None:
    panels = plots.errors_beside(
        {"k-NN": (5.0, mean_interval([2.95])), "LeNet-5": (0.95, mean_interval([0.9, 1.04]))}
    ).axes
    assert [[patch.get_width() for patch in bars.patches] for bars in panels] == [[0.95, 0.97], [5.0, 2.95]]
    history = [{"epoch": n, "train/accuracy": 1 - 0.05 / n, "val/accuracy": 1 - 0.04 / n} for n in (1, 2)]
    curves = plots.against_passes([history, history], "title", "watched").axes[0]
    labels = [line.get_label() for line in curves.lines if not line.get_label().startswith("_")]
    assert labels == ["training", "watched"] and curves.get_ylim()[1] > 5
    np.testing.assert_allclose(curves.lines[1].get_ydata(), [4, 2])
    sizes = plots.against_size({"test": {15000: (1.7, 0.1), 60000: (0.95, 0.1)}}, "title").axes[0]
    assert list(sizes.lines[0].get_xdata()) == [15000, 60000]
    layers = plots.layer_by_layer(np.eye(4), {"C1": np.ones((3, 2, 3)), "F": np.arange(5.0)}, "title")
    assert [axes.texts[0].get_text() for axes in layers.axes] == ["input", "C1", "F"]


TINY = """
study: family
rows:
  lenet5_1998:
    words: experiment=lenet5_1998 data=mnist5k data.train=120 data.validation=20 data.test=50 epochs=2
    seeds: 2
    paper: 0.95
    source: a paper
    goal: [0, 1]
  lenet5_1998_30000:
    words: experiment=lenet5_1998 data=mnist5k data.train=60 data.validation=20 data.test=50 epochs=1
    source: a paper
  lenet5_1998_15000:
    words: experiment=lenet5_1998 data=mnist5k data.train=40 data.validation=20 data.test=50 epochs=1
    source: a paper
  vote:
    votes: lenet5_1998
    source: a paper
  linear:
    words: classifier=linear data=mnist5k data.train=300
    paper: 12
    source: a paper
"""


@pytest.fixture
def family(home: Home) -> Home:
    """A home whose rows are tiny."""
    (home.folder / "conf").unlink()
    shutil.copytree(CONF, home.folder / "conf")
    (home.folder / "conf/reproduce.yaml").write_text(TINY)
    folder = home.folder / "experiments/lenet_family"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(PAGE)
    vote = replace(result(0.02), row=Row("vote", votes="lenet5_1998"), passes="2")
    of_another_recipe = replace(result(0.02), row=Row("lenet5_1998_30000"), passes="9")
    of_more_seeds = replace(result(0.02, 0.03, 0.04), row=Row("lenet5_1998_15000"), passes="1")
    (folder / "results.csv").write_text(results_csv([vote, of_another_recipe, of_more_seeds]))
    return home


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_a_reproduction_of_tiny_rows(family: Home, digits: Dataset) -> None:
    one = end(family.start("linear", program="reproduce", JOBS="1"))
    assert one.code == 0, one.err
    notebook = family.folder / "experiments/lenet_family"
    rows = {row["name"]: row for row in csv.DictReader((notebook / "results.csv").read_text().splitlines())}
    assert [rows[name]["seeds"] for name in rows] == ["0", "0", "3", "1", "1"]
    assert rows["vote"]["our_error_mean"] == "2.000"  # found elsewhere
    all_of_them = end(family.start(program="reproduce", JOBS="2"))
    assert all_of_them.code == 0, all_of_them.err
    assert "4 arms to do, 1 finished" in all_of_them.out
    rows = {row["name"]: row for row in csv.DictReader((notebook / "results.csv").read_text().splitlines())}
    star = rows["lenet5_1998"]
    assert [star[name] for name in ("seeds", "passes", "parameters", "verdict")] == ["2", "2", "60000", "missed"]
    errors = [100 * run.data.metrics["test/error"] for run in family.runs("family") if run.data.params["epochs"] == "2"]
    assert len(errors) == 2 and float(star["our_error_mean"]) == pytest.approx(np.mean(errors), abs=0.006)
    runs = [run for run in family.runs("family") if run.data.params["epochs"] == "2"]
    answers = np.array([family.model(run).predict(digits.test.pixels[:50]) for run in runs])  # a tie goes down
    assert float(rows["vote"]["our_error_mean"]) == 100 * np.mean(answers.min(0) != digits.test.labels[:50])
    assert (rows["vote"]["seeds"], rows["vote"]["parameters"]) == ("1", "120000")
    assert (rows["lenet5_1998_30000"]["seeds"], rows["lenet5_1998_15000"]["seeds"]) == ("1", "1")
    assert "| lenet5_1998 " in (notebook / "README.md").read_text()
    pictures = {"errors", "passes", "sizes", "mistakes", "layers", "kernels_C1", "kernels_C3"}
    assert {file.stem for file in notebook.glob("*.png")} == pictures
    again = end(family.start(program="reproduce"))
    assert "all 5 arms are finished, nothing to do" in again.out
    assert len(family.runs("family")) == 5
    assert {run.data.tags["mlflow.source.name"] for run in family.runs("family")} == {"experiments/reproduce.py"}


def test_rows_that_fail_say_why_and_the_others_are_made(family: Home) -> None:
    page = family.folder / "conf/reproduce.yaml"
    page.write_text(page.read_text().replace("data.train=300", "data.train=9999"))
    said = end(family.start("linear", "lenet5_1998_15000", program="reproduce", JOBS="2"))
    assert said.code == 1 and "train=9999: choose" in said.out.splitlines()[-1]
    assert sorted(run.info.status for run in family.runs("family")) == ["FAILED", "FINISHED"]
    page.write_text("study: family\nrows: {linear: {words: classifier=linear, source: a paper}}")
    said = end(family.start(program="reproduce", CNNLAB_DATA=str(family.folder / "nothing")))
    assert said.code == 1 and is_one_line(said.err) and "make data" in said.err


def test_a_row_that_there_is_not(family: Home) -> None:
    said = end(family.start("alexnet", program="reproduce"))
    assert said.code == 1 and is_one_line(said.err)
    assert said.err.startswith("there is no row alexnet: choose from lenet5_1998 ")


def test_a_row_keeps_its_line_until_all_its_seeds_are_found(family: Home) -> None:
    notebook = family.folder / "experiments/lenet_family"
    many = replace(result(0.02, 0.03), row=Row("linear"), passes="")
    (notebook / "results.csv").write_text(results_csv([many]))
    (notebook / "README.md").unlink()  # as in a home of one's own
    assert end(family.start("linear", program="reproduce", JOBS="1")).code == 0
    lines = csv.DictReader((notebook / "results.csv").read_text().splitlines())
    (line,) = (line for line in lines if line["name"] == "linear")
    assert line["seeds"] == "1" and "| linear " in (notebook / "README.md").read_text()


def test_a_vote_of_nobody(family: Home) -> None:
    page = family.folder / "conf/reproduce.yaml"
    page.write_text(page.read_text().replace("votes: lenet5_1998", "votes: lenet6"))
    said = end(family.start("linear", program="reproduce"))
    assert said.code == 1 and said.err.strip() == "conf/reproduce.yaml: votes: lenet6 is no row"


@pytest.mark.parametrize("jobs", ["two", "0", "-1", ""])
def test_workers_that_are_no_number(family: Home, jobs: str) -> None:
    said = end(family.start("linear", program="reproduce", JOBS=jobs))
    assert said.code == 1 and said.err.strip() == f"JOBS={jobs}: a positive whole number is needed"
