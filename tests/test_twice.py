"""Ctrl-C, or SIGTERM, that is not said once only: a command still ends with its one line, and with no traceback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from tests.conftest import ROOT, SMALL, Home, end, is_one_line, listen

BRIEF = ("model=mlp", "model.hidden=[8]", *SMALL, "epochs=1")
LONG = ("epochs=500", "data.train=900")
PROGRAM = """
import atexit, importlib, sys, time
from cnnlab import commands

name, rest = sys.argv[1], int(sys.argv.pop())
command = importlib.import_module(f"cnnlab.commands.{name}")
main = command.main

def begin(words):
    print("it begins", flush=True)
    main(words)
    time.sleep(60 if rest else 0)

def linger():
    print("it ends", flush=True)
    time.sleep(60)

command.main = begin
atexit.register(linger)
commands.main()
"""  # a command that takes long to end, and if it is to rest, to come to its end, too
COMMANDS = {
    "train": LONG,
    "sweep": ("smoke", *LONG),
    "report": ("runs",),
    "predict": (str(ROOT / "tests/digits/font_4.png"),),
    "data": ("mnist",),
}


@pytest.fixture
def start(home: Home) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start(command, rest)`: a command that takes long to end, after its first line."""
    nobody = socket.create_server(("127.0.0.1", 0))  # what asks for a file waits for its answer

    def start(command: str, rest: bool) -> subprocess.Popen[str]:
        if command in ("report", "predict"):  # they need a run
            assert home.train(*BRIEF).code == 0
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "CNNLAB"))}
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        places = home.places | {"CNNLAB_DATA": str(home.folder / "data")} if command == "data" else home.places
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, command, *COMMANDS[command], str(int(rest))],
            env=kept | places | {"OPENBLAS_NUM_THREADS": "1", "HTTPS_PROXY": address, "HTTP_PROXY": address},
            cwd=home.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=listen,
        )
        hear(process, "it begins")
        return process

    yield start
    nobody.close()


def hear(process: subprocess.Popen[str], line: str) -> None:
    """Wait for a line."""
    assert process.stdout is not None
    assert any(said.strip() == line for said in process.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", COMMANDS)
def test_when_its_line_is_said_a_command_ends_at_once(
    command: str, number: signal.Signals, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start(command, True)
    time.sleep(1)
    process.send_signal(number)
    hear(process, "it ends")
    began = time.monotonic()
    process.send_signal(number)
    said = end(process)
    assert time.monotonic() - began < 30 and said.code == -number
    assert is_one_line(said.err) and said.err.startswith("interrupted: "), said.err


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 0.3, 3])
@pytest.mark.parametrize("command", COMMANDS)
def test_whoever_is_impatient_sees_no_traceback(
    command: str, after: float, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """All processes of the command are told to end, as a terminal does, ten times a second."""
    process = start(command, True)
    time.sleep(after)
    while process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.1)
    said = end(process)
    assert said.code != 0 and is_one_line(said.err) and said.err.startswith("interrupted: "), said.err


@pytest.mark.slow
def test_what_has_come_to_its_end_is_ended_in_silence(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("report", False)
    hear(process, "it ends")
    process.send_signal(signal.SIGINT)
    said = end(process)
    assert (said.code, said.err) == (-signal.SIGINT, "")


DROPPED = """
import signal, sys, time, weakref
from cnnlab import signals

class Thing:
    pass

def callback(_):
    signal.raise_signal(signal.SIGTERM)

signals.heed()
thing = Thing()
reference = weakref.ref(thing, callback)
try:
    del thing
    time.sleep(5)
    sys.exit("it was dropped")
except KeyboardInterrupt:
    print("heard")
"""


def test_what_a_callback_would_drop_is_heard() -> None:
    said = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "heard\n", "")
