"""A run that is killed goes on from its last epoch and ends bit-equal to one that never was."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import Home, epochs_done, kill, plan_of, theta_of, untimed, wait_for

from cnnlab import measuring
from cnnlab.journal import Watcher
from cnnlab.locks import locked
from cnnlab.measuring import Epoch, Metrics
from cnnlab.runs import Outcome, make
from cnnlab.tracking.log import RunLog
from cnnlab.tracking.store import FINGERPRINT, OUTBOX

pytestmark = pytest.mark.slow
EPOCHS = 15
NOISY = ("pooling=stochastic", "optimizer=adam", "optimizer.weight_decay=0.001", "schedule=one_cycle")
WORDS = (*NOISY, f"epochs={EPOCHS}", "data.train=700", "data.validation=100", "confusion_every=1", "lr=0.003")


def without_clocks(table: Path) -> list[dict[str, str]]:
    return [untimed(row) for row in csv.DictReader(table.read_text().splitlines())]


def test_a_killed_run_goes_on_bit_equal(home: Home, new_home: Callable[..., Home], tmp_path: Path) -> None:
    process = home.start(*WORDS)
    (checkpoint,) = wait_for(home.checkpoints, process)
    kill(process)
    done = epochs_done(checkpoint)
    assert 1 <= done < EPOCHS
    assert home.run().info.status == "RUNNING"

    said = home.train(*WORDS)
    assert (said.code, said.err) == (0, "")
    assert f" was killed: given again, it goes on after {done} whole epoch{'s' * (done > 1)}\n" in said.out
    old, new = home.runs()
    assert (old.info.status, new.info.status) == ("KILLED", "FINISHED")
    assert new.data.tags["cnnlab.resumed_after_epoch"] == str(done)
    assert home.leftovers() == []

    uncut_home = new_home(tmp_path / "uncut")
    assert uncut_home.train(*WORDS).code == 0
    uncut = uncut_home.run()
    assert "cnnlab.resumed_after_epoch" not in uncut.data.tags
    assert new.data.tags["cnnlab.fingerprint"] == uncut.data.tags["cnnlab.fingerprint"]
    assert untimed(home.curves(new)) == untimed(uncut_home.curves(uncut))
    ours, theirs = home.artifacts(new), uncut_home.artifacts(uncut)
    assert ours.keys() == theirs.keys()
    assert without_clocks(ours["history.csv"]) == without_clocks(theirs["history.csv"])
    network = "model/artifacts/network.npz"
    assert theta_of(ours[network]).tobytes() == theta_of(theirs[network]).tobytes()
    matrices = [name for name in ours if name.startswith("confusion/") and name.endswith(".json")]
    assert len(matrices) == EPOCHS + 1
    pictures = [name for name in ours if name.startswith("images/")]
    assert any("+step+0+" in name for name in pictures) and any(f"+step+{EPOCHS}+" in name for name in pictures)
    assert [name for name in matrices + pictures if ours[name].read_bytes() != theirs[name].read_bytes()] == []


def test_a_killed_run_is_closed_by_the_next_command_on_its_study(home: Home) -> None:
    """One that somebody makes, here or elsewhere, stays under way."""
    process = home.start(*WORDS)
    (checkpoint,) = wait_for(home.checkpoints, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert home.run().info.status == "RUNNING"
    known, client = home.run(), home.client()
    others = dict[str, str]()  # records that look as if they were left behind, too
    for who, change in (
        ("elsewhere", {"cnnlab.host": "another"}),
        ("alive", {"cnnlab.pid": str(os.getpid())}),
        ("locked", {}),
    ):
        tags = known.data.tags | {FINGERPRINT: who} | change
        others[who] = client.create_run(known.info.experiment_id, tags=tags).info.run_id
    state = home.folder / "outputs/state"
    with locked(state / "locked.lock"):
        assert home.train(*BRIEF, "study=another").code == 0
        assert client.get_run(known.info.run_id).info.status == "RUNNING"  # another study was opened
        assert home.train(*BRIEF).code == 0
        under_way = {who for who, identity in others.items() if client.get_run(identity).info.status == "RUNNING"}
    assert under_way == {"elsewhere", "alive", "locked"}
    killed = client.get_run(known.info.run_id)
    assert killed.info.status == "KILLED" and checkpoint.exists()
    assert home.train(*WORDS).code == 0  # nobody has the lock any more
    assert "cnnlab.resumed_after_epoch" in home.runs()[-1].data.tags
    assert client.get_run(others["locked"]).info.status == "KILLED"


SMALL_NET = ("model=mlp", "model.hidden=[8]", "data.train=1000", "data.validation=0", "epochs=3")
CUTS = {  # words, and the checkpoint at which a run is cut off
    "the 1998 rule": (("optimizer=sdlm", "optimizer.every=300", "batch_size=1", "reshuffle=false", "lr=0.001"), ".npz"),
    "boosted, in its second network": (("learner=boosted", "augment=shift"), ".1.npz"),
}


@pytest.mark.parametrize(("words", "cut"), CUTS.values(), ids=CUTS)
def test_other_trainings_go_on_bit_equal(
    home: Home, new_home: Callable[..., Home], tmp_path: Path, words: tuple[str, ...], cut: str
) -> None:
    process = home.start(*SMALL_NET, *words)
    wait_for(lambda: [file for file in home.checkpoints() if file.name.endswith(cut)], process)
    kill(process)
    said = home.train(*SMALL_NET, *words)
    assert (said.code, said.err) == (0, "") and not home.leftovers()
    uncut_home = new_home(tmp_path / "uncut")
    assert uncut_home.train(*SMALL_NET, *words).code == 0
    ours, theirs = home.artifacts(home.runs()[-1]), uncut_home.artifacts(uncut_home.run())
    assert without_clocks(ours["history.csv"]) == without_clocks(theirs["history.csv"])
    networks = [name for name in ours if name.startswith("model/") and name.endswith(".npz")]
    assert len(networks) == (3 if "learner=boosted" in words else 1)
    assert all(theta_of(ours[name]).tobytes() == theta_of(theirs[name]).tobytes() for name in networks)


BRIEF = ("model=mlp", "model.hidden=[8]", "data.train=300", "data.validation=100", "epochs=3")


class Cut(BaseException):
    """A kill, as this process sees it."""


class KilledLog(RunLog):
    """The record of a process that is killed, which does not say so."""

    def close(self, status: str) -> None:
        if status != "KILLED":
            super().close(status)


def made(*words: str) -> Outcome:
    """A run that this process makes."""
    return make(plan_of(*words), RunLog(), Watcher())


def cut(*words: str, at: str, time: int = 1, after: bool = False) -> None:
    """A run that is killed just before, or after, its record's method `at` is called the first, second, ... time."""
    method, calls = getattr(KilledLog, at), count(1)

    def cutting(log: RunLog, *arguments: Any) -> None:
        cuts = next(calls) == time
        if after or not cuts:
            method(log, *arguments)
        if cuts:
            raise Cut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KilledLog, at, cutting)
        with pytest.raises(Cut):
            make(plan_of(*words), KilledLog(), Watcher())


@pytest.mark.parametrize("damage", ["cut", "of other code", "of other code, while it was closed"])
def test_a_checkpoint_that_does_not_fit_means_from_the_start(
    damage: str, inside: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(*BRIEF, at="close" if "closed" in damage else "upload")
    (checkpoint,) = (path for path in inside.leftovers() if OUTBOX not in str(path))
    if damage == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-50])
    else:
        monkeypatch.setattr("cnnlab.code.digest", lambda targets: "another")
    assert made(*BRIEF, "rerun=changed").status == "finished"
    run = inside.runs()[-1]
    assert "cnnlab.resumed_after_epoch" not in run.data.tags
    assert sorted(inside.curves(run)["train/loss"]) == [1, 2, 3]
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("starting afresh: ")]
    assert len(said) == 1 and ("checksum" in said[0]) == (damage == "cut")
    assert [path.suffix for path in inside.leftovers()] == [".set-aside-1"]


@pytest.mark.parametrize("apart", [False, True], ids=["here", "by the command"])
def test_a_checkpoint_left_behind_is_of_no_use_once_the_run_is_finished(apart: bool, inside: Home) -> None:
    """Killed between the record's end and the checkpoint's: it is found finished, and a rerun trains anew."""

    def train(*words: str) -> str:
        if apart:
            said = inside.train(*BRIEF, *words)
            assert (said.code, said.err) == (0, "")
            return said.out.splitlines()[1].partition(" relu")[0]
        return made(*BRIEF, *words).status

    cut(*BRIEF, at="close", after=True)
    (left,) = inside.leftovers()
    kept = left.read_bytes()
    assert inside.run().info.status == "FINISHED"
    assert train() in ("skipped", "was done") and inside.leftovers() == []
    left.write_bytes(kept)
    assert train("rerun=true") == "finished" and inside.leftovers() == []
    first, again = inside.runs()
    assert again.info.status == "FINISHED" and "cnnlab.resumed_after_epoch" not in again.data.tags
    assert untimed(inside.curves(again)) == untimed(inside.curves(first))
    assert inside.curves(again)["time/epoch_s"] != inside.curves(first)["time/epoch_s"]  # trained, not copied


@pytest.mark.parametrize("at", ["upload", "close"])
def test_a_run_cut_off_before_its_record_was_closed_is_not_trained_again(at: str, inside: Home) -> None:
    cut(*BRIEF, at=at)
    assert made(*BRIEF).status == "finished"
    killed, finished = inside.runs()
    assert [killed.info.status, finished.info.status] == ["KILLED", "FINISHED"]
    assert finished.data.tags["cnnlab.resumed_after_epoch"] == "3"
    for name in ("train/loss", "time/epoch_s"):
        assert inside.curves(finished)[name] == inside.curves(killed)[name]
    assert inside.leftovers() == []


def extra(epoch: Epoch) -> Metrics:
    """A metric that somebody adds between kill and resume."""
    return {"extra/weight": float(np.abs(next(iter(epoch.params.values()))["W"]).max())}


@pytest.mark.parametrize("then", ["added", "removed"])
def test_a_metric_may_come_or_go_between_kill_and_resume(
    then: str, inside: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    today, more = measuring.EPOCH_METRICS, (*measuring.EPOCH_METRICS, extra)
    monkeypatch.setattr(measuring, "EPOCH_METRICS", today if then == "added" else more)
    cut(*BRIEF, at="epoch", time=2)
    assert len(inside.checkpoints()) == 1
    monkeypatch.setattr(measuring, "EPOCH_METRICS", more if then == "added" else today)
    assert made(*BRIEF).status == "finished"
    run = inside.runs()[-1]
    assert run.data.tags["cnnlab.resumed_after_epoch"] == "2"
    rows = list(csv.DictReader(inside.artifacts(run)["history.csv"].read_text().splitlines()))
    having = [row["epoch"] for row in rows if row["extra/weight"]]
    assert having == (["3"] if then == "added" else ["1", "2"])
    assert [len(row) for row in rows] == 3 * [len(rows[0])] and all(row["train/loss"] for row in rows)
    assert [str(epoch) for epoch in sorted(inside.curves(run)["extra/weight"])] == having
