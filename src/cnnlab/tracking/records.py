"""What finished runs found, read back from the store for tables and reports."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from cnnlab import code
from cnnlab.config import targets
from cnnlab.report.arms import RunRecord
from cnnlab.report.tables import count
from cnnlab.tracking.log import REASON
from cnnlab.tracking.store import CODE, FINGERPRINT, KIND, Study

if TYPE_CHECKING:
    from mlflow.entities import Run

    from cnnlab.nn import Array, Params, Sequential

SUMMARY = "summary"
_NETWORKS = "model/artifacts"  # where MLflow puts what `write_model` gives it
_SUMMARIES = f"tags.`{KIND}` = '{SUMMARY}' and attributes.status = 'FINISHED'"


def record(study: Study, run: Run, codes: Mapping[str, str] | None = None, details: bool = True) -> RunRecord:
    """A run's words, last metrics and status; with `details` its history and test confusion matrix too.

    `codes` are the digests of today's code, by fingerprint: a run of other code is marked.
    """
    history, confusion = _details(study, run) if details and run.info.status == "FINISHED" else ([], None)
    tags = run.data.tags
    return RunRecord(
        run.info.run_id,
        dict(run.data.params),
        run.info.status,
        dict(run.data.metrics),
        history,
        confusion,
        tags.get(REASON, ""),
        tags.get(CODE, ""),
        tags.get("machine", ""),
        tags.get(CODE) != (codes or {}).get(tags[FINGERPRINT], tags.get(CODE)),
    )


def code_today(study: Study, run: Run) -> str:
    """The digest of the code that would make a run today, by its config; empty where some of it is gone."""
    config = yaml.safe_load(_artifact(study, run.info.run_id, "config/config.yaml"))
    try:
        return code.digest(targets({part: config[part] for part in ("learner", "data")}))
    except ValueError:
        return ""


def environments(runs: Sequence[Run]) -> str:
    """Where and by which code runs were made: each once."""
    return " | ".join(dict.fromkeys(map(_environment, runs)))


def _environment(run: Run) -> str:
    tags = run.data.tags
    commit = re.sub(r"^(\w{10})\w+$", r"\1", tags["git.commit"]) + " with changes" * (tags["git.dirty"] == "true")
    threads = count(int(tags["blas.threads"]), "thread")
    return f"{tags['machine']}; Python {tags['python']}; {tags['blas']}, {threads}; commit {commit}"


def _details(study: Study, run: Run) -> tuple[list[dict[str, float]], Array]:
    """History and confusion matrix; what is fitted in one go has no history."""
    confusion: Any = json.loads(_artifact(study, run.info.run_id, "confusion/test.json"))
    history = []
    if run.data.params["epochs"] != "none":
        rows = csv.DictReader(_artifact(study, run.info.run_id, "history.csv").decode().splitlines())
        history = [{key: float(value) for key, value in row.items() if value} for row in rows]
        history = [row | {"epoch": int(row["epoch"])} for row in history]
    return history, np.array(confusion["rows are truth"])


def answers(study: Study, run_id: str) -> tuple[Array, Array]:
    """The class that a run gave to each test image, and the labels: two arrays (N,)."""
    with np.load(io.BytesIO(_artifact(study, run_id, "answers.npz")), allow_pickle=False) as kept:
        return kept["answers"], kept["labels"]


def networks(study: Study, run: Run) -> list[tuple[Sequential, Params]]:
    """What a run trained, with its parameters: one network, or those whose outputs add up."""
    from cnnlab.networks import load_network

    with tempfile.TemporaryDirectory() as folder:
        files = Path(study.client.download_artifacts(run.info.run_id, _NETWORKS, folder))
        return [load_network(file)[:2] for file in sorted(files.glob("*.npz"))]


def _artifact(study: Study, run_id: str, name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return Path(study.client.download_artifacts(run_id, name, folder)).read_bytes()


def newest_summary(study: Study) -> Run | None:
    """The study's last summary."""
    return next(study.runs(_SUMMARIES), None)


def summarised(study: Study, summary: Run) -> dict[str, Any]:
    """What a summary keeps of its sweep: the `fingerprints` of its arms, the `command` that made them, its `rows`."""
    return json.loads(_artifact(study, summary.info.run_id, "arms.json"))


def log_summary(study: Study, identity: str, folder: Path, sweep: Mapping[str, Any]) -> str:
    """A run without metrics that keeps a sweep's report, and what `summarised` gives back."""
    study.close_stale(identity)
    text = [line for line in (folder / "report.md").read_text().splitlines() if not line.startswith("![")]
    tags = {KIND: SUMMARY, FINGERPRINT: identity, "mlflow.note.content": "\n".join(text)[:5000]}
    run = study.client.create_run(study.experiment_id, tags=tags, run_name=f"summary of {study.name}")
    for file in sorted(folder.iterdir()):
        if file.is_file():  # a folder is the report of a study in the group that has this one's name
            study.client.log_artifact(run.info.run_id, str(file), "report")
    study.client.log_text(run.info.run_id, json.dumps(sweep, indent=1), "arms.json")
    study.client.set_terminated(run.info.run_id, "FINISHED")
    return run.info.run_id
