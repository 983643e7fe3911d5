"""A PostgreSQL database of its own, and `cnnlab server` over it, for tests and for `writers.py`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from homes import Home, Said, kill, wait_for

BINARIES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)  # Debian's place
ADMIN, PASSWORD = "head", "an administrator's secret"
OF_DATABASE = "a-database-s-secret"


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database: its address, with a password, and its server's first process."""

    uri: str
    pid: int


@dataclass(frozen=True)
class Team:
    """A served store: its address, the process that serves it and what that says, by and by."""

    uri: str
    process: subprocess.Popen[str]
    said: list[str]

    def signed_in(self, name: str = ADMIN, password: str = PASSWORD) -> dict[str, str]:
        """The variables by which a client signs in."""
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_USERNAME": name,
            "MLFLOW_TRACKING_PASSWORD": password,
        }

    def end(self, number: signal.Signals = signal.SIGTERM) -> Said:
        """Tell the server to end, and wait for it."""
        self.process.send_signal(number)
        return Said(self.process.wait(timeout=60), "".join(self.said), "")


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def database() -> Iterator[Database]:
    """A database that is gone afterwards."""
    assert BINARIES is not None, "PostgreSQL is not installed"
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    owner: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:  # as whom PostgreSQL does not run
        owner |= {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(folder, "postgres", "postgres")
    secret, port = folder / "secret", free_port()
    secret.write_text(OF_DATABASE)
    secret.chmod(0o644)  # in a folder that is closed to others

    def run(program: str, *words: str) -> None:
        command = [str(BINARIES / program), "-D", str(folder / "data"), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **owner)

    try:
        run("initdb", "-U", "team", "-A", "scram-sha-256", f"--pwfile={secret}")
        asked = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", asked, "start")
        try:
            pid = int((folder / "data/postmaster.pid").read_text().split()[0])
            yield Database(f"postgresql://team:{OF_DATABASE}@127.0.0.1:{port}/postgres", pid)
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@contextmanager
def served(home: Home, *words: str, host: str = "127.0.0.1", **variables: str) -> Iterator[Team]:
    """`cnnlab server` in a home, once it answers; it is killed where it has not ended."""
    port = free_port()
    signed = {"MLFLOW_AUTH_ADMIN_USERNAME": ADMIN, "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD}
    process = home.start("--port", str(port), "--host", host, *words, command="server", **signed, **variables)
    team = Team(f"http://{host}:{port}", process, [])
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        threading.Thread(target=lambda lines=stream: team.said.extend(lines), daemon=True).start()
    try:
        wait_for(lambda: answers(team.uri), process)
        yield team
    finally:
        if process.poll() is None:
            team.end()
        kill(process)


def answers(uri: str) -> bool:
    """Whether a server is there, and well."""
    with suppress(OSError), urlopen(f"{uri}/health", timeout=10) as page:
        return bool(page.status == 200)
    return False
