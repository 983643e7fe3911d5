"""Searches: what may be searched, and real ones, of which one is killed and given again."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Home, is_one_line, kill, plan_of, wait_for

from cnnlab import commands
from cnnlab.composing import Numbers, Options, searched
from cnnlab.journal import Stopped, Watcher
from cnnlab.plots import png
from cnnlab.report.searched import DIVERGED, FINISHED, PRUNED, Tried, best_first, importances, search_history
from cnnlab.runs import make
from cnnlab.search import Search, search
from cnnlab.tracking.log import RunLog

pytest.importorskip("optuna", reason="an extra")

MLP = ("data=digits", "data.train=200", "data.validation=100", "model=mlp", "model.hidden=[4]", "epochs=3")
MSE = (*MLP, "loss=mse")  # grows without bounds at a large rate
SEARCHED = ("activation=leaky_relu,tanh", "lr=tag(log,interval(0.00001,30))")
TRIALS = 9


@pytest.mark.parametrize(
    ("word", "space"),
    [
        ("activation=relu,tanh", Options(("relu", "tanh"))),
        ("activation=choice(relu,relu,tanh)", Options(("relu", "tanh"))),
        ("model.hidden=choice([100],[300,100])", Options(("[100]", "[300,100]"))),
        ("lr=interval(0.1,1)", Numbers(0.1, 1.0)),
        ("lr=tag(log,interval(0.001,1))", Numbers(0.001, 1.0, log=True)),
        ("batch_size=int(interval(8,128))", Numbers(8, 128)),
        ("batch_size=range(8,129,8)", Numbers(8, 128, 8)),
        ("batch_size=range(10,1,-3)", Numbers(4, 10, 3)),
        ("optimizer.momentum=range(0,1,0.25)", Numbers(0.0, 0.75, 0.25)),
        ("batch_size=tag(log,range(8,129))", Numbers(8, 128, log=True)),
    ],
)
def test_hydras_sweeps_say_what_is_searched(word: str, space: Options | Numbers) -> None:
    assert searched([word, "epochs=5", "study=1.10"]) == {word.partition("=")[0]: space}


def test_lr_alone_is_searched_around_the_rates_of_tuning() -> None:
    assert Search.of(["lr", *MLP]).space == {"lr": Numbers(0.0003, 1.0, log=True)}
    both = Search.of(["lr", "optimizer=momentum,sdlm"])
    assert both.space["lr"] == Numbers(0.000005, 1.0, log=True) and both.words == ()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("epochs=5", "nothing to search: say lr, or a word with several options"),
        ("lr=log(0.001,1)", "lr=log(0.001,1): choose options a,b or numbers range(8,129,8), interval(0.1,1)"),
        ("lr=interval(1,0.1)", "lr=interval(1,0.1): the smaller number comes first"),
        ("lr=tag(log,interval(0,1))", "a log scale begins above 0"),
        ("batch_size=range(5,5)", "there is nothing in this range"),
        ("batch_size=tag(log,range(8,129,8))", "its steps are not of a log scale"),
        ("batch_size=shuffle(8,16)", "batch_size=shuffle(8,16): a search has no order; choose options"),
        ("batch_size=interval(8,128)", "batch_size=8.0: choose a whole number from 1 up"),
        ("lr=interval(-1,1)", "lr=-1.0: choose a number above 0 or null"),
        ("activation=relu,tnah", "activation=tnah: there is no such choice (did you mean tanh?): choose from"),
        ("activaton=relu,tanh", "did you mean activation?"),
        ("activation", "activation: write activation=..."),
        ("lr lr=interval(0.1,1)", "one at a time, please"),
        ("lr seed=0,1", "seed: a search has one seed; choose one"),
        ("lr study=a,b", "study: a search has one study; choose one"),
        ("lr data.test=100", "data.test=100: leave it out"),
        ("lr sweep=smoke", "sweep=smoke: leave it out"),
        ("lr model=knn", "lr: what is trained by these words has no learning rate"),
        ("lr data=digits data.validation=0", "no images are held out to choose by; data.validation=1000 holds some"),
        ("lr --trials 0", "argument --trials: invalid whole number above 0 value: '0'"),
        ("lr --jobs=2", "unrecognized arguments: --jobs=2: choose from --help, --trials"),
    ],
)
def test_what_cannot_be_searched_is_said_in_one_line(
    words: str, named: str, inside: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as over:
        commands.main(["search", *words.split()])
    said = capsys.readouterr()
    text = said.out + said.err + (over.value.code if isinstance(over.value.code, str) else "")
    assert over.value.code != 0 and is_one_line(text) and named in text, text
    assert not (inside.folder / "reports").exists()


def test_without_optuna_a_line_says_what_to_install(inside: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit, match=r"a search needs Optuna: pip install 'cnnlab\[search\]'"):
        commands.main(["search", "lr"])


def trial(run: Any) -> dict[str, Any]:
    return json.loads(run.data.tags["cnnlab.trial"])


def ended(run: Any) -> str:
    """How the run of a trial ended; empty of one that was cut."""
    if run.info.status == "FINISHED":
        return FINISHED
    return PRUNED if "cnnlab.pruned" in run.data.tags else DIVERGED if "diverged" in run.data.tags else ""


@pytest.mark.slow
def test_a_killed_search_goes_on_with_the_trials_of_one_that_was_not(
    inside: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*MSE, *SEARCHED, "--trials", str(TRIALS))
    process = inside.start("study=cut", *words, command="search")

    def amid_a_trial() -> bool:
        runs = inside.runs("cut")
        return sum(bool(ended(run)) for run in runs) >= 3 and any(run.info.status == "RUNNING" for run in runs)

    wait_for(amid_a_trial, process)
    kill(process)
    made = {run.info.run_id for run in inside.runs("cut") if ended(run)}
    assert 3 <= len(made) < TRIALS
    for study in ("cut", "whole"):
        assert search([f"study={study}", *MSE, *SEARCHED], TRIALS) == 0
    said = capsys.readouterr().out
    cut, whole = ([run for run in inside.runs(study) if ended(run)] for study in ("cut", "whole"))
    assert made <= {run.info.run_id for run in cut}
    assert [trial(run)["number"] for run in cut] == list(range(1, TRIALS + 1))
    assert [(trial(run), ended(run), run.data.metrics.get("val/error_percent")) for run in cut] == [
        (trial(run), ended(run), run.data.metrics.get("val/error_percent")) for run in whole
    ]
    for run in cut:
        assert run.data.tags["cnnlab.sweep"] == "cut" and run.data.params["data.test"] == "hidden"
        assert not [name for name in run.data.metrics if name.startswith("test/")]
    best = min((run for run in cut if ended(run) == FINISHED), key=lambda run: run.data.metrics["val/error_percent"])
    lr, activation = (best.data.params[name] for name in ("lr", "activation"))
    line = f"cnnlab train {' '.join(MSE).replace('model.hidden=[4]', repr('model.hidden=[4]'))}"
    assert f"\n{line} activation={activation} lr={lr}\n" in said
    counts = [sum(ended(run) == kind for run in cut) for kind in (FINISHED, PRUNED, DIVERGED)]
    for many, kind in zip(counts, (FINISHED, PRUNED, DIVERGED), strict=True):
        assert many and f"{many} {kind}" in said
    files = inside.artifacts(inside.runs("cut", "summary")[-1]).keys()
    assert {"report/report.md", "report/history.png", "report/trials.csv"} <= files
    assert inside.checkpoints() == [] and list(inside.temporary.glob("*")) == []

    assert search(["study=cut", *MSE, *SEARCHED], 2) == 0  # nothing is made, and nothing is forgotten
    assert f"cut: 0 trials to make, {TRIALS} made" in capsys.readouterr().out
    assert len(inside.runs("cut", "summary")) == 1


class Impatient(Watcher):
    """Has seen enough after two epochs."""

    def epoch(self, metrics: dict[str, float]) -> None:
        if metrics["epoch"] == 2:
            raise Stopped("epoch 2")


def test_a_run_that_is_stopped_is_marked_and_not_gone_on_with(inside: Home) -> None:
    outcome = make(plan_of(*MLP), RunLog(), Impatient(), {"cnnlab.trial": "{}"})
    run = inside.run()
    assert (outcome.status, outcome.reason, outcome.run_id) == ("stopped", "epoch 2", run.info.run_id)
    assert (run.info.status, run.data.tags["cnnlab.pruned"], run.data.tags["cnnlab.trial"]) == (
        "KILLED",
        "epoch 2",
        "{}",
    )
    assert list(inside.curves(run)["val/error_percent"]) == [1, 2]
    assert "history.csv" in inside.artifacts(run) and inside.checkpoints() == []


@pytest.mark.slow
def test_words_that_were_tried_or_do_not_go_together_make_no_run(
    inside: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study=few", *MLP[:3], "epochs=1", "pooling.size=2,99", "batch_size=32,64"]
    assert search(words, 8) == 0
    said, runs = capsys.readouterr().out, inside.runs("few")
    assert {run.data.params["pooling.size"] for run in runs} == {"2"}
    assert len(runs) == len({run.data.tags["cnnlab.fingerprint"] for run in runs}) <= 2
    assert "refused (" in said and "repeated (as trial" in said and "which word decides: 8 finished trials" in said


TRIED = [
    Tried(1, ("lr=0.1", "activation=relu"), FINISHED, 8.0),
    Tried(2, ("lr=3", "activation=relu"), DIVERGED),
    Tried(3, ("lr=0.03", "activation=tanh"), FINISHED, 5.0),
    Tried(4, ("lr=0.02", "activation=tanh"), FINISHED, 5.0),
    Tried(5, ("lr=0.001", "activation=relu"), PRUNED, 60.0),
]


def test_the_figures_of_a_search_show_all_its_trials(tmp_path: Path) -> None:
    figure = search_history(TRIED)
    (axes,) = figure.axes
    lines: dict[str, Callable[[], Any]] = {str(line.get_label()): line.get_xydata for line in axes.lines}
    assert {name: len(points()) for name, points in lines.items()} == {
        "finished (3)": 3,
        "pruned (1)": 1,
        "diverged (1)": 1,
        "lowest so far": 5,
    }
    assert [y for _, y in lines["lowest so far"]()] == [8, 8, 5, 5, 5]
    assert len({line.get_marker() for line in axes.lines}) == 4  # told apart in grey, too
    assert [each.number for each in best_first(TRIED)] == [3, 4, 1]
    bars = importances({"lr": 0.7, "activation": 0.3}).axes[0]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["activation", "lr"]
    assert all(png(each)[:4] == b"\x89PNG" for each in (figure, importances({"lr": 1.0})))
    assert png(search_history(TRIED[1:2]))  # none has finished
