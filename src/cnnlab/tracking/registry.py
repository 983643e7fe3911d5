"""MLflow's registry of models: the best network of each study, under the study's name and the alias `best`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version

from cnnlab.report.arms import Arm, ranked
from cnnlab.report.tables import count
from cnnlab.tracking.store import Study

ALIAS = "best"


def model_name(study: Study) -> str:
    """What a study's registered model is called: MLflow allows no slash in it."""
    return study.name.replace("/", "-")


def register_best(study: Study, arms: Sequence[Arm]) -> str:
    """Register the network of the arm with the lowest mean validation error, of its first seed, unless it is.

    Returns its address. Best effort: it is empty where a store has no registry, or the arm is no network.
    """
    with suppress(Exception):
        known = [arm for arm in ranked(arms) if math.isfinite(arm.val_error.mean)]
        run = study.client.get_run(known[0].finished[0].run_id)
        if not study.client.list_artifacts(run.info.run_id, "model"):
            return ""
        name = model_name(study)
        if not study.client.search_registered_models(f"name = '{name}'"):
            study.client.create_registered_model(name, description=f"The best network of the study {study.name}.")
        found = study.client.search_model_versions(f"name = '{name}'")
        made = next((each for each in found if each.run_id == run.info.run_id), None)
        error = known[0].val_error
        said = f"{known[0].label}: validation error {error.mean:.2f}%, mean of {count(error.n, 'seed')}"
        if made is None:
            place, tags = f"{run.info.artifact_uri}/model", {"cnnlab.version": version("cnnlab")}
            made = study.client.create_model_version(name, place, run.info.run_id, tags=tags, description=said)
        elif made.description != said:  # of fewer seeds
            study.client.update_model_version(name, made.version, said)
        if study.client.get_registered_model(name).aliases.get(ALIAS) != str(made.version):
            study.client.set_registered_model_alias(name, ALIAS, made.version)
        return f"models:/{name}@{ALIAS}"
    return ""
