"""A store that fails costs no training and no record: a real server behind a proxy that fails, and SQLite locked."""

from __future__ import annotations

import errno
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from tests.conftest import LIMIT, SMALL, Home, is_one_line, wait_for
from tests.faults import Proxy, locked_file, served

from cnnlab.commands import sync
from cnnlab.tracking import log as logs
from cnnlab.tracking import outbox
from cnnlab.tracking.access import StoreAway, one_line, raise_if_away, seconds, store_errors, without_password
from cnnlab.tracking.log import AlreadyFinished, RunLog
from cnnlab.tracking.outbox import Outbox, outboxes
from cnnlab.tracking.store import CODE, FINGERPRINT, KIND

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EPOCHS = range(1, 9)
BRIEF = ("model=mlp", *SMALL)
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def server(new_home: Callable[..., Home], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server over a store without runs."""
    with served(new_home(tmp_path_factory.mktemp("server")).folder) as port:
        yield port


@pytest.fixture
def new_proxy(server: int) -> Iterator[Callable[[], Proxy]]:
    """`new_proxy()`: what stands before the server."""
    with ExitStack() as ends:

        def new_proxy() -> Proxy:
            proxy = Proxy(server)
            ends.callback(proxy.set, "refuse")
            return proxy

        yield new_proxy


@pytest.fixture
def proxy(new_proxy: Callable[[], Proxy], inside: Home, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """What stands before the server, and is the store of this process and of the commands of its home."""
    proxy = new_proxy()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    return proxy


def client(proxy: Proxy) -> MlflowClient:
    """A client of the server itself."""
    from mlflow import MlflowClient

    return MlflowClient(f"http://127.0.0.1:{proxy.behind}")


def runs(proxy: Proxy, study: str) -> list[Run]:
    experiment = client(proxy).get_experiment_by_name(study)
    return list(client(proxy).search_runs([experiment.experiment_id])) if experiment else []


def begun(study: str, of_sweep: bool = False) -> RunLog:
    """A record, of a fingerprint of its own."""
    log = RunLog(of_sweep=of_sweep)
    log.begin(study, "a name", {"lr": "0.1"}, {FINGERPRINT: f"f-{study}", CODE: "c", KIND: "run"})
    return log


def tell(log: RunLog) -> float:
    """Tell all that a run tells but its end; the seconds of the longest wait."""
    waits, last = [], time.monotonic()
    for epoch in EPOCHS:
        log.metrics({"loss": 1 / epoch, "accuracy": epoch / 10}, epoch)
        waits.append(time.monotonic() - last)
        time.sleep(0.1)
        last = time.monotonic()
    log.dataset("digits", "0" * 64, "training")
    log.tag("said", "yes")
    for name in ("history.csv", "config/words.txt"):
        log.text(name, f"this is {name}")
    log.upload()
    return max(*waits, time.monotonic() - last)


def check(proxy: Proxy, study: str) -> None:
    """Nothing is lost and nothing doubled."""
    (run,) = runs(proxy, study)
    assert (run.info.status, run.info.run_name, run.data.params) == ("FINISHED", "a name", {"lr": "0.1"})
    for name, value in (("loss", lambda epoch: 1 / epoch), ("accuracy", lambda epoch: epoch / 10)):
        points = client(proxy).get_metric_history(run.info.run_id, name)
        assert [(point.step, point.value) for point in points] == [(epoch, value(epoch)) for epoch in EPOCHS]
    assert run.data.tags["said"] == "yes" and len(run.inputs.dataset_inputs) == 1
    files = Path(client(proxy).download_artifacts(run.info.run_id, ""))
    for name in ("history.csv", "config/words.txt"):
        assert (files / name).read_text() == f"this is {name}"


@pytest.mark.parametrize(
    "mode", ["refuse", "cut", *(pytest.param(mode, marks=SLOW) for mode in ("500", "slow", "hang"))]
)
def test_what_a_store_misses_for_a_while_it_is_told_later(mode: str, proxy: Proxy, inside: Home) -> None:
    log = begun(mode)
    proxy.set(mode)
    threading.Timer(2, proxy.set, ["pass"]).start()
    assert tell(log) < 5
    log.close("FINISHED")
    check(proxy, mode)
    assert not inside.leftovers()


def test_a_run_whose_creation_is_not_answered_is_there_once(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "changes", lambda: proxy.set("cut") or "")  # what is asked for just before
    log = begun("created")
    asked = proxy.asked
    proxy.set("pass")
    tell(log)
    log.close("FINISHED")
    assert asked and log.run_id
    check(proxy, "created")


def test_a_record_that_the_store_never_took_is_filed_by_sync_once(
    proxy: Proxy, inside: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(outbox, "PATIENCE", 1)
    known = begun("known")
    monkeypatch.setattr(outbox, "HASTE", 0.5)
    proxy.set("refuse")
    with pytest.raises(StoreAway):
        begun("alone")
    unknown = begun("unknown", of_sweep=True)
    for log in (known, unknown):
        tell(log)
        log.close("FINISHED")
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and all("`cnnlab sync` files it: the " in line for line in said)
    assert known.run_id and not unknown.run_id
    with pytest.raises(StoreAway):
        sync.main([])
    proxy.set("pass")
    sync.main([])
    filed = capsys.readouterr().out
    assert re.findall(r"(?m)^filed a name: run \w+ of study (\w+)$", filed) == ["known", "unknown"]
    for study in ("known", "unknown"):
        check(proxy, study)
    sync.main([])
    assert capsys.readouterr().out == "nothing to file: the store has every record\n"
    assert len(runs(proxy, "known")) == 1 and not inside.leftovers()


def test_a_run_given_again_is_filed_first(proxy: Proxy, inside: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PATIENCE", 1)
    log = begun("again")
    monkeypatch.setattr(outbox, "HASTE", 0.5)
    proxy.set("500")
    tell(log)
    log.close("FINISHED")
    proxy.set("pass")
    with pytest.raises(AlreadyFinished) as caught:
        begun("again")
    assert caught.value.run_id == log.run_id and not inside.leftovers()
    check(proxy, "again")


def test_what_a_killed_process_left_is_filed_as_killed(inside: Home) -> None:
    """Half a line is the last that it wrote."""
    tags = {FINGERPRINT: "f", CODE: "c", KIND: "run"}
    left = Outbox.begun("runs", "a name", {}, tags, 1000)
    left.put("metrics", [("loss", 0.5, 2000, 1)])
    left._end()
    with (left.folder / "asked.jsonl").open("a") as file:
        file.write('["tag", "never", "sa')
    (again,) = outboxes()
    assert again.deliver(end=True) == f"a name: run {left.run_id} of study runs"
    run = inside.run()
    assert run.info.status == "KILLED" and run.data.metrics == {"loss": 0.5} and "never" not in run.data.tags
    assert not outboxes()


def test_a_store_that_refuses_a_thing_is_not_asked_for_ever(inside: Home) -> None:
    log = begun("runs")
    with pytest.raises(OSError, match="does not work") as caught:
        log.tag("", "no name")
    assert not isinstance(caught.value, StoreAway)
    log.tag("said", "yes")
    log.close("FAILED")
    assert inside.run().data.tags["said"] == "yes" and inside.run().info.status == "FAILED"
    with pytest.raises(OSError, match="does not work"):
        RunLog().begin("others", "a name", {"": "no name"}, {FINGERPRINT: "f", CODE: "c", KIND: "run"})
    assert not outboxes()


def test_a_line_that_the_disk_does_not_take_spoils_no_other(inside: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(path: Path, mode: str) -> Any:
        with opened(path, mode) as file:
            file.write(b'["tag", "ha')
        raise OSError(errno.ENOSPC, "no space left")

    log, opened = begun("runs"), Path.open
    with monkeypatch.context() as full, pytest.raises(OSError, match="no space left"):
        full.setattr(Path, "open", half)
        log.tag("said", "no")
    (left,) = outboxes()
    log.tag("said", "yes")
    assert left.deliver() and inside.run().data.tags["said"] == "yes"


@pytest.mark.parametrize("mode", ["refuse", *(pytest.param(mode, marks=SLOW) for mode in ("500", "hang"))])
def test_a_server_that_is_away_at_the_start_is_one_line_soon(mode: str, proxy: Proxy, inside: Home) -> None:
    proxy.set(mode)
    began = time.monotonic()
    said = inside.train(*BRIEF, "epochs=1", MLFLOW_TRACKING_URI=proxy.uri.replace("//", "//me:s3cret@"))
    assert said.code == 1 and is_one_line(said.err) and proxy.uri.partition("//")[2] in said.err
    assert "s3cret" not in said.out + said.err
    assert time.monotonic() - began < 30  # 15 on a machine that has nothing else to do
    assert not inside.checkpoints()


@pytest.mark.parametrize("uri", ["http://me:s3cr/et@host:5000/a", "postgresql://me:s3cret@host/db", "http://host:5000"])
def test_no_password_is_told(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    told = one_line(OSError(f"{uri}/api: {uri} is away, and http://you:other@elsewhere"))
    assert "s3c" not in told and "other" not in told and told.count("host") == 2 and "elsewhere" in told
    assert without_password("at 12:30 me@host said a:b@c") == "at 12:30 me@host said a:b@c"


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("http://s3cret@host:5000", "http://***@host:5000"),
        ("https://s3cret:@host/a", "https://***:@host/a"),
        ("HTTPS://s3cret@host", "HTTPS://***@host"),
        ("http://s3c%2Fret@host", "http://***@host"),
        ("http://s3c/other@host:5000", "http://***@host:5000"),
        ("https://host/mlflow?token=s3cret", "https://host/mlflow?token=***"),
        ("https://host?a=1&X-Amz-Signature=s3cret&b=2", "https://host?a=1&X-Amz-Signature=***&b=2"),
        ("https://host?api_key=s3cret", "https://host?api_key=***"),
        ("postgresql://me@host/db?token=s3cret", "postgresql://me@host/db?token=***"),
        ("postgresql://me@host/db?a=b&sslpassword=s3cret", "postgresql://me@host/db?a=b&sslpassword=***"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://me:@host/db", "postgresql://me:@host/db"),
        ("http://me:s3cret@host", "http://me:***@host"),
        ("sqlite:////home/a:b@c/mlflow.db", "sqlite:////home/a:b@c/mlflow.db"),
    ],
)
def test_of_an_address_all_but_the_secret_is_told(uri: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the store's own, and of another one, such as in a line of code or of git's."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert without_password(f"{uri} is away") == f"{told} is away"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    if "/other@" not in uri:  # that its slash belongs to the secret can be known of the store's own alone
        assert without_password(f"at {uri}\n({uri} )") == f"at {told}\n({told} )"


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "PGPASSWORD"])
def test_no_secret_of_the_environment_is_told(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "s3cret+/a")
    assert without_password("Bearer s3cret+/a: no such token 's3cret+/a'") == "Bearer ***: no such token '***'"


@pytest.mark.parametrize("uri", ["http://{}@{}", "http://{}:@{}"])
def test_no_token_is_in_lines_links_tags_and_logs(uri: str, proxy: Proxy, inside: Home) -> None:
    """Of a run in a store that is named with a token, of its pages' links, and where the store is away."""
    token = uuid4().hex  # no file has it: what git lacks of the code is kept with a run
    uri, study = uri.format(token, proxy.uri.partition("//")[2]), f"token{uri.count(':')}"
    words = ("model=mlp", "model.hidden=[4]", *SMALL, "epochs=1", f"study={study}")
    done = inside.train(*words, MLFLOW_TRACKING_URI=uri)
    shown = inside.command("ui", MLFLOW_TRACKING_URI=uri)
    assert (done.code, shown.code) == (0, 0) and proxy.uri in shown.out, done.err + shown.err
    (run,) = runs(proxy, study)
    kept = [file for file in Path(client(proxy).download_artifacts(run.info.run_id, "")).rglob("*") if file.is_file()]
    assert kept and not any(token.encode() in file.read_bytes() for file in kept)
    proxy.set("refuse")
    away = inside.train(*words, "rerun=true", MLFLOW_TRACKING_URI=uri)
    assert away.code == 1 and is_one_line(away.err) and "***" in away.err
    told = [done.out, done.err, shown.out, shown.err, away.out, away.err, str(run.to_dictionary())]
    assert token not in "".join(told)


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:s3c@other@127.0.0.1:1/db",  # its host is taken for other@127.0.0.1
        "postgresql://me@127.0.0.1:1/db?password=s3c@other",
        "postgresql://me@127.0.0.1:1/db?pasword=s3cret",
        "postgresql://me:s3cret@127.0.0.1:port/db",
        "http://me:s3c#other@127.0.0.1:1",  # its host is taken for me, its port for s3c
        "http://me:123/other@127.0.0.1:1",
    ],
)
def test_no_piece_of_a_password_is_told(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    if uri.startswith("postgresql"):
        pytest.importorskip("psycopg")
    with pytest.raises((OSError, ValueError), match=r"^the MLflow store .*\*\*\*") as caught:
        raise_if_away(uri)
    assert not re.search(r"s3c|other|123", str(caught.value))


def test_a_locked_file_may_be_free_later(inside: Home) -> None:
    import sqlite3

    with pytest.raises(StoreAway, match="locked"), store_errors():
        raise sqlite3.OperationalError("database is locked")


def test_a_question_that_meets_its_own_repetition_is_asked_again(proxy: Proxy) -> None:
    """A server that was stopped for a while answers both at once."""
    from mlflow.entities import Param

    of, params = client(proxy), [Param(f"p{number}", "a") for number in range(30)]
    experiment = of.create_experiment("clash")

    def write(run_id: str) -> Exception | None:
        together.wait()
        try:
            with store_errors():
                of.log_batch(run_id, params=params)
        except OSError as error:
            return error
        return None

    together = threading.Barrier(10, timeout=LIMIT)
    with ThreadPoolExecutor(10) as threads:
        for _ in range(50):
            run_id = of.create_run(experiment).info.run_id
            if failed := [error for error in threads.map(write, [run_id] * 10) if error]:
                break
    assert failed and {type(error) for error in failed} == {StoreAway}
    assert len(of.get_run(run_id).data.params) == 30
    with pytest.raises(OSError, match="does not work") as caught, store_errors():
        of.log_batch(run_id, params=[Param("p0", "b")])
    assert not isinstance(caught.value, StoreAway)


def test_a_time_out_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seconds("CNNLAB_SAID", 90) == 90
    monkeypatch.setenv("CNNLAB_SAID", "0.5")
    assert seconds("CNNLAB_SAID", 90) == 0.5
    monkeypatch.setenv("CNNLAB_SAID", "soon")
    with pytest.raises(ValueError, match=r"^CNNLAB_SAID=soon: choose a number of seconds$"):
        seconds("CNNLAB_SAID", 90)


@SLOW
def test_a_store_that_is_away_for_a_minute_is_waited_for(
    new_proxy: Callable[[], Proxy], new_home: Callable[..., Home], tmp_path: Path
) -> None:
    """From the middle of a run to long after its end; one from before the begin of a run. All in the same minute."""
    proxies = {how: new_proxy() for how in ("refuse", "hang")}
    homes = {how: new_home(tmp_path / how) for how in (*proxies, "locked", "locked before")}
    all_away = threading.Barrier(len(homes), timeout=LIMIT)

    def start(how: str) -> subprocess.Popen[str]:
        uri = proxies[how].uri if how in proxies else homes[how].uri
        return homes[how].start(*BRIEF, "epochs=30", f"study=minute_{how[:6]}", "rerun=true", MLFLOW_TRACKING_URI=uri)

    @contextmanager
    def away(how: str) -> Iterator[None]:
        if how in proxies:
            proxies[how].set(how)
            yield
            proxies[how].set("pass")
        else:
            with locked_file(homes[how].folder / "mlflow.db"):
                yield

    def ended(how: str) -> str:
        process = None if how == "locked before" else start(how)
        if process:
            wait_for(homes[how].checkpoints, process)
        with away(how):
            all_away.wait()
            process = process or start(how)
            time.sleep(60)
            assert process.poll() is None
        out, err = process.communicate(timeout=120)
        return "" if (process.returncode, err) == (0, "") else f"{process.returncode}: {out}{err}"

    with ThreadPoolExecutor() as threads:
        ends = dict(zip(homes, threads.map(ended, homes), strict=True))
    assert not "".join(ends.values()), ends
    for how, home in homes.items():
        if how in proxies:
            (run,) = runs(proxies[how], f"minute_{how}")
            points = client(proxies[how]).get_metric_history(run.info.run_id, "train/loss")
            steps = [point.step for point in points]
        else:
            run = home.run("minute_locked")
            steps = list(home.curves(run)["train/loss"])
        assert (run.info.status, steps) == ("FINISHED", list(range(1, 31))) and not home.leftovers()


@SLOW
def test_a_sweep_goes_on_without_its_server(proxy: Proxy, inside: Home) -> None:
    """What was trained meanwhile is not trained again."""
    words = ("-m", *BRIEF, "epochs=20", "seed=0,1,2", "study=swept", "hydra.launcher.n_jobs=1")
    process = inside.start(*words, MLFLOW_TRACKING_URI=proxy.uri, CNNLAB_PATIENCE="10")
    wait_for(lambda: inside.checkpoints(), process)
    proxy.set("refuse")
    out, err = process.communicate(timeout=600)
    assert process.returncode == 1 and is_one_line(err), (out, err)
    proxy.set("pass")
    filed = inside.command("sync", MLFLOW_TRACKING_URI=proxy.uri)
    assert filed.code == 0 and filed.out.count("of study swept") == 3, filed
    again = inside.train(*words, MLFLOW_TRACKING_URI=proxy.uri)
    assert again.code == 0 and "nothing to do, 3 arms finished" in again.out, again
    kept = [run for run in runs(proxy, "swept") if run.data.tags[KIND] == "run"]
    assert len(kept) == 3 and {run.info.status for run in kept} == {"FINISHED"}
    assert sorted(run.data.params["seed"] for run in kept) == ["0", "1", "2"]
