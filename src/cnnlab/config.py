"""What a config may say: the types and limits of its values, and the identity of the run that it asks for.

Configs come in as plain dicts, their interpolations resolved; nothing here knows who composed them.
"""

import hashlib
import importlib
import inspect
import json
import math
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any

GROUPS = ("activation", "loss", "pooling", "padding", "model", "init", "optimizer", "data")
NUMBERS = ("seed", "epochs", "batch_size", "lr")
LOWEST = {"seed": 0, "epochs": 1, "batch_size": 1, "threads": 1, "confusion_every": 0}
MOST_THREADS = 1024
RERUN = ("false", "true", "changed")
NO_RESULT = ("folder",)  # where images lie does not change what is learned from them; their digest says what they are
STUDY = re.compile(r"(?!default$)\w[\w.-]{0,62}(/\w[\w.-]{0,62})*", re.IGNORECASE)  # 63 letters fit a folder's name


@dataclass
class RunConfig:
    """Schema of `conf/train.yaml`: the type of each value. The values themselves are in the YAML files."""

    study: str
    rerun: Any
    seed: int
    epochs: int
    batch_size: int
    reshuffle: bool
    lr: float | None
    threads: int
    confusion_every: int
    learner: Any
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


def typed(config: dict[str, Any]) -> dict[str, Any]:
    """The config with floats for whole numbers where their target takes floats: 3 and 3.0 are one run.

    ValueError, in one line, for a value of the wrong type, a number that is too low or an unknown option.
    """
    config = config | {"rerun": str(config["rerun"]).lower()}
    first = {name: node for name, node in config.items() if name not in ("model", "learner")}
    whole = {name: config[name] for name in ("model", "learner")}  # these contain the others again, under other names
    for problem in (*_problems(first), *_problems(whole), *_out_of_range(config)):
        raise ValueError(problem)
    return _floated(config)


def fingerprint(asked: Mapping[str, Any]) -> str:
    """Identity of a run: a hash of all that is asked for and can change its result."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def without_off(node: Any) -> Any:
    """A node without options that are off (null or none) or that only say where images lie.

    So an option that is added later, and is off, leaves the identity of earlier runs what it was.
    """
    if not isinstance(node, Mapping):
        return node
    off = (None, "none")
    return {name: without_off(value) for name, value in node.items() if name not in NO_RESULT and value not in off}


def targets(node: Any) -> Iterator[str]:
    """The dotted names of every class and function that a node asks for."""
    if isinstance(node, Mapping):
        yield from [node["_target_"]] if "_target_" in node else []
        for value in node.values():
            yield from targets(value)


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


def _out_of_range(config: Mapping[str, Any]) -> Iterator[str]:
    """One line for each number or switch that is of the wrong type, out of range or unknown."""
    for name, hint in typing.get_type_hints(RunConfig).items():
        if not fits(config[name], hint):  # an interpolation brings in what Hydra did not check
            yield f"{name}={config[name]}: needs {spoken(hint)}"
            return
    if config["rerun"] not in RERUN:
        yield f"rerun={config['rerun']}: choose from {', '.join(RERUN)}"
    if not STUDY.fullmatch(config["study"]):
        yield (
            f"study={config['study']}: choose a name of letters, digits, '.', '_' and '-', at most 63, that begins "
            "with a letter, digit or '_'; a '/' separates groups, and 'Default' is MLflow's own"
        )
    for name, least in LOWEST.items():
        if config.get(name, least) < least:
            yield f"{name}={config[name]}: choose a whole number from {least} up"
    if config["threads"] > MOST_THREADS:
        yield f"threads={config['threads']}: choose a whole number from 1 to {MOST_THREADS}"
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
    """Whether a plain value fits an annotation; a class is fitted by the dict that describes an object of it."""
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
        inside = spoken(parts[0]).removeprefix("a ")
        return f"a list of {inside}s" if " of " not in inside else f"a list of {inside.replace('list', 'lists', 1)}"
    plain = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", NoneType: "null"}
    return plain.get(hint, str(getattr(hint, "__name__", hint)))
