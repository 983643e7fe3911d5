"""From a composed config to the plan of a run: what learns, by which words it is called, and its identity."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cnnlab import code, rates
from cnnlab.composing.configs import composed
from cnnlab.composing.objects import instantiated, load
from cnnlab.config import GROUPS, NUMBERS, RunConfig, fingerprint, targets, typed, without_off
from cnnlab.data import Dataset
from cnnlab.learners import Learner
from cnnlab.paths import conf_folder
from cnnlab.spelling import check_words
from cnnlab.trust import check_targets

MOST_IMAGES = 10**9  # of a run (images x epochs), that nobody has to confirm
MOST = 2**63 - 1  # what a whole number may be
UNSAID = ("sweep", "study", "rerun")  # overrides that say nothing of the run itself
OF_SEED = "${seed}"  # the value of an option that each run draws by its own seed


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
    def data(self) -> Dataset:
        """The images that it learns from and is tested on."""
        return load(self.config["data"])

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the other arms of a sweep."""
        return self.study, self.fingerprint

    @property
    def label(self) -> str:
        """Its words in short: what a list of runs calls it."""
        return " ".join(self.terms.values())

    @property
    def terms(self) -> dict[str, str]:
        """What its label says, by word."""
        said = {word: self.words[word] for word in GROUPS if self.words[word] != "none"}
        more = [name for name in self.words if name not in (*GROUPS, *NUMBERS)]
        more += ["lr"] if self.lr_source == rates.GIVEN else []
        more += ["batch_size"] if any(word.startswith("batch_size=") for word in self.overrides) else []
        return said | {name: f"{name}={self.words[name]}" for name in (*more, "seed")}


def told_apart(plans: Sequence[Plan]) -> tuple[str, list[str]]:
    """What several plans have in common, as text, and what each of them is called: by what not all share.

    That is what their labels say, and the epochs. One that nothing of this tells apart has its whole label.
    """
    if len(plans) == 1:
        return "", [plans[0].label]
    said = [plan.terms | {"epochs": f"epochs={plan.words['epochs']}"} for plan in plans]
    said = [{word: text for word, text in terms.items() if text != "epochs=none"} for terms in said]
    shared = dict(item for item in said[0].items() if all(item in terms.items() for terms in said))
    own = [" ".join(text for word, text in terms.items() if word not in shared) for terms in said]
    return " ".join(shared.values()), [text or plan.label for text, plan in zip(own, plans, strict=True)]


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
        """What learns by this config; runs that differ by nothing else share it."""
        return _built(json.dumps(self.config["learner"]))


@lru_cache(maxsize=100)
def _built(node: str) -> Learner:
    return instantiated({"learner": json.loads(node)})["learner"]


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


def planned(words: Sequence[str]) -> Plan:
    """The plan of a run's command line."""
    cfg = composed(words)
    return plan(cfg, cfg.hydra)


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


def _of_all_seeds(values: Any, written: Any) -> Any:
    """The values of a config, but `${seed}` where that is written: the seeds of an arm share what is written."""
    if isinstance(values, dict) and isinstance(written, dict):
        return {name: _of_all_seeds(value, written[name]) for name, value in values.items()}
    return written if written == OF_SEED else values


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
