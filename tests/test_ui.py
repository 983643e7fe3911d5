"""`cnnlab ui`: MLflow's real server, which ends with the command, however that ends."""

from __future__ import annotations

import signal
import socket
from contextlib import suppress
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
        served = home.processes()
        assert len(served) >= 3  # itself, its guardian, the server with its workers
        command.send_signal(number)
        command.wait(timeout=60)
        _, left = psutil.wait_procs(served, timeout=60)
        assert left == [] and home.processes() == []
        assert not answers(port)
        assert home.leftovers() == []
    finally:
        kill(command)


def answers(port: int) -> bool:
    """Whether MLflow's pages are served there."""
    with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as page:
        return page.status == 200
    return False
