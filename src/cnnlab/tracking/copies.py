"""Copies of finished runs: what one study has made, another need not train again."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cnnlab.tracking.access import is_clash
from cnnlab.tracking.store import MADE_IN, SWEEP, Study

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run


def copied(study: Study, run: Run, name: str, params: Mapping[str, str], own: Mapping[str, str]) -> str | None:
    """A run of another study filed in this one as well, with its times and files; the id of the copy.

    It has the name, the params and the `own` tags by which this study asks for it. Its tag `cnnlab.made_in` is the id
    of the run that it was copied from, or of the first of several. None where the run's files are gone.
    """
    from mlflow.entities import Param
    from mlflow.exceptions import MlflowException

    client, made = study.client, run.info
    with tempfile.TemporaryDirectory(prefix="cnnlab-") as folder:
        try:
            files = Path(client.download_artifacts(made.run_id, "", folder))
        except (OSError, MlflowException):
            return None
        if not (files / "answers.npz").is_file():
            return None
        tags = run.data.tags | {MADE_IN: run.data.tags.get(MADE_IN, made.run_id), SWEEP: study.name}
        tags |= {"mlflow.runName": name, **own}
        copy = client.create_run(study.experiment_id, made.start_time, tags, name).info.run_id
        points = [point for key in run.data.metrics for point in client.get_metric_history(made.run_id, key)]
        client.log_batch(copy, points, [Param(key, value) for key, value in params.items()])
        if run.inputs and run.inputs.dataset_inputs:
            write_inputs(client, copy, run.inputs.dataset_inputs)
        client.log_artifacts(copy, str(files))
    client.set_terminated(copy, "FINISHED", made.end_time)
    return copy


def write_inputs(client: MlflowClient, run_id: str, inputs: list[DatasetInput]) -> None:
    """Write which data went into a run. Two runs that tell of the same new data at once are in each other's way."""
    from mlflow.exceptions import MlflowException

    try:
        client.log_inputs(run_id, inputs)
    except MlflowException as error:
        if not is_clash(error):
            raise
        client.log_inputs(run_id, inputs)  # the other's are there now
