"""Records of arms, each the means of its seeds: for studies of more runs than a page of MLflow's loads.

Such a page groups the runs that it has loaded, the best hundred, and so would show the means of the best seeds.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence

from cnnlab.report.arms import Arm, mean
from cnnlab.report.tables import count
from cnnlab.tracking.store import ARM, FINGERPRINT, KIND, NOTE, Study

MEANS = "means"  # their kind
Points = dict[str, dict[int, float]]  # of a metric: its values by step


def file_means(study: Study, arms: Mapping[str, Arm], errors: Sequence[str], curves: Sequence[str]) -> None:
    """Keep the means of these arms, by name, and of no others: their last `errors`, and metrics by epoch."""
    from mlflow.entities import Metric, Param

    wanted = {name: _means(arm, errors, curves) for name, arm in arms.items()}
    known = set[str]()
    for run in list(study.runs(f"tags.`{KIND}` = '{MEANS}'")):
        name, whole = run.data.tags[ARM], run.info.status == "FINISHED"
        if whole and name in wanted.keys() - known and run.data.tags[FINGERPRINT] == _identity(wanted[name]):
            known.add(name)
        else:
            study.remove(run.info.run_id)
    for name in wanted.keys() - known:
        note = f"The mean of {count(len(arms[name].finished), 'run')}, a seed each: those with the tag {ARM} = {name}."
        tags = {KIND: MEANS, ARM: name, FINGERPRINT: _identity(wanted[name]), NOTE: note}
        run_id = study.client.create_run(study.experiment_id, tags=tags, run_name=name).info.run_id
        points = [Metric(key, y, 0, step) for key, curve in wanted[name].items() for step, y in curve.items()]
        study.client.log_batch(run_id, points, [Param(word, said) for word, said in arms[name].swept.items()])
        study.client.set_terminated(run_id, "FINISHED")


def _means(arm: Arm, errors: Sequence[str], curves: Sequence[str]) -> Points:
    """The mean over the seeds of each metric by epoch, and of each last error: after them where it is of another.

    They have eight digits, since a page shows all that there are.
    """
    epochs = range(1, 1 + max(map(len, arm.histories), default=0))
    found: Points = {}
    for key in curves:
        for epoch in epochs:
            value = mean(known[epoch - 1].get(key, math.nan) for known in arm.histories if epoch <= len(known))
            if math.isfinite(value):
                found.setdefault(key, {})[epoch] = float(f"{value:.8g}")
    for key in errors:
        value, curve = arm.mean(key), found.setdefault(key, {})
        if math.isfinite(value) and not math.isclose(value, curve.get(len(epochs), math.nan), rel_tol=1e-4):
            curve[len(epochs) + 1 if curve else 0] = float(f"{value:.8g}")
    return found


def _identity(points: Points) -> str:
    return hashlib.sha256(json.dumps(points, sort_keys=True).encode()).hexdigest()[:16]
