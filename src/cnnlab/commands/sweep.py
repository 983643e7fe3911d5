"""`cnnlab sweep`: the ablation of a file in conf/sweep."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cnnlab.commands import counting, parser, train
from cnnlab.commands.words import table
from cnnlab.paths import conf_folder
from cnnlab.spelling import explain, head

EXAMPLES = """\
  cnnlab sweep pooling --seeds 5 --jobs 2 data=mnist epochs=5
  cnnlab sweep lenet_family --only linear --only knn --dry-run
"""


def main(words: Sequence[str]) -> None:
    """Make the arms of a sweep that are not finished, and sum up all."""
    parse = parser("sweep", EXAMPLES)
    add = parse.add_argument
    add("name", nargs="?", default="classic_to_modern", help="a file in conf/sweep (default classic_to_modern)")
    add("words", nargs="*", metavar="WORD=OPTION", help="words for all arms, as `cnnlab train --help` lists them")
    add("--list", action="store_true", help="list the sweeps and what they ask")
    add("--dry-run", action="store_true", help="list the arms, and which are finished")
    add("--seeds", type=counting, help="make each arm with the seeds 0 to SEEDS - 1")
    add("--jobs", type=counting, help="workers side by side (default 2)")
    add("--only", action="append", default=[], metavar="ROW", help="make only this row of a list; may be repeated")
    add("--launcher", help="Hydra's launcher of the workers: joblib (the default), basic, submitit_local, ...")
    said = parse.parse_intermixed_args(words)
    folder = conf_folder()
    if said.list:
        print(table(((file.stem, head(file)) for file in sorted((folder / "sweep").glob("*.yaml"))), indent=0))
        return
    if "=" in said.name:
        parse.error(f"{said.name}: the name of a sweep comes first, as in `cnnlab sweep pooling {said.name}`")
    if said.seeds and (seed := next((word for word in said.words if word.startswith("seed=")), None)):
        parse.error(f"argument --seeds: says the seeds, and so does {seed}")
    asked = [f"sweep={said.name}", *said.words]
    asked += [f"seed={','.join(map(str, range(said.seeds)))}"] if said.seeds else []
    asked += [f"hydra/launcher={said.launcher}"] if said.launcher else []
    if said.jobs:
        if said.launcher not in (None, "joblib", "workers"):
            parse.error(f"argument --jobs: goes with the launcher joblib, not with {said.launcher}")
        asked.append(f"hydra.launcher.n_jobs={said.jobs}")
    if problem := explain(asked, folder):
        sys.exit(problem)
    if said.dry_run:
        print_arms(said.name, asked[1:], said.only)
        return
    rows = ",".join("'" + row.replace("'", "\\'") + "'" for row in said.only)
    train.main([*asked, *([f"hydra.sweeper.only=[{rows}]"] if rows else [])])


def print_arms(name: str, words: Sequence[str], only: Sequence[str]) -> None:
    """The arms of a sweep, and whether they are finished."""
    from cnnlab.composing import sweep_of
    from cnnlab.tracking.store import studies

    asked = sweep_of(name, [word for word in words if not word.startswith("hydra")], only)
    known = {study.name: study for study in studies()}
    done = 0
    for plan in asked.plans:
        runs = known[plan.study].newest([plan.fingerprint]) if plan.study in known else {}
        status = runs[plan.fingerprint].info.status.lower() if runs else "to do"
        done += status == "finished"
        print(f"{status:<9} {plan.label}")
    for line in asked.refused:
        print(f"{'refused':<9} {line}")
    print(f"{done} of {len(asked.plans)} arms are finished")
