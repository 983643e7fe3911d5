"""Whole commands in a fresh folder: the default sweep by cnnlab and in PyTorch with MLflow, and a run on MNIST."""

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
from cnnlab.paths import data_folder

FOLDER = Path(__file__).parent
CNNLAB = ("-m", "cnnlab")
REHEARSED = 2  # arms of a rehearsal: those with ReLU, cross-entropy and max pooling
ACCURACY, TRAINING = "val/accuracy", "time/total_s"  # metrics of a run


def sweep(case: Case) -> Work:
    """The sweep by cnnlab; the mean validation accuracy of its arms."""
    command = (*CNNLAB, "sweep", case.network, "--jobs", "2", "seed=0")
    # 600 images less 500 of validation; the peer counts those that it trains on.
    few = ("activation=relu", "loss=cross_entropy", "pooling=max", "epochs=1", "data.train=600")
    return _sweep(command, few)


def peer_sweep(case: Case) -> Work:
    """The sweep in plain PyTorch."""
    return _sweep((str(FOLDER / "peer_sweep.py"),), ("--last", str(REHEARSED), "--epochs", "1", "--images", "100"))


def run(case: Case) -> Work:
    """A run by cnnlab on the full MNIST; the seconds of its training."""
    command = (*CNNLAB, "train", f"experiment={case.network}", f"batch_size={case.batch}", "epochs=5")
    few = ("epochs=1", "data.train=6000")
    return Work(lambda: mean(command, TRAINING, 1), rehearse=lambda: mean((*command[:-1], *few), TRAINING, 1))


def _sweep(command: Sequence[str], few: Sequence[str]) -> Work:
    return Work(
        lambda: mean(command, ACCURACY, ARMS),
        rehearse=lambda: mean((*command, *few), ACCURACY, REHEARSED),
    )


def mean(command: Sequence[str], metric: str, runs: int) -> float:
    """Run the command of Python in a fresh folder; the mean of the last value of a metric over the runs in the store.

    ValueError where the command fails or does not finish so many runs.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    data = str(data_folder().absolute())
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as home:
        process = subprocess.Popen(
            [sys.executable, str(FOLDER / "whole.py"), sys.executable, *command],
            cwd=home,
            env=environment | {"CNNLAB_HOME": home, "CNNLAB_DATA": data, "MLFLOW_DISABLE_TELEMETRY": "true"},
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
            raise ValueError(f"the command exits with {process.returncode}: {last[0]}")
        return _mean(Path(home) / "mlflow.db", metric, runs)


def _mean(store: Path, metric: str, runs: int) -> float:
    """Over the finished runs that have the metric; read without MLflow, which would take longer than some arms."""
    query = """select avg(value), count(*) from latest_metrics join runs using (run_uuid)
        where key = ? and status = 'FINISHED'"""
    with closing(sqlite3.connect(store)) as connection:
        found, count = connection.execute(query, (metric,)).fetchone()
    if count != runs:
        raise ValueError(f"the command has finished {count} runs of {runs}")
    return float(found)
