"""The notebook of LeNet-5's family: its figures, and what is written anew."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from experiments.lenet_family import figures
from experiments.lenet_family.update import FOLDER, SIZES, line_of, look_inside, read, update

from cnnlab.data import Dataset
from cnnlab.models import lenet5
from cnnlab.nn import predict
from cnnlab.report.arms import RunRecord
from cnnlab.report.rows import Result, Row, results_table
from cnnlab.report.tables import as_csv, replaced
from cnnlab.statistics import mean_interval

PAGE = "Question.\n<!-- results -->\nold\n<!-- /results -->\nOpen.\n"


def run(error: float, number: int = 0) -> RunRecord:
    history = [{"epoch": n, "train/accuracy": 1 - 0.05 / n, "watch/error_percent": 4 / n} for n in (1, 2)]
    metrics = {"test/error_percent": error, "train/accuracy": 0.99, "time/total_s": 10.0, "size/parameters": 6e4}
    return RunRecord(f"r{number}", {}, "FINISHED", metrics, history)


def result(*errors: float, goal: tuple[float, float] | None = None) -> Result:
    row = Row("net", "experiment=net", "a source, 1998", 1.0, len(errors), goal, passes="20")
    return Result.of(row, [run(error, number) for number, error in enumerate(errors)])


def test_the_figures_show_what_they_are_given() -> None:
    panels = figures.errors_beside(
        {"k-NN": (5.0, mean_interval([2.95])), "LeNet-5": (0.95, mean_interval([0.9, 1.04]))}
    ).axes
    assert [[patch.get_width() for patch in bars.patches] for bars in panels] == [[0.95, 0.97], [5.0, 2.95]]
    curves = figures.against_passes([run(1).history] * 2, "title").axes[0]
    labels = [line.get_label() for line in curves.lines if not line.get_label().startswith("_")]
    assert labels == ["training", "test images, watched"] and curves.get_ylim()[1] > 5
    np.testing.assert_allclose(curves.lines[1].get_ydata(), [4, 2])
    sizes = figures.against_size({"test": {15000: (1.7, 0.1), 60000: (0.95, 0.1)}}, "title").axes[0]
    assert list(sizes.lines[0].get_xdata()) == [15000, 60000]
    layers = figures.layer_by_layer(np.eye(4), {"C1": np.ones((3, 2, 3)), "F": np.arange(5.0)}, "title")
    assert [axes.texts[0].get_text() for axes in layers.axes] == ["input", "C1", "F"]


def test_a_page_keeps_what_is_written_by_hand() -> None:
    page = replaced(PAGE, "results", "new")
    assert page == replaced(page, "results", "new") == PAGE.replace("old", "\nnew\n")
    with pytest.raises(ValueError, match="no place between <!-- figures -->"):
        replaced(PAGE, "figures", "new")


def test_the_committed_lines_can_be_read() -> None:
    lines = list(csv.DictReader((FOLDER / "results.csv").read_text(encoding="utf-8").splitlines()))
    assert {*SIZES.values()} <= {line["name"] for line in lines}
    for line in lines:
        found = read(Row(line["name"]), line)
        assert math.isfinite(found.error.mean) == (found.error.n > 0) == (line["verdict"] != "not run")


def test_the_table_for_machines() -> None:
    rows = list(csv.DictReader(as_csv([line_of(result(0.9, 1.1, goal=(0.9, 1.1))), line_of(result())]).splitlines()))
    assert list(rows[0]) == [
        *("name", "paper_error", "paper_source", "our_error_mean", "our_error_sd", "seeds", "passes", "train_error"),
        *("parameters", "macs", "seconds_per_run", "verdict", "runs", "code", "machine"),
    ]
    assert list(rows[0].values()) == [
        *("net", "1.00", "a source, 1998", "1.000", "0.1414", "2", "20", "1.00", "60000", "", "10"),
        *("2 seeds cannot tell", "r0 r1", "", ""),
    ]
    assert rows[1]["our_error_mean"] == rows[1]["passes"] == "" and rows[1]["seeds"] == "0"


def test_a_line_says_what_the_records_said() -> None:
    for found in (result(0.9, 1.1, 1.04), result(1.2), result()):
        (line,) = csv.DictReader(as_csv([line_of(found)]).splitlines())
        again = read(found.row, line)
        assert line_of(again) == line_of(found)
        assert results_table([again]) == results_table([found])
        for name in ("runs", "code", "machine"):  # a line as they were before these columns
            line.pop(name)
        bare = line_of(read(found.row, line))
        assert bare == line_of(found) | {"runs": "", "code": "", "machine": ""}


def test_a_row_keeps_its_line_until_all_its_seeds_or_as_many_are_found(tmp_path: Path) -> None:
    rows = [Row(name, seeds=3, passes="20") for name in ("few", "as_many", "all", "other_recipe", "new", "none")]
    found = {"few": 1, "as_many": 2, "all": 3, "other_recipe": 1, "new": 1}
    kept = {"few": (2, "20"), "as_many": (2, "20"), "all": (5, "20"), "other_recipe": (3, "9")}
    lines = [Result.of(Row(name, passes=passes), [run(9)] * n) for name, (n, passes) in kept.items()]
    (tmp_path / "results.csv").write_text(as_csv([line_of(line) for line in lines]))
    (tmp_path / "README.md").write_text(PAGE)
    results = update(rows, {name: [run(1, number) for number in range(n)] for name, n in found.items()}, tmp_path)
    assert [(result.error.mean, result.error.n) for result in results[:-1]] == [(9, 2), (1, 2), (1, 3), (1, 1), (1, 1)]
    assert [result.verdict for result in results] == [
        "2 of 3 seeds",
        "2 of 3 seeds",
        "",
        *["1 of 3 seeds"] * 2,
        "not run",
    ]
    written = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [line["our_error_mean"] for line in written] == ["9.000", *["1.000"] * 4, ""]
    page = (tmp_path / "README.md").read_text()
    assert page.startswith("Question.") and "| as_many " in page and "old" not in page
    assert [file.name for file in tmp_path.glob("*.png")] == ["errors.png"]
    assert update(rows, {}, tmp_path)[2].error.mean == 1  # what was found now is kept next time


def test_the_figures_of_the_star_are_drawn(tmp_path: Path, digits: Dataset) -> None:
    rows = [Row(name, seeds=2) for name in SIZES.values()]
    update(rows, {name: [run(1), run(1.2)] for name in SIZES.values()}, tmp_path)
    assert "| lenet5_1998 " in (tmp_path / "README.md").read_text()
    assert {file.stem for file in tmp_path.glob("*.png")} == {"errors", "passes", "sizes"}
    network = lenet5()
    params, _ = network.init(digits.shape, np.random.default_rng(0))
    test = digits.test[slice(50)]
    digits = replace(digits, test=test)
    outputs = predict(network, params, digits.shape, len(test), lambda piece: digits.batch(test, piece))
    look_inside(network, params, digits, outputs, tmp_path)
    assert {file.stem for file in tmp_path.glob("*.png")} >= {"mistakes", "layers", "kernels_C1", "kernels_C3"}
