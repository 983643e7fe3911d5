"""MLflow's server as `cnnlab ui` and `cnnlab server` start it: lean, and gone with the command."""

import errno
import os
import socket
import subprocess
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cnnlab.commands import Parser, counting
from cnnlab.orphans import reaper

LOOPBACK = "127.0.0.1"


def placed(parse: Parser, words: Sequence[str]) -> Namespace:
    """What is said to a command that serves; `--host` and `--port` say where."""
    parse.add_argument("--port", type=counting, default=5000, help="default %(default)s")
    parse.add_argument("--host", default=LOOPBACK, help="whom to serve: %(default)s, this machine alone (default)")
    said = parse.parse_args(words)
    if said.port >= 2**16:
        parse.error(f"argument --port: choose a whole number from 1 to {2**16 - 1}")
    return said


def refuse_taken(command: str, host: str, port: int) -> None:
    """ValueError, in one line, where nobody can listen at this address."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = f"port {port} is in use: choose another, as in `make {command} PORT={port + 1}`"
        elif error.errno == errno.EACCES:
            why = f"port {port} is not for everybody: choose one above 1023, as in `make {command} PORT=5000`"
        else:
            why = f"--host={host} is not an address of this machine: choose one, or 0.0.0.0 for all of them"
        raise ValueError(why) from None


def serve(command: str, said: Namespace, files: Path, more: Sequence[str], settings: Mapping[str, str]) -> None:
    """Serve until interrupted; the server and its workers end with this process, however that ends."""
    server = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--artifacts-destination", str(files)]
    server += ["--host", said.host, "--port", str(said.port), *more]
    lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}  # those are MLflow's own
    with suppress(KeyboardInterrupt):
        with reaper(command):
            done = subprocess.run(server, env={**os.environ, **lean, **settings}, check=False)
        sys.exit(done.returncode)
