"""Project homes in which real commands run, for whoever watches them: the tests, and `soak.py`, which kills them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LIMIT = 300  # seconds after which a command hangs: many times what it takes on an idle machine


@dataclass(frozen=True)
class Said:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Home:
    """A project home: the commands that are run in it, and the records that they leave."""

    folder: Path
    data: Path

    @property
    def uri(self) -> str:
        """The address of its store."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def temporary(self) -> Path:
        """Where commands put their temporary files."""
        return self.folder.with_name(f"{self.folder.name}.tmp")

    @property
    def places(self) -> dict[str, str]:
        """The variables by which cnnlab finds this home."""
        return {"CNNLAB_HOME": str(self.folder), "CNNLAB_DATA": str(self.data)}

    def start(
        self, *words: str, command: str = "train", before: Sequence[str] = (), **variables: str
    ) -> subprocess.Popen[str]:
        """A command of cnnlab with these words, in a process group of its own; `before` it may stand what starts it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "CNNLAB"))}
        self.temporary.mkdir(exist_ok=True)
        return subprocess.Popen(
            [*before, sys.executable, "-m", "cnnlab", command, *words],
            env=kept | self.places | {"OPENBLAS_NUM_THREADS": "1", "TMPDIR": str(self.temporary)} | variables,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",  # a terminal of another encoding
            start_new_session=True,
            preexec_fn=listen,
        )

    def train(self, *words: str, **variables: str) -> Said:
        """`cnnlab train` with these words, from start to end."""
        return end(self.start(*words, **variables))

    def command(self, command: str, *words: str, **variables: str) -> Said:
        """Another command with these words, from start to end."""
        return end(self.start(*words, command=command, **variables))

    def processes(self) -> list[psutil.Process]:
        """All processes that live and belong to this home, however they were started."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("CNNLAB_HOME") == str(self.folder):
                    found.append(process)
        return found

    def client(self) -> MlflowClient:
        """The store, as MLflow gives it."""
        from mlflow import MlflowClient

        import cnnlab.tracking  # noqa: F401 - silences MLflow before it is imported

        return MlflowClient(self.uri)

    def runs(self, study: str = "runs", kind: str = "run") -> list[Run]:
        """The records of a study, oldest first."""
        client = self.client()
        experiment = client.get_experiment_by_name(study)
        if experiment is None:
            return []
        query = f"tags.`cnnlab.kind` = '{kind}'"
        return list(reversed(client.search_runs([experiment.experiment_id], query, max_results=1000)))

    def run(self, study: str = "runs", kind: str = "run") -> Run:
        """The one record of a study."""
        (run,) = self.runs(study, kind)
        return run

    def curves(self, run: Run) -> dict[str, dict[int, float]]:
        """Every metric of a run: value by step."""
        histories = {key: self.client().get_metric_history(run.info.run_id, key) for key in run.data.metrics}
        return {key: {point.step: point.value for point in points} for key, points in histories.items()}

    def artifacts(self, run: Run) -> dict[str, Path]:
        """Every file that a run kept, by name."""
        folder = Path(self.client().download_artifacts(run.info.run_id, ""))
        return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}

    def model(self, run: Run) -> Any:
        """The model that a run kept, as MLflow loads it."""
        import mlflow

        before, variable = mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(self.uri)
        try:
            return mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
        finally:
            mlflow.set_tracking_uri(before)
            if variable is None:  # MLflow sets it, and commands would go to that store
                os.environ.pop("MLFLOW_TRACKING_URI", None)

    def checkpoints(self) -> list[Path]:
        """Where runs that have not come to their end stand."""
        return list((self.folder / "outputs/state").glob("*.npz"))

    def leftovers(self) -> list[Path]:
        """What no command that has ended should leave: checkpoints, locks, drafts, temporary files."""
        kept = [path for path in (self.folder / "outputs").rglob("*") if path.is_file()]
        return [*kept, *self.temporary.glob("*")]


def listen() -> None:
    """Hear Ctrl-C and a closed terminal again, where a background shell has taught its children not to."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def end(process: subprocess.Popen[str]) -> Said:
    """Wait for a command."""
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    return Said(process.returncode, out, err)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL of a command and of all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for(what: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """What is looked for while a command runs, once it is there; the command must not end before."""
    limit = time.monotonic() + LIMIT
    while time.monotonic() < limit:
        if found := what():
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.003)
    kill(process)
    raise TimeoutError("what was waited for did not come")


def epochs_done(checkpoint: Path) -> int:
    """How many whole epochs a checkpoint has."""
    with np.load(checkpoint, allow_pickle=False) as archive:
        return len(json.loads(archive["header"].item())["header"]["history"])


def theta_of(path: Path) -> np.ndarray:
    """The packed parameters in a network's or checkpoint's file."""
    with np.load(path, allow_pickle=False) as archive:
        return archive["theta"]
