"""What finished runs found, read back from the store for tables and reports."""

import csv
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..report import RunRecord
from ..report.tables import count
from .log import REASON
from .store import FINGERPRINT, KIND, Study

if TYPE_CHECKING:
    from mlflow.entities import Run

    from ..nn import Params, Sequential

SUMMARY = "summary"
_NETWORKS = "model/artifacts"  # where MLflow puts what ``write_model`` gives it
_SUMMARIES = f"tags.`{KIND}` = '{SUMMARY}' and attributes.status = 'FINISHED'"


def latest_runs(study: Study) -> "dict[str, Run]":
    """The run that speaks for each fingerprint: a finished one, else the newest."""
    runs: dict[str, Run] = {}
    for run in study.runs(f"tags.`{KIND}` = 'run'"):
        known = runs.setdefault(run.data.tags[FINGERPRINT], run)
        if known.info.status != "FINISHED" and run.info.status == "FINISHED":
            runs[run.data.tags[FINGERPRINT]] = run
    return runs


def record(study: Study, run: "Run", details: bool = True) -> RunRecord:
    """A run's words, last metrics and status; with ``details`` its history and test confusion matrix too."""
    history, confusion = _details(study, run) if details and run.info.status == "FINISHED" else ([], None)
    return RunRecord(
        run.info.run_id,
        dict(run.data.params),
        run.info.status,
        dict(run.data.metrics),
        history,
        confusion,
        run.data.tags.get(REASON, ""),
    )


def environments(runs: "Sequence[Run]") -> str:
    """Where and by which code runs were made: each once."""
    return " | ".join(dict.fromkeys(map(_environment, runs)))


def _environment(run: "Run") -> str:
    tags = run.data.tags
    commit = tags["git.commit"][:10] + (" with changes" if tags["git.dirty"] == "true" else "")
    threads = count(int(tags["blas.threads"]), "thread")
    return f"{tags['machine']}; Python {tags['python']}; {tags['blas']}, {threads}; commit {commit}"


def _details(study: Study, run: "Run") -> tuple[list[dict[str, float]], np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        matrix = study.client.download_artifacts(run.info.run_id, "confusion/test.json", folder)
        counts = np.array(json.loads(Path(matrix).read_text())["rows are truth"])
        if run.data.params["epochs"] == "none":  # what is fitted in one go has no history
            return [], counts
        table = study.client.download_artifacts(run.info.run_id, "history.csv", folder)
        with Path(table).open(newline="") as file:
            rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
        return [row | {"epoch": int(row["epoch"])} for row in rows], counts


def networks(study: Study, run: "Run") -> "list[tuple[Sequential, Params]]":
    """What a run trained, with its parameters: one network, or those whose outputs add up."""
    from ..checkpoint import load_network

    with tempfile.TemporaryDirectory() as folder:
        files = Path(study.client.download_artifacts(run.info.run_id, _NETWORKS, folder))
        return [load_network(file)[:2] for file in sorted(files.glob("*.npz"))]


def newest_summary(study: Study) -> "Run | None":
    """The study's last summary."""
    return next(study.runs(_SUMMARIES), None)


def summarised(study: Study, summary: "Run") -> tuple[list[str], str]:
    """The fingerprints of the arms that a summary sums up, and the command that made them."""
    with tempfile.TemporaryDirectory() as folder:
        file = study.client.download_artifacts(summary.info.run_id, "arms.json", folder)
        kept = json.loads(Path(file).read_text())
    return kept["fingerprints"], kept["command"]


def log_summary(study: Study, identity: str, folder: Path, arms: list[str], command: str) -> str:
    """A run without metrics that keeps a sweep's report, the list of arms behind it, and their command."""
    study.close_stale(identity)
    text = [line for line in (folder / "report.md").read_text().splitlines() if not line.startswith("![")]
    tags = {KIND: SUMMARY, FINGERPRINT: identity, "mlflow.note.content": "\n".join(text)[:5000]}
    run = study.client.create_run(study.experiment_id, tags=tags, run_name=f"summary of {study.name}")
    study.client.log_artifacts(run.info.run_id, str(folder), "report")
    study.client.log_dict(run.info.run_id, {"fingerprints": arms, "command": command}, "arms.json")
    study.client.set_terminated(run.info.run_id, "FINISHED")
    return run.info.run_id
