"""`cnnlab train`: one run in words, or with `-m` or `sweep=NAME` a sweep of them.

cnnlab train activation=relu loss=cross_entropy pooling=max padding=same seed=3
cnnlab train -m activation=tanh,relu init=glorot,he study=my_question
"""

from __future__ import annotations

import gc
import os
import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from cnnlab.commands import Parser, parser
from cnnlab.paths import UI, conf_folder
from cnnlab.spelling import check_words

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cnnlab.composing import Plan
    from cnnlab.runs import Outcome


def main(words: Sequence[str]) -> None:
    """Make the run or the sweep that the words ask for."""
    if {"-h", "--help"} & set(words):
        from cnnlab.commands.help import listing

        print(listing(conf_folder()))
        return
    said = _flags().parse_intermixed_args(words)
    asked = [*said.words, *(["hydra.sweeper.yes=true"] if said.yes else [])]
    own = Path(said.config_dir) if said.config_dir else None
    if not said.shell_completion:
        check_words(asked, [conf_folder(), *([own] if own else [])], several=said.multirun)
    from cnnlab import composing

    gc.freeze()  # what is imported stays: a sweep is composed in a tenth less time without looking for garbage in it
    with composing.composition(own):
        if said.shell_completion:
            if line := os.environ.get("COMP_LINE"):  # Hydra completes what follows the command
                os.environ["COMP_LINE"] = re.sub(r"^.*?(train|sweep +\S+) ", "cnnlab ", line)
            composing.complete(said.words)
        elif said.cfg:
            composing.show(asked, said.cfg, said.resolve)
        elif said.multirun or composing.is_sweep(asked):
            composing.launch(arm, asked)
        else:
            _make(composing.planned(asked))


def _flags() -> Parser:
    """Of Hydra's flags, those that may be used."""
    parse = parser("train")
    parse.add_argument("words", nargs="*")
    parse.add_argument("-m", "--multirun", action="store_true")
    parse.add_argument("-c", "--cfg", choices=("job", "hydra", "all"))
    parse.add_argument("-cd", "--config-dir", type=folder)
    parse.add_argument("--resolve", action="store_true")
    parse.add_argument("--yes", action="store_true")
    parse.add_argument("-sc", "--shell-completion", action="store_true")
    return parse


def folder(text: str) -> str:
    """The name of a folder that is there."""
    if not Path(text).is_dir():
        raise ArgumentTypeError(f"{text}: there is no such folder")
    return text


def arm(cfg: DictConfig) -> Outcome | Exception:
    """Make one of a sweep's arms, in its worker; an error is returned, since of one that is raised Hydra prints lines.

    Hydra hands its composed config to it.
    """
    from hydra.core.hydra_config import HydraConfig

    from cnnlab.sweeps import make_arm

    try:
        return make_arm(cfg, HydraConfig.get())
    except Exception as error:
        return error


def _make(asked: Plan) -> None:
    """Make one run, with a progress bar on a terminal; exit with 1 if it fails."""
    from cnnlab.commands.bar import Bar
    from cnnlab.orphans import reaper
    from cnnlab.report.tables import count
    from cnnlab.runs import make
    from cnnlab.tracking.apart import log_apart
    from cnnlab.tracking.store import checkpoints

    rate = f"  learning rate {asked.config['lr']:g} ({asked.lr_source})" if asked.lr_source else ""
    print(f"{asked.label}{rate}", flush=True)
    if sys.stdout.isatty():
        print(asked.description, flush=True)
    try:
        with reaper(asked.study), closing(Bar()) as bar, log_apart() as log:
            outcome = make(asked, log, bar)
    except KeyboardInterrupt:
        kept = checkpoints(asked.fingerprint, asked.code).epochs()
        more = f"{count(kept, 'whole epoch')} kept: the same command goes on from there" if kept else "nothing is kept"
        raise KeyboardInterrupt(f"{asked.label}: {more}") from None
    print(outcome, f"run {outcome.run_id or 'without an id yet'} of study {asked.study}; {UI} shows it", sep="\n")
    if outcome.status == "failed":
        sys.exit(1)
