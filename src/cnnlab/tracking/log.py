"""The record of one run while it is made: metrics once an epoch, files when they are ready."""

import json
import math
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..paths import root
from .store import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIVERGED, REASON = "diverged", "cnnlab.reason"  # tags of a failed run


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block: a write cut in the middle would leave the store locked."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever interrupted
        return
    waiting: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting:
        raise KeyboardInterrupt


class RunLog:
    """A RUNNING record in a study; ``close`` says how it ended.

    Files are collected in a folder of their own and uploaded together by ``upload``.
    """

    @uninterrupted()
    def __init__(self, study: Study, name: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        self._client = study.client
        source = {"mlflow.source.name": "experiments/train.py", "mlflow.source.type": "LOCAL"}
        self.run_id = self._client.create_run(
            study.experiment_id, tags=source | _circumstances() | dict(tags), run_name=name
        ).info.run_id
        self._client.log_batch(self.run_id, params=[Param(key, value) for key, value in params.items()])
        self._folder = tempfile.TemporaryDirectory(prefix="cnnlab-")

    @uninterrupted()
    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Numbers at a step (epoch), in one write; what is not finite cannot be drawn and is left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        finite = {key: value for key, value in values.items() if math.isfinite(value)}
        self._client.log_batch(self.run_id, [Metric(key, value, now, step) for key, value in finite.items()])

    def epoch(self, record: Mapping[str, float]) -> None:
        """One epoch's record."""
        self.metrics({key: value for key, value in record.items() if key != "epoch"}, int(record["epoch"]))

    @uninterrupted()
    def tag(self, name: str, value: str) -> None:
        """A word that describes the run."""
        self._client.set_tag(self.run_id, name, value)

    @uninterrupted()
    def dataset(self, name: str, digest: str, context: str) -> None:
        """Which data went in, as the run's page shows it."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entity = Dataset(name, digest[:36], "cnnlab", json.dumps({"name": name, "sha256": digest}))
        tags = [InputTag("mlflow.data.context", context)]
        self._client.log_inputs(self.run_id, [DatasetInput(entity, tags)])

    def path(self, name: str) -> Path:
        """Where to write an artifact of this name."""
        path = Path(self._folder.name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def text(self, name: str, content: str) -> None:
        """A text artifact."""
        self.path(name).write_text(content, encoding="utf-8")

    def json(self, name: str, content: Any) -> None:
        """A JSON artifact."""
        self.text(name, json.dumps(content, indent=1))

    def figure(self, name: str, figure: "Figure") -> None:
        """A picture."""
        figure.savefig(self.path(name), dpi=110)

    @uninterrupted()
    def upload(self) -> None:
        """Send the files collected so far."""
        self._client.log_artifacts(self.run_id, self._folder.name)

    @uninterrupted()
    def close(self, status: str) -> None:
        """The end: FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self.run_id, status)
        self._folder.cleanup()


def _circumstances() -> dict[str, str]:
    """Where, by which code and on what a run is made."""
    from threadpoolctl import threadpool_info

    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    commit = git("rev-parse", "HEAD").strip()
    return {
        "git.commit": commit or "none",
        "git.dirty": str(bool(git("status", "--porcelain"))).lower() if commit else "unknown",
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "python": platform.python_version(),
        "blas": ", ".join(sorted({f"{p['internal_api']} {p['version']}" for p in blas})) or "unknown",
        "blas.threads": str(max((pool["num_threads"] for pool in blas), default=0)),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def packages() -> str:
    """Every installed package and its version, a line each."""
    lines = {f"{dist.metadata['Name']}=={dist.version}" for dist in distributions()}
    return "\n".join([f"python=={sys.version.split()[0]}", *sorted(lines, key=str.lower)]) + "\n"


def changes() -> str:
    """How the code differs from its commit: git's diff, and the text of files that git does not know."""
    unknown = git("ls-files", "--others", "--exclude-standard", "--", "src", "conf", "experiments").splitlines()
    files = [name for name in unknown if (root() / name).is_file()]
    texts = [f"\n+++ not in git: {name}\n{(root() / name).read_text(errors='replace')}" for name in files]
    return git("diff", "HEAD") + "".join(texts)


def git(*arguments: str) -> str:
    """What git says of the project's own folder; empty where it is no checkout."""
    if not (root() / ".git").exists():
        return ""
    done = subprocess.run(["git", "-C", str(root()), *arguments], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""
