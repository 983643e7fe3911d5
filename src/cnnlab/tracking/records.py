"""What finished runs found, read back from the store for tables and reports."""

from __future__ import annotations

import csv
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cnnlab import code
from cnnlab.config import targets
from cnnlab.npz import unpacked
from cnnlab.report.arms import RunRecord, mean
from cnnlab.report.tables import count
from cnnlab.spelling import guess
from cnnlab.texts import parsed
from cnnlab.tracking.access import store_errors
from cnnlab.tracking.log import REASON
from cnnlab.tracking.store import CODE, FINGERPRINT, KIND, LR_SOURCE, NOTE, Study, studies

if TYPE_CHECKING:
    from mlflow.entities import Run

    from cnnlab.nn import Array
    from cnnlab.predictor import Predictor

SUMMARY = "summary"
VALIDATION_ERROR = "val/error_percent"
MOST = 10**8  # bytes of a run's answers


class FilesGone(OSError):
    """A file that a run kept is no longer there, or damaged."""


@store_errors()
def finished(word: str) -> list[tuple[Study, Run]]:
    """The finished runs that a word means, with their studies: all of a study, or the one of a name or an id.

    An id may be cut short. Of runs of the same config in a study the newest counts, unless the word is the id of
    another. ValueError, in one line, where the word means none or could mean several.
    """
    every = _every_finished()
    newest = {(study.name, run.data.tags[FINGERPRINT]): (study, run) for study, run in reversed(every)}
    if found := [(study, run) for study, run in newest.values() if study.name == word]:
        return found
    found = [(study, run) for study, run in newest.values() if run.info.run_name == word]
    found = found or [(study, run) for study, run in every if word and run.info.run_id.startswith(word)]
    if len(found) > 1:
        ids = ", ".join(f"{run.info.run_id} (of {study.name})" for study, run in found[:5])
        raise ValueError(f"{word} could be {len(found)} runs: choose one by its id: {ids}{', ...' * (len(found) > 5)}")
    if not found:
        names = [known for study, run in newest.values() for known in (study.name, str(run.info.run_name))]
        there = ", ".join(dict.fromkeys(study.name for study, _ in newest.values())) or "none yet"
        said = f"there is no finished run or study {word!r}{guess(word, names)}"
        raise ValueError(f"{said}: choose a run by its name or id, or a study: {there}")
    return found


@store_errors()
def best_first() -> list[tuple[Study, Run]]:
    """The finished runs that held out validation images, with their studies: the one with the lowest error first.

    What counts is the mean over runs whose words differ by nothing but the seed, and among these the run's own.
    """

    def error(run: Run) -> float:
        return run.data.metrics[VALIDATION_ERROR]

    def setting(run: Run) -> frozenset[tuple[str, str]]:
        return frozenset(run.data.params.items() - {("seed", run.data.params["seed"])})

    every = [(study, run) for study, run in _every_finished() if VALIDATION_ERROR in run.data.metrics]
    newest = {run.data.tags[FINGERPRINT]: (study, run) for study, run in reversed(every)}
    errors = defaultdict[frozenset[tuple[str, str]], list[float]](list)
    for _, run in newest.values():
        errors[setting(run)].append(error(run))
    return sorted(newest.values(), key=lambda found: (mean(errors[setting(found[1])]), error(found[1])))


def one(word: str) -> tuple[Study, Run]:
    """The one finished run that a word means; ValueError, in one line, where they are several."""
    found = finished(word)
    if len(found) > 1:
        ids = ", ".join(f"{run.info.run_id} ({run.info.run_name})" for _, run in found[:5]) + ", ..." * (len(found) > 5)
        raise ValueError(f"{word} has {len(found)} finished runs: choose one by its id: {ids}")
    return found[0]


def _every_finished() -> list[tuple[Study, Run]]:
    """All finished runs, with their studies: the newest of a study first."""
    query = f"tags.`{KIND}` = 'run' and attributes.status = 'FINISHED'"
    return [(study, run) for study in studies() for run in study.runs(query)]


@contextmanager
def despite_lost_files() -> Iterator[None]:
    """Where a file that a run kept is gone, leave the block, and name the run once in a process."""
    try:
        yield
    except FilesGone as gone:
        _say_once(str(gone))


@cache
def _say_once(line: str) -> None:
    print(line, flush=True)


def record(study: Study, run: Run, codes: Mapping[str, str] | None = None, details: bool = True) -> RunRecord:
    """A run's words, last metrics, status and answers; with `details` its history too.

    A finished run whose files are gone, or older than such files, is without, and a line says so. `codes` are the
    digests of today's code, by fingerprint: a run of other code is marked.
    """
    history, given, labels = list[dict[str, float]](), None, None
    if run.info.status == "FINISHED" and "test/error_percent" in run.data.metrics:
        with despite_lost_files():
            given, labels = answers(study, run)
        with despite_lost_files():
            history = _history(study, run) if details else []
    return replace(described(run, codes or {}), history=history, answers=given, labels=labels)


def described(run: Run, codes: Mapping[str, str] = MappingProxyType({})) -> RunRecord:
    """What the store knows of a run without its files."""
    tags = run.data.tags
    return RunRecord(
        run.info.run_id,
        dict(run.data.params),
        run.info.status,
        dict(run.data.metrics),
        reason=tags.get(REASON, ""),
        code=tags.get(CODE, ""),
        machine=tags.get("machine", ""),
        other_code=tags.get(CODE) != codes.get(tags[FINGERPRINT], tags.get(CODE)),
        lr_source=tags.get(LR_SOURCE, ""),
    )


def code_today(study: Study, run: Run) -> str:
    """The digest of the code that would make a run today, by its config; empty where some of it is gone."""
    asked = config(study, run)
    try:
        return code.digest(targets({part: asked[part] for part in ("learner", "data")}))
    except ValueError:
        return ""


def config(study: Study, run: Run) -> dict[str, Any]:
    """The resolved config that a run was made by."""
    content = _artifact(study, run, "config/config.yaml")
    try:
        return parsed(content.decode(), "config/config.yaml")
    except ValueError:
        raise _gone(study, run, "has a damaged file config/config.yaml") from None


def environments(runs: Sequence[Run]) -> str:
    """Where and by which code runs were made: each once."""
    return " | ".join(dict.fromkeys(map(_environment, runs)))


def _environment(run: Run) -> str:
    tags = run.data.tags
    commit = re.sub(r"^(\w{10})\w+$", r"\1", tags["git.commit"]) + " with changes" * (tags["git.dirty"] == "true")
    threads = count(int(tags["blas.threads"]), "thread")
    return f"{tags['machine']}; Python {tags['python']}; {tags['blas']}, {threads}; commit {commit}"


def _history(study: Study, run: Run) -> list[dict[str, float]]:
    """A dict an epoch; what is fitted in one go has none."""
    if run.data.params["epochs"] == "none":
        return []
    rows = csv.DictReader(_artifact(study, run, "history.csv").decode().splitlines())
    history = [{key: float(value) for key, value in row.items() if value} for row in rows]
    return [row | {"epoch": int(row["epoch"])} for row in history]


def curve(study: Study, run: Run, metric: str) -> dict[int, float]:
    """A metric of a run, by step; empty where it has none of this name."""
    return {point.step: point.value for point in study.client.get_metric_history(run.info.run_id, metric)}


def answers(study: Study, run: Run) -> tuple[Array, Array]:
    """The class that a run gave to each test image, and the labels: two arrays (N,)."""
    try:
        kept = unpacked(_artifact(study, run, "answers.npz"), MOST)
        return kept["answers"], kept["labels"]
    except (KeyError, ValueError):
        raise _gone(study, run, "has a damaged file answers.npz") from None


def predictor(study: Study, run: Run) -> Predictor:
    """What a run trained: one network, or those whose outputs add up. ValueError where it is none."""
    from cnnlab.predictor import Predictor

    if "model" not in config(study, run)["learner"]:
        raise ValueError(f"model={run.data.params['model']} is no network, and only networks are kept")
    with tempfile.TemporaryDirectory() as folder:
        files = _downloaded(study, run, "model/artifacts", folder)  # where MLflow puts what `write_model` gives it
        return Predictor.of(sorted(files.glob("*.npz")))


def _artifact(study: Study, run: Run, name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return _downloaded(study, run, name, folder).read_bytes()


def _downloaded(study: Study, run: Run, name: str, folder: str) -> Path:
    """A file or a folder that a run kept, brought into a folder; FilesGone, in one line, where it is not there."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    place = run.info.artifact_uri  # the client would ask the store for it, for each file
    files = get_artifact_repository(place, study.client.tracking_uri)
    if name not in {kept.path for kept in files.list_artifacts(name.rpartition("/")[0] or None)}:
        raise _gone(study, run, "lacks files that runs keep")
    return Path(files.download_artifacts(name, folder))  # type: ignore[no-untyped-call]


def _gone(study: Study, run: Run, how: str) -> FilesGone:
    """The error for a run whose files are not what they were."""
    named = f"run {run.info.run_id} of study {study.name} ({run.info.run_name})"
    return FilesGone(f"{named} {how}: rerun=true makes it again")


def newest_summary(study: Study) -> Run | None:
    """The study's last summary."""
    return next(study.runs(f"tags.`{KIND}` = '{SUMMARY}' and attributes.status = 'FINISHED'"), None)


def summarised(study: Study, summary: Run) -> dict[str, Any]:
    """What a summary keeps of its sweep: the `fingerprints` of its arms, the `command` that made them, its `rows`."""
    return json.loads(_artifact(study, summary, "arms.json"))


def log_summary(study: Study, identity: str, folder: Path, sweep: Mapping[str, Any]) -> str:
    """A run without metrics that keeps a sweep's report, and what `summarised` gives back."""
    study.close_stale(identity)
    lines = (folder / "report.md").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("!["))
    tags = {KIND: SUMMARY, FINGERPRINT: identity, NOTE: text[:5000]}
    run = study.client.create_run(study.experiment_id, tags=tags, run_name=f"summary of {study.name}")
    for file in sorted(folder.iterdir()):
        if file.is_file():  # a folder is the report of a study in the group that has this one's name
            study.client.log_artifact(run.info.run_id, str(file), "report")
    study.client.log_text(run.info.run_id, json.dumps(sweep, indent=1), "arms.json")
    study.client.set_terminated(run.info.run_id, "FINISHED")
    return run.info.run_id
