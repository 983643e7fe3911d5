"""The way in from Python: runs, and the networks that they trained."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from cnnlab.config import GROUPS, NUMBERS
from cnnlab.journal import Watcher
from cnnlab.paths import conf_folder
from cnnlab.predictor import Predictor
from cnnlab.report.arms import RunRecord
from cnnlab.spelling import check_words, guess
from cnnlab.tracking import records as kept
from cnnlab.tracking.access import store_errors
from cnnlab.tracking.log import RunLog
from cnnlab.tracking.store import Study, studies

if TYPE_CHECKING:
    import pandas as pd

ERRORS = ("val/error_percent", "test/error_percent")


def load(run_or_path: str | PathLike[str]) -> Predictor:
    """The trained network of a finished run, or in a file.

    A run is named by its id, which may be cut short, or its name. A path is that of a network's npz file, or of the
    folder `model/` of a run, downloaded or not; the networks in a folder add up. ValueError, in one line, where there
    is no network, or the runs are several.
    """
    place = Path(run_or_path)
    files = [place] if place.is_file() else _networks(place)
    if files:
        return Predictor.of(files)
    if isinstance(run_or_path, PathLike) or place.is_absolute() or place.suffix == ".npz" or run_or_path[:1] == ".":
        raise ValueError(f"{place}: there is no network here: choose an npz file of one, or the folder model of a run")
    return kept.predictor(*kept.one(fspath(run_or_path)))


@store_errors()
def run(words: str | Sequence[str] = "") -> RunRecord:
    """Make the run of these words, as `cnnlab train` does, and keep it in the store; what is known of it.

    `words` is a string such as "activation=relu epochs=1", or a list of its parts. The record has `run_id`, `words`,
    `status` ("FINISHED" or "FAILED"), `metrics` (the last value of each), `history` (a dict for each epoch) and, of a
    run that failed, the `reason`. A run that is finished already is not made again. ValueError, in one line, for
    impossible words, OSError where the store does not work.
    """
    from cnnlab.composing import planned
    from cnnlab.runs import make

    listed = shlex.split(words) if isinstance(words, str) else list(words)
    for word in listed:
        if word.startswith(("-", "sweep=", "hydra")):
            raise ValueError(f"{word}: choose words of a single run; `cnnlab sweep` makes sweeps")
    check_words(listed, [conf_folder()])
    asked = planned(listed)
    outcome = make(asked, RunLog(), Watcher())
    study = Study.open(asked.study)
    return kept.record(study, study.client.get_run(outcome.run_id))


@store_errors()
def records(study: str, metrics: Sequence[str] = ERRORS) -> pd.DataFrame:
    """The runs of a study, oldest first: a row for each, with its words, metrics, status and id.

    Columns are the words that any of them has (`seed`, `epochs`, `batch_size` and `lr` as numbers), the last value of
    each of the `metrics` (errors are in per cent; NaN where a run has none), `status` and `run_id`. Of runs that were
    made again the finished one counts. ValueError, in one line, where there is no such study.
    """
    import pandas as pd

    known = {each.name: each for each in studies()}
    if study not in known:
        there = ", ".join(known) or "none yet"
        raise ValueError(f"there is no study {study!r}{guess(study, known)}: choose from {there}")
    found = [kept.described(run) for run in reversed(known[study].newest().values())]
    words = dict.fromkeys((*GROUPS, *NUMBERS, *(word for record in found for word in record.words)))
    rows = [
        {word: record.words.get(word) for word in words}
        | {metric: record.metrics.get(metric) for metric in metrics}
        | {"status": record.status, "run_id": record.run_id}
        for record in found
    ]
    table = pd.DataFrame(rows, columns=[*words, *metrics, "status", "run_id"])
    numbers = {name: pd.to_numeric(table[name], errors="coerce") for name in NUMBERS}
    return table.assign(**numbers).astype(dict.fromkeys(metrics, float))


def _networks(folder: Path) -> list[Path]:
    """The networks' files of a folder; of a run's own, which has other npz files, those in its model."""
    if (folder / "model/artifacts").is_dir() or (folder / "artifacts").is_dir():
        folder /= "model/artifacts" if (folder / "model").is_dir() else "artifacts"
    return sorted(folder.glob("*.npz"))
