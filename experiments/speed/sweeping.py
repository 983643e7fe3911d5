"""The default sweep as a whole command in a fresh folder: `cnnlab sweep`, and the same in PyTorch with MLflow."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from cases import ARMS, Case, Work

FOLDER = Path(__file__).parent
REHEARSED = 2  # arms of a rehearsal: those with ReLU, cross-entropy and max pooling


def ours(case: Case) -> Work:
    """The sweep by cnnlab; its mean validation accuracy."""
    command = ("-m", "cnnlab", "sweep", case.network, "--jobs", "2")
    # 600 images less 500 of validation; the peer counts those that it trains on.
    few = ("activation=relu", "loss=cross_entropy", "pooling=max", "epochs=1", "data.train=600")
    return _work(command, few)


def peer(case: Case) -> Work:
    """The sweep in plain PyTorch."""
    return _work((str(FOLDER / "peer_sweep.py"),), ("--last", str(REHEARSED), "--epochs", "1", "--images", "100"))


def _work(command: Sequence[str], few: Sequence[str]) -> Work:
    return Work(lambda: swept(command, ARMS), rehearse=lambda: swept((*command, *few), REHEARSED))


def swept(command: Sequence[str], arms: int) -> float:
    """Run the command of Python in a fresh folder; the mean validation accuracy of the arms in the store there.

    ValueError where the command fails or does not finish so many arms.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as home:
        process = subprocess.Popen(
            [sys.executable, str(FOLDER / "whole.py"), sys.executable, *command],
            cwd=home,
            env=environment | {"CNNLAB_HOME": home, "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate()
        except BaseException:  # Ctrl-C
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if process.returncode:
            last = [line for line in said.splitlines() if line.strip()][-1:] or ["no reason given"]
            raise ValueError(f"the sweep exits with {process.returncode}: {last[0]}")
        return _mean_accuracy(Path(home) / "mlflow.db", arms)


def _mean_accuracy(store: Path, arms: int) -> float:
    """Over the finished runs that have a last epoch; read without MLflow, which would take longer than some arms."""
    query = """select avg(value), count(*) from latest_metrics join runs using (run_uuid)
        where key = 'val/accuracy' and status = 'FINISHED'"""
    with closing(sqlite3.connect(store)) as connection:
        mean, count = connection.execute(query).fetchone()
    if count != arms:
        raise ValueError(f"the sweep has finished {count} arms of {arms}")
    return float(mean)
