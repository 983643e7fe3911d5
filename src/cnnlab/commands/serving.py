"""MLflow's server as `cnnlab ui` and `cnnlab server` start it: lean, and gone with the command."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cnnlab.commands import Parser, counting
from cnnlab.orphans import reaper
from cnnlab.paths import typed

LOOPBACK = "127.0.0.1"


def placed(parse: Parser, words: Sequence[str]) -> Namespace:
    """What is said to a command that serves; `--host` and `--port` say where."""
    parse.add_argument("--port", type=counting, default=5000, help="default %(default)s")
    parse.add_argument("--host", default=LOOPBACK, help="whom to serve: %(default)s, this machine alone (default)")
    parse.add_argument("--allowed-hosts", default="", metavar="NAMES", help="further names of this server: a.org,b.org")
    said = parse.parse_args(words)
    if said.port >= 2**16:
        parse.error(f"argument --port: choose a whole number from 1 to {2**16 - 1}")
    said.allowed_hosts = [name for name in said.allowed_hosts.split(",") if name]
    if wrong := [name for name in said.allowed_hosts if not re.fullmatch(r"[\w.-]+(:\d+)?|\[[\da-f:]+\](:\d+)?", name)]:
        parse.error(f"argument --allowed-hosts: {wrong[0]}: choose names or addresses, with commas between them")
    return said


def refuse_taken(command: str, host: str, port: int) -> None:
    """ValueError, in one line, where nobody can listen at this address."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except (OSError, UnicodeError) as error:  # what is no name at all cannot be encoded as one
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            why = f"port {port} is in use: choose another, as in {_elsewhere(command, port + 1)}"
        elif number == errno.EACCES:
            why = f"port {port} is not for everybody: choose one above 1023, as in {_elsewhere(command, 5000)}"
        else:
            why = f"--host={host} is not an address of this machine: choose one, or 0.0.0.0 for all of them"
        raise ValueError(why) from None


def _elsewhere(command: str, port: int) -> str:
    return typed(f"{command} PORT={port}", f"cnnlab {command} --port={port}")


def serve(command: str, said: Namespace, files: Path, more: Sequence[str], settings: Mapping[str, str]) -> None:
    """Serve until interrupted; the server and its workers end with this process, however that ends.

    They hear no Ctrl-C, to which one that is still starting would answer with a traceback: they are told to end.
    """
    server = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--artifacts-destination", str(files)]
    server += ["--host", said.host, "--port", str(said.port), *_names(said.host, said.port, said.allowed_hosts), *more]
    lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}  # those are MLflow's own
    with suppress(KeyboardInterrupt):
        with reaper(command):
            process = subprocess.Popen(server, env={**os.environ, **lean, **settings}, start_new_session=True)
            try:
                code = process.wait()
            except KeyboardInterrupt:
                os.killpg(process.pid, signal.SIGTERM)
                raise
        sys.exit(code)


def _names(host: str, port: int, more: Sequence[str]) -> list[str]:
    """MLflow's options for the names by which programs and browsers may ask for this server.

    It answers to no other, so that a page of another site cannot speak to it in the name of who reads that page. By
    itself MLflow would answer to all that begin like a private address, as 10.example.org does.
    """
    own = [host, "localhost", LOOPBACK, socket.gethostname()]
    if host in ("0.0.0.0", "::"):
        own += _addresses()
    names = dict.fromkeys([*map(in_url, own), *more])
    tunnels = ["localhost:*", f"{LOOPBACK}:*"]  # of ssh, which begin at a port of their own
    hosts = [*(f"{name}{end}" for name in names for end in ("", f":{port}")), *tunnels]
    origins = [*(f"https://{name}" for name in names), *(f"http://{name}:{port}" for name in names)]
    return ["--allowed-hosts", ",".join(hosts), "--cors-allowed-origins", ",".join(origins)]


def _addresses() -> list[str]:
    """The addresses of this machine."""
    import psutil

    families = socket.AF_INET, socket.AF_INET6
    every = [place for places in psutil.net_if_addrs().values() for place in places if place.family in families]
    return [place.address for place in every if "%" not in place.address]


def in_url(host: str) -> str:
    """A host as an address of a page has it."""
    return f"[{host}]" if ":" in host else host
