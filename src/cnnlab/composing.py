"""From words to plans and objects: the only module of the library that knows Hydra."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import yaml

from cnnlab import code
from cnnlab.config import GROUPS, NUMBERS, RunConfig, fingerprint, targets, typed, without_off
from cnnlab.data import Dataset
from cnnlab.learners import Learner
from cnnlab.paths import conf_folder
from cnnlab.report.rows import Row
from cnnlab.spelling import TEXT, as_text

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

NAMES = {r"^learner\.loss": "loss.criterion", r"^learner\.model\.output": "loss.output", "^learner$": "model"}
SPOKEN = {"hydra.launcher.n_jobs=": "--jobs=", "hydra/launcher=": "--launcher="}  # as `cnnlab sweep` calls them
UNSAID = ("sweep", "study", "rerun")  # overrides that say nothing of the run itself


@dataclass(frozen=True)
class Plan:
    """A run that could be made: its resolved config, the words it is called by, what learns, and its identity.

    `description` is the learner as text, a network layer by layer. `fingerprint` identifies the run: it is a hash of
    all that is asked for and of the data. `code` is the digest of the modules that compute it. `lr_source` says where
    the learning rate is from, if there is one.
    """

    config: dict[str, Any]
    words: dict[str, str]
    learner: Learner
    description: str
    fingerprint: str
    code: str
    lr_source: str = ""
    overrides: tuple[str, ...] = ()

    @property
    def study(self) -> str:
        """Name of the MLflow experiment that it belongs to."""
        return self.config["study"]

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the other arms of a sweep."""
        return self.study, self.fingerprint

    @property
    def label(self) -> str:
        """Its words in short: what a list of runs calls it."""
        said = [self.words[word] for word in GROUPS if self.words[word] != "none"]
        more = [name for name in self.words if name not in (*GROUPS, *NUMBERS)]
        more += ["lr"] if self.lr_source == "given" else []
        return " ".join([*said, *(f"{name}={self.words[name]}" for name in (*more, "seed"))])


def plan(cfg: DictConfig, context: Any) -> Plan:
    """The plan of a composed config; `context` is its `hydra` node. ValueError, in one line, if it is impossible."""
    from omegaconf import OmegaConf

    config: Any = OmegaConf.to_container(OmegaConf.masked_copy(cfg, list(RunConfig.__annotations__)), resolve=True)
    choices, source = context.runtime.choices, ""
    if "_partial_" not in config["model"]:  # a classifier, which is a learner itself
        if choices["learner"] != "network":
            raise ValueError(f"learner={choices['learner']}: is for networks, and model={choices['model']} is none")
        config["learner"] = config["model"]
    taken = {"model", "data", "seed", "threads", *config["learner"]}
    taken |= {"learner", *config["model"]} if "model" in config["learner"] else set()
    words = {group: choices[group] if group in taken else "none" for group in GROUPS}  # an MLP has no pooling
    if "lr" in config["learner"]:
        config["lr"], source = _learning_rate(config["lr"], words)
        config["learner"]["lr"] = config["lr"]
    config = typed(config)
    words |= {number: str(config[number]) if number in taken else "none" for number in NUMBERS}
    words |= _details(context.overrides.task, words, set(RunConfig.__annotations__) - taken)
    learner: Learner = _instantiated({"learner": config["learner"]})["learner"]
    data = load(config["data"])
    try:
        description = learner.describe(data)
    except ValueError as error:
        chosen = {"learner": choices["learner"]} | {group: words[group] for group in GROUPS}
        together = " ".join(f"{word}={option}" for word, option in chosen.items() if option not in ("none", "network"))
        raise ValueError(f"{together} do not go together: {error}") from None
    asked = {name: config[name] for name in ("learner", "data", "seed", "threads")}
    identity = fingerprint(without_off(asked) | {"digest": data.digest})
    modules = code.digest(targets(asked))
    return Plan(config, words, learner, description, identity, modules, source, tuple(context.overrides.task))


def _details(overrides: Sequence[str], words: Mapping[str, str], unused: Set[str]) -> dict[str, str]:
    """What a command line changed beyond the words, as in optimizer.momentum=0.5: it tells arms apart, too.

    Options that are `unused`, since neither learner nor model takes them, change nothing and are left out.
    """
    pairs = [override.partition("=")[::2] for override in overrides]
    return {
        name: value.strip("'")  # of text, which is in quotes for Hydra
        for name, value in pairs
        if name not in words and name not in UNSAID and name.partition(".")[0] not in unused
    }


def rate_key(words: Mapping[str, str]) -> str:
    """Name of an arm in the table of learning rates."""
    return " ".join(words[group] for group in GROUPS if group != "data")


def _learning_rate(given: float | None, words: Mapping[str, str]) -> tuple[float, str]:
    """The rate and where it is from: given, chosen for these words, or the optimiser's default."""
    if given is not None:
        return given, "given"
    rates, optimizer = _rates(), words["optimizer"]
    if (chosen := rates["chosen"].get(rate_key(words))) is not None:
        return chosen, "chosen for these words on validation images, see conf/rates.yaml"
    if (default := rates["default"].get(optimizer)) is None:
        raise ValueError(f"optimizer={optimizer}: conf/rates.yaml has no default rate for it; choose one with lr=")
    return default, "default of the optimizer"


@cache
def _rates() -> dict[str, Any]:
    return yaml.safe_load((conf_folder() / "rates.yaml").read_text(encoding="utf-8"))


def load_data(plan: Plan) -> Dataset:
    """The data of a plan."""
    return load(plan.config["data"])


def load(node: Mapping[str, Any]) -> Dataset:
    """The dataset that a config's `data` describes; the last two are kept in memory."""
    return _loaded(json.dumps(node))


@lru_cache(maxsize=2)
def _loaded(node: str) -> Dataset:
    return _instantiated({"data": json.loads(node)})["data"]


def _instantiated(node: dict[str, Any]) -> Any:
    """The objects of a node; an error inside comes out as itself, without Hydra's frame.

    One that begins with an option and its value names the option as it is typed: `optimizer.mu=-1: choose ...`.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        cause, group = error.__cause__, re.search(r"full_key: (\S+)", str(error))
        if isinstance(cause, ValueError) and group and re.match(r"\w+=", str(cause)):
            key = group[1]
            for inside, typed_name in NAMES.items():
                key = re.sub(inside, typed_name, key)
            raise ValueError(f"{re.sub(r'^learner.(model.)?', '', key)}.{cause}") from None
        raise cause or error from None


@dataclass(frozen=True)
class Sweep:
    """The arms of one question, each once.

    `rows` holds the arms of each row of a list; a grid has none. `refused` has a line on each arm that is impossible.
    `command` makes the sweep again. `workers` is how many the launcher uses, if it says so.
    """

    plans: list[Plan]
    command: str
    workers: int | None
    rows: dict[Row, list[Plan]]
    refused: list[str]

    def add(self, loader: ConfigLoader, cfg: DictConfig, arms: Sequence[Sequence[str]]) -> list[Plan]:
        """Take in the arms that these words make; all of them, without those that are refused."""
        known = {arm.key: arm for arm in self.plans}
        added: dict[tuple[str, str], Plan] = {}
        for words in arms:
            try:
                composed = loader.load_sweep_config(cfg, list(words))
                arm = plan(composed, composed.hydra)
            except ValueError as error:
                self.refused.extend({str(error)} - {*self.refused})
                continue
            added[arm.key] = known.get(arm.key, added.get(arm.key, arm))
        self.plans.extend(arm for key, arm in added.items() if key not in known)
        return list(added.values())


def sweep(loader: ConfigLoader, cfg: DictConfig, arguments: Sequence[str], only: Sequence[str] = ()) -> Sweep:
    """The sweep that a composed config and the words of its command line ask for.

    Of a list of rows, `only` those of these names. ValueError, in one line, if no arm is possible.
    """
    options, said = cfg.hydra.sweeper, cfg.hydra.overrides
    only = only or options.get("only") or ()
    sweep = Sweep([], _command(said.hydra, said.task, only), _workers(cfg.hydra.launcher), {}, [])
    if options.get("rows"):
        for row, words in _rows(options.rows, only).items():
            arms = sweep.add(loader, cfg, _grid(loader, words, arguments))
            passes = str(arms[0].config["learner"].get("epochs", "")) if arms else ""
            sweep.rows[replace(row, passes=passes)] = arms
    elif only:
        raise ValueError(f"--only {', '.join(only)}: this sweep is a grid, which has no rows")
    else:
        params = [f"{key}={value}" for key, value in (options.get("params") or {}).items()]
        sweep.add(loader, cfg, _grid(loader, params, arguments))
    if not sweep.plans:
        raise ValueError("; ".join(sweep.refused) or "there is nothing to sweep over")
    return sweep


def _command(hydra: Sequence[str], task: Sequence[str], only: Sequence[str]) -> str:
    """The command that asks for a sweep by these overrides, in the words of `cnnlab sweep` where a file is named."""
    quoted = re.compile(rf"({'|'.join(TEXT)})='([\w./-]+)'")  # by `as_text`, which will do so again
    words = [match.expand(r"\1=\2") if (match := quoted.fullmatch(word)) else word for word in (*hydra, *task)]
    words = [word for word in words if not word.startswith(("hydra.mode=", "hydra.sweeper.only="))]
    names = [word for word in words if word.startswith("sweep=")]
    if not names:
        return shlex.join(["cnnlab", "train", "-m", *words])
    for override, option in SPOKEN.items():
        words = [word.replace(override, option) for word in words]
    rows = [f"--only={row}" for row in only]
    begin = ["cnnlab", "sweep", names[-1].removeprefix("sweep="), *rows]
    return shlex.join(begin + [word for word in words if word not in names])


def _workers(launcher: DictConfig) -> int | None:
    jobs: int | None = launcher.get("n_jobs")
    if jobs == 0:
        raise ValueError("hydra.launcher.n_jobs=0: choose a number of workers from 1 up, or -1 for one on each core")
    if jobs is not None and jobs < 0:
        from joblib import effective_n_jobs

        return int(effective_n_jobs(jobs))
    return jobs


def sweep_of(name: str, words: Sequence[str] = (), only: Sequence[str] = ()) -> Sweep:
    """The sweep of a file in conf/sweep, without launching it."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    with composition():
        asked = [f"sweep={name}", *as_text(words)]
        hydra = GlobalHydra.instance().hydra
        assert hydra
        cfg = hydra.config_loader.load_configuration("train", asked, RunMode.MULTIRUN)
        return sweep(hydra.config_loader, cfg, asked, only)


@contextmanager
def composition() -> Iterator[None]:
    """Hydra, ready to compose the project's configs."""
    from hydra import initialize_config_dir

    register()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield


def register() -> None:
    """Make the types of a config's values known to Hydra, under the name that conf/train.yaml calls them by."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=RunConfig)


def _grid(loader: ConfigLoader, words: Sequence[str], arguments: Sequence[str]) -> Sequence[Sequence[str]]:
    """Every combination of the options that the words give; what the command line says replaces a file's word."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*words, *arguments])
    last = {override.get_key_element(): override for override in parsed}
    return BasicSweeper.split_arguments(list(last.values()), None)[0]


def _rows(listed: DictConfig, only: Sequence[str]) -> dict[Row, list[str]]:
    """The rows of a list, or only some, with the words of their runs; a vote has the words of its voters."""
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(listed)
    rows = {name: Row(name, **row) for name, row in values.items()}
    if unknown := sorted({*only, *(row.votes for row in rows.values() if row.votes)} - rows.keys()):
        raise ValueError(f"there is no row {', '.join(unknown)}: choose from {' '.join(rows)}")
    return {row: _row_words(rows.get(row.votes, row)) for name, row in rows.items() if not only or name in only}


def _row_words(row: Row) -> list[str]:
    return [*shlex.split(row.words), f"seed={','.join(map(str, range(row.seeds)))}"]
