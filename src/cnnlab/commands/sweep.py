"""`cnnlab sweep`: the ablation of a file in conf/sweep."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence

from cnnlab.commands import Parser, counting, parser, train
from cnnlab.commands.help import table
from cnnlab.paths import conf_folder
from cnnlab.spelling import Grammar, check_words, seeds

EXAMPLES = """\
  cnnlab sweep pooling --seeds 5 --jobs 2 data=mnist5k epochs=15
  cnnlab sweep lenet_family --only linear --only knn --dry-run
"""
CALLED = {"joblib": None, "ray": "ray_cluster"}  # launchers by other names than Hydra's: the default, and its plugin's
JOBS = dict.fromkeys((None, "workers", "ray_cluster"), "hydra.launcher.n_jobs")  # what --jobs sets, by launcher
JOBS |= dict.fromkeys(("slurm", "submitit_slurm"), "hydra.launcher.array_parallelism")


def main(words: Sequence[str]) -> None:
    """Make the arms of a sweep that are not finished, and sum up all."""
    parse = parser("sweep", EXAMPLES)
    parse.add_argument("--list", action="store_true", help="list the sweeps and what they ask")
    add_options(parse)
    parse.add_argument("--seeds", type=counting, help="make each arm with the seeds 0 to SEEDS - 1")
    said = parse.parse_intermixed_args(words)
    if said.list:
        grammar = Grammar((conf_folder(),))
        print(table(((name, grammar.about("sweep", name)) for name in grammar.groups["sweep"]), indent=0))
        return
    if said.seeds and (seed := next((word for word in said.words if word.startswith("seed=")), None)):
        parse.error(f"argument --seeds: says the seeds, and so does {seed}")
    own = [seeds(said.seeds)] if said.seeds else []
    asked = overrides(parse, said, own)
    if said.dry_run:
        print_arms(said.name, asked[1:], said.only)
        return
    train.main([*asked, *only(said)])


def add_options(parse: Parser) -> None:
    """Let a command take the name of a sweep, words, and how its arms are made."""
    add = parse.add_argument
    add("name", nargs="?", default="first_look", help="a file in conf/sweep (default first_look)")
    add("words", nargs="*", metavar="WORD=OPTION", help="words for all arms, as `cnnlab train --help` lists them")
    add("--dry-run", action="store_true", help="list the arms, and which are finished")
    add("--jobs", type=counting, help="workers side by side (default 2; of slurm 256, of ray one to a processor)")
    add("--yes", action="store_true", help="make it, however many arms it has and images they train on")
    add("--only", action="append", default=[], metavar="ROW", help="make only this row of a list; may be repeated")
    add("--launcher", help="what launches the workers: joblib (the default), basic, submitit_local, slurm, ray")


def overrides(parse: Parser, said: Namespace, own: Sequence[str] = ()) -> list[str]:
    """What these options ask of Hydra: the sweep first, then its words and a command's `own`.

    Ends in one line where they are wrong.
    """
    if "=" in said.name:
        parse.error(f"{said.name}: the name of a sweep comes first, as in `{parse.prog} pooling {said.name}`")
    asked = [f"sweep={said.name}", *said.words, *own]
    launcher = CALLED.get(said.launcher, said.launcher)
    asked += [f"hydra/launcher={launcher}"] if launcher else []
    if said.jobs:
        if launcher not in JOBS:
            parse.error(f"argument --jobs: goes with the launchers joblib, slurm and ray, not with {said.launcher}")
        asked.append(f"{JOBS[launcher]}={said.jobs}")
    asked += ["hydra.sweeper.yes=true"] if said.yes else []
    check_words(asked, [conf_folder()])
    return asked


def only(said: Namespace) -> list[str]:
    """The rows that are chosen, as Hydra is told."""
    return [f"hydra.sweeper.only={json.dumps(said.only, ensure_ascii=False)}"] if said.only else []


def composed(words: Sequence[str]) -> list[str]:
    """The words that say what the arms are, not how they are made."""
    kept = ("hydra.searchpath=", "hydra.sweeper.")
    return [word for word in words if not word.startswith("hydra") or word.startswith(kept)]


def print_arms(name: str, words: Sequence[str], only: Sequence[str]) -> None:
    """The arms of a sweep, and whether they are finished."""
    from cnnlab.composing import sweep_of
    from cnnlab.sweeps import newest
    from cnnlab.tracking.store import studies

    asked = sweep_of(name, composed(words), only)
    runs = newest(asked, {study.name: study for study in studies()})
    for plan in asked.plans:
        print(f"{runs[plan.key].info.status.lower() if plan.key in runs else 'to do':<9} {plan.label}")
    for line in asked.refused:
        print(f"{'refused':<9} {line}")
    done = sum(run.info.status == "FINISHED" for run in runs.values())
    print(f"{done} of {len(asked.plans)} arms are finished")
