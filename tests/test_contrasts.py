"""What a study asks is read, checked and answered: contrasts, interactions and shares, by tiny answers done by hand."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest

from cnnlab.report.arms import Arm, RunRecord, arms, swept
from cnnlab.report.contrasts import Asked, Contrast
from cnnlab.report.findings import Answer, answer
from cnnlab.statistics import compare, crossed, holm

IMAGES = 12
LABELS = np.arange(IMAGES) % 3


def run(words: Mapping[str, str], wrong: Sequence[int] | None, seed: int = 0, row: str = "") -> RunRecord:
    """A run that gets these images wrong; without any it failed."""
    words = {**words, "seed": str(seed)}
    if wrong is None:
        return RunRecord(f"{words}", words, "FAILED", row=row)
    answers = LABELS.copy()
    answers[list(wrong)] += 1
    metrics = {"test/error_percent": 100 * len(wrong) / IMAGES}
    return RunRecord(f"{words}", words, "FINISHED", metrics, answers=answers, labels=LABELS, row=row)


def asked(records: Sequence[RunRecord], *contrasts: str, within: str = "", staircase: Sequence[str] = ()) -> Answer:
    words = swept(records)
    return answer(arms(records, words), words, Asked(contrasts, within, tuple(staircase)))


def grid(seeds: int = 6) -> Iterator[RunRecord]:
    """ReLU helps with mse only, cross-entropy with sigmoids only; each seed has its own hard images."""
    wrong = {("sigmoid", "mse"): 6, ("sigmoid", "ce"): 1, ("relu", "mse"): 1, ("relu", "ce"): 1}
    for (activation, loss), many in wrong.items():
        for seed in range(seeds):
            first = seed % 3
            yield run({"activation": activation, "loss": loss}, range(first, first + many), seed)


def table(activation: str, loss: str, seeds: int = 6) -> np.ndarray:
    """The wrong answers of an arm of that grid, (seeds, images)."""
    words = {"activation": activation, "loss": loss}
    return np.array([record.answers != LABELS for record in grid(seeds) if words.items() <= record.words.items()])


@pytest.mark.parametrize(
    ("text", "contrast"),
    [
        ("activation=sigmoid->relu", Contrast("activation", "sigmoid", "relu")),
        (" loss=mse  activation=sigmoid->relu ", Contrast("activation", "sigmoid", "relu", (("loss", "mse"),))),
        ("optimizer.weight_decay=0.0->1e-4 model.dropout=null", None),
        ("row=a-b->c_d", Contrast("row", "a-b", "c_d")),
    ],
)
def test_a_contrast_is_read_as_it_is_written(text: str, contrast: Contrast | None) -> None:
    found = Contrast.parse(text)
    assert contrast in (None, found) and Contrast.parse(str(found)) == found
    assert found.within("x", "y").where == (*found.where, ("x", "y"))


@pytest.mark.parametrize(
    "text",
    ["", "activation", "activation=relu", "a=b->c d=e->f", "a=b->c d", "a=b->c d=", "a=->c", "a=b->", "->", "a=b>c"],
)
def test_what_is_no_contrast_gets_one_line(text: str) -> None:
    for wrong in ({"contrasts": (text,)}, {"staircase": (text,)}):
        with pytest.raises(ValueError, match=r"^contrast '.*': write one change, and what else is fixed: "):
            Asked(**wrong)
    with pytest.raises(ValueError, match=r"b is on both sides: choose two options$"):
        Contrast.parse("a=b->b")


def test_pairs_agree_in_every_other_swept_word() -> None:
    records = [run(dict(zip("xyz", words, strict=True)), []) for words in ("aaa", "baa", "bba", "aab", "bab", "cab")]
    found = arms(records, swept(records))

    def pairs(text: str) -> list[tuple[str, str]]:
        return [(old.label, new.label) for old, new in Contrast.parse(text).pairs(found)]

    assert pairs("x=a->b") == [("a / a / a", "b / a / a"), ("a / a / b", "b / a / b")]
    assert pairs("x=a->b z=b") == [("a / a / b", "b / a / b")] and pairs("x=b->a z=b") == [("b / a / b", "a / a / b")]
    assert pairs("y=a->b") == [("b / a / a", "b / b / a")] and pairs("y=a->b z=b") == []
    assert pairs("x=a->none") == pairs("nothing=a->b") == pairs("x=a->b y=none") == []


def test_rows_are_compared_by_their_names() -> None:
    every = itertools.product({"a": [0], "b": []}.items(), range(2))
    records = [run({"x": name, "y": name}, wrong, seed, row=name) for (name, wrong), seed in every]
    found = asked(records, "row=a->b")
    (finding,) = found.findings
    assert finding.effect == compare(np.eye(1, IMAGES).repeat(2, 0), np.zeros((2, IMAGES)))
    assert asked(records) == Answer()  # nobody asked, and rows may differ in anything


def test_one_pair_is_compared_image_by_image() -> None:
    (finding,) = asked(list(grid()), "activation=sigmoid->relu loss=mse").findings
    assert finding.effect == compare(table("sigmoid", "mse"), table("relu", "mse"))
    assert finding.by_seed == pytest.approx([-5 / 12] * 6)
    assert (finding.pairs, finding.worse, finding.better, finding.lost, finding.seeds) == (1, 0, 30, 0, 6)


def test_several_pairs_are_averaged_image_by_image_and_not_counted_as_more_data() -> None:
    (finding,) = asked(list(grid()), "activation=sigmoid->relu").findings
    d = [table("relu", loss).astype(int) - table("sigmoid", loss) for loss in ("mse", "ce")]
    expected = crossed(np.mean(d, axis=0))
    assert (finding.effect.low, finding.effect.high, finding.effect.n) == (expected.low, expected.high, 6)
    assert finding.effect.mean == pytest.approx(-2.5 / 12) and (finding.pairs, finding.better) == (2, 30)


def test_an_effect_within_each_option_of_another_word_and_how_far_these_differ() -> None:
    found = asked(list(grid()), "activation=sigmoid->relu", "loss=mse->ce", within="loss")
    (both,) = found.interactions  # a word is not looked at within itself
    assert list(both.within) == ["mse", "ce"]
    assert [part.effect.mean for part in both.within.values()] == pytest.approx([-5 / 12, 0])
    change = table("relu", "ce").astype(int) - table("sigmoid", "ce") - table("relu", "mse") + table("sigmoid", "mse")
    assert both.effect == crossed(change) and found.verdict(both) == "more errors"
    fixed = asked(list(grid()), "activation=sigmoid->relu loss=mse", within="loss")
    assert fixed.interactions == asked(list(grid()), "loss=mse->ce", within="nothing").interactions == []


def test_holms_correction_is_for_what_was_named_and_each_comparison_counts_once() -> None:
    named = ["activation=sigmoid->relu", "activation=sigmoid->relu loss=mse"]
    found = asked(list(grid()), *named, within="loss")
    (both,) = found.interactions
    judged = [*found.findings, both.within["ce"], both]  # with loss=mse is the second contrast
    ps = holm([one.effect.p for one in judged])
    assert found.named and found.comparisons == 4
    assert [found.adjusted[one.key] for one in judged] == ps
    assert found.adjusted[both.within["mse"].key] == ps[1]
    assert asked(list(grid()), named[0]).comparisons == 1
    alone = asked(list(grid()))
    assert not alone.named and [str(one.contrast) for one in alone.findings] == [named[0], "loss=mse->ce"]
    assert list(alone.adjusted.values()) == holm([one.effect.p for one in alone.findings])


def test_a_verdict_is_by_the_adjusted_p() -> None:
    """Five images of 200 are worse: p is 0.025, and of three such contrasts 0.075."""
    labels = np.zeros(200, int)
    records = []
    for (name, wrong), seed in itertools.product({"a": 0, "b": 5, "c": 5, "d": 5}.items(), range(5)):
        metrics, answers = {"test/error_percent": wrong / 2}, (np.arange(200) < wrong).astype(int)
        words = {"x": name, "seed": str(seed)}
        records.append(RunRecord("", words, "FINISHED", metrics, answers=answers, labels=labels))
    three, alone = asked(records), asked(records, "x=a->c")
    assert [one.effect.p for one in three.findings] == pytest.approx([0.025] * 3, abs=0.001)
    assert {three.verdict(one) for one in three.findings} == {"no difference detected"}
    assert [alone.verdict(one) for one in alone.findings] == ["more errors"]


def test_pairs_and_seeds_that_failed_are_counted() -> None:
    records = [record for record in grid() if record.words["loss"] != "ce" or record.words["activation"] == "relu"]
    records += [run({"activation": "sigmoid", "loss": "ce"}, None, seed) for seed in range(6)]
    records[0] = run({"activation": "sigmoid", "loss": "mse"}, None, 0)
    (finding,) = asked(records, "activation=sigmoid->relu", within="loss").findings
    assert (finding.pairs, finding.lost, finding.seeds, finding.effect.n) == (1, 1, 6, 5)
    assert finding.effect == compare(table("sigmoid", "mse")[1:], table("relu", "mse")[1:])


def test_what_has_no_run_on_one_side_is_unjudged_and_counts_among_the_comparisons() -> None:
    records = [run({"x": "a"}, [0], seed) for seed in range(5)] + [run({"x": "b"}, None), run({"x": "c"}, [], 7)]
    records += [run({"x": "d"}, [0], seed) for seed in range(5)]
    found = asked(records, "x=a->b", "x=a->c", "x=a->d", "x=a->e")
    assert [str(contrast) for contrast in found.unjudged] == ["x=a->b", "x=a->c"] and len(found.findings) == 1
    assert found.comparisons == 3 and set(found.adjusted.values()) == {1.0}


def test_answers_to_other_images_are_not_compared() -> None:
    records = [run({"x": name}, [0], seed) for name in "ab" for seed in range(5)]
    other = records[7]
    assert other.labels is not None
    records[7] = RunRecord("", other.words, "FINISHED", other.metrics, answers=other.answers, labels=other.labels[::-1])
    (arm, changed) = arms(records, ["x"])
    assert len(arm.answered) == 5 and list(changed.answered) == ["0", "1", "3", "4"]
    assert not np.isfinite(changed.error.low) and changed.error.n == 5
    assert asked(records).findings[0].effect.n == 4
    turned = [run({"x": "a"}, [0]), RunRecord("", {"x": "b"}, "FINISHED", {}, answers=LABELS[:9], labels=LABELS[:9])]
    assert [str(one) for one in asked(turned).unjudged] == ["x=a->b"]


def test_runs_without_answers_are_unjudged() -> None:
    records = [RunRecord(name, {"x": name}, "FINISHED", {"test/error_percent": 1.0}) for name in "ab"]
    found = asked(records)
    assert found.findings == [] and len(found.unjudged) == 1
    assert asked([run({}, [0], seed) for seed in range(3)]) == Answer()  # no words, no question


def test_shares_by_hand() -> None:
    """From 6 wrong of 12: each step alone leaves 1, both leave 1; so each is the whole first and nothing second."""
    found = asked(list(grid())).staircase
    assert found is not None
    assert (found.first, found.last) == ("sigmoid / mse", "relu / ce")
    assert (found.start, found.end) == pytest.approx((1 / 2, 1 / 12))
    assert {word: share.effect.mean for word, share in found.shares.items()} == pytest.approx(
        {"activation": -2.5 / 12, "loss": -2.5 / 12}
    )
    share = found.shares["loss"]
    assert share.after[frozenset()].mean == pytest.approx(-5 / 12) and share.after[frozenset(["activation"])].mean == 0


def test_a_staircase_is_of_all_words_unless_its_file_names_some() -> None:
    three = [run({"activation": name, "loss": loss}, [0]) for name in ("a", "b", "c") for loss in ("x", "y")]
    steps = ["activation=a->c", "loss=x->y"]
    assert asked(three).staircase is None
    found = asked(three, staircase=steps).staircase
    assert found and list(found.shares) == ["activation", "loss"] and (found.first, found.last) == ("a / x", "c / y")
    assert asked(three[:-1], staircase=steps).staircase is None  # an arm is missing
    assert asked(three[:4], staircase=[*steps[:1], "loss=x->y"]).staircase is None
    more = [run({**record.words, "z": z}, [0]) for record in three for z in "pq"]
    assert asked(more, staircase=steps).staircase is None  # which of two arms?
    only = asked(more, staircase=[f"{steps[0]} z=q", steps[1]]).staircase
    assert only and only.first == "a / x / q"
    one = [run({"x": name}, [0]) for name in "ab"]
    assert asked(one).staircase is None  # a share of all is no news


def test_what_no_arms_can_answer_is_refused() -> None:
    found: list[Arm] = arms(list(grid(1)), ["activation", "loss"])
    Asked(("activation=sigmoid->relu",), "loss", ("activation=sigmoid->relu", "loss=mse->ce")).check(found)
    with pytest.raises(ValueError, match=r"^contrast 'loss=mse->cee': no two arms of this sweep differ by that"):
        Asked(("loss=mse->cee",)).check(found)
    with pytest.raises(ValueError, match=r"^within=pooling: this sweep has only one option of it$"):
        Asked((), "pooling").check(found)
    with pytest.raises(ValueError, match=r"^staircase loss=ce->x: not every set of these changes has one arm$"):
        Asked(staircase=("loss=ce->x",)).check(found)
