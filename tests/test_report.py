"""Runs become arms, arms a table, and the table a report that stands alone and hides no failure."""

import itertools
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from cnnlab.report.arms import RunRecord, arms, ranked, swept
from cnnlab.report.contrasts import Asked
from cnnlab.report.pages import write_report
from cnnlab.report.rows import Result, Row
from cnnlab.report.tables import table, terminal_table
from cnnlab.statistics import binomial_interval, error_rate, mean_interval

OPTIONS = {
    "activation": ("sigmoid", "tanh", "relu"),
    "loss": ("mse", "cross_entropy"),
    "pooling": ("average", "max"),
    "padding": ("valid", "same"),
}
COST = {"sigmoid": 300, "tanh": 100, "relu": 0, "mse": 50, "cross_entropy": 0}
RATE = {"sigmoid": "0.5", "tanh": "0.1", "relu": "0.05"}
FAILED, MISSING = 5, 13
REASON = "loss is nan in epoch 3 <script>alert('&')</script> | ${oc.env:X}"
NOTES = {"question": "What did <b>each</b> step buy?", "command": "make sweep\nSEEDS=5", "environment": "NumPy & co"}


def run(words, seed=0, wrong=100, number=0, status="FINISHED", **facts):
    """A run with `wrong` of 10,000 test images wrong."""
    words = {"model": "lenet5", "epochs": "2", "seed": str(seed), **words}
    run_id = f"run{number}seed{seed}"
    if status != "FINISHED":
        return RunRecord(run_id, words, status, **facts)
    labels = np.arange(10_000) // 5000
    answers = np.where(np.arange(10_000) < wrong, 1, labels)
    metrics = {
        "test/error_percent": wrong / 100,
        "val/accuracy": 1 - wrong / 9000,
        "train/loss": 0.1,
        "time/total_s": 12.5,
    }
    norms = {"grad_norm/C1": 0.1, "grad_norm/F6": 0.2}
    epochs = [{"epoch": e, "train/accuracy": 0.9, "val/accuracy": 0.9 + e / 100, **norms} for e in (1, 2)]
    return RunRecord(run_id, words, status, metrics, epochs, answers, labels, **facts)


def sweep(seeds):
    """24 arms, of which one failed and one was never run."""
    found = []
    for number, choice in enumerate(itertools.product(*OPTIONS.values())):
        words = dict(zip(OPTIONS, choice, strict=True)) | {"lr": RATE[choice[0]]}
        for seed in range(seeds):
            wrong = 100 + sum(COST.get(option, 0) for option in choice) + 7 * seed + number % 3
            if number == FAILED:
                found.append(run(words, seed, number=number, status="FAILED", reason=REASON))
            elif number != MISSING:
                found.append(run(words, seed, wrong, number))
    return found


def grouped(records):
    return arms(records, swept(records))


def test_swept_words_are_those_that_vary_in_the_order_of_the_records():
    assert swept(sweep(2)) == OPTIONS
    assert swept([run({}, seed) for seed in range(3)]) == {}
    assert swept([run({"augment": "none"}), run({})]) == {"augment": ("none", "")}


def test_a_rate_that_follows_from_the_others_is_not_swept():
    alone = [run({"lr": rate, "init": "he"}) for rate in ("0.1", "0.01")]
    assert swept(alone) == {"lr": ("0.1", "0.01")}
    grid = [run({"lr": rate, "activation": name}) for rate in ("1", "2") for name in ("relu", "tanh")]
    assert list(swept(grid)) == ["activation", "lr"]
    tied = [run({"init": "he", "lr": "1"}), run({"init": "glorot", "lr": "2"})]
    assert list(swept(tied)) == ["init"]


@pytest.mark.parametrize("seeds", [1, 5])
def test_arms_group_the_seeds(seeds):
    found = grouped(sweep(seeds))
    assert len(found) == 23 and all(len(arm.records) == seeds for arm in found)
    assert found[0].label == "sigmoid / mse / average / valid"
    assert sum(not arm.finished for arm in found) == 1 and found[FAILED].status == f"failed: {REASON}"
    assert found[0].words["lr"] == "0.5" and table(found)[0]["s / run"] == "12.5"


def test_intervals_cover_seeds_or_the_one_test_set():
    (one, *_), (five, *_) = grouped(sweep(1)), grouped(sweep(5))
    single = binomial_interval(450, 10000).times(100)
    assert (one.error.mean, one.error.low, one.error.high, one.error.n) == (4.5, single.low, single.high, 1)
    expected = error_rate(five.wrong(five.answered))[0].times(100)
    assert five.error == expected and five.error.mean == pytest.approx(mean_interval(five.errors).mean)
    assert expected.high - expected.low > 2 * mean_interval(five.errors).half_width  # the images vary, too
    (three, *_) = grouped(sweep(3))
    assert math.isnan(three.error.low) and three.error.n == 3  # too few for an interval
    assert five.val_error.mean == pytest.approx(464 / 90)
    assert five.confusion.sum() == 50000 and five.confusion[0, 1] == 450 * 5 + 70
    bare = RunRecord("r", {}, "FINISHED", {"test/accuracy": 0.9})
    assert math.isnan(grouped([bare])[0].error.low) and bare.error("test") == pytest.approx(10)
    assert math.isnan(bare.error("val"))


def test_a_seed_counts_once_and_a_finished_run_speaks_for_it():
    again = [
        run({}, 0, 300),
        run({}, 0, 200),
        run({}, 0, status="FAILED"),
        run({}, 1, status="KILLED"),
        run({}, 1, 100),
    ]
    (arm,) = grouped(again)
    assert arm.errors == [2, 1] and arm.status == "finished" and arm.label == "all runs"


def test_failures_have_reasons():
    (arm,) = grouped([run({}, 0), run({}, 1, status="FAILED", reason="nan"), run({}, 2, status="KILLED")])
    assert arm.status == "1 of 3 finished: nan; killed"
    nameless = RunRecord("r", {}, "FINISHED", {"test/error_percent": math.nan})
    assert not nameless.finished and nameless.failure == "no test error"


def test_runs_of_other_code_are_marked_and_said_how_to_make_again(tmp_path):
    records = [run({"x": "a"}, 0, other_code=True), run({"x": "a"}, 1), run({"x": "b"}, 0, other_code=True)]
    records += [run({"x": "c"}, 0, other_code=True), run({"x": "c"}, 1, status="FAILED", reason="nan")]
    records += [run({"x": "d"}, 0), run({"x": "e"}, 0, status="FAILED", reason="nan", other_code=True)]
    assert [arm.status for arm in grouped(records)] == [
        *("finished, 1 by other code", "finished, by other code", "1 of 2 finished, by other code: nan"),
        *("finished", "failed: nan"),
    ]
    page = write_report("codes", records, tmp_path, NOTES)
    texts = (terminal_table(grouped(records)), (tmp_path / "report.md").read_text("utf-8"), Page(page.read_text()).text)
    for text in texts:
        assert text.count("finished, by other code") >= 2
        assert text.count("rerun=changed on the command line makes just those again") == 1
    assert "other code" not in terminal_table(grouped(records[-2:])) + terminal_table(grouped(sweep(1)))


def test_epochs_that_measured_different_things_are_still_a_report(tmp_path):
    """As after an upgrade in the middle of a training."""
    metrics = {"test/error_percent": 1}
    rows = [{"epoch": 1, "train/accuracy": 0.9}, {"epoch": 2, "train/accuracy": 0.9, "grad_norm/C1": 0.1}]
    write_report("mixed", [RunRecord(name, {"x": name}, "FINISHED", metrics, rows) for name in "ab"], tmp_path, NOTES)
    assert (tmp_path / "learning_curves.png").exists()


def test_arms_are_ranked_by_validation_error_and_failures_come_last():
    best_on_test = RunRecord("a", {"x": "a"}, "FINISHED", {"test/error_percent": 1, "val/error_percent": 3})
    best_on_validation = RunRecord("b", {"x": "b"}, "FINISHED", {"test/error_percent": 2, "val/error_percent": 2})
    unvalidated = RunRecord("c", {"x": "c"}, "FINISHED", {"test/error_percent": 0.1, "watch/error_percent": 0.1})
    failed = RunRecord("d", {"x": "d"}, "FAILED")
    order = ranked(grouped([failed, unvalidated, best_on_test, best_on_validation]))
    assert [arm.label for arm in order] == ["b", "a", "c", "d"]


def test_table_rows():
    rows = table(grouped(sweep(1)))
    assert list(rows[0]) == [
        *OPTIONS, "lr", "test error (%)", "validation error (%)", "training error (%)", "s / run", "seeds", "status",
    ]  # fmt: skip
    assert rows[0]["test error (%)"] == "1.00 [0.82, 1.21]" and rows[0]["seeds"] == "1"
    assert rows[-1]["test error (%)"] == "–" and rows[-1]["status"] == f"failed: {REASON}"
    five = table(grouped(sweep(5)))[0]
    best = next(arm for arm in grouped(sweep(5)) if arm.label == "relu / cross_entropy / average / valid")
    half = error_rate(best.wrong(best.answered))[0].times(100).half_width
    assert five["test error (%)"] == f"1.14 ± {half:.2f}" and five["lr"] == "0.05"


def test_the_table_says_what_arms_cost_where_they_differ():
    runs = [
        RunRecord(name, {"x": name}, "FINISHED", {"test/error_percent": 1, "train/accuracy": 0.75, "size/macs": macs})
        for name, macs in (("a", 1000), ("b", 2000))
    ]
    first, second = table(grouped(runs))
    assert (first["multiply-adds"], second["multiply-adds"]) == ("1,000", "2,000") and "parameters" not in first
    assert first["training error (%)"] == "25.00"


def test_terminal_table_says_what_its_intervals_are():
    text = terminal_table(grouped(sweep(5)))
    assert len(text.splitlines()) == 2 + 23 + 1 and "new seeds and new images" in text and "Wilson" not in text
    assert "Wilson" in terminal_table(grouped(sweep(1)))
    mixed = terminal_table(grouped([run({"x": "a"}, seed) for seed in range(5)] + [run({"x": "b"}, s) for s in (0, 1)]))
    assert "new seeds and new images; no interval: fewer than 5 seeds, or answers that were not kept." in mixed
    assert "0.05" in text and "finished" in text


class Page(HTMLParser):
    """The text of a page, its tags, and whatever points outside."""

    def __init__(self, source):
        super().__init__()
        self.words, self.tags, self.links = [], [], []
        self.feed(source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href", "srcset", "data", "action"}]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report("steps & <stones>", sweep(5), tmp_path_factory.mktemp("report"), NOTES)


def test_the_page_needs_nothing_but_itself(report):
    source = report.read_text("utf-8")
    page = Page(source)
    assert page.links and all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not re.search(r"https?://|url\(|@import", source) and "script" not in page.tags
    assert page.tags.count("img") == 6 and len(source) < 1_000_000


def test_the_page_holds_every_arm_run_and_reason_with_nothing_left_unescaped(report):
    page = Page(report.read_text("utf-8"))
    for arm in grouped(sweep(5)):
        assert arm.label in page.text and " ".join(arm.swept.values()) in page.text
        assert all(record.run_id in page.text for record in arm.records)
    assert REASON in page.text and NOTES["question"] in page.text and "SEEDS=5" in page.text
    assert "b" not in page.tags and "stones" not in page.tags and "steps & <stones>" in page.text
    assert "23 arms, 115 runs, 110 with a result; of 24 combinations of the swept words 1 not run." in page.text
    assert "no difference above 0.1 points" in page.text and "at its own learning rate" in page.text


def test_a_study_of_unlike_rows_is_not_counted_as_a_grid(tmp_path):
    rows = [run({name: f"{name}{n}" for name in OPTIONS}, number=n) for n in range(5)]
    page = Page(write_report("rows", rows, tmp_path, NOTES).read_text("utf-8"))
    assert "5 arms, 5 runs, 5 with a result." in page.text and page.tags.count("img") == 4


def test_a_list_shows_its_rows(tmp_path):
    runs = [replace(run({"x": name}, seed, number=n), row=name) for n, name in enumerate("ab") for seed in (0, 1)]
    runs += [replace(run({"x": "c"}, status="FAILED", reason="nan"), row="c")]
    rows = [Row("a", "x=a", "a source & son", 1.5, 2, (0.5, 1.2)), Row("b", "x=b", seeds=2), Row("c", "x=c")]
    rows.append(Row("together", source="of both", votes="a"))
    found = [Result.of(row, [record for record in runs[:4] if record.row == row.name]) for row in rows]
    page = Page(write_report("list", runs, tmp_path, NOTES, found).read_text("utf-8"))
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "| a | met | 1.00 ± 0.00 | 1.5 | 0.5 to 1.2 | 2 | a source &amp; son | x=a |" in text
    assert "| c | not run | – | – | – | 0 |  | x=c |" in text and "| of both | the vote of a |" in text
    assert "Of 1 row with a goal, 1 met it and 0 missed it." in page.text
    assert "| b | b | 0.05 |" in text.replace("–", "0.05") and "- x: a, b, c" not in text
    assert "<th>row</th><th>lr</th><th>test error (%)</th>" in (tmp_path / "index.html").read_text("utf-8")
    assert "| row | verdict | ours (%) | source's error (%) | goal |" in text
    bare = [replace(one, row=replace(one.row, source="", paper=math.nan, goal=None)) for one in found[:2]]
    write_report("bare", runs[:4], tmp_path / "bare", NOTES, bare, Asked(("row=a->b",)))
    bare_text = (tmp_path / "bare/report.md").read_text("utf-8")
    assert "| row | ours (%) | seeds | words |" in bare_text and "| a → b | no verdict below 5 seeds |" in bare_text
    assert "A goal is the range" in page.text and "c, seed 0: nan" in page.text and "\n\n\n" not in text


def test_the_markdown_stands_beside_its_pictures(report):
    text = (report.parent / "report.md").read_text("utf-8")
    pictures = re.findall(r"!\[.*\]\((.+)\)", text)
    assert sorted(pictures) == sorted(path.name for path in report.parent.glob("*.png"))
    assert "<script>" not in text and "<b>" not in text and "&lt;script&gt;" in text and "\\|" in text
    header, rule, *rows = text[text.index("| activation |") :].split("\n\n")[0].splitlines()
    cells = {len(re.split(r"(?<!\\)\|", row)) for row in (header, rule, *rows)}
    assert len(rows) == 23 and cells == {len(table(grouped(sweep(5)))[0]) + 2}
    assert "    make sweep\n    SEEDS=5" in text and "\n\n\n" not in text and " \n" not in text
    assert not [path.name for path in report.parent.iterdir() if path.name.startswith(".")]


def test_a_report_is_the_same_when_it_is_written_again(tmp_path):
    one, again = (write_report("twice", sweep(1)[:3], tmp_path / name, NOTES) for name in ("one", "again"))
    assert again.read_bytes() == one.read_bytes()


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"watch/accuracy": 0.9, "watch/loss": 0.3}, "images. Test images were watched while training"),
        ({"val/accuracy": 0.9, "val/loss": 0.3}, "Sorted by validation error"),  # those of the test images by chance
        ({}, "there were no validation images"),
    ],
)
def test_a_report_says_by_what_it_is_sorted(metrics, said, tmp_path):
    found = {"test/error_percent": 10, "test/accuracy": 0.9, "test/loss": 0.3} | metrics
    page = write_report("sorted", [RunRecord(name, {"x": name}, "FINISHED", found) for name in "ab"], tmp_path, NOTES)
    assert [line in Page(page.read_text("utf-8")).text for line in (said, "watched")] == [True, "watched" in said]


@pytest.mark.parametrize(
    "records",
    [
        [run({"x": "a"}, status="FAILED", reason="nan"), run({"x": "b"}, status="RUNNING")],
        [run({}, 0)],
        [RunRecord(name, {"x": name}, "FINISHED", {"test/error_percent": 10}) for name in "ab"],
    ],
    ids=["all failed", "one run", "numbers only"],
)
def test_a_report_of_little_is_still_a_report(records, tmp_path):
    page = Page(write_report("little", records, tmp_path / "new" / "folder", NOTES).read_text("utf-8"))
    assert all(arm.label in page.text for arm in grouped(records))
    assert (tmp_path / "new/folder/error_bars.png").stat().st_size < 150_000


def test_a_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="report nothing: no run was found"):
        write_report("nothing", [], tmp_path, NOTES)
    json.dumps(table(grouped(sweep(1))))  # rows are plain text
