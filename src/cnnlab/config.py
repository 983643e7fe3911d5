"""What a config may say: the types and limits of its values, and the identity of the run that it asks for.

Configs come in as plain dicts, their interpolations resolved; nothing here knows who composed them.
"""

import hashlib
import importlib
import inspect
import json
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from cnnlab.nn.options import Limit, Natural, Positive, Whole, annotated, check

GROUPS = ("activation", "loss", "pooling", "padding", "model", "init", "optimizer", "data")
NUMBERS = ("seed", "epochs", "batch_size", "lr")
RERUN = ("false", "true", "changed")
NO_RESULT = ("folder",)  # where images lie does not change what is learned from them; their digest says what they are
TAG = re.compile(r"[A-Za-z]\w{0,62}", re.ASCII)
OURS = ("blas", "diverged", "machine", "python")  # tags of this kind that runs have anyway
STUDY = re.compile(r"(?!default$)\w[\w.-]{0,62}(/\w[\w.-]{0,62})*", re.IGNORECASE)  # 63 letters fit a folder's name


def is_text(value: Any) -> bool:
    """Whether MLflow can keep a value as a tag; null is none."""
    return not isinstance(value, Mapping | list | tuple) and 0 < len(str(value).strip()) <= 5000


Study = Annotated[
    str,
    Limit(
        "a name of letters, digits, '.', '_' and '-', at most 63, that begins with a letter, digit or '_'; "
        "a '/' separates groups, and 'Default' is MLflow's own",
        STUDY.fullmatch,
    ),
]
Tags = Annotated[
    dict[str, Any],
    Limit(
        f"names of letters, digits and '_', at most 63, that begin with a letter and are none of {', '.join(OURS)}, "
        "with some text each",
        lambda tags: all(TAG.fullmatch(name) and name not in OURS and is_text(text) for name, text in tags.items()),
    ),
]
Description = Annotated[Any, Limit("some text, at most 5000 letters", is_text)]
Rerun = Annotated[Any, Limit("from false, true, changed", lambda value: str(value).lower() in RERUN)]
Recorded = Annotated[int, Limit("a whole number from 1 to 1000", lambda value: 1 <= value <= 1000)]
Patience = Natural | None
Threads = Annotated[int, Limit("a whole number from 1 to 1024", lambda value: 1 <= value <= 1024)]


@dataclass
class RunConfig:
    """Schema of `conf/train.yaml`: the type and limits of each value. The values themselves are in the YAML files."""

    study: Study
    tags: Tags
    description: Description
    rerun: Rerun
    seed: Whole
    epochs: Natural
    batch_size: Natural
    reshuffle: bool
    lr: Positive | None
    threads: Threads
    confusion_every: Whole
    images_per_epoch: Natural | None
    steps_recorded: Recorded | None
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
    stop: Any


def typed(config: dict[str, Any]) -> dict[str, Any]:
    """The config with floats for whole numbers where their target takes floats: 3 and 3.0 are one run.

    ValueError, in one line, for a value of the wrong type or out of range, or an unknown option.
    """
    for name, kind in annotated(RunConfig).items():
        check(name, config[name], kind)  # again, since an interpolation brings in what Hydra did not check
    stop = config["stop"]
    check("stop.patience", stop["patience"] if isinstance(stop, dict) else stop, Patience)
    whole = ("model", "learner")  # these contain the others again, under other names
    for name in (*(name for name in config if name not in whole), *whole):
        config = config | {name: _checked(config[name], name)}
    return config | {"rerun": str(config["rerun"]).lower()}


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


def _checked(node: Any, path: str) -> Any:
    """A node with floats where its target takes them; an option is refused that it does not take so."""
    if not isinstance(node, dict):
        return node
    checked = {name: _checked(value, f"{path}.{name}") for name, value in node.items() if not name.startswith("_")}
    if "_target_" in node:
        target = located(node["_target_"])
        known, kinds, plain = inspect.signature(target).parameters, annotated(target), typing.get_type_hints(target)
        for name, value in checked.items():
            if name not in known:
                raise ValueError(f"{path}.{name}: {node['_target_']} takes {', '.join(known)}")
            check(f"{path}.{name}", value, kinds.get(name, Any), described=True)
            if type(value) is int and _takes_float(plain.get(name)):
                checked[name] = float(value)
    return node | checked


def _takes_float(hint: Any) -> bool:
    """Whether an annotation asks for a float, not a whole number."""
    wanted = typing.get_args(hint) or (hint,)
    return float in wanted and int not in wanted


def located(target: str) -> Any:
    """The class or function of a dotted name, whose module is imported; ValueError where there is none."""
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise ValueError(f"_target_={target}: there is no such class or function") from None
