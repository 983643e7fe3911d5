"""Two homes on one store make each run once, whatever becomes of one of them; real commands, SQLite and PostgreSQL."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import SMALL, Home, end, is_one_line, kill, plan_of, wait_for
from tests.faults import locked_file, postgres, served
from tests.test_sweeps import record

from cnnlab.composing import Sweep
from cnnlab.sweeps import run_sweep
from cnnlab.tracking import leases, outbox
from cnnlab.tracking import log as logs
from cnnlab.tracking.access import StoreAway
from cnnlab.tracking.leases import Elsewhere, Lease
from cnnlab.tracking.log import AlreadyFinished, RunLog
from cnnlab.tracking.outbox import file_left
from cnnlab.tracking.store import AGAIN, CODE, FINGERPRINT, KIND, TWIN, Study

BRIEF = ("model=mlp", "model.hidden=[4]", "epochs=2", *SMALL, "study=shared")
LONG = ("model=mlp", "model.hidden=[16]", "epochs=60", "data.train=2000", "data.validation=100", "study=shared")
SWEEP = ("-m", "hydra.launcher.n_jobs=1")
TAGS = {FINGERPRINT: "f", CODE: "c", KIND: "run"}
slow = pytest.mark.slow


class Pair:
    """Two homes, `a` and `b`, and the store that they share."""

    def __init__(self, a: Home, b: Home, uri: str) -> None:
        self.a, self.b, self.uri = a, b, uri

    def start(self, home: Home, *words: str, still: float = 60) -> subprocess.Popen[str]:
        """A command of one of them, which takes another for dead after so many seconds."""
        return home.start(*words, MLFLOW_TRACKING_URI=self.uri, CNNLAB_LEASE=str(still))

    def stopped(self, command: subprocess.Popen[str]) -> bool:
        """Stop a command, but not in the middle of a write, by which an SQLite file would be locked for all."""
        os.killpg(command.pid, signal.SIGSTOP)
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(self.uri[10:], timeout=0.1)) as store:
            store.execute("BEGIN IMMEDIATE")
            return True
        os.killpg(command.pid, signal.SIGCONT)
        time.sleep(0.05)
        return False

    def runs(self, study: str = "shared") -> list[Any]:
        from mlflow import MlflowClient

        import cnnlab.tracking  # noqa: F401 - silences MLflow before it is imported

        client = MlflowClient(self.uri)
        known = client.get_experiment_by_name(study)
        return list(client.search_runs([known.experiment_id], f"tags.`{KIND}` = 'run'")) if known else []

    def ends(self) -> dict[str, list[str]]:
        """How the runs of each seed ended."""
        found = dict[str, list[str]]()
        for run in self.runs():
            found.setdefault(run.data.params["seed"], []).append(run.info.status)
        return {seed: sorted(ends) for seed, ends in sorted(found.items())}

    def rows(self) -> list[tuple[str, int]]:
        """The owners of all leases, and their counts."""
        from sqlalchemy import NullPool, create_engine, inspect, text

        engine = create_engine(self.uri, poolclass=NullPool)
        if not inspect(engine).has_table(leases.TABLE):
            return []
        with engine.connect() as store:
            return [(owner, beat) for owner, beat in store.execute(text(f"SELECT owner, beat FROM {leases.TABLE}"))]


@pytest.fixture
def pair(new_home: Callable[..., Home], tmp_path: Path) -> Pair:
    """Two homes on the SQLite file of a third folder, where there is none yet."""
    a, b = (new_home(tmp_path / name, fresh=True) for name in "ab")
    return Pair(a, b, f"sqlite:///{tmp_path}/shared.db")


@pytest.fixture
def near(new_home: Callable[..., Home], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Two homes that this very process is in, in turns: in `a` first; the store is that of `a`."""
    a, b = new_home(tmp_path / "a"), new_home(tmp_path / "b", fresh=True)
    pair = Pair(a, b, a.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", pair.uri)
    monkeypatch.setenv("CNNLAB_HOME", str(a.folder))
    monkeypatch.setattr(leases, "STILL", 0.6)
    return pair


@contextmanager
def within(home: Home) -> Iterator[None]:
    """This process in that home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNLAB_HOME", str(home.folder))
        yield


def begun(home: Home, busy: Callable[[str], object] = lambda name: None, rerun: str = "false") -> RunLog:
    """The record of a run that a home begins."""
    log = RunLog(busy=busy)
    with within(home):
        log.begin("shared", "a name", {"seed": "0"}, TAGS, rerun)
    return log


def refuse(name: str) -> None:
    raise Elsewhere(name)


@contextmanager
def asleep(log: RunLog) -> Iterator[None]:
    """A record whose process counts up no more."""

    def fail() -> bool:
        raise OSError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log._lease, "beat", fail)
        yield


def left_on_disk(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """End a run as finished, but the store hears nothing of it, nor of its process any more."""
    monkeypatch.setattr(outbox, "PATIENCE", 0)
    log._outbox._end()
    log.close("FINISHED")
    assert log._lease
    log._lease._over.set()


def ends(pair: Pair) -> list[str]:
    """How the runs ended, the oldest first."""
    return [run.info.status for run in reversed(pair.runs())]


@slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_homes_make_each_arm_once(kind: str, pair: Pair) -> None:
    """Begun together, on a store that neither has made yet."""
    with postgres() if kind == "postgresql" else nullcontext(pair.uri) as pair.uri:
        commands = [pair.start(home, *SWEEP, *BRIEF, "seed=0,1,2") for home in (pair.a, pair.b)]
        for said in map(end, commands):
            assert (said.code, said.err) == (0, ""), said
        assert pair.ends() == {seed: ["FINISHED"] for seed in "012"}
        assert pair.rows() == [] and not pair.a.leftovers() and not pair.b.leftovers()


@slow
def test_when_a_home_is_killed_the_other_takes_its_arm_over(pair: Pair) -> None:
    words = (*SWEEP, *LONG, "seed=0,1")
    first = pair.start(pair.a, *words)
    wait_for(lambda: pair.a.checkpoints(), first)
    kill(first)
    said = end(pair.start(pair.b, *words, still=2))
    assert (said.code, said.err) == (0, "") and "another process makes it; the others come first" in said.out, said
    assert sorted(pair.ends().values()) == [["FINISHED"], ["FINISHED", "KILLED"]] and pair.rows() == []
    again = end(pair.start(pair.a, *words))
    assert again.code == 0 and "nothing to do, 2 arms finished" in again.out


@slow
def test_a_home_that_slept_too_long_gives_its_run_up(pair: Pair) -> None:
    first = pair.start(pair.a, *LONG)
    wait_for(lambda: pair.a.checkpoints(), first)
    wait_for(lambda: pair.stopped(first), first)
    second = pair.start(pair.b, *LONG, still=1)
    said = end(second)
    assert (said.code, said.err) == (0, "") and "waiting for another process" in said.out, said
    os.killpg(first.pid, signal.SIGCONT)
    gave_up = end(first)
    assert gave_up.code == 1 and is_one_line(gave_up.err) and "another home makes it now" in gave_up.err, gave_up
    assert pair.ends() == {"0": ["FINISHED", "KILLED"]} and pair.rows() == []


@slow
def test_who_waits_for_another_home_can_be_interrupted(near: Pair) -> None:
    lease = Lease(near.uri, plan_of(*BRIEF).fingerprint, "somebody")
    lease.wait(pytest.fail)
    command = near.start(near.b, *BRIEF)
    assert command.stdout is not None
    assert any("waiting for another process" in line for line in command.stdout)
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=30)
    assert command.returncode == 1 and is_one_line(err) and "interrupted" in err
    assert lease.release() and near.runs() == [] and near.rows() == []


def test_a_live_summary_is_waited_for_and_not_doubled(near: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    """Two homes end the same sweep together: the second finds the summary of the first."""
    with within(near.a):
        asked, study = plan_of(*BRIEF), Study.open("shared")
        record(asked)
    sweep = Sweep([asked], "a command", 1, {}, [])
    for home in (near.a, near.b):
        other = Lease(near.uri, f"summary-{study.experiment_id}", "somebody")
        other.wait(pytest.fail)
        with within(home), ThreadPoolExecutor(1) as thread:
            end = thread.submit(run_sweep, sweep, pytest.fail, home.folder / "sweep")
            time.sleep(1)
            assert not end.done() and other.release() and end.result(30) == 0
        assert (home.folder / "reports/shared/index.html").exists()
        assert [run.info.status for run in study.runs(f"tags.`{KIND}` = 'summary'")] == ["FINISHED"]
    said = capsys.readouterr().out
    assert "makes the summary of shared" in said and "was killed" not in said and near.rows() == []


def test_a_live_run_is_waited_for_and_never_closed(near: Pair) -> None:
    """Though it is slower than an owner may be silent; the other takes what it has found."""
    log, looks = begun(near.a), Counter[str]()
    with pytest.raises(Elsewhere):
        begun(near.b, refuse)
    with ThreadPoolExecutor() as threads:
        other = threads.submit(begun, near.b, lambda name: looks.update([name]))
        time.sleep(4 * leases.STILL)
        assert not other.done() and ends(near) == ["RUNNING"]
        log.check()
        log.close("FINISHED")
        with pytest.raises(AlreadyFinished):
            other.result(30)
    assert looks["a name"] > leases.LOOKS and near.rows() == []


@pytest.mark.parametrize("when", ["training", "ending", "too late"])
def test_an_owner_that_was_taken_over_ends_as_killed(when: str, near: Pair) -> None:
    log = begun(near.a)
    with asleep(log):
        taker = begun(near.b)
        assert ends(near) == ["KILLED", "RUNNING"]
        if when == "too late":
            taker.close("FINISHED")
    if when == "training":
        limit = time.monotonic() + 30
        with pytest.raises(Elsewhere, match="a name: another home makes it now"):
            while time.monotonic() < limit:
                log.check()
        log.close("KILLED")
    else:
        with pytest.raises(Elsewhere, match="a name: another home makes it now"):
            log.close("FINISHED")
        log.close("KILLED")
    if when != "too late":
        taker.close("FINISHED")
    assert ends(near) == ["KILLED", "FINISHED"] and near.rows() == []


def test_an_owner_that_was_taken_over_by_a_home_that_gave_up_may_finish(near: Pair) -> None:
    log = begun(near.a)
    with asleep(log):
        begun(near.b).close("KILLED")
    log.close("FINISHED")
    assert ends(near) == ["FINISHED", "KILLED"] and near.rows() == []


def test_a_finished_run_is_known_before_a_lease_is_asked_for(near: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(near.a).close("FINISHED")
    monkeypatch.setattr(Lease, "of", lambda *_: pytest.fail("a store that cannot be written to would fail here"))
    with pytest.raises(AlreadyFinished):
        begun(near.a)


def test_a_lost_answer_to_the_last_word_costs_no_run(near: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def lose(statement: str, more: dict[str, Any]) -> Any:
        found = execute(statement, more)
        if statement == leases.GIVE_BACK and found:
            raise OperationalError(statement, {}, ConnectionError("closed"))
        return found

    log = begun(near.a)
    assert log._lease
    execute = log._lease._execute
    monkeypatch.setattr(log._lease, "_execute", lose)
    log.close("FINISHED")
    assert ends(near) == ["FINISHED"] and near.rows() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_ends_a_begin_leaves_no_lease_and_no_thread(
    error: type[BaseException], near: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        assert len(near.rows()) == 1 and threading.active_count() == before + 1
        raise error

    Study.open("shared")
    monkeypatch.setattr(logs, "_is_known", fail)
    before = threading.active_count()
    with pytest.raises(error):
        begun(near.a)
    limit = time.monotonic() + 30
    while threading.active_count() > before:
        assert time.monotonic() < limit
    assert near.rows() == [] and near.runs() == [] and not near.a.leftovers()


def test_a_home_that_was_killed_does_not_wait_for_itself(near: Pair) -> None:
    log = begun(near.a)
    again = begun(near.a, pytest.fail)
    again.close("FINISHED")
    assert ends(near) == ["KILLED", "FINISHED"] and log._lease and not log._lease.beat()


@pytest.mark.parametrize("other", ["nobody", "makes it", "has made it"])
def test_a_record_that_is_filed_later_is_finished_if_no_other_is(
    other: str, near: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = begun(near.a)
    left_on_disk(log, monkeypatch)
    monkeypatch.setattr(outbox, "PATIENCE", 90)
    taker = begun(near.b) if other != "nobody" else None
    if taker and other == "has made it":
        taker.close("FINISHED")
    assert file_left() == ([f"a name: run {log.run_id} of study shared"], [])
    if taker and other == "makes it":
        taker.close("FINISHED")
    assert ends(near) == (["KILLED", "FINISHED"] if taker else ["FINISHED"])
    assert near.rows() == [] and not near.a.leftovers()


def test_a_store_that_is_away_costs_nobody_its_lease(near: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the owner, which cannot count up, nor who waits can do anything meanwhile."""
    log = begun(near.a)
    with ThreadPoolExecutor() as threads:
        other = threads.submit(begun, near.b)
        time.sleep(leases.STILL / 2)
        with locked_file(near.a.folder / "mlflow.db"):
            time.sleep(4 * leases.STILL)
        time.sleep(leases.STILL)
        log.check()
        assert not other.done() and ends(near) == ["RUNNING"]
        log.close("FINISHED")
        with pytest.raises(AlreadyFinished):
            other.result(60)


class Away(Lease):
    """A lease that another has, in a store that answers to the first look and then, from `gone` on, to no other."""

    gone, looks = True, 0

    def _execute(self, statement: str, more: dict[str, Any]) -> Any:
        from sqlalchemy.exc import OperationalError

        self.looks += 1
        if self.looks > 1 and self.gone:
            raise OperationalError(statement, {}, ConnectionError("refused"))
        return super()._execute(statement, more)


def test_who_waits_for_a_store_that_stays_away_gives_up(near: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    monkeypatch.setattr(leases, "PATIENCE", 1)
    owner, other = Lease(near.uri, "f", "owner"), Away(near.uri, "f", "other")
    owner.wait(pytest.fail)
    began = time.monotonic()
    with pytest.raises(OperationalError, match="refused"):
        other.wait(lambda: None)
    assert 1 < time.monotonic() - began < 30 and not other.held and owner.release()


def test_who_waits_for_a_store_that_answers_now_and_then_goes_on(near: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "PATIENCE", 1)
    owner, other = Lease(near.uri, "f", "owner"), Away(near.uri, "f", "other")
    owner.wait(pytest.fail)
    with ThreadPoolExecutor() as threads:
        waits = threads.submit(other.wait, lambda: None)
        for _ in range(6):
            for other.gone in (True, False):
                time.sleep(0.4)
        assert not waits.done() and owner.release()
        waits.result(30)
    assert other.held and other.release()


@pytest.mark.parametrize("other", ["nobody", "somebody"])
def test_an_arm_that_waits_is_begun_all_the_same(other: str, near: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the store is away at its begin: it is finished if no other home makes it by then."""
    monkeypatch.setattr(leases, "PATIENCE", 1)
    owner = Lease(near.uri, "f", "owner")
    owner.wait(pytest.fail)
    made: list[Away] = []

    def of(run: str, token: str) -> Lease:
        made.append(Away(near.uri, run, token))
        return made[0]

    monkeypatch.setattr(Lease, "of", of)
    with pytest.raises(StoreAway, match="refused"):
        begun(near.a)
    made.clear()
    log = RunLog(of_sweep=True, busy=lambda name: None)
    log.begin("shared", "a name", {"seed": "0"}, TAGS)
    made[0].gone = False
    if other == "nobody":
        owner.release()
        log.close("FINISHED")
    else:
        with pytest.raises(Elsewhere):
            log.close("FINISHED")
        owner.release()
    assert ends(near) == ["FINISHED" if other == "nobody" else "KILLED"] and near.rows() == []


@slow
def test_a_command_that_waits_ends_in_one_line_where_the_store_is_gone(near: Pair) -> None:
    with ExitStack() as server:
        near.uri = server.enter_context(postgres())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", near.uri)
            Study.open("shared")
        Lease(near.uri, plan_of(*BRIEF).fingerprint, "somebody").wait(pytest.fail)
        command = near.b.start(*BRIEF, MLFLOW_TRACKING_URI=near.uri, CNNLAB_PATIENCE="5")
        assert command.stdout is not None
        assert any("waiting for another process" in line for line in command.stdout)
    said = end(command)
    assert said.code == 1 and is_one_line(said.err) and "the MLflow store postgresql" in said.err, said


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_table_is_made_once_and_mlflow_does_not_mind_it(kind: str, near: Pair) -> None:
    from mlflow.store.db.utils import _all_tables_exist, _upgrade_db, _verify_schema
    from sqlalchemy import create_engine

    with postgres() if kind == "postgresql" else nullcontext(near.uri) as uri, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        Study.open("shared")
        made = [Lease(uri, f"f{number % 4}", f"owner {number}") for number in range(16)]
        with ThreadPoolExecutor(16) as threads:
            took = list(threads.map(Lease.take, made))
        assert took.count(None) == 4  # one of each
        owners = [lease for lease, other in zip(made, took, strict=True) if other is None]
        assert {lease._names["run"] for lease in owners} == {"f0", "f1", "f2", "f3"}
        engine = create_engine(uri)
        _verify_schema(engine)
        assert _all_tables_exist(engine)
        _upgrade_db(engine)
        engine.dispose()
        assert Study.open("shared").name == "shared" and all(lease.beat() and lease.release() for lease in owners)


def test_a_user_who_may_not_make_the_table_is_told_so_at_once(near: Pair) -> None:
    from sqlalchemy import NullPool, create_engine, text

    with postgres() as uri, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        Study.open("shared")
        with create_engine(uri, poolclass=NullPool).begin() as store:
            store.execute(text("CREATE ROLE member LOGIN"))
            store.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA public TO member"))
        patch.setenv("MLFLOW_TRACKING_URI", uri.replace("cnnlab@", "member@"))
        for of_sweep in (False, True):
            with pytest.raises(OSError, match="lacks the table cnnlab_lease, and its user may not make it") as caught:
                RunLog(of_sweep).begin("shared", "a name", {}, TAGS)
            assert not isinstance(caught.value, StoreAway) and is_one_line(str(caught.value))
            assert str(caught.value).endswith(f"have its owner say once: {' '.join(leases.CREATE.split())}")


def test_of_twins_behind_a_server_the_later_is_marked_and_left_out(near: Pair) -> None:
    with served(near.a.folder) as port, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        assert Lease.of("f", "owner") is None
        first, second = begun(near.a), begun(near.b, pytest.fail)
        first.close("FINISHED")
        with pytest.raises(Elsewhere):
            second.close("FINISHED")
        study = Study.open("shared")
        assert [run.info.run_id for run in study.newest().values()] == [first.run_id]
        (twin,) = study.runs(f"tags.`{TWIN}` = '{first.run_id}'")
        assert (twin.info.run_id, twin.info.status) == (second.run_id, "KILLED")
        with pytest.raises(AlreadyFinished):
            begun(near.b)
        again = begun(near.b, rerun="true")  # which is no twin
        again.close("FINISHED")
        assert [run.info.run_id for run in study.newest().values()] == [again.run_id]
    assert ends(near) == ["FINISHED", "KILLED", "FINISHED"]


def test_twins_that_are_closed_together_leave_one(near: Pair) -> None:
    study = Study.open("shared")
    made = [study.client.create_run(study.experiment_id, tags=TAGS).info.run_id for _ in range(3)]
    for run_id in made:
        study.client.set_terminated(run_id, "FINISHED", 1000)
    closed = [study.close_twins(run_id, "f", "c") for run_id in made]
    left = [run for run in near.runs() if run.info.status == "FINISHED"]
    assert [run.info.run_id for run in left] == [min(made)] and not closed[made.index(min(made))]
    again = study.client.create_run(study.experiment_id, tags=TAGS | {AGAIN: "true"}).info.run_id
    study.client.set_terminated(again, "FINISHED")
    assert not study.close_twins(min(made), "f", "c") and study.client.get_run(again).info.status == "FINISHED"
