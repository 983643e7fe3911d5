"""`cnnlab server`: MLflow for a team, on a real PostgreSQL, whose members sign in."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from tests.conftest import Home, is_one_line, plan_of
from tests.test_sweeps import record

from cnnlab.commands import server
from cnnlab.commands.serving import _names
from cnnlab.tracking import outbox
from cnnlab.tracking.access import StoreAway
from cnnlab.tracking.log import RunLog
from cnnlab.tracking.store import CODE, FINGERPRINT, KIND, Study
from teams import ADMIN, BINARIES, OF_DATABASE, PASSWORD, Team, database, free_port, served

if TYPE_CHECKING:
    from mlflow import MlflowClient

SLOW = pytest.mark.slow
WORDS = ("model=mlp", "epochs=1", "data.train=300", "data.validation=100", "study=of_all")
EXPERIMENTS = "/api/2.0/mlflow/experiments/search"


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator, and no store but the default."""
    monkeypatch.delenv("MLFLOW_BACKEND_STORE_URI", raising=False)
    for name, text in zip(server.ADMIN, (ADMIN, PASSWORD), strict=True):
        monkeypatch.setenv(name, text)


@pytest.mark.parametrize(
    ("name", "password", "line"),
    [
        ("", PASSWORD, "needs a name and a password: set MLFLOW_AUTH_ADMIN_USERNAME and MLFLOW_AUTH_ADMIN_PASSWORD"),
        (ADMIN, "", "needs a name and a password"),
        ("", "", r"or give --admin FILE \(with make: ADMIN=FILE\)$"),
        ("admin", "password1234", "the one that MLflow once came with: choose another"),
        (ADMIN, "too-brief", "choose one of 12 characters or more"),
    ],
)
def test_no_server_without_a_password_of_ones_own(
    name: str, password: str, line: str, inside: Home, signed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, text in zip(server.ADMIN, (name, password), strict=True):
        monkeypatch.setenv(variable, text)
    with pytest.raises(ValueError, match=line) as caught:
        server.main([])
    assert not password or password not in str(caught.value)
    assert not (inside.folder / "mlserver").exists()


def test_the_command_says_it_in_one_line(home: Home) -> None:
    said = home.command("server")
    assert said.code == 1 and said.out == "" and is_one_line(said.err) and "needs a name and a password" in said.err


def test_a_file_has_the_administrator_if_nobody_else_can_read_it(tmp_path: Path, signed: None) -> None:
    file = tmp_path / "admin"
    file.write_text("chief:a secret: with a colon\n")
    file.chmod(0o640)
    with pytest.raises(ValueError, match="others can read this file: chmod 600"):
        server.main(["--admin", str(file)])
    file.chmod(0o600)
    assert server._administrator(str(file)) == ("chief", "a secret: with a colon")
    assert server.ADMIN[1] not in os.environ


@pytest.mark.parametrize("text", [b"", b"chief\n", b"chief:a secret of his\nother:another secret\n", b"chief:\xff\n"])
def test_a_file_without_an_administrator_is_one_line(text: bytes, tmp_path: Path, signed: None) -> None:
    file = tmp_path / "admin"
    with pytest.raises(ValueError, match=f"^--admin {file}: No such file or directory$"):
        server.main(["--admin", str(file)])
    file.write_bytes(text)
    file.chmod(0o600)
    with pytest.raises(ValueError, match=f"^--admin {file}: needs one line, NAME:PASSWORD$"):
        server.main(["--admin", str(file)])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--store=postgresql://me:s3cret@host/db", "others can see a password on a command line"),
        ("--store=postgresql://host/db?password=s3cret", "others can see a password on a command line"),
        ("--store=postgresql://me@host/db?ssl=1&token=s3cret", "others can see a password on a command line"),
        ("--store=http://host:5000", "choose postgresql://USER@HOST/DATABASE or sqlite:///FILE"),
        ("--store=sqlite://", "choose postgresql"),
        ("--host=no.such.host.invalid", "no.such.host.invalid is not an address of this machine"),
        ("--host=192.0.2.1", "192.0.2.1 is not an address of this machine"),
        ("--host=a..b", "--host=a..b is not an address of this machine"),
    ],
)
def test_what_cannot_be_served_is_one_line(words: str, line: str, inside: Home, signed: None) -> None:
    with pytest.raises(ValueError, match=line.replace("?", "[?]")) as caught:
        server.main([words, "--port", str(free_port())])
    assert is_one_line(str(caught.value)) and "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["*", "*.org", "https://a.org", "a b"])
def test_only_names_are_allowed_as_hosts(name: str, signed: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        server.main([f"--allowed-hosts=a.org,{name}"])
    assert f"argument --allowed-hosts: {name}: choose names" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "asked", "answers"),
    [
        ("127.0.0.1", "localhost:8000", True),  # at the other end of a tunnel
        ("127.0.0.1", "10.example.org", False),
        ("127.0.0.1", "192.168.evil.example.org:5000", False),
        ("10.0.0.5", "10.0.0.5:5000", True),
        ("10.0.0.5", "10.0.0.6:5000", False),
        ("::1", "[::1]:5000", True),
        ("127.0.0.1", "a.org", True),
        ("127.0.0.1", "a.org:5000", True),
        ("127.0.0.1", "b.org:8443", True),
    ],
)
def test_a_server_answers_to_its_own_names_alone(host: str, asked: str, answers: bool) -> None:
    from mlflow.server.security_utils import is_allowed_host_header

    _, hosts, *_ = _names(host, 5000, ["a.org", "b.org:8443"])
    assert is_allowed_host_header(hosts.split(","), asked) is answers


@pytest.mark.parametrize("command", ["server", "ui"])
def test_a_port_that_is_taken_is_one_line(command: str, inside: Home, signed: None) -> None:
    from cnnlab.commands import ui

    client = inside.client()
    client.create_run(client.create_experiment("served"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} is in use: .*`make {command} PORT={port + 1}`"):
            {"server": server, "ui": ui}[command].main(["--port", str(port)])


@SLOW
@pytest.mark.parametrize("after", [0, 2])
def test_a_server_that_is_starting_answers_ctrl_c_with_no_traceback(after: float, inside: Home) -> None:
    record(plan_of(*WORDS))
    process = inside.start("--port", str(free_port()), command="ui")
    assert process.stdout and any(line.startswith("serving") for line in process.stdout)
    time.sleep(after)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    own = [line for line in err.splitlines() if not line.startswith("[MLflow]") and " INFO:" not in line]
    assert own in ([], ["interrupted: the same command goes on after what is done"])  # it may have started by then


def test_a_database_that_does_not_answer_is_one_line(inside: Home, signed: None) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(OSError, match=r"the MLflow store postgresql://me@127.0.0.1:\d+/db does not work") as caught:
        server.main([f"--store=postgresql://me@127.0.0.1:{free_port()}/db", "--port", str(free_port())])
    assert is_one_line(str(caught.value))


@pytest.mark.parametrize(
    ("package", "extra"), [("psycopg", "postgres"), pytest.param("flask_wtf", "server", marks=SLOW)]
)
def test_an_extra_that_is_not_there_is_named(package: str, extra: str, inside: Home) -> None:
    """In a process of its own: what is imported once cannot be missed."""
    program = f"import sys; sys.modules[{package!r}] = None; from cnnlab.commands import main; main(sys.argv[1:])"
    words = ["server", "--port", str(free_port()), *["--store=postgresql://me@127.0.0.1:1/db"] * (extra == "postgres")]
    signed = dict(zip(server.ADMIN, (ADMIN, PASSWORD), strict=True))
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, env=os.environ | signed, cwd=inside.folder, capture_output=True, text=True)
    assert done.returncode == 1 and is_one_line(done.stderr) and f"pip install 'cnnlab[{extra}]'" in done.stderr


@pytest.fixture(scope="module")
def members(
    new_home: Callable[..., Home], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Team, Home, str]]:
    """A server over PostgreSQL, its home, and the database's address; all of it ends with SIGTERM."""
    pytest.importorskip("flask_wtf")
    pytest.importorskip("psycopg")
    if BINARIES is None:
        pytest.skip("PostgreSQL is not installed")
    home = new_home(tmp_path_factory.mktemp("server") / "home", fresh=True)
    (home.folder / "mlserver").mkdir(0o755)
    with database() as kept:
        with served(home, MLFLOW_BACKEND_STORE_URI=kept.uri) as team:
            yield team, home, kept.uri
            running = home.processes()
            said = team.end()
        assert said.code == 0 and "Traceback" not in said.out, said
        assert f"serving {kept.uri.replace(OF_DATABASE, '***')} at {team.uri}" in said.out
        assert PASSWORD not in said.out and OF_DATABASE not in said.out
        _, left = psutil.wait_procs(running, timeout=30)
        assert left == [] and home.processes() == [] and not home.leftovers()


def client_of(team: Team, monkeypatch: pytest.MonkeyPatch, *who: str) -> MlflowClient:
    from mlflow import MlflowClient

    for name, text in team.signed_in(*who).items():
        monkeypatch.setenv(name, text)
    return MlflowClient(team.uri)


@SLOW
def test_only_its_members_come_in(members: tuple[Team, Home, str], home: Home) -> None:
    import requests

    team, serving, _ = members
    asked = {"max_results": 5}
    assert requests.get(team.uri + EXPERIMENTS, asked, timeout=60).status_code == 401
    assert requests.get(team.uri + EXPERIMENTS, asked, auth=(ADMIN, "password1234"), timeout=60).status_code == 401
    assert requests.get(team.uri + EXPERIMENTS, asked, auth=(ADMIN, PASSWORD), timeout=60).status_code == 200
    for evil in ("evil.example.org", "10.evil.example.org"):
        assert requests.get(team.uri + EXPERIMENTS, asked, headers={"Host": evil}, timeout=60).status_code == 403
    listening = [place for process in serving.processes() for place in process.net_connections("tcp")]
    assert {place.laddr.ip for place in listening if place.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    commands = [word for process in serving.processes() for word in process.cmdline()]
    assert not [word for word in commands if PASSWORD in word or OF_DATABASE in word]
    started = [process for process in serving.processes() if process.pid != team.process.pid]
    assert started and not [process for process in started if PASSWORD in process.environ().values()]
    folder = serving.folder / "mlserver"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert PASSWORD.encode() not in (folder / "accounts.db").read_bytes() + (folder / "accounts.ini").read_bytes()
    said = home.train(*WORDS, MLFLOW_TRACKING_URI=team.uri)
    assert said.code == 1 and is_one_line(said.err), said
    assert f"{team.uri} does not let you in: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in said.err


@SLOW
def test_a_run_is_filed_and_read_back(
    members: tuple[Team, Home, str], inside: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    team, serving, address = members
    made = inside.train(*WORDS, **team.signed_in())
    assert made.code == 0 and made.err == "", made
    client = client_of(team, monkeypatch)
    from cnnlab import load, records

    (run,) = records("of_all").to_dict("records")
    assert run["status"] == "FINISHED"
    record = client.get_run(run["run_id"])
    assert record.info.artifact_uri.startswith("mlflow-artifacts:/")
    files = Path(client.download_artifacts(run["run_id"], "", str(tmp_path)))
    assert {"answers.npz", "history.csv"} <= {path.name for path in files.iterdir()}
    assert load(run["run_id"]).predict(np.zeros((2, 28, 28), np.uint8)).shape == (2,)
    again = inside.train(*WORDS, **team.signed_in())
    assert again.code == 0 and "was done" in again.out
    told = [path.read_bytes() for path in inside.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    told += [path.read_bytes() for path in (serving.folder / "mlserver").rglob("*") if path.is_file()]
    dump = subprocess.run([str(BINARIES / "pg_dump"), address], capture_output=True, check=True)  # type: ignore[operator]
    everything = b"".join([*told, dump.stdout, made.out.encode(), again.out.encode()])
    assert b"of_all" in dump.stdout and PASSWORD.encode() not in everything and OF_DATABASE.encode() not in everything


@SLOW
def test_whoever_signs_in_adds_to_the_studies_of_others(
    members: tuple[Team, Home, str], inside: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests
    from mlflow.exceptions import MlflowException

    team, _, _ = members
    mine = client_of(team, monkeypatch)
    study = mine.create_experiment("shared")
    first = mine.create_run(study)
    user = {"username": "guest", "password": "the guest's own secret"}
    made = requests.post(f"{team.uri}/api/2.0/mlflow/users/create", json=user, auth=(ADMIN, PASSWORD), timeout=60)
    assert made.status_code == 200
    theirs = client_of(team, monkeypatch, *user.values())
    theirs.create_run(study)
    assert len(theirs.search_runs([study])) == 2
    with pytest.raises(MlflowException, match="Permission denied"):
        theirs.delete_run(first.info.run_id)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.uri)
    Study.open("shared").remove(first.info.run_id)  # as the guest
    left = mine.get_run(first.info.run_id)
    assert (left.info.status, left.data.tags[KIND]) == ("KILLED", "removed")


@SLOW
def test_those_who_write_at_once_do_not_wait_for_each_other(
    members: tuple[Team, Home, str], inside: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow writes metrics over two connections to the database: with few, all would be taken, half a minute long."""
    from mlflow.entities import Metric

    team, _, _ = members
    client = client_of(team, monkeypatch)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    study = client.create_experiment("together")
    runs = [client.create_run(study).info.run_id for _ in range(40)]
    with ThreadPoolExecutor(len(runs)) as together:
        list(together.map(lambda run: client.log_batch(run, [Metric(f"m/{n}", n, 0, 1) for n in range(60)]), runs))
    assert all(len(run.data.metrics) == 60 for run in client.search_runs([study]))


@SLOW
def test_a_password_that_is_changed_meanwhile_loses_no_record(
    members: tuple[Team, Home, str], inside: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    team, _, _ = members
    client = client_of(team, monkeypatch)
    log = RunLog()
    log.begin("changed", "a run", {"lr": "1"}, {FINGERPRINT: "f", CODE: "c", KIND: "run"})
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "no longer the right one")
    monkeypatch.setattr(outbox, "HASTE", 0.5)
    monkeypatch.setattr(outbox, "PATIENCE", 2.0)
    log.metrics({"train/loss": 1.0}, 1)
    log.close("FINISHED")
    with pytest.raises(StoreAway, match="does not let you in") as caught:
        outbox.file_left()
    assert is_one_line(str(caught.value)) and "no longer" not in str(caught.value)
    filed = inside.command("sync", **team.signed_in())
    assert filed.code == 0 and "of study changed" in filed.out, filed
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    run = client.get_run(log.run_id)
    assert run.info.status == "FINISHED" and run.data.metrics == {"train/loss": 1.0}


@SLOW
def test_a_server_answers_to_the_names_that_it_is_given(fresh_home: Home) -> None:
    """Another address of loopback, and a proxy's name; the store is SQLite."""
    import requests

    pytest.importorskip("flask_wtf")
    with served(fresh_home, "--allowed-hosts=runs.example.org", host="127.0.0.2") as team:
        port = team.uri.rpartition(":")[2]

        def asked(host: str, origin: str = "") -> int:
            headers = {"Host": host} | ({"Origin": origin} if origin else {})
            url = f"{team.uri}/api/2.0/mlflow/runs/search"
            answer = requests.post(
                url, json={"experiment_ids": ["0"]}, headers=headers, auth=(ADMIN, PASSWORD), timeout=60
            )
            return answer.status_code

        own = f"127.0.0.2:{port}"
        assert [asked(own), asked(own, f"http://{own}"), asked(f"localhost:{port}")] == [200, 200, 200]
        assert asked("runs.example.org", "https://runs.example.org") == 200
        assert [asked("evil.example.org"), asked(own, "https://evil.example.org")] == [403, 403]
        default = requests.get(
            f"{team.uri}/api/2.0/mlflow/experiments/get?experiment_id=0", auth=(ADMIN, PASSWORD), timeout=60
        )
        assert default.json()["experiment"]["artifact_location"].startswith("mlflow-artifacts:/")
    assert (fresh_home.folder / "mlserver/mlflow.db").exists() and not (fresh_home.folder / "mlflow.db").exists()
