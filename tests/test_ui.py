"""`cnnlab ui`: MLflow's real server, which ends with the command, however that ends."""

from __future__ import annotations

import signal
import socket
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from tests.conftest import Home, kill, wait_for


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_the_server_ends_with_the_command(number: signal.Signals, home: Home) -> None:
    client = home.client()
    client.create_run(client.create_experiment("served"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = home.start("--port", str(port), command="ui")
    try:
        wait_for(lambda: answers(port), command)
        served = started_in(home.folder)
        assert len(served) >= 3  # itself, its guardian, the server with its workers
        command.send_signal(number)
        command.wait(timeout=60)
        _, left = psutil.wait_procs(served, timeout=60)
        assert left == [] and started_in(home.folder) == []
        assert not answers(port)
        assert home.leftovers() == []
    finally:
        kill(command)


def answers(port: int) -> bool:
    """Whether MLflow's pages are served there."""
    with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as page:
        return page.status == 200
    return False


def started_in(folder: Path) -> list[psutil.Process]:
    """All processes of the home in this folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("CNNLAB_HOME") == str(folder):
                found.append(process)
    return found
