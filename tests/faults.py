"""Real stores, that fail as they are told: an MLflow server behind a proxy, PostgreSQL, an SQLite file."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.conftest import LIMIT, kill

POSTGRES = Path("/usr/lib/postgresql/15/bin")  # Debian's

HOPS = {"connection", "transfer-encoding", "content-length", "keep-alive"}  # headers that are the proxy's own


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The port of `mlflow server` over the store `mlflow.db` in this folder."""
    port = free_port()
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/files"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *store],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    threading.Thread(target=process.stdout.read, daemon=True).start()  # type: ignore[union-attr]
    try:
        limit = time.monotonic() + LIMIT
        while True:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                break
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.2)
        yield port
    finally:
        kill(process)


class Proxy:
    """What stands before a server; its `mode` is how requests fare.

    "pass"; "refuse": nobody listens; "cut": the server does what it is asked, but its answer is lost; "500"; "slow":
    an answer takes two seconds; "hang": there never is one.
    """

    def __init__(self, behind: int) -> None:
        self.behind, self.port, self.asked = behind, free_port(), 0
        self._mode, self._server = "refuse", None
        self.set("pass")

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def mode(self) -> str:
        return self._mode

    def set(self, mode: str) -> None:
        """Fare so from now on."""
        self._mode = mode
        if mode == "refuse" and self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if mode != "refuse" and not self._server:
            self._server = _Server(("127.0.0.1", self.port), _Handler)
            self._server.proxy = self
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close, allow_reuse_address = True, False, True
    proxy: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *words: object) -> None:
        pass

    def answer(self) -> None:
        proxy = self.server.proxy
        proxy.asked += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        while proxy.mode == "hang":
            time.sleep(0.1)
            self.close_connection = True
        if proxy.mode == "slow":
            time.sleep(2)
        if proxy.mode in ("refuse", "500"):
            if proxy.mode == "500":
                self.reply(500, {}, b"out of order")
            self.close_connection = True
            return
        there = http.client.HTTPConnection("127.0.0.1", proxy.behind, timeout=60)
        headers = {name: text for name, text in self.headers.items() if name.lower() not in HOPS}
        there.request(self.command, self.path, body, headers)
        said = there.getresponse()
        content = said.read()
        there.close()
        if proxy.mode == "cut":
            self.close_connection = True
        else:
            self.reply(said.status, dict(said.getheaders()), content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def reply(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, text in headers.items():
            if name.lower() not in HOPS:
                self.send_header(name, text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def locked_file(file: Path) -> Iterator[None]:
    """An SQLite file that nobody else can read or write."""
    with sqlite3.connect(file, isolation_level=None, timeout=60) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    connection.close()


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a database without tables, of a PostgreSQL of its own; where there is none the test is skipped."""
    drivers = {"psycopg": "postgresql", "psycopg2": "postgresql+psycopg2"}
    driver = next((scheme for module, scheme in drivers.items() if find_spec(module)), None)
    if not driver or not POSTGRES.is_dir():
        pytest.skip("needs Debian's postgresql-15 and psycopg")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="cnnlab-postgres-") as folder:
        if user := "postgres" if os.geteuid() == 0 else None:  # it refuses to be root
            shutil.chown(folder, user)

        def run(program: str, *words: str) -> None:
            command = [POSTGRES / program, "-D", f"{folder}/data", *words]
            subprocess.run(command, check=True, cwd=folder, user=user, stdout=subprocess.DEVNULL)

        run("initdb", "-U", "cnnlab", "-A", "trust", "--no-sync")
        run("pg_ctl", "-w", "-l", f"{folder}/log", "-o", f"-p {port} -k {folder} -h 127.0.0.1 -F", "start")
        try:
            yield f"{driver}://cnnlab@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
