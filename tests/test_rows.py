"""The rows of a study: their verdicts, their tables, and a vote of several runs."""

import math
from dataclasses import replace

import numpy as np
import pytest

from cnnlab.report.arms import RunRecord
from cnnlab.report.rows import Result, Row, results_table, vote
from cnnlab.statistics import binomial_interval, mean_interval


def run(error: float, seconds: float = 10.0, number: int = 0, **facts: object) -> RunRecord:
    """A run of `error` per cent."""
    metrics = {"test/error_percent": error, "train/accuracy": 0.99, "time/total_s": seconds, "size/parameters": 6e4}
    return RunRecord(f"r{number}", {"epochs": "20"}, "FINISHED", metrics, **facts)


def result(*errors: float, paper: float = 1.0, goal: tuple[float, float] | None = None) -> Result:
    row = Row("net", "experiment=net", "a source, 1998", paper, len(errors), goal, passes="20")
    return Result.of(row, [run(error, number=number) for number, error in enumerate(errors)])


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (result(0.99, 1.0, 1.01, goal=(0.9, 1.1)), "met"),  # 0.975 to 1.025
        (result(0.9, 1.1, goal=(0.9, 1.1)), "2 seeds cannot tell"),  # -0.27 to 2.27
        (result(0.99, 1.0, 1.01, goal=(0.98, 1.1)), "3 seeds cannot tell"),
        (result(0.99, 1.0, 1.01, goal=(1.02, 1.1)), "3 seeds cannot tell"),
        (result(0.99, 1.0, 1.01, goal=(1.03, 1.1)), "missed"),
        (result(0.99, 1.0, 1.01, goal=(0.5, 0.97)), "missed"),
        (result(0.05, 0.1, goal=(0, 0.5)), "met"),  # -0.24 to 0.39, but no error is below 0
        (result(1.0, goal=(0.8, 1.3)), "met"),  # 100 of 10,000: 0.82 to 1.21
        (result(1.0, goal=(0.9, 1.3)), "one run cannot tell"),
        (result(1.0, goal=(1.3, 1.5)), "missed"),
        (result(1.05, 1.06, 1.07), "agrees"),  # 90%: 1.043 to 1.077; 95% leaves 1.0 out, by less than 0.1
        (result(1.05, 1.09, 1.13), "cannot tell"),  # 90%: 1.02 to 1.16; 95%: 0.99 to 1.19
        (result(1.09, 1.1, 1.11), "differs"),  # 90%: 1.083 to 1.117; 95%: 1.075 to 1.125
        (result(8.75, 8.76, 8.77, paper=8.0), "agrees"),  # a tenth is 0.8; 90%: 8.743 to 8.777
        (result(0.8, 0.81), "differs"),
        (result(1.0, 3.0), "cannot tell"),
        (result(1.0), "cannot tell"),  # 90%: 0.85 to 1.18
        (result(1.25), "differs"),  # 1.05 to 1.49
        (result(7.6, paper=7.6), "agrees"),  # 90%: 7.17 to 8.05, a tenth is 0.76
        (result(1.0, paper=math.nan), ""),
        (result(), "not run"),
        (replace(result(0.9), row=Row("net", seeds=5, goal=(0.9, 1.1))), "1 of 5 seeds"),
        (replace(result(0.9, 0.9), row=Row("net", seeds=5, paper=0.9)), "2 of 5 seeds"),
        (Result.of(Row("few", paper=1.0, images=1000), [run(1.25)]), "cannot tell"),  # of 1,000: 0.7 to 2.2
    ],
)
def test_the_verdict(found: Result, verdict: str) -> None:
    assert found.verdict == verdict


def test_an_interval_that_ends_where_a_range_does_lies_inside() -> None:
    error = result(1.0).error
    assert result(1.0, goal=(error.low, error.high)).verdict == "met"
    assert result(1.0, paper=error.high).verdict == result(1.0, paper=error.low).verdict == "cannot tell"
    assert error == replace(binomial_interval(100, 10_000).times(100), n=1, sd=error.sd)


def test_a_goal_is_a_range() -> None:
    assert Row("net", goal=[0.5, 1]).goal == (0.5, 1)
    for goal in ([1, 0.5], [1], [1, 1], [1, 2, 3]):
        with pytest.raises(ValueError, match=r"net: goal=.*choose a range of two numbers, low before high"):
            Row("net", goal=goal)


def test_a_result_says_by_what_its_runs_were_made() -> None:
    made = [run(1, number=n, code=code, machine="Linux, 2 cores") for n, code in enumerate("aab")]
    found = Result.of(Row("net"), made)
    assert found.made == {"runs": "r0 r1 r2", "code": "a b", "machine": "Linux, 2 cores"}


def test_the_table_for_people() -> None:
    head, _, line, _ = results_table([result(0.9, 1.1), result()]).splitlines()
    assert [cell.strip() for cell in head.split("|")][1:4] == ["row", "source's error (%)", "ours (%)"]
    cells = [cell.strip() for cell in line.split("|")][1:-1]
    assert cells == ["net", "1", "1.00 ± 1.27", "2", "20", "1.00", "60,000", "10", "–", "cannot tell", "a source, 1998"]
    goal = results_table([result(0.9, 1.1, goal=(0.75, 1.1))]).splitlines()[-1]
    assert "| 0.75 to 1.1 | 2 seeds cannot tell |" in goal
    one, single = results_table([result(2.95)]).splitlines()[-1], binomial_interval(295, 10_000)
    assert f"2.95 [{100 * single.low:.2f}, {100 * single.high:.2f}]" in one


def test_rows_of_other_code_are_marked() -> None:
    row = Row("net", seeds=2)
    table = results_table([Result.of(row, [run(1), run(1, other_code=True)]), result(1, 1)])
    assert "| net* " in table and "| net  " in table and "rerun=changed" in table.splitlines()[-1]


def test_a_vote_is_what_most_say_and_costs_what_all_cost() -> None:
    answers = np.array([[0, 1, 2, 3], [0, 2, 2, 1], [1, 1, 2, 2]])  # in the last column a tie, which goes to 1
    labels = np.array([0, 1, 0, 1])
    three = [
        run(10, n, n, code="c", other_code=n == 2, answers=given, labels=labels) for n, given in enumerate(answers)
    ]
    three[0].words["model"] = "first"
    found = vote(three)
    assert found.error("test") == 25
    assert (found.metrics["time/total_s"], found.metrics["size/parameters"]) == (3, 180_000)
    assert (found.run_id, found.code, found.other_code, found.finished) == ("r0 r1 r2", "c", True, True)
    assert found.answers.tolist() == [0, 1, 2, 1] and found.history == []
    assert math.isnan(found.error("train")) and found.words["model"] == "first"
    assert Result.of(Row("vote", votes="net", paper=25, images=4), [found]).error.n == 1


def test_means_are_over_seeds() -> None:
    found = result(0.9, 1.1, 1.3)
    assert found.error == mean_interval([0.9, 1.1, 1.3]) and found.figures["train_error"] == pytest.approx(1)
