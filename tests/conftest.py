"""Project homes for tests that make runs, and what reads their records back.

Creating an MLflow store takes seconds, so one empty store is made for the whole session and copied; what
several tests look at (a finished run, a finished sweep) is made once, whichever worker comes first.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from cnnlab.data import Dataset, mnist5k
from cnnlab.locks import locked

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from omegaconf import DictConfig

    from cnnlab.composing import Plan

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
SMALL = ("data.train=300", "data.validation=100")
LIMIT = 300  # seconds after which a command hangs: many times what it takes on an idle machine
HEAVY = {"cv2", "matplotlib", "mlflow", "mlxtend", "pandas", "pooch", "requests", "scipy", "sklearn"}


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
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def temporary(self) -> Path:
        """Where commands put their temporary files."""
        return self.folder.with_name(f"{self.folder.name}.tmp")

    @property
    def places(self) -> dict[str, str]:
        """The variables by which cnnlab finds this home."""
        return {"CNNLAB_HOME": str(self.folder), "CNNLAB_DATA": str(self.data)}

    def start(self, *words: str, command: str = "train", **variables: str) -> "subprocess.Popen[str]":
        """A command of cnnlab with these words, in a process group of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "CNNLAB"))}
        self.temporary.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "cnnlab", command, *words],
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

    def client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        import cnnlab.tracking  # noqa: F401 - silences MLflow before it is imported

        return MlflowClient(self.uri)

    def runs(self, study: str = "runs", kind: str = "run") -> "list[Run]":
        """The records of a study, oldest first."""
        client = self.client()
        experiment = client.get_experiment_by_name(study)
        if experiment is None:
            return []
        query = f"tags.`cnnlab.kind` = '{kind}'"
        return list(reversed(client.search_runs([experiment.experiment_id], query, max_results=1000)))

    def run(self, study: str = "runs", kind: str = "run") -> "Run":
        """The one record of a study."""
        (run,) = self.runs(study, kind)
        return run

    def curves(self, run: "Run") -> dict[str, dict[int, float]]:
        """Every metric of a run: value by step."""
        histories = {key: self.client().get_metric_history(run.info.run_id, key) for key in run.data.metrics}
        return {key: {point.step: point.value for point in points} for key, points in histories.items()}

    def artifacts(self, run: "Run") -> dict[str, Path]:
        """Every file that a run kept, by name."""
        folder = Path(self.client().download_artifacts(run.info.run_id, ""))
        return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}

    def model(self, run: "Run") -> Any:
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
        return list((self.folder / "outputs/state").glob("*.npz"))

    def leftovers(self) -> list[Path]:
        """What no command that has ended should leave: checkpoints, locks, drafts, temporary files."""
        kept = [path for path in (self.folder / "outputs").rglob("*") if path.is_file()]
        return [*kept, *self.temporary.glob("*")]


def listen() -> None:
    """Hear Ctrl-C and a closed terminal again, where a background shell has taught its children not to."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def end(process: "subprocess.Popen[str]") -> Said:
    """Wait for a command."""
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    return Said(process.returncode, out, err)


def kill(process: "subprocess.Popen[str]") -> None:
    """SIGKILL of a command and of all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for(what: Callable[[], Any], process: "subprocess.Popen[str]") -> Any:
    """What is looked for while a command runs, once it is there; the command must not end before."""
    limit = time.monotonic() + LIMIT
    while time.monotonic() < limit:
        if found := what():
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.003)
    kill(process)
    raise TimeoutError("what was waited for did not come")


def untimed(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its clocks."""
    return {key: value for key, value in record.items() if not key.startswith("time/")}


def composed(*words: str) -> "DictConfig":
    """The config of a command line."""
    from cnnlab.composing import composed

    return composed(words)


def plan_of(*words: str) -> "Plan":
    """The plan of a command line."""
    from cnnlab.composing import plan

    cfg = composed(*words)
    return plan(cfg, cfg.hydra)


def arms_of(sweep: str, *words: str) -> "list[Plan]":
    """The plans of a sweep's file."""
    from cnnlab.composing import sweep_of

    return sweep_of(sweep, words).plans


def is_one_line(message: str) -> bool:
    return bool(message.strip()) and "\n" not in message.strip() and "Traceback" not in message


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Two workers that share two cores must not each take both; and results hang on the number of threads."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this session see."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def once(shared: Path) -> Callable[[str, Callable[[], Any]], Any]:
    """`once(name, make)`: what `make` returns (plain data), made by the first worker that asks."""

    def once(name: str, make: Callable[[], Any]) -> Any:
        kept = shared / f"{name}.json"
        with locked(shared / f"{name}.lock"):
            if not kept.exists():
                kept.write_text(json.dumps(make()))
        return json.loads(kept.read_text())

    return once


@pytest.fixture(scope="session")
def data_folder(shared: Path) -> Path:
    return shared / "data"


@pytest.fixture(scope="session")
def digits(data_folder: Path) -> Dataset:
    """200 digits that train, 100 that validate, 1,000 that test."""
    return mnist5k(train=300, validation=100, folder=data_folder)


@pytest.fixture(scope="session")
def new_home(shared: Path, data_folder: Path, once: Callable[..., Any]) -> Callable[..., Home]:
    """`new_home(folder, fresh=False)`: a home that has the configs and, unless fresh, an empty store."""
    template = Home(shared / "template", data_folder)

    def make_store() -> None:
        template.folder.mkdir()
        template.client().search_experiments()

    def new_home(folder: Path, fresh: bool = False) -> Home:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "conf").symlink_to(CONF)
        if not fresh:
            once("template", make_store)
            shutil.copy(template.folder / "mlflow.db", folder)
        return Home(folder, data_folder)

    return new_home


@pytest.fixture
def home(new_home: Callable[..., Home], tmp_path: Path) -> Home:
    """A home without runs."""
    return new_home(tmp_path / "home")


@pytest.fixture
def fresh_home(new_home: Callable[..., Home], tmp_path: Path) -> Home:
    """A home without a store."""
    return new_home(tmp_path / "fresh", fresh=True)


@pytest.fixture
def inside(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home that this very process is in."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, value in home.places.items():
        monkeypatch.setenv(name, value)
    return home


def theta_of(path: Path) -> np.ndarray:
    """The packed parameters in a network's or checkpoint's file."""
    with np.load(path, allow_pickle=False) as archive:
        return archive["theta"]
