"""The record of a run, kept here or by a process of its own: what goes wrong there is known here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import LIMIT, Home, wait_for

from cnnlab.tracking import apart
from cnnlab.tracking.apart import log_apart
from cnnlab.tracking.log import AlreadyFinished, RunLog
from cnnlab.tracking.store import CODE, FINGERPRINT, KIND, Study

SERVE = apart._serve
TAGS = {FINGERPRINT: "f", CODE: "c", KIND: "run"}
LOGS = {"here": lambda: nullcontext(RunLog()), "apart": log_apart}


@pytest.mark.parametrize("where", LOGS)
def test_a_finished_run_is_not_made_again(where: str, inside: Home) -> None:
    with LOGS[where]() as log:
        log.begin("runs", "a name", {"lr": "0.1"}, TAGS)
        log.metrics({"test/error_percent": 0.5})
        log.curve("first_steps/loss", [2.5, 2.25, 2.0])
        log.arrays("answers.npz", answers=np.arange(3))
        log.text("config/words.txt", "a few")
        log.upload()
        log.close("FINISHED")
    run = inside.run()
    assert (run.info.status, run.info.run_name, run.data.params) == ("FINISHED", "a name", {"lr": "0.1"})
    assert inside.curves(run)["first_steps/loss"] == {1: 2.5, 2: 2.25, 3: 2.0}
    files = inside.artifacts(run)
    assert files["config/words.txt"].read_text() == "a few"
    with np.load(files["answers.npz"], allow_pickle=False) as kept:
        assert kept["answers"].tolist() == [0, 1, 2]
    with LOGS[where]() as log, pytest.raises(AlreadyFinished) as caught:
        log.begin("runs", "a name", {}, TAGS)
        log.check(begun=True)
    assert (caught.value.run_id, caught.value.metrics) == (
        run.info.run_id,
        {"test/error_percent": 0.5, "first_steps/loss": 2.0},
    )
    assert (caught.value.other_code, caught.value.copied) == (False, False)


@pytest.mark.parametrize("where", LOGS)
def test_a_figure_that_fails_does_not_stand_in_the_way_of_the_record(where: str, inside: Home) -> None:
    with LOGS[where]() as log:
        log.begin("runs", "a name", {}, TAGS)
        with pytest.raises(ValueError, match="invalid literal"):
            log.figure("plots/nothing.png", int, "no number")
            log.close("FINISHED")
        log.text("traceback.txt", "why")
        log.upload()
        log.close("FAILED")
    assert "traceback.txt" in inside.artifacts(inside.run())


class Fragile(RunLog):
    """A record that writes down what was asked of it, and fails as it is told."""

    def begin(self, *arguments: object) -> str:
        self.file = Path(str(arguments[0]))
        return "an id"

    def tag(self, name: str, value: str) -> None:
        with self.file.open("a") as file:
            print(name, value, file=file)
        time.sleep(0.1)
        if value == "fails":
            raise Unsendable("a", "b")
        if value == "dies":
            os._exit(3)

    def close(self, status: str) -> None:
        self.tag("closed", status)


class Unsendable(Exception):
    """An error that cannot be made anew at the other end."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one)


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], list[str]]:
    """The far end's record is a Fragile one; what it was asked for."""
    monkeypatch.setattr("cnnlab.tracking.apart._serve", serve_fragile)
    monkeypatch.chdir(tmp_path)
    return lambda: (tmp_path / "asked").read_text().splitlines()


def serve_fragile(*ends: object) -> None:
    apart.RunLog = Fragile  # type: ignore[misc]
    SERVE(*ends)


def test_after_a_failure_nothing_is_built_on_it(fragile: Callable[[], list[str]]) -> None:
    with log_apart() as log:
        log.begin("asked", "", {}, {})
        assert log.run_id == "an id"
        for value in ("well", "fails", *map(str, range(20))):
            log.tag("a", value)
        with pytest.raises(RuntimeError, match="Unsendable: a"):
            log.close("FINISHED")
        assert fragile() == ["a well", "a fails"]  # nor was it ever called finished
        log.tag("a", "reason")
        log.close("FAILED")
    assert fragile() == ["a well", "a fails", "a reason", "closed FAILED"]


def test_a_record_is_closed_though_its_last_words_fail(fragile: Callable[[], list[str]]) -> None:
    with log_apart() as log:
        log.begin("asked", "", {}, {})
        log.tag("a", "fails")
        log.tag("a", "skipped")
        with pytest.raises(RuntimeError, match="Unsendable"):
            log.close("FAILED")
    assert fragile() == ["a fails", "closed FAILED"]


def test_an_interrupted_run_waits_for_nothing_but_its_end(fragile: Callable[[], list[str]]) -> None:
    with log_apart() as log:
        log.begin("asked", "", {}, {})
        assert log.run_id == "an id"
        for value in range(30):
            log.tag("a", str(value))
        log.close("KILLED")
    assert fragile()[-1] == "closed KILLED" and len(fragile()) < 10


@pytest.mark.parametrize("part", [0, 1])
def test_ctrl_c_between_the_two_parts_of_an_answer_or_after_it_spoils_no_later_one(
    part: int, fragile: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job hears no Ctrl-C
    reads = []

    def interrupted(file: int, size: int) -> bytes:
        reads.append(os.read(file, size))
        if len(reads) == 3 + part:  # an answer is its length, and then itself
            os.kill(os.getpid(), signal.SIGINT)
        return reads[-1]

    with log_apart() as log:
        log.begin("asked", "", {}, {})
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Connection._recv, "__defaults__", (interrupted,))  # type: ignore[attr-defined]
            while True:
                log.tag("a", "b")
        log.close("KILLED")
    assert fragile()[-1] == "closed KILLED"


def test_the_far_end_s_death_is_an_error_of_one_line(fragile: Callable[[], list[str]]) -> None:
    with log_apart() as log:
        log.begin("asked", "", {}, {})
        log.tag("a", "dies")
        for _ in range(2):
            with pytest.raises(OSError, match="the process that keeps the run's record died"):
                log.close("FINISHED")
        with pytest.raises(AttributeError):
            log.mettrics({})  # type: ignore[attr-defined]


def test_the_name_of_a_set_may_be_long(inside: Home) -> None:
    log = RunLog()
    log.begin("runs", "a name", {}, TAGS)
    log.dataset("n" * 600, "0" * 64, "training")  # MLflow takes 500 letters
    log.close("FINISHED")
    (used,) = inside.run().inputs.dataset_inputs
    assert used.dataset.name == "n" * 500 and "n" * 600 in used.dataset.source


@pytest.mark.parametrize("where", LOGS)
def test_times_are_those_of_what_is_recorded(where: str, inside: Home) -> None:
    before = time.time()
    with LOGS[where]() as log:
        log.begin("runs", "a name", {}, TAGS)
        log.metrics({"loss": 1.0}, 1)
        asked = time.time()
        log.close("FINISHED")
    run = inside.run()
    (point,) = inside.client().get_metric_history(run.info.run_id, "loss")
    assert before - 1 < run.info.start_time / 1000 <= point.timestamp / 1000 <= asked + (0 if where == "apart" else 60)


def test_short_epochs_share_a_write_and_none_is_lost(inside: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def written() -> list[int]:
        return sorted(point.step for point in inside.client().get_metric_history(log.run_id, "loss"))

    monkeypatch.setattr("cnnlab.tracking.log.PATIENCE", 60)
    log = RunLog()
    log.begin("runs", "a name", {}, TAGS)
    for epoch in (1, 2, 3):
        log.epoch({"epoch": epoch, "loss": 1 / epoch})
    assert written() == [1]  # at once, so that a run under way is seen
    monkeypatch.setattr("cnnlab.tracking.log.PATIENCE", 0)
    log.epoch({"epoch": 4, "loss": 0.1})
    assert written() == [1, 2, 3, 4]
    monkeypatch.setattr("cnnlab.tracking.log.PATIENCE", 60)
    log.epoch({"epoch": 5, "loss": 0.1})
    log.close("KILLED")
    assert written() == [1, 2, 3, 4, 5]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] == "Z"  # dead, and nobody asked


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_far_end_does_not_outlive_a_killed_near_end(inside: Home) -> None:
    program = """if __name__ == "__main__":
        from multiprocessing import active_children
        from cnnlab.tracking.apart import log_apart
        with log_apart() as log:
            log.begin("runs", "a name", {}, {"cnnlab.fingerprint": "f", "cnnlab.code": "c"})
            log.check(begun=True)
            print(active_children()[0].pid, flush=True)
            input()"""
    file = inside.folder / "near.py"
    file.write_text(program)
    near = subprocess.Popen([sys.executable, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert near.stdout is not None
    far = int(near.stdout.readline())
    near.send_signal(signal.SIGKILL)
    near.communicate()
    limit = time.monotonic() + LIMIT
    while not gone(far):
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.slow
def test_a_store_that_was_cut_off_while_it_was_made_is_made_again(inside: Home) -> None:
    """Half of MLflow's tables are in the way of the others."""
    store = inside.folder / "mlflow.db"
    store.unlink()
    draft = store.with_name(".mlflow.db.draft")
    program = "from cnnlab.tracking.store import Study; Study.open('first')"
    maker = subprocess.Popen([sys.executable, "-c", program], text=True)
    wait_for(lambda: draft.exists() and draft.stat().st_size > 100_000, maker)
    maker.kill()
    maker.wait()
    assert draft.exists() and not store.exists()
    assert Study.open("second").name == "second" and not list(Study.open("second").runs(""))
    assert not list(inside.folder.glob(".mlflow.db*"))


def test_a_study_that_another_machine_has_just_made_is_opened(inside: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two look for it at once, find none, and make it: the second is refused by the store."""
    from mlflow import MlflowClient

    asked, found = MlflowClient.get_experiment_by_name, [None]
    made = Study.open("raced")
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", lambda *who: found.pop() if found else asked(*who))
    assert Study.open("raced").experiment_id == made.experiment_id and not found
