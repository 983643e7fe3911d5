"""Copies of finished runs: what one study has made, another need not train again."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from cnnlab.tracking.store import MADE_IN, Study

if TYPE_CHECKING:
    from mlflow.entities import Run

BATCH = 1000  # metrics that MLflow takes in one write


def copied(study: Study, run: Run) -> str:
    """A run of another study filed in this one as well, with its times and files; the id of the copy.

    Its tag `cnnlab.made_in` is the id of the run that it was copied from, or of the first of several.
    """
    from mlflow.entities import Param

    client, made = study.client, run.info
    tags = {name: value for name, value in run.data.tags.items() if name != "mlflow.runName"}
    tags |= {MADE_IN: run.data.tags.get(MADE_IN, made.run_id), "cnnlab.sweep": study.name}
    copy = client.create_run(study.experiment_id, made.start_time, tags, made.run_name).info.run_id
    client.log_batch(copy, params=[Param(name, value) for name, value in run.data.params.items()])
    points = [point for name in run.data.metrics for point in client.get_metric_history(made.run_id, name)]
    for first in range(0, len(points), BATCH):
        client.log_batch(copy, points[first : first + BATCH])
    if run.inputs and run.inputs.dataset_inputs:
        client.log_inputs(copy, run.inputs.dataset_inputs)
    with tempfile.TemporaryDirectory(prefix="cnnlab-") as folder:
        client.log_artifacts(copy, client.download_artifacts(made.run_id, "", folder))
    client.set_terminated(copy, "FINISHED", made.end_time)
    return copy
