"""From a sweep's file and words to the plans of its arms."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, RangeSweep
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from cnnlab import changes
from cnnlab.composing.configs import composition
from cnnlab.composing.plans import Plan, plan
from cnnlab.report.arms import RunRecord, arms, swept
from cnnlab.report.contrasts import Asked
from cnnlab.report.rows import Row
from cnnlab.spelling import TEXT, as_text, seeds

MOST_ARMS = 10_000  # of a sweep, that nobody has to confirm
SPOKEN = {  # as `cnnlab sweep` calls them
    "hydra.launcher.n_jobs=": "--jobs=",
    "hydra.launcher.array_parallelism=": "--jobs=",
    "hydra/launcher=": "--launcher=",
}


@dataclass(frozen=True)
class Sweep:
    """The arms of one question, each once.

    `rows` holds the arms of each row of a list; a grid has none. `asked` is what its file wants to know, and `changes`
    is how far test images are changed for its page, by kind (see `cnnlab.changes`).
    `refused` has a line on each arm that is impossible. `command` makes the sweep again. `workers` is how many the
    launcher uses, if it says so.
    """

    plans: list[Plan]
    command: str
    workers: int | None
    rows: dict[Row, list[Plan]]
    refused: list[str]
    asked: Asked = field(default_factory=Asked)
    changes: dict[str, float] = field(default_factory=dict)


def sweep(loader: ConfigLoader, cfg: DictConfig, arguments: Sequence[str], only: Sequence[str] = ()) -> Sweep:
    """The sweep that a composed config and the words of its command line ask for.

    Of a list of rows, `only` those of these names. ValueError, in one line, if no arm is possible.
    """
    options, only = cfg.hydra.sweeper, only or cfg.hydra.sweeper.get("only") or ()
    if only and not options.get("rows"):
        raise ValueError(f"--only {', '.join(only)}: this sweep is a grid, which has no rows")
    asks = _asked(options)
    try:
        changed = changes.asked(list(options.evaluate)) if options.get("evaluate") else {}
    except ValueError as error:
        raise ValueError(f"evaluate: {error}") from None
    params = [f"{key}={value}" for key, value in (options.get("params") or {}).items()]
    asked = _rows(options.rows, only) if options.get("rows") else {None: params}
    plans: dict[tuple[str, str], Plan] = {}
    found: dict[Row | None, dict[tuple[str, str], None]] = {row: {} for row in asked}
    refused: dict[str, None] = {}
    composer = Arms(loader, cfg)
    grids = {row: _grid(loader, words, arguments) for row, words in asked.items()}
    many = sum(math.prod(map(_size, grid)) for grid in grids.values())
    if many > MOST_ARMS and not options.get("yes"):
        raise ValueError(f"this sweep has {many:,} arms, more than {MOST_ARMS:,}: say --yes if you mean it")
    for row, grid in grids.items():
        for arm in BasicSweeper.split_arguments(grid, None)[0]:
            try:
                made = composer.plan(arm)
            except ValueError as error:
                refused[str(error)] = None
            else:
                plans.setdefault(made.key, made)
                found[row][made.key] = None
    if not plans:
        raise ValueError("; ".join(refused) or "there is nothing to sweep over")
    rows = {}
    for row, keys in found.items():
        if row:
            passes = str(plans[next(iter(keys))].config["learner"].get("epochs", "")) if keys else ""
            rows[replace(row, passes=passes)] = [plans[key] for key in keys]
    own = {word.partition("=")[0] for words in asked.values() for word in words} - {"seed"}
    if not (only or refused or own & {word.partition("=")[0] for word in arguments}):  # all arms of the file are there
        _check(asks, plans.values(), rows)
    command = _command(cfg.hydra.overrides.hydra, cfg.hydra.overrides.task, only)
    jobs = cfg.hydra.launcher.get("n_jobs")
    workers = jobs if jobs and jobs > 0 else None  # -1 is joblib's "as many as there are cores"
    return Sweep(list(plans.values()), command, workers, rows, list(refused), asks, changed)


def _check(asked: Asked, plans: Iterable[Plan], rows: Mapping[Row, Sequence[Plan]]) -> None:
    """ValueError, in one line, for contrasts that no arms can answer: before the runs, not after them."""
    names = {plan.key: row.name for row, made in rows.items() if not row.votes for plan in made}
    records = [RunRecord("", plan.words, "", row=names.get(plan.key, "")) for plan in plans]
    asked.check(arms(records, swept(records)))


class Arms:
    """Composes the arms of a sweep; those that differ by their seed alone are composed once, which takes Hydra long."""

    def __init__(self, loader: ConfigLoader, cfg: DictConfig) -> None:
        self._loader, self._cfg = loader, cfg
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def plan(self, overrides: Sequence[str]) -> Plan:
        """The plan of one arm, by all words of its own."""
        seeds = [word for word in overrides if re.fullmatch(r"seed=\d+", word)]
        same = tuple(word for word in overrides if word not in seeds)
        if not seeds or same not in self._composed:
            composed = self._loader.load_sweep_config(self._cfg, list(overrides))
        else:
            composed = self._composed[same]
            with read_write(composed):
                composed.seed = int(seeds[-1].partition("=")[2])
                composed.hydra.overrides.task = list(overrides)
        self._composed = {same: composed}  # the seeds of an arm come one after the other
        return plan(composed, composed.hydra)


def _command(hydra: Sequence[str], task: Sequence[str], only: Sequence[str]) -> str:
    """The command that asks for a sweep by these overrides, in the words of `cnnlab sweep` where a file is named."""
    text = "|".join([*TEXT, r"tags\.\w+"])
    quoted = re.compile(rf"({text})='([\w./-]+)'")  # by `as_text`, which will do so again
    words = [match.expand(r"\1=\2") if (match := quoted.fullmatch(word)) else word for word in (*hydra, *task)]
    command = "tune" if any(word.startswith("hydra.sweeper.tune=") for word in words) else "sweep"
    words = [word for word in words if not word.startswith(("hydra.mode=", "hydra.sweeper."))]
    names = [word for word in words if word.startswith("sweep=")]
    if not names:
        return shlex.join(["cnnlab", "train", "-m", *words])
    for override, option in SPOKEN.items():
        words = [word.replace(override, option) for word in words]
    rows = [f"--only={row}" for row in only]
    begin = ["cnnlab", command, names[-1].removeprefix("sweep="), *rows]
    return shlex.join(begin + [word for word in words if word not in names])


def sweep_of(name: str, words: Sequence[str] = (), only: Sequence[str] = ()) -> Sweep:
    """The sweep of a file in conf/sweep, without launching it."""
    with composition():
        loader, cfg, asked = _configured(name, words)
        return sweep(loader, cfg, asked, only)


def asked_of(name: str) -> Asked:
    """What a file in conf/sweep wants to know; its arms, and so their images, are not looked at."""
    with composition():
        return _asked(_configured(name)[1].hydra.sweeper)


def _configured(name: str, words: Sequence[str] = ()) -> tuple[ConfigLoader, DictConfig, list[str]]:
    asked, hydra = [f"sweep={name}", *as_text(words)], GlobalHydra.instance().hydra
    assert hydra
    return hydra.config_loader, hydra.config_loader.load_configuration("train", asked, RunMode.MULTIRUN), asked


def _asked(options: DictConfig) -> Asked:
    return Asked(
        contrasts=tuple(options.get("contrasts") or ()),
        within=options.get("within") or "",
        staircase=tuple(options.get("staircase") or ()),
    )


def _grid(loader: ConfigLoader, words: Sequence[str], arguments: Sequence[str]) -> list[Override]:
    """The options that the words give, each once; what the command line says replaces a file's word."""
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*words, *arguments])
    return list({override.get_key_element(): override for override in parsed}.values())


def _size(option: Override) -> int:
    """How many values an option has, counted without making them; ValueError where they cannot be counted."""
    values: Any = option.value()
    if isinstance(values, ChoiceSweep):
        return len(values.list)
    if isinstance(values, Glob):
        return len(list(option.sweep_string_iterator()))
    if not isinstance(values, RangeSweep):
        if option.is_sweep_override():
            raise ValueError(f"{option.input_line}: write the values one by one, or a range of them")
        return 1
    start, stop, step = (Decimal(number or 0) for number in (values.start, values.stop, values.step))
    if not (start.is_finite() and stop.is_finite() and step.is_finite() and step):
        raise ValueError(f"{option.input_line}: a range has two ends, and a step that is not 0")
    return max(0, math.ceil((stop - start) / step))


def _rows(listed: DictConfig, only: Sequence[str]) -> dict[Row, list[str]]:
    """The rows of a list, or only some, with the words of their runs; a vote has the words of its voters."""
    values: Any = OmegaConf.to_container(listed)
    rows = {name: Row(name, **row) for name, row in values.items()}
    if unknown := sorted({*only, *(row.votes for row in rows.values() if row.votes)} - rows.keys()):
        raise ValueError(f"there is no row {', '.join(unknown)}: choose from {' '.join(rows)}")
    chosen = [row for name, row in rows.items() if not only or name in only]
    runs = {row: rows.get(row.votes, row) for row in chosen}
    return {row: [*shlex.split(of.words), seeds(of.seeds)] for row, of in runs.items()}
