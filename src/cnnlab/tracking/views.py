"""Saved views of a study: what MLflow's pages show of it first, so that they answer its question.

MLflow 3.17 has no public call for them: its pages keep each as a tag of the experiment, in a format of their own, and
a page that is opened with a view's key shows it. So all of this is best effort: nothing here fails a sweep.
"""

from __future__ import annotations

import base64
import json
import math
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cnnlab.config import GROUPS
from cnnlab.plots.style import layers_of
from cnnlab.report.arms import Arm, RunRecord
from cnnlab.tracking.store import DESCRIPTION, KIND, NOTE, VIEW, Study, view_tag

if TYPE_CHECKING:
    from mlflow.entities import Run

LONGEST = 5000  # letters of an experiment's tag
NAMES = {VIEW: "What won, and why", "cnnlab-mean": "Seeds averaged"}  # of the views, by their keys
ERRORS = {"val": "validation error", "test": "test error"}
PICTURES = ("confusion", "kernels", "activations")  # as `cnnlab.journal` calls them
HOW_TO_READ = f"""\
Under *Views*, **{NAMES[VIEW]}** has every run, the best first, and **{NAMES["cnnlab-mean"]}** a row for each arm. \
Errors are in per cent. Choose by the validation error; the test images were looked at once, at the end of each run."""

Chart = dict[str, Any]


def show(study: Study, runs: Sequence[Run], arms: Sequence[Arm], question: str, found: Sequence[str]) -> None:
    """Make the pages of a study say what it found: its views and its description, the names of its runs and theirs.

    `runs` are those of the `arms`; `found` are the sentences of a report, of which the first stands before all else,
    since a page folds a description to a line. What the store holds already is not written again.
    """
    with suppress(Exception):
        _save_views(study, runs, arms)
        first, *others = found or [""]
        _describe(study, "\n\n".join(filter(None, (f"{first} {question}".strip(), *others, HOW_TO_READ))))
        made = {run.info.run_id: run for run in runs}
        for arm in arms:
            for record in arm.records:
                run = made[record.run_id]
                name = run_name(arm, record) if arm.row or arm.swept else str(run.info.run_name)
                _call(study, run, name, question)


def run_name(arm: Arm, record: RunRecord) -> str:
    """What a run is called among those of its study: by its row, or by the words that differ, and its seed."""
    said = [option if word in GROUPS else f"{word}={option}" for word, option in arm.swept.items()]
    return " ".join([*([arm.row] if arm.row else said), f"seed={record.words.get('seed', '')}"])


def _describe(study: Study, text: str) -> None:
    """Give a study this description."""
    known = study.client.get_experiment(study.experiment_id).tags
    if known.get(NOTE) != text[:LONGEST]:
        study.client.set_experiment_tag(study.experiment_id, NOTE, text[:LONGEST])


def _call(study: Study, run: Run, name: str, question: str) -> None:
    """Give a run this name, and a line that says what it found, after what its maker says of it."""
    known = {said: run.data.metrics.get(f"{split}/error_percent", math.nan) for split, said in ERRORS.items()}
    errors = ", ".join(f"{said} {error:.2f}%" for said, error in known.items() if not math.isnan(error))
    found = f"{name}: {errors or run.info.status.lower()}. {question}".strip()
    note = "\n\n".join(filter(None, (run.data.tags.get(DESCRIPTION), found)))
    if run.info.run_name != name:
        study.client.update_run(run.info.run_id, name=name)
    if run.data.tags.get(NOTE) != note:
        study.client.set_tag(run.info.run_id, NOTE, note)


def _save_views(study: Study, runs: Sequence[Run], arms: Sequence[Arm]) -> None:
    """Save the two views of a study."""
    known = study.client.get_experiment(study.experiment_id).tags
    words = list(arms[0].swept)
    errors = [f"{split}/error_percent" for split in ERRORS]
    errors = [error for error in errors if any(error in run.data.metrics for run in runs)]
    state = _state(words, errors, _ends(arms), _epochs(arms))
    for key, more in zip(NAMES, ({}, _grouped(words, arms)), strict=True):
        packed = _packed(state | more)
        if json.loads(known.get(view_tag(key), "{}")).get("state") != packed:
            now = int(1000 * time.time())
            view = {"name": NAMES[key], "createdAt": now, "updatedAt": now, "state": packed}
            study.client.set_experiment_tag(study.experiment_id, view_tag(key), json.dumps(view))


def _grouped(words: Sequence[str], arms: Sequence[Arm]) -> dict[str, Any]:
    """What makes a row of each arm: the mean of its seeds, which are folded away."""
    if not words:
        return {}
    by = [{"mode": "param", "groupByData": word} for word in words]
    folded = {",".join(f"param.{word}.{option}" for word, option in arm.swept.items()): False for arm in arms}
    return {"groupBy": {"aggregateFunction": "average", "groupByKeys": by}, "groupsExpanded": folded}


def _ends(arms: Sequence[Arm]) -> list[str]:
    """The first and the last layer of each model that was trained in epochs."""
    found: dict[str, None] = {}
    for history in {arm.words.get("model"): arm.histories[0] for arm in arms if arm.histories}.values():
        layers = layers_of(history, "grad_norm")
        found |= dict.fromkeys([*layers[:1], *layers[-1:]])
    return list(found)


def _epochs(arms: Sequence[Arm]) -> int:
    """The last epoch of all; 0 of what is fitted in one go."""
    return max((int(history[-1]["epoch"]) for arm in arms for history in arm.histories), default=0)


def _packed(state: Mapping[str, Any]) -> str:
    """A page's state as its tag holds it."""
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()


def _state(words: Sequence[str], errors: Sequence[str], layers: Sequence[str], epochs: int) -> dict[str, Any]:
    """The state of a page: all runs but summaries, the best first, their words and errors, and charts of these."""
    columns = [f"params.`{word}`" for word in words] + [f"metrics.`{error}`" for error in errors]
    sections = _sections(words, errors, layers, epochs)
    return {
        "searchFilter": f"tags.`{KIND}` = 'run'",
        "orderByKey": f"metrics.`{errors[0]}`" if errors else "attributes.start_time",
        "orderByAsc": bool(errors),
        "runsHiddenMode": "SHOW_ALL",
        "selectedColumns": columns,
        "columnOrder": [],
        "columnWidths": {},
        "groupBy": None,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "isAccordionReordered": True,
        "compareRunSections": [
            {"uuid": name, "name": name, "display": True, "isReordered": True, "deleted": False, "isGenerated": False}
            for name in sections
        ],
        "compareRunCharts": [
            {
                "uuid": f"{section} {number}",
                "metricSectionId": section,
                "deleted": False,
                "isGenerated": False,
                "runsCountToCompare": 100,
            }
            | chart
            for section, charts in sections.items()
            for number, chart in enumerate(charts)
        ],
    }


def _sections(
    words: Sequence[str], errors: Sequence[str], layers: Sequence[str], epochs: int
) -> dict[str, list[Chart]]:
    """The charts of a view, by the section that they stand in."""
    won: list[Chart] = [{"type": "BAR", "metricKey": error} for error in reversed(errors)]
    won += [{"type": "PARALLEL", "selectedParams": [*words], "selectedMetrics": [*errors], "showAllRuns": True}]
    return {
        "What won": won,
        "How it learned": [_line(errors[0])] if errors else [],
        "Gradients, first and last layer": [_line(f"grad_norm/{layer}", "log") for layer in layers],
        "What it sees": [
            {"type": "IMAGE", "imageKeys": [name], "step": epochs, "showRunParams": False} for name in PICTURES
        ],
    }


def _line(metric: str, scale: str = "linear") -> Chart:
    """A metric over epochs."""
    shown = {"metricKey": metric, "selectedMetricKeys": [metric], "xAxisKey": "step", "scaleType": scale}
    return {"type": "LINE", "lineSmoothness": 0, "range": {}, "useGlobalXaxisKey": False} | shown
