"""The store of all runs, and the studies in it: what was done, what is under way, what was left behind."""

from __future__ import annotations

import gc
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnlab.checkpoint import Checkpoints
from cnnlab.locks import locked
from cnnlab.paths import root, sqlite_file, sqlite_uri
from cnnlab.report.tables import count
from cnnlab.tracking.access import alone, raise_if_away, store_errors, tracking_uri
from cnnlab.tracking.moved import follow_move, own_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FINGERPRINT, CODE, KIND, SWEEP = "cnnlab.fingerprint", "cnnlab.code", "cnnlab.kind", "cnnlab.sweep"
LR_SOURCE = "cnnlab.lr_source"  # where a run's learning rate is from: given, tuned for this or for another, a default
MADE_IN = "cnnlab.made_in"  # the run of another study that a run is a copy of
ARM = "cnnlab.arm"  # the name of a run's arm among those of its study
FILES = "_MLFLOW_SERVER_ARTIFACT_ROOT"  # the variable that tells MLflow where a new store has its files
VIEW = "cnnlab-won"  # the key of the saved view that a link opens
HOST, PID, DIGEST = "cnnlab.host", "cnnlab.pid", "cnnlab.data.digest"  # who makes a run, of which images
NOTE = "mlflow.note.content"  # the description, of an experiment and of a run
DESCRIPTION = "cnnlab.description"  # what its maker says of a run: the beginning of its description
RECORD = "cnnlab.record"  # the token by which a run's outbox finds it again
AGAIN = "cnnlab.again"  # of a run that was to be made even if a finished one was there: it is nobody's twin
TWIN = "cnnlab.twin"  # the finished run that another home has made at the same time
OUTBOX, ASKED = ".outbox", "asked.jsonl"  # ending of an outbox's folder, and the file of what it asks for
PAGE = 200  # runs that are asked for at a time: of a thousand a busy server is not done when its answer is due
MANY = 200  # fingerprints that are asked for one by one


def state_folder() -> Path:
    """Where unfinished runs keep their checkpoints and locks."""
    folder = root() / "outputs" / "state"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_lock(fingerprint: str) -> Path:
    """The lock that whoever makes the run of this fingerprint holds."""
    return state_folder() / f"{fingerprint}.lock"


def checkpoints(fingerprint: str, code: str) -> Checkpoints:
    """Where a run of this fingerprint, made by this code, keeps where it stands."""
    return Checkpoints(state_folder() / f"{fingerprint}.npz", {"identity": fingerprint, "code": code})


@dataclass(frozen=True)
class Study:
    """The runs that belong to one question: an MLflow experiment."""

    client: MlflowClient
    experiment_id: str
    name: str

    @classmethod
    def open(cls, name: str) -> Study:
        """The study of this name, created with its store where it is new; OSError if the store cannot be opened.

        Processes that create a store together destroy each other's tables, so one at a time goes in. Runs that killed
        processes left RUNNING are closed.
        """
        uri = tracking_uri()
        is_new = raise_if_away(uri)
        with locked(state_folder() / "store.lock"), store_errors(), alone(uri) if is_new else nullcontext():
            follow_move(uri)
            if (file := sqlite_file(uri)) and not file.exists():
                create(file, lambda draft: _client(sqlite_uri(draft)).search_experiments(max_results=1))
            client = _client(uri)
            study = cls(client, _experiment(client, name, uri), name)
            study._close_killed()
        return study

    def newest(self, fingerprints: Sequence[str] | None = None) -> dict[str, Run]:
        """The run that counts for each fingerprint, or for every one there is: a finished one, else the newest.

        A query for each costs the same however many runs there are; thousands of arms are better listed.
        """
        if fingerprints is None or len(fingerprints) > MANY:
            runs = list(self.runs(f"tags.`{KIND}` = 'run'"))
        else:
            runs = [run for fingerprint in fingerprints for run in self.runs(_of(fingerprint))]
        found: dict[str, Run] = {}
        for run in runs:
            known = found.setdefault(run.data.tags[FINGERPRINT], run)
            if known.info.status != "FINISHED" and run.info.status == "FINISHED":
                found[run.data.tags[FINGERPRINT]] = run
        return {name: found[name] for name in (found if fingerprints is None else fingerprints) if name in found}

    def finished(self, fingerprint: str) -> Run | None:
        """The newest finished run of a fingerprint."""
        return next(self.runs(f"{_of(fingerprint)} and attributes.status = 'FINISHED'"), None)

    def finished_elsewhere(self, fingerprint: str, code: str) -> Run | None:
        """A finished run of a fingerprint, by the same code, in another study."""
        query = f"{_of(fingerprint)} and tags.`{CODE}` = '{code}' and attributes.status = 'FINISHED'"
        found = self.runs(query, everywhere=True)
        return next((run for run in found if run.info.experiment_id != self.experiment_id), None)

    def runs(self, query: str, everywhere: bool = False) -> Iterator[Run]:
        """All runs that MLflow's filter finds, newest first: of this study, or of all."""
        studies, token = [self.experiment_id], None
        if everywhere:
            studies = [study.experiment_id for study in self.client.search_experiments()]
        while True:
            page = self.client.search_runs(studies, query, max_results=PAGE, page_token=token)
            yield from page
            if not (token := page.token):
                return

    def describe(self, run: Run, own: Mapping[str, str]) -> bool:
        """Give a run tags that its maker wants now; whether any of them is new."""
        new = {name: text for name, text in own.items() if name != NOTE and run.data.tags.get(name) != text}
        for name in {*new, *([NOTE] if DESCRIPTION in new else [])}:
            self.client.set_tag(run.info.run_id, name, own[name])
        return bool(new)

    def remove(self, run_id: str) -> None:
        """Delete a run; where a server leaves that to who has made the study, close it and let it be of no kind."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.delete_run(run_id)
        except MlflowException as error:
            if error.error_code != "PERMISSION_DENIED":
                raise
            self.client.set_tag(run_id, KIND, "removed")
            self.client.set_terminated(run_id, "KILLED")

    def close_stale(self, fingerprint: str) -> None:
        """Close as KILLED what a dead process left RUNNING, in any study.

        The caller has the lock of the fingerprint and, where the store has leases, its lease; so none of these is alive
        but one that a home makes without a lease (see `cnnlab.tracking.leases`), and that is closed anew at its end.
        """
        for run in list(self.runs(f"{_of(fingerprint)} and attributes.status = 'RUNNING'", everywhere=True)):
            self._close(run)

    def close_twins(self, run_id: str, fingerprint: str, code: str) -> bool:
        """Close all but one of the runs that homes have made at the same time, as KILLED, with a tag.

        The one that ended first is kept. Returns whether `run_id` is among the closed. To be called before that run is
        FINISHED, when any other that is finished already counts as first, and again after it: of two homes that end
        theirs in the same moment at least one then sees both, and both keep the same one.
        """
        query = f"{_of(fingerprint)} and tags.`{CODE}` = '{code}' and attributes.status = 'FINISHED'"
        runs = [run for run in self.runs(query) if AGAIN not in run.data.tags]
        ends = {run.info.run_id: run.info.end_time for run in runs}
        made = sorted(ends, key=lambda known: (ends[known], known)) + [run_id] * (run_id not in ends)
        for twin in made[1:]:
            self.client.set_tag(twin, TWIN, made[0])
            self.client.set_terminated(twin, "KILLED", ends.get(twin))
        return run_id in made[1:]

    def _close_killed(self) -> None:
        """Close as KILLED what dead processes of this machine left RUNNING.

        A run is closed only if that is certain: the store is the project's own, whose locks are here, nobody holds the
        run's lock, and the process that made it, on this machine, is gone.
        """
        if own_store(tracking_uri()) is None:
            return
        under_way = list(self.runs(f"tags.`{KIND}` = 'run' and attributes.status = 'RUNNING'"))
        for run in [run for run in under_way if tag(run, HOST) == socket.gethostname()]:
            with suppress(BlockingIOError), locked(run_lock(run.data.tags[FINGERPRINT]), refuse):
                now = self.client.get_run(run.info.run_id)  # it may have ended meanwhile
                if now.info.status == "RUNNING" and not _has_ended(run) and not _is_alive(int(tag(run, PID))):
                    self._close(run)

    def _close(self, run: Run) -> None:
        """Mark a run as KILLED, and say what is kept of it."""
        self.client.set_terminated(run.info.run_id, "KILLED")
        kept = checkpoints(run.data.tags[FINGERPRINT], run.data.tags.get(CODE, "")).epochs()
        more = f"it goes on after {count(kept, 'whole epoch')}" if kept else "it begins anew"
        print(f"{run.info.run_name} was killed: given again, {more}", flush=True)


def own_tags(config: Mapping[str, Any]) -> dict[str, str]:
    """The tags that a run's maker asks for, with a description, which MLflow keeps as one, too."""
    tags = {name: str(text) for name, text in config["tags"].items() if text is not None}
    text = config["description"]
    return tags if text is None else tags | {DESCRIPTION: str(text), NOTE: str(text)}


def tag(run: Run, name: str) -> str:
    """A tag of a run that programs read, empty where it has none; old runs have some without `cnnlab.` before it."""
    tags = run.data.tags
    return str(tags.get(name, tags.get(name.removeprefix("cnnlab."), "")))


def _has_ended(run: Run) -> bool:
    """Whether a run's outbox, which is still to be delivered, says how it ended."""
    asked = state_folder() / f"{run.data.tags[FINGERPRINT]}.{tag(run, RECORD)}{OUTBOX}" / ASKED
    return asked.exists() and asked.read_bytes().rstrip().rpartition(b"\n")[2].startswith(b'["close"')


def refuse() -> None:
    """What not to wait for a lock means; BlockingIOError."""
    raise BlockingIOError


def _is_alive(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _of(fingerprint: str) -> str:
    return f"tags.`{FINGERPRINT}` = '{fingerprint}'"


def create(file: Path, fill: Callable[[Path], object]) -> None:
    """Make an SQLite file, all or nothing of it: one that is cut off while its tables are made never works again."""
    draft = file.with_name(f".{file.name}.draft")
    parts = draft, draft.with_name(f"{draft.name}-journal")
    with locked(file.with_name(f".{file.name}.lock")):  # the store of another home, too
        try:
            for left in parts:  # by a creator that was killed
                left.unlink(missing_ok=True)
            if not file.exists():
                fill(draft)
                draft.rename(file)
        finally:
            for left in parts:
                left.unlink(missing_ok=True)


def _experiment(client: MlflowClient, name: str, uri: str) -> str:
    """The id of the experiment of this name, which is made if there is none."""
    known = client.get_experiment_by_name(name)
    if known is None:
        place = None if uri.startswith("http") else (root() / "mlartifacts" / name).as_uri()
        try:
            return client.create_experiment(name, place)
        except Exception:
            known = client.get_experiment_by_name(name)
            if known is None:  # another home was not faster
                raise
    if known.lifecycle_stage == "deleted":
        client.restore_experiment(known.experiment_id)
    return str(known.experiment_id)


def _client(uri: str) -> MlflowClient:
    """MLflow's client. While MLflow is imported no garbage is collected, nor is any looked for in it later.

    That would take a sixth of the import, and a sixth of the time of all figures that are drawn after it.
    MLflow puts the folder of a new store's files into SQL as it is, the current one by default: the home's as a URI has
    neither quotes nor colons.
    """
    first = gc.isenabled() and "mlflow" not in sys.modules
    if first:
        gc.disable()
    try:
        from mlflow import MlflowClient

        before = os.environ.get(FILES)
        os.environ[FILES] = (root() / "mlartifacts").as_uri()
        try:
            return MlflowClient(uri)
        finally:
            os.environ.pop(FILES) if before is None else os.environ.update({FILES: before})
    finally:
        if first:
            gc.freeze()
            gc.enable()


@store_errors()
def studies() -> list[Study]:
    """Every study that has runs, by name; no store is created."""
    uri = tracking_uri()
    if (file := sqlite_file(uri)) and not file.exists():
        return []
    raise_if_away(uri)
    follow_move(uri)
    client = _client(uri)
    found = [Study(client, known.experiment_id, known.name) for known in client.search_experiments()]
    return sorted((study for study in found if next(study.runs(""), None)), key=lambda study: study.name)


def link(study: Study, port: int = 5000) -> str:
    """Where MLflow's pages compare the runs of a study, once they are served: in its saved view, if it has one."""
    view = "workflowType=machine_learning&compareRunsMode=CHART"
    with suppress(Exception):
        if view_tag(VIEW) in study.client.get_experiment(study.experiment_id).tags:
            view += f"&viewStateShareKey={VIEW}"
    return f"{_pages(port)}/#/experiments/{study.experiment_id}/runs?{view}"


def run_link(study: Study, run_id: str, port: int = 5000) -> str:
    """Where MLflow's pages show a run, once they are served."""
    return f"{_pages(port)}/#/experiments/{study.experiment_id}/runs/{run_id}?workflowType=machine_learning"


def view_tag(key: str) -> str:
    """The tag of an experiment that holds the saved view of this key."""
    return f"mlflow.sharedViewState.{key}"


def _pages(port: int) -> str:
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    there = re.sub("//.*@", "//", store).partition("?")[0].rstrip("/")  # without secrets
    return there if store.startswith("http") else f"http://127.0.0.1:{port}"
