"""Boosting: the second network sees what the first gets wrong, the third what they disagree on."""

from __future__ import annotations

import numpy as np
import pytest
from tests.conftest import Home, is_one_line, plan_of

from cnnlab.data import Dataset, Distortion, Images
from cnnlab.journal import Watcher
from cnnlab.learners import boosted
from cnnlab.learners.boosted import Answers, _disputed, _half_wrong
from cnnlab.runs import make
from cnnlab.tracking.log import RunLog

SHIFTS = Distortion(shift=1)


@pytest.fixture
def images(digits: Dataset) -> Images:
    return digits.train


def by_ink(threshold: float) -> Answers:
    """An answer to every image: its label, but one more where there is much ink."""
    return lambda drawn: (drawn.labels + (drawn.pixels.mean((1, 2)) > threshold)) % 10


def test_the_second_sees_as_many_wrong_as_right(images: Images) -> None:
    first, rng = by_ink(float(np.quantile(images.pixels.mean((1, 2)), 0.8))), np.random.default_rng(0)
    found = _half_wrong([first], images, SHIFTS, rng)
    wrong = first(found) != found.labels
    assert len(found) == len(images) and wrong.sum() == len(images) // 2


def test_the_third_sees_what_is_disputed(images: Images) -> None:
    ink = images.pixels.mean((1, 2))
    nets = [by_ink(float(np.quantile(ink, share))) for share in (0.5, 0.7)]
    found = _disputed(nets, images, SHIFTS, np.random.default_rng(0))
    assert len(found) == len(images) and (nets[0](found) != nets[1](found)).all()


def test_a_search_that_finds_too_little_is_given_up(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosted, "PASSES", 2)
    with pytest.raises(ValueError, match=f"found 0 among {2 * len(images):,} distorted") as caught:
        _disputed([by_ink(1e9), by_ink(1e9)], images, SHIFTS, np.random.default_rng(0))
    assert is_one_line(str(caught.value))


WORDS = ("model=mlp", "model.hidden=[8]", "data.train=300", "data.validation=50", "epochs=2", "learner=boosted")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_a_boosted_run_is_recorded(home: Home, digits: Dataset) -> None:
    said = home.train(*WORDS, "augment=shift")
    assert (said.code, said.err) == (0, "")
    run = home.run()
    assert run.info.status == "FINISHED" and not home.leftovers()
    curves, labels = home.curves(run), digits.test.labels
    assert sorted(curves["train/loss"]) == [1, 2, 3, 4, 5, 6, 7]  # each one's epochs, and the three together
    assert run.data.metrics["size/parameters"] == 3 * (784 * 8 + 8 + 8 * 10 + 10)
    files = home.artifacts(run)
    kept = {"confusion/test.json", "plots/mistakes.png", "config/network.txt", "plots/learning_curves.png"}
    assert kept | {"plots/distortions.png"} <= files.keys()
    answers = home.model(run).predict(digits.test.pixels)
    assert np.mean(answers == labels) == run.data.metrics["test/accuracy"]
    with np.load(files["answers.npz"], allow_pickle=False) as archive:
        assert (archive["answers"] == answers).all() and (archive["labels"] == labels).all()
    held_out = plan_of(*WORDS, "augment=shift").data.val
    found = np.mean(home.model(run).predict(held_out.pixels) == held_out.labels)  # of the three, not of the last
    assert run.data.metrics["val/accuracy"] == found and f"validation error {100 * (1 - found):.2f}%" in said.out
    whole = {*("train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/error_percent")}
    assert {key for key, curve in curves.items() if 7 in curve} == whole
    assert {key for key, curve in curves.items() if 0 in curve} >= {"test/loss", "test/error_percent", "time/total_s"}
    report = home.command("report", "runs")
    assert (report.code, report.err) == (0, ""), report


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_what_was_trained_outlives_a_store_that_fails(inside: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(log: RunLog) -> None:
        raise OSError("no space left")

    plan = plan_of(*WORDS, "augment=shift")
    with monkeypatch.context() as broken:
        broken.setattr(RunLog, "upload", full)
        assert make(plan, RunLog(), Watcher()).reason == "OSError: no space left"
    assert len(inside.checkpoints()) == 3
    assert make(plan, RunLog(), Watcher()).status == "finished"
    assert inside.runs()[-1].data.tags["cnnlab.resumed_after_epoch"] == "6" and not inside.leftovers()


@pytest.mark.parametrize("words", [(), ("augment=shift", "augment.shift=0")], ids=["none", "idle"])
def test_boosting_needs_distortions(words: tuple[str, ...], inside: Home) -> None:
    with pytest.raises(ValueError, match=r"^learner=boosted .*model=mlp.* do not go together: .*augment") as caught:
        plan_of(*WORDS, *words)
    assert is_one_line(str(caught.value))
