"""What a run is, read from its composed config: its checks, words, learning rate and identity.

Configs come in as plain dicts, their interpolations resolved; nothing here knows who composed them.
"""

import hashlib
import importlib
import inspect
import json
import math
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any

GROUPS = ("activation", "loss", "pooling", "padding", "model", "init", "optimizer", "data")
NUMBERS = ("seed", "epochs", "batch_size", "lr")
LOWEST = {"seed": 0, "epochs": 1, "batch_size": 1, "threads": 1, "confusion_every": 0}
NOT_IDENTITY = ("study", "rerun")  # where a run is filed and whether to repeat it do not change its result
PATHS = ("folder",)
UNSAID = ("sweep", *NOT_IDENTITY)  # overrides that say nothing of the run itself


@dataclass
class TrainConfig:
    """Schema of ``conf/train.yaml``: the type of each value. The values themselves are in the YAML files."""

    study: str
    rerun: bool
    seed: int
    epochs: int
    batch_size: int
    reshuffle: bool
    boost: bool
    lr: float | None
    threads: int
    confusion_every: int
    data: Any
    model: Any
    activation: Any
    loss: Any
    pooling: Any
    padding: Any
    init: Any
    optimizer: Any
    schedule: Any
    augment: Any


@dataclass(frozen=True)
class Plan:
    """A run that could be made: its resolved config, the words it is called by, and its identity."""

    config: dict[str, Any]
    words: dict[str, str]
    fingerprint: str
    lr_source: str
    overrides: tuple[str, ...]

    @property
    def study(self) -> str:
        """Name of the MLflow experiment it belongs to."""
        return self.config["study"]

    @property
    def label(self) -> str:
        """Its words in short: what a list of runs calls it."""
        said = [self.words[word] for word in GROUPS if self.words[word] != "none"]
        more = [name for name in self.words if name not in (*GROUPS, *NUMBERS)]
        more += ["lr"] if self.lr_source == "given" else []
        return " ".join([*said, *(f"{name}={self.words[name]}" for name in (*more, "seed"))])


def plan(
    config: dict[str, Any],
    choices: Mapping[str, str],
    rates: Mapping[str, Any],
    overrides: Sequence[str] = (),
) -> Plan:
    """The plan of a config, of the options chosen for its groups, and of the table of learning rates.

    ValueError, in one line, for a value of the wrong type or a name that its option does not have.
    """
    config = checked(config)
    used = {group: choices[group] if _uses(config, group) else "none" for group in GROUPS}
    identity = {name: node for name, node in config.items() if name not in GROUPS or _uses(config, name)}
    lr, source = _learning_rate(config["lr"], used, rates)
    config = config | {"lr": lr}
    words = used | {number: str(config[number]) for number in NUMBERS}
    words |= details(overrides, words)
    return Plan(config, words, fingerprint(identity | {"lr": lr}), source, tuple(overrides))


def checked(config: dict[str, Any]) -> dict[str, Any]:
    """The config with floats for whole numbers where their target takes floats: 3 and 3.0 are one run.

    ValueError, in one line, for a value of the wrong type, a number too low or a name that its option does not have.
    """
    for problem in (*_problems(config), *_low_numbers(config)):
        raise ValueError(problem)
    return _floated(config)


def _floated(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    hints = typing.get_type_hints(_located(node["_target_"])) if "_target_" in node else {}
    return {
        name: float(value) if type(value) is int and _takes_float(hints.get(name)) else _floated(value)
        for name, value in node.items()
    }


def _takes_float(hint: Any) -> bool:
    """Whether an annotation asks for a float, not a whole number."""
    wanted = typing.get_args(hint) or (hint,)
    return float in wanted and int not in wanted


def rate_key(words: Mapping[str, str]) -> str:
    """Name of an arm in the table of learning rates."""
    return " ".join(words[group] for group in GROUPS if group != "data")


def fingerprint(config: Mapping[str, Any]) -> str:
    """Identity of a run: a hash of all that can change its result; paths and tracking cannot."""
    content = json.dumps(_without(config, NOT_IDENTITY + PATHS), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _without(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _without(item, names) for name, item in value.items() if name not in names}
    return value


def details(overrides: Sequence[str], words: Mapping[str, str]) -> dict[str, str]:
    """What a command line changed beyond the words, as in optimizer.momentum=0.5: it tells arms apart too."""
    pairs = [override.partition("=")[::2] for override in overrides]
    return {name: value for name, value in pairs if name not in words and name not in UNSAID}


def _uses(config: Mapping[str, Any], group: str) -> bool:
    """A network that takes no pooling (say) has none, whatever the default is."""
    return group in config["model"] or group in ("model", "data", "optimizer", "loss")


def _learning_rate(given: float | None, words: Mapping[str, str], rates: Mapping[str, Any]) -> tuple[float, str]:
    if given is not None:
        return given, "given"
    optimizer = words["optimizer"]
    if (chosen := rates["chosen"].get(rate_key(words))) is not None:
        return chosen, "chosen for these words on validation images, see conf/rates.yaml"
    if (default := rates["default"].get(optimizer)) is None:
        raise ValueError(f"optimizer={optimizer}: conf/rates.yaml has no default rate for it; choose one with lr=")
    return default, "default of the optimizer"


def _low_numbers(config: Mapping[str, Any]) -> Iterator[str]:
    """Numbers below what could train anything."""
    for name, least in LOWEST.items():
        if config.get(name, least) < least:
            yield f"{name}={config[name]}: choose a whole number from {least} up"
    if config.get("lr") is not None and not 0 < config["lr"] < math.inf:
        yield f"lr={config['lr']}: choose a number above 0, or null for the rate in rates.yaml"


def _problems(node: Any, path: str = "") -> Iterator[str]:
    """What is wrong in a config: one line for each option that its target does not take."""
    if not isinstance(node, dict):
        return
    if "_target_" in node:
        yield from _target_problems(node, path)
    for name, value in node.items():
        yield from _problems(value, f"{path}.{name}" if path else name)


def _target_problems(node: dict[str, Any], path: str) -> Iterator[str]:
    target = _located(node["_target_"])
    hints, known = typing.get_type_hints(target), list(inspect.signature(target).parameters)
    for name, value in node.items():
        if name.startswith("_"):
            continue
        if name not in known:
            yield f"{path}.{name}: {node['_target_']} takes {', '.join(known)}"
        elif not fits(value, hints.get(name, Any)):
            yield f"{path}.{name}={value}: needs {spoken(hints[name])}"


def _located(target: str) -> Any:
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise ValueError(f"_target_={target}: there is no such class or function") from None


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value can stand where an annotation is; anything can where nothing simple is asked."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, UnionType):
        return any(fits(value, part) for part in parts)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint in (int, str, bool, NoneType):
        return type(value) is hint
    if typing.get_origin(hint) in (tuple, list, Sequence):
        return isinstance(value, (list, tuple)) and (not parts or all(fits(item, parts[0]) for item in value))
    return hint is Any or isinstance(value, dict)


def spoken(hint: Any) -> str:
    """An annotation as a person would say it."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, UnionType):
        return " or ".join(spoken(part) for part in parts)
    if typing.get_origin(hint) in (tuple, list, Sequence):
        return f"a list of {spoken(parts[0])}"
    plain = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", NoneType: "null"}
    return plain.get(hint, str(getattr(hint, "__name__", hint)))
