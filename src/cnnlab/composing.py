"""From words to plans and objects: the only module of the library that knows Hydra."""

from __future__ import annotations

import errno
import importlib
import json
import math
import re
import shlex
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from cnnlab import changes, code, rates
from cnnlab.config import GROUPS, NUMBERS, RunConfig, fingerprint, targets, typed, without_off
from cnnlab.data import Dataset
from cnnlab.learners import Learner
from cnnlab.paths import conf_folder
from cnnlab.report.arms import RunRecord, arms, swept
from cnnlab.report.contrasts import Asked
from cnnlab.report.rows import Row
from cnnlab.spelling import TEXT, as_text, check_words, local_folder, seeds
from cnnlab.trust import check_targets, trusted

SPOKEN = {"hydra.launcher.n_jobs=": "--jobs=", "hydra/launcher=": "--launcher="}  # as `cnnlab sweep` calls them
MOST_ARMS, MOST_IMAGES = 10_000, 10**9  # of a sweep, and of a run (images x epochs), that nobody has to confirm
MOST = 2**63 - 1  # what a whole number may be
DAMAGED = (EOFError, struct.error, zipfile.BadZipFile, zlib.error)  # beside ValueError and OSError
SPACES = (  # what a word may be in a search
    "options a,b or numbers range(8,129,8), interval(0.1,1), int(interval(8,128)), tag(log,interval(0.001,1))"
)
UNSAID = ("sweep", "study", "rerun")  # overrides that say nothing of the run itself
OF_SEED = "${seed}"  # the value of an option that each run draws by its own seed

SCHEMA = OmegaConf.structured(RunConfig)
SCHEMA.tags = {}
OmegaConf.set_struct(SCHEMA.tags, False)  # they may have any names
ConfigStore.instance().store(name="schema", node=SCHEMA)  # the name that conf/train.yaml calls the types by


@dataclass(frozen=True)
class Plan:
    """A run that could be made: its resolved config, the words it is called by, what learns, and its identity.

    `description` is the learner as text, a network layer by layer. `fingerprint` identifies the run: it is a hash of
    all that is asked for and of the data. `code` is the digest of the modules that compute it. `lr_source` says where
    the learning rate is from, if there is one, and `tuned_for` what it should be tuned for.
    """

    config: dict[str, Any]
    words: dict[str, str]
    learner: Learner
    description: str
    fingerprint: str
    code: str
    lr_source: str = ""
    tuned_for: rates.Key = rates.NO_KEY
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
        more += ["lr"] if self.lr_source == rates.GIVEN else []
        more += ["batch_size"] if any(word.startswith("batch_size=") for word in self.overrides) else []
        return " ".join([*said, *(f"{name}={self.words[name]}" for name in (*more, "seed"))])


@dataclass(frozen=True)
class Resolved:
    """A composed config as plain values, with the `choices` of all groups, and the `words` that a run is called by.

    `lr_source` and `tuned_for` are as those of a plan.
    """

    config: dict[str, Any]
    choices: Mapping[str, str]
    words: dict[str, str]
    lr_source: str
    tuned_for: rates.Key

    @property
    def learner(self) -> Learner:
        """What learns by this config."""
        return _instantiated({"learner": self.config["learner"]})["learner"]


def resolved(cfg: DictConfig, context: Any) -> Resolved:
    """The values of a composed config; `context` is its `hydra` node. ValueError, in one line, if one is impossible."""
    asked = OmegaConf.masked_copy(cfg, list(RunConfig.__annotations__))
    try:
        config: Any = OmegaConf.to_container(asked, resolve=True)
    except OmegaConfBaseException as error:  # an interpolation of what is not there
        raise ValueError(f"{error.full_key}: {str(error).splitlines()[0]}") from None
    check_targets(config)  # again, since an interpolation can make a node of text
    _check_sizes(config)
    choices, source, tuned_for = context.runtime.choices, "", rates.NO_KEY
    if "_partial_" not in config["model"]:  # a classifier, which is a learner itself
        if choices["learner"] != "network":
            raise ValueError(f"learner={choices['learner']}: is for networks, and model={choices['model']} is none")
        config["learner"] = config["model"]
    taken = {"model", "data", "seed", "threads", *config["learner"]}
    taken |= {"learner", *config["model"]} if "model" in config["learner"] else set()
    words = {group: choices[group] if group in taken else "none" for group in GROUPS}  # an MLP has no pooling
    if "lr" in config["learner"]:
        folders = tuple(Path(place.path) for place in context.runtime.config_sources if place.schema == "file")
        tuned_for = rates.key(_of_all_seeds(config, OmegaConf.to_container(asked)), choices, taken, folders)
        source = rates.GIVEN
        if config["lr"] is None:
            config["lr"], source = rates.rate(tuned_for, words["optimizer"])
        config["learner"]["lr"] = config["lr"]
    config = typed(config)
    words |= {number: str(config[number]) if number in taken else "none" for number in NUMBERS}
    words |= _details(context.overrides.task, words, RunConfig.__annotations__.keys() - taken)
    return Resolved(config, choices, words, source, tuned_for)


def _of_all_seeds(values: Any, written: Any) -> Any:
    """The values of a config, but `${seed}` where that is written: the seeds of an arm share what is written."""
    if isinstance(values, dict) and isinstance(written, dict):
        return {name: _of_all_seeds(value, written[name]) for name, value in values.items()}
    return written if written == OF_SEED else values


def plan(cfg: DictConfig, context: Any) -> Plan:
    """The plan of a composed config; `context` is its `hydra` node. ValueError, in one line, if it is impossible."""
    found = resolved(cfg, context)
    config, words, learner, data = found.config, found.words, found.learner, load(found.config["data"])
    if not context.sweeper.get("yes"):
        _check_length(config["learner"], len(data.train))
    try:
        description = learner.describe(data)
    except ValueError as error:
        chosen = {"learner": found.choices["learner"]} | {group: words[group] for group in GROUPS}
        together = " ".join(f"{word}={option}" for word, option in chosen.items() if option not in ("none", "network"))
        raise ValueError(f"{together} do not go together: {error}") from None
    asked = {name: config[name] for name in ("learner", "data", "seed", "threads")}
    identity = fingerprint(without_off(asked) | {"digest": data.digest})
    modules, overrides = code.digest(targets(asked)), tuple(context.overrides.task)
    return Plan(config, words, learner, description, identity, modules, found.lr_source, found.tuned_for, overrides)


def composed(words: Sequence[str]) -> DictConfig:
    """The config of a command line, with its `hydra` node."""
    with composition():
        return compose("train", as_text(words), return_hydra_config=True)


def planned(words: Sequence[str]) -> Plan:
    """The plan of a command line."""
    cfg = composed(words)
    return plan(cfg, cfg.hydra)


def _check_sizes(node: Any, at: str = "") -> None:
    """ValueError for whole numbers that the machine has no room for."""
    if isinstance(node, int) and abs(node) > MOST:
        raise ValueError(f"{at.removeprefix('learner.')}: whole numbers go up to {MOST:,}")
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in items:
        _check_sizes(value, f"{at}.{name}" if at else str(name))


def _check_length(learner: Mapping[str, Any], images: int) -> None:
    """ValueError for a training so long that it may be a slip of the pen."""
    epochs, images = learner.get("epochs", 0), learner.get("images_per_epoch") or images
    if (total := epochs * images) > MOST_IMAGES:
        said = f"epochs={epochs}: {total:,} images, {images:,} in each epoch, are more than {MOST_IMAGES:,}"
        raise ValueError(f"{said}: say --yes if you mean it")


def _details(overrides: Sequence[str], words: Mapping[str, str], unused: Set[str]) -> dict[str, str]:
    """What a command line changed beyond the words, as in optimizer.momentum=0.5: it tells arms apart, too.

    Options that are `unused`, since neither learner nor model takes them, change nothing and are left out.
    """
    pairs = [override.partition("=")[::2] for override in overrides]
    return {
        name: re.sub(r"\\([{}])", r"\1", value.strip("'"))  # text is in quotes for Hydra, and what is in braces escaped
        for name, value in pairs
        if name not in (*words, *UNSAID) and name.partition(".")[0] not in unused
    }


def load_data(plan: Plan) -> Dataset:
    """The data of a plan."""
    return load(plan.config["data"])


def load(node: Mapping[str, Any]) -> Dataset:
    """The dataset that a config's `data` describes; the last two are kept in memory.

    ValueError or OSError, in one line, where its files are not there or damaged.
    """
    try:
        return _loaded(json.dumps(node))
    except (*DAMAGED, KeyError, OSError) as error:
        lacks = isinstance(error, KeyError) and "is not a file in the archive" in str(error)
        if not (lacks or isinstance(error, DAMAGED) or getattr(error, "errno", 0) == errno.EINVAL):
            raise
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{node['_target_']}: a file of its images is damaged: {said}") from None


@lru_cache(maxsize=2)
def _loaded(node: str) -> Dataset:
    return _instantiated({"data": json.loads(node)})["data"]


def _instantiated(node: dict[str, Any]) -> Any:
    """The objects of a node; an error inside comes out as itself, without Hydra's frame.

    One that begins with an option and its value names the option as it is typed: `optimizer.mu=-1: choose ...`.
    """
    check_targets(node)
    for target in targets(node):
        _check_owner(target)
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        cause, group = error.__cause__, re.search(r"full_key: (?:learner\.(?:model\.)?)?(\S+)", str(error))
        if isinstance(cause, ValueError) and group and re.match(r"\w+=", str(cause)):
            raise ValueError(f"{group[1]}.{cause}") from None
        raise cause or error from None


def learner_of(words: Sequence[str]) -> Learner:
    """What the run of these words would train, at the rate that it would have; no data are read.

    ValueError, in one line, for words that are no choices. A learner is composed once in a process.
    """
    return _learner(tuple(words), conf_folder())


@lru_cache(maxsize=100)
def _learner(words: tuple[str, ...], folder: Path) -> Learner:
    check_words(words, [folder])
    cfg = composed(words)
    return resolved(cfg, cfg.hydra).learner


def _check_owner(target: str) -> None:
    """ValueError for what a module of cnnlab has imported for itself, such as a function of Python's own."""
    module, _, name = target.rpartition(".")
    if module.startswith("cnnlab."):
        try:
            owner = getattr(importlib.import_module(module), name).__module__
        except (ImportError, AttributeError):
            raise ValueError(f"_target_={target}: there is no such class or function") from None
        if not trusted(owner):
            raise ValueError(f"_target_={target}: is not cnnlab's own")


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


class Loader(ConfigLoaderImpl):
    """Hydra's loader of configs, which refuses names of code that are not trusted before anything is imported."""

    def load_configuration(self, *arguments: Any, **options: Any) -> DictConfig:
        """The composed config, also of each arm of a sweep; ValueError, in one line, for what it may not name."""
        try:
            cfg = super().load_configuration(*arguments, **options)
        except KeyError as error:
            raise ValueError(f"hydra.job.env_copy: there is no variable {error} in the environment") from None
        check_targets(OmegaConf.to_container(cfg))
        return cfg

    def _process_config_searchpath(self, config_name: Any, parsed_overrides: list[Override], repo: Any) -> None:
        """Only folders may be searched: for other places Hydra imports packages."""
        asked: Any = [word.value() for word in parsed_overrides if word.get_key_element() == "hydra.searchpath"]
        if not asked and config_name:
            loaded = repo.load_config(config_name)
            asked = [OmegaConf.select(loaded.config, "hydra.searchpath")] if loaded else []
        for place in asked[0] or () if asked else ():
            local_folder(str(place))
        super()._process_config_searchpath(config_name, parsed_overrides, repo)


@contextmanager
def composition(own: Path | None = None) -> Iterator[Hydra]:
    """Hydra, ready to compose the project's configs, and those of a folder of one's `own`."""
    with initialize_config_dir(str(conf_folder()), job_name="train", version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra
        places = hydra.config_loader.get_search_path()
        if own:
            places.prepend("command-line", f"file://{own.absolute()}", SearchPathQuery("schema", None))
        hydra.config_loader = Loader(places)
        yield hydra


def launch(task: Callable[[DictConfig], Any], words: Sequence[str], own: Path | None, several: bool) -> None:
    """Compose the config of a run and give it to the task, or those of a sweep to its workers, if it is one."""
    with composition(own) as hydra:
        mode = RunMode.MULTIRUN if several else hydra.get_mode("train", list(words)) or RunMode.RUN
        make = hydra.multirun if mode == RunMode.MULTIRUN else hydra.run
        make(config_name="train", task_function=task, overrides=[*words, f"hydra.mode={mode.name}"])


def show(words: Sequence[str], own: Path | None, part: str, resolve: bool) -> None:
    """Print the composed config, or its part for the `job` or for `hydra`."""
    with composition(own) as hydra:
        hydra.show_cfg("train", list(words), part, None, resolve)


def complete(words: Sequence[str]) -> None:
    """Complete a command line for a shell, or tell the shell how to ask for that."""
    with composition() as hydra:
        hydra.shell_completion("train", list(words))


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


@dataclass(frozen=True)
class Options:
    """What a word may be in a search: one of these options, as they are typed."""

    options: tuple[str, ...]


@dataclass(frozen=True)
class Numbers:
    """What a word may be in a search: a number from `low` to `high`, a whole one where both are.

    They go by a `step`, if there is one, or by factors rather than differences on a `log` scale.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False


def searched(words: Sequence[str]) -> dict[str, Options | Numbers]:
    """What the words with several options or numbers may be, in Hydra's grammar of sweeps; ValueError in one line."""
    with composition():
        hydra = GlobalHydra.instance().hydra
        assert hydra
        parser, found = OverridesParser.create(config_loader=hydra.config_loader), dict[str, Options | Numbers]()
        for word in as_text(words):
            try:
                parsed = parser.parse_override(word)
                if parsed.is_sweep_override():
                    found[parsed.get_key_element()] = _space(parsed)
            except (HydraException, ValueError) as error:
                reason = f"{error}; " if isinstance(error, ValueError) else ""
                raise ValueError(f"{word}: {reason}choose {SPACES}") from None
    return found


def _space(word: Override) -> Options | Numbers:
    value = word.value()
    log = isinstance(value, IntervalSweep | RangeSweep) and "log" in value.tags
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        space = Numbers(value.start, value.end, log=log)
    elif isinstance(value, RangeSweep):
        numbers = sorted(value.range())
        if not numbers or (log and value.step != 1):
            raise ValueError("its steps are not of a log scale" if numbers else "there is nothing in this range")
        space = Numbers(numbers[0], numbers[-1], None if log else abs(value.step), log)
    elif isinstance(value, ChoiceSweep) and value.shuffle:
        raise ValueError("a search has no order")
    else:
        return Options(tuple(dict.fromkeys(word.sweep_string_iterator())))
    if space.low > space.high or (log and space.low <= 0):
        raise ValueError("a log scale begins above 0" if log else "the smaller number comes first")
    return space
