"""The sentences that a report begins with: what is said of each kind of finding, and that it reads as English."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from cnnlab.report.arms import RunRecord, arms, swept
from cnnlab.report.contrasts import Asked
from cnnlab.report.findings import answer
from cnnlab.report.rows import Result, Row
from cnnlab.report.sentences import sentences
from cnnlab.statistics import Interval

IMAGES = 10_000
LABELS = np.zeros(IMAGES, np.int8)
Words = Mapping[str, str]


def run(words: Words, wrong: int, seed: int = 0, row: str = "") -> RunRecord:
    """A run that gets the first images wrong, so many."""
    answers = (np.arange(IMAGES) < wrong).astype(np.int8)
    metrics = {"test/error_percent": 100 * wrong / IMAGES}
    return RunRecord("", {**words, "seed": str(seed)}, "FINISHED", metrics, answers=answers, labels=LABELS, row=row)


def said(arms_wrong: Sequence[tuple[Words, int]], *contrasts: str, within: str = "", seeds: int = 5) -> list[str]:
    records = [run(words, wrong + seed % 2, seed) for words, wrong in arms_wrong for seed in range(seeds)]
    return told(records, *contrasts, within=within)


def told(records: Sequence[RunRecord], *contrasts: str, within: str = "") -> list[str]:
    words = swept(records)
    return sentences(answer(arms(records, words), words, Asked(contrasts, within)))


PAIR = [({"loss": "mse"}, 400), ({"loss": "ce"}, 100)]


def test_each_verdict_has_its_words() -> None:
    assert said(PAIR, "loss=mse->ce") == ["ce instead of mse took off 3.00 points (2.67 to 3.33)."]
    assert said(PAIR, "loss=ce->mse") == ["mse instead of ce added 3.00 points (2.67 to 3.33)."]
    few = [({"loss": "mse"}, 104), ({"loss": "ce"}, 102)]
    assert said(few, "loss=mse->ce") == ["ce instead of mse made no difference above 0.1 points (-0.04 to 0.00)."]
    some = [({"loss": "mse"}, 400), ({"loss": "ce"}, 400)]
    records = [run(words, wrong, seed) for words, wrong in some for seed in range(5)]
    for record in records[5:]:
        assert record.answers is not None
        record.answers[:] = np.roll(record.answers, 200)  # others, but as many
    (sentence,) = told(records, "loss=mse->ce")
    assert sentence == (
        "ce instead of mse made no difference that was detected (-0.39 to +0.39; 0.56 points would have been)."
    )


@pytest.mark.parametrize(
    ("word", "old", "new", "begin"),
    [
        ("activation", "sigmoid", "relu", "relu instead of sigmoid "),
        ("model.dropout", "null", "0.5", "model.dropout=0.5 instead of null "),
        ("lr", "0.1", "0.3", "lr=0.3 instead of 0.1 "),
        ("augment", "none", "affine", "augment=affine instead of none "),
        ("deslant", "false", "true", "deslant=true instead of false "),
    ],
)
def test_an_option_that_says_nothing_alone_is_named_with_its_word(word: str, old: str, new: str, begin: str) -> None:
    (sentence,) = said([({word: old}, 400), ({word: new}, 100)], f"{word}={old}->{new}")
    assert sentence.startswith(begin + "took off")


GRID = [
    ({"activation": "sigmoid", "loss": "mse"}, 900),
    ({"activation": "sigmoid", "loss": "ce"}, 240),
    ({"activation": "relu", "loss": "mse"}, 230),
    ({"activation": "relu", "loss": "ce"}, 220),
]


def test_what_depends_on_another_word_is_said_for_each_of_its_options() -> None:
    first, *rest = said(GRID, "activation=sigmoid->relu", within="loss")
    assert first == (
        "relu instead of sigmoid took off 6.70 points (6.21 to 7.19) with loss=mse, "
        "and took off 0.20 points (0.11 to 0.29) with loss=ce. "
        "These two differ by 6.50 points (6.01 to 6.99): activation and loss interact."
    )
    (shares,) = rest
    assert shares == (
        "From sigmoid / mse (9.00%) to relu / ce (2.20%) the error falls by 6.80 points, "
        "of which activation has 3.45 (3.20 to 3.70) and loss 3.35 (3.11 to 3.59)."
    )
    named = said(GRID, "activation=sigmoid->relu", "activation=sigmoid->relu loss=mse", within="loss")
    assert [sentence.split(" took")[0] for sentence in named[:-1]] == ["relu instead of sigmoid"]  # it is said once


def test_changes_that_do_not_differ_are_said_not_to() -> None:
    even = [(words, 900 if words["activation"] == "sigmoid" else 230) for words, _ in GRID]
    sentence, _ = said(even, "activation=sigmoid->relu", within="loss")
    assert sentence.endswith("with loss=ce. These two differ by no more than 0.1 points (-0.04 to +0.04).")
    shifted = [run(words, wrong, seed) for words, wrong in even for seed in range(5)]
    for record in shifted[5:10]:  # sigmoid / ce
        assert record.answers is not None
        record.answers[:] = np.roll(record.answers, 900)
    sentence, _ = told(shifted, "activation=sigmoid->relu", within="loss")
    assert "These two were not seen to differ (" in sentence


def test_of_more_than_two_options_the_first_and_the_last_are_compared() -> None:
    found = [({"a": a, "depth": d}, 100 * int(d) * (1 + (a == "s"))) for d in "248" for a in "rs"]
    (sentence,) = said(found, "a=r->s", within="depth")
    assert " with depth=2, added " in sentence and ", and added " in sentence
    assert "Those with depth=2 and 8 differ by 6.00 points" in sentence


def test_few_seeds_are_numbers_without_a_verdict() -> None:
    assert said(PAIR, "loss=mse->ce", seeds=1) == [
        "ce instead of mse changed the error by -3.00 points.",
        "Without intervals, these are the differences of 1 seed: fewer than 5 allow no verdict.",
    ]
    assert said(PAIR, seeds=4)[1:] == [
        "Without intervals, these are the differences of 4 seeds: fewer than 5 allow no verdict.",
        "All of this is exploratory: the study's file names no contrasts.",
    ]


def test_failed_runs_are_named_where_they_take_pairs_or_seeds() -> None:
    records = [run(words, wrong, seed) for words, wrong in GRID for seed in range(6)]
    records = [r if r.words["activation"] != "sigmoid" or r.words["loss"] == "mse" else failed(r) for r in records]
    records[0] = failed(records[0])
    (sentence,) = told(records, "activation=sigmoid->relu")
    assert sentence.endswith(" (in 1 of 2 pairs of arms and by 5 of 6 seeds: those with a result on both sides).")
    none = [run({"x": "a"}, 5), failed(run({"x": "b"}, 5))]
    assert told(none, "x=a->b") == ["b instead of a cannot be judged: no seed is finished on both sides."]


def failed(record: RunRecord) -> RunRecord:
    return RunRecord("", record.words, "FAILED", reason="nan", row=record.row)


def test_what_only_the_number_of_comparisons_hides_is_said_so() -> None:
    records = [run({"x": name}, 100 if name == "a" else 108, seed) for name in "abcd" for seed in range(5)]
    for record in records[5:]:
        assert record.answers is not None
        record.answers[:] = np.roll(record.answers, 2)  # 10 of 10,000 are worse and 2 better
    for sentence in told(records)[:3]:
        assert "made no difference that was detected among 3 comparisons (+0.01 to +0.15; " in sentence
    assert told(records, "x=a->b") == ["b instead of a added 0.08 points (0.01 to 0.15)."]


def test_the_largest_effects_come_first() -> None:
    found = said([({"x": "a"}, 100), ({"x": "b"}, 150), ({"x": "c"}, 900), ({"x": "d"}, 0)])
    assert [sentence.split()[0] for sentence in found] == ["c", "d", "b", "All"]


def test_rows_are_counted_by_their_verdicts_and_those_that_miss_are_named() -> None:
    def result(name: str, error: float, paper: float = float("nan"), goal: tuple[float, float] | None = None) -> Result:
        spread = Interval(error, error - 0.01, error + 0.01, 0.01, 3)
        return Result(Row(name, paper=paper, goal=goal, seeds=3), spread, {})

    results = [
        *(result("a", 1.0, goal=(0.9, 1.1)), result("b", 2.0, goal=(0.9, 1.1)), result("c", 1.1, goal=(0.9, 1.1))),
        *(result("d", 1.0, 1.0), result("e", 2.0, 1.0), result("f", 5.0, 1.0), result("g", 1.0)),
    ]
    assert sentences(answer([], {}), results) == [
        "Of 3 rows with a goal, 1 met it, 1 missed it (b) and 1 is open.",
        "Of 3 rows with a source's error, 1 agrees with it and 2 differ from it (e, f).",
    ]
    assert sentences(answer([], {})) == []
