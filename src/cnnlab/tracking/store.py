"""The store of all runs, and the studies in it: what was done, what is under way, what was left behind."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from ..paths import root

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FINGERPRINT, KIND, SWEEP = "cnnlab.fingerprint", "cnnlab.kind", "cnnlab.sweep"


def tracking_uri() -> str:
    """Address of the store: ``MLFLOW_TRACKING_URI``, or the SQLite file at the project root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root() / 'mlflow.db'}"


@contextmanager
def store_errors() -> Iterator[None]:
    """Whatever the store answers instead of working becomes an OSError of one line.

    Told by where an error comes from: naming its class would import MLflow where nothing goes wrong.
    """
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("mlflow", "sqlalchemy"):
            raise
        raise OSError(f"the MLflow store {tracking_uri()} does not work: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """What an error says, without the SQL statement that it came from."""
    return " ".join(str(error).split("[SQL")[0].split())[:300]


def state_folder() -> Path:
    """Where unfinished runs keep their checkpoints and locks."""
    folder = root() / "outputs" / "state"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class Study:
    """The runs that belong to one question: an MLflow experiment."""

    client: "MlflowClient"
    experiment_id: str
    name: str

    @classmethod
    def open(cls, name: str) -> "Study":
        """The study of this name, created with its store where it is new; OSError where there is no way in.

        Processes that create a store together destroy each other's tables, so one at a time goes in.
        """
        uri = tracking_uri()
        with FileLock(state_folder() / "store.lock"), store_errors():
            client = _client(uri)
            known = client.get_experiment_by_name(name)
            if known and known.lifecycle_stage == "deleted":
                client.restore_experiment(known.experiment_id)
            place = None if uri.startswith("http") else (root() / "mlartifacts" / name).as_uri()
            identity = known.experiment_id if known else client.create_experiment(name, place)
        return cls(client, identity, name)

    def finished(self, fingerprint: str = "") -> "dict[str, Run]":
        """The newest finished run of each fingerprint, or of this one."""
        query = "attributes.status = 'FINISHED'" + f" and tags.`{FINGERPRINT}` = '{fingerprint}'" * bool(fingerprint)
        newest_last = reversed(list(self.runs(query)))
        return {run.data.tags.get(FINGERPRINT, ""): run for run in newest_last}

    def runs(self, query: str) -> "Iterator[Run]":
        """All runs that MLflow's filter finds, newest first."""
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], query, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def close_stale(self, fingerprint: str) -> None:
        """Close as KILLED what a dead process left RUNNING: the caller has the run's lock, so none is alive."""
        stale = self.runs(f"tags.`{FINGERPRINT}` = '{fingerprint}' and attributes.status = 'RUNNING'")
        for run in list(stale):
            self.client.set_terminated(run.info.run_id, "KILLED")


def _client(uri: str) -> "MlflowClient":
    """MLflow's client. No garbage is collected meanwhile: the search for some takes a sixth of the import."""
    collects = gc.isenabled()
    gc.disable()
    try:
        from mlflow import MlflowClient

        return MlflowClient(uri)
    finally:
        if collects:
            gc.enable()


@store_errors()
def studies() -> list[Study]:
    """Every study that has runs, by name; no store is created."""
    uri = tracking_uri()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return []
    client = _client(uri)
    found = [Study(client, known.experiment_id, known.name) for known in client.search_experiments()]
    return sorted((study for study in found if next(study.runs(""), None)), key=lambda study: study.name)


def link(study: Study, port: int = 5000) -> str:
    """Where MLflow's pages compare the runs of a study in charts, once they are served."""
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    server = store.rstrip("/") if store.startswith("http") else f"http://127.0.0.1:{port}"
    view = "workflowType=machine_learning&compareRunsMode=CHART"
    return f"{server}/#/experiments/{study.experiment_id}/runs?{view}"
