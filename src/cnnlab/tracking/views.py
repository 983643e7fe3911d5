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
from cnnlab.report.arms import Arm
from cnnlab.tracking.means import MEANS, file_means
from cnnlab.tracking.store import ARM, DESCRIPTION, KIND, NOTE, VIEW, Study, view_tag

if TYPE_CHECKING:
    from mlflow.entities import Run

LONGEST = 5000  # letters of an experiment's tag
RUNS = "cnnlab-runs"  # the key of the view of all runs, where the one that a link opens is of arms
NAMES = {VIEW: "What won, and why", RUNS: "Every run"}  # of the views, by their keys
LOADED = 100  # runs that a page loads by itself, and a chart shows
FEW = 10  # arms whose bars have room for their numbers in a chart that is not of the greatest height
EVERY_RUN = f"tags.`{KIND}` = 'run'"
ERRORS = {"val": "validation error", "test": "test error"}
PICTURES = ("confusion", "kernels", "activations")  # as `cnnlab.journal` calls them
OF_RUNS = f"Under *Views*, **{NAMES[VIEW]}** has every run, the best first."
OF_ARMS = f"""\
Under *Views*, **{NAMES[VIEW]}** has a row for each arm, the mean of its seeds, the best first; **{NAMES[RUNS]}** has \
the runs one by one, with their pictures."""
ON_ERRORS = """\
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
        how_to_read = f"{OF_ARMS if _has_seeds(arms) else OF_RUNS} {ON_ERRORS}"
        _describe(study, "\n\n".join(filter(None, (f"{first} {question}".strip(), *others, how_to_read))))
        made = {run.info.run_id: run for run in runs}
        for arm in arms:
            for record in arm.records:
                run = made[record.run_id]
                named = arm_name(arm)
                name = f"{named} seed={record.words.get('seed', '')}" if named else str(run.info.run_name)
                _call(study, run, name, named, question)


def arm_name(arm: Arm) -> str:
    """What an arm is called among those of its study: by its row, or by the words that differ; empty of a lone one."""
    said = (option if word in GROUPS else f"{word}={option}" for word, option in arm.swept.items())
    return arm.row or " ".join(said)


def _describe(study: Study, text: str) -> None:
    """Give a study this description."""
    known = study.client.get_experiment(study.experiment_id).tags
    if known.get(NOTE) != text[:LONGEST]:
        study.client.set_experiment_tag(study.experiment_id, NOTE, text[:LONGEST])


def note(name: str, metrics: Mapping[str, float], tags: Mapping[str, str], status: str, question: str = "") -> str:
    """The description of a run: what its maker's tags say of it, then what it found."""
    known = {said: metrics.get(f"{split}/error_percent", math.nan) for split, said in ERRORS.items()}
    errors = ", ".join(f"{said} {error:.2f}%" for said, error in known.items() if not math.isnan(error))
    found = f"{name}: {errors or status.lower()}. {question}".strip()
    return "\n\n".join(filter(None, (tags.get(DESCRIPTION), found)))


def _call(study: Study, run: Run, name: str, arm: str, question: str) -> None:
    """Give a run its name, that of its arm, and a line on what it found, after what its maker says of it."""
    from mlflow.entities import RunTag

    text = note(name, run.data.metrics, run.data.tags, run.info.status, question)
    if run.info.run_name != name:
        study.client.update_run(run.info.run_id, name=name)
    new = [RunTag(key, said) for key, said in ((ARM, arm), (NOTE, text)) if said != run.data.tags.get(key, "")]
    if new:
        study.client.log_batch(run.info.run_id, tags=new)


def _save_views(study: Study, runs: Sequence[Run], arms: Sequence[Arm]) -> None:
    """Save the views of a study: one where each arm has one seed, else one of the arms, and another of all runs."""
    errors = [f"{split}/error_percent" for split in ERRORS]
    errors = [error for error in errors if any(error in run.data.metrics for run in runs)]
    ends, seeds = _ends(arms), _has_seeds(arms)
    large = seeds and sum(len(arm.records) for arm in arms) > LOADED
    means = {arm_name(arm): arm for arm in arms if large and arm.finished}
    file_means(study, means, errors, [*errors[:1], *(f"grad_norm/{layer}" for layer in ends)])
    state = _state(list(arms[0].swept), errors, ends, _epochs(arms), 500 if len(arms) > FEW else 400)
    by_arm = {"searchFilter": f"tags.`{KIND}` = '{MEANS}'"} if large else _grouped(arms)
    states = {VIEW: state | by_arm, RUNS: state} if seeds else {VIEW: state}
    known = study.client.get_experiment(study.experiment_id).tags
    for tag in known:
        if tag.startswith(view_tag("cnnlab-")) and tag not in map(view_tag, states):  # of fewer seeds, or older
            study.client.delete_experiment_tag(study.experiment_id, tag)
    for key, wanted in states.items():
        packed = _packed(wanted)
        if json.loads(known.get(view_tag(key), "{}")).get("state") != packed:
            now = int(1000 * time.time())
            view = {"name": NAMES[key], "createdAt": now, "updatedAt": now, "state": packed}
            study.client.set_experiment_tag(study.experiment_id, view_tag(key), json.dumps(view))


def _has_seeds(arms: Sequence[Arm]) -> bool:
    """Whether there are several arms, some with several runs: then the first thing to show is the means of each."""
    return 1 < len(arms) < sum(len(arm.records) for arm in arms)


def _grouped(arms: Sequence[Arm]) -> dict[str, Any]:
    """What makes a page group its runs by their arms, folded away, and show the means."""
    return {
        "searchFilter": f"{EVERY_RUN} and tags.`{ARM}` LIKE '_%'",
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": ARM}]},
        "groupsExpanded": {f"tag.{ARM}.{arm_name(arm)}": False for arm in arms},
    }


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


def _state(
    words: Sequence[str], errors: Sequence[str], layers: Sequence[str], epochs: int, height: int
) -> dict[str, Any]:
    """The state of a page: all runs of arms, the best first, their words and errors, and charts of these.

    MLflow has charts of 300, 330, 360, 400 and 500 pixels.
    """
    columns = [f"params.`{word}`" for word in words] + [f"metrics.`{error}`" for error in errors]
    sections = _sections(words, errors, layers, epochs)
    return {
        "searchFilter": EVERY_RUN,
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
            | {"columns": 2, "cardHeight": height}
            for name in sections
        ],
        "compareRunCharts": [
            {
                "uuid": f"{section} {number}",
                "metricSectionId": section,
                "deleted": False,
                "isGenerated": False,
                "runsCountToCompare": LOADED,
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
