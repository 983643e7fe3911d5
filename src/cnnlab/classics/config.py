"""What a run of a classifier is, read from its composed config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config import GROUPS, NUMBERS, Plan, checked, details, fingerprint


@dataclass
class ClassicsConfig:
    """Schema of ``conf/classics.yaml``: the type of each value. The values themselves are in the YAML files."""

    study: str
    rerun: bool
    seed: int
    threads: int
    data: Any
    classifier: Any


def plan(config: dict[str, Any], choices: Mapping[str, str], overrides: Sequence[str] = ()) -> Plan:
    """The plan of a config and of the options chosen for its groups.

    Its model is the classifier; words that only a network has are "none". ValueError, in one line, as for networks.
    """
    config = checked(config)
    chosen = {"model": choices["classifier"], "data": choices["data"], "seed": str(config["seed"])}
    words = dict.fromkeys((*GROUPS, *NUMBERS), "none") | chosen
    more = {name: value for name, value in details(overrides, words).items() if name != "classifier"}
    return Plan(config, words | more, fingerprint(config), "none", tuple(overrides))
