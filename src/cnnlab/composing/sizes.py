"""How much a config says when what `${...}` names is written out, found before anything is.

Ten options that each name the one before ten times make more of a page than a machine has memory.
"""

import re
from typing import Any

from cnnlab.texts import LARGEST, VALUE

NAMED = re.compile(r"\$\{(?:[\w.]+:)?([^${}]*)\}")  # what is named, also as the arguments of oc.select: and others
NESTED = re.compile(r"\$\{[^}]*\$\{")


def check_size(config: Any) -> None:
    """ValueError, in one line, where an option of a plain, unresolved config would be too much."""
    sizes: dict[str, int] = {}

    def size(option: str, value: Any) -> int:
        if option not in sizes:
            sizes[option] = 0  # of what names itself, which OmegaConf refuses
            sizes[option] = VALUE + content(option, value)
        return sizes[option]

    def content(option: str, value: Any) -> int:
        if isinstance(value, dict | list):
            children = value.items() if isinstance(value, dict) else enumerate(value)
            return sum(size(f"{option}.{name}", child) for name, child in children)
        if not isinstance(value, str) or "${" not in value:
            return len(str(value))
        if NESTED.search(value):
            raise ValueError(f"{option}={value[:100]}: ${{...}} inside ${{...}} is not allowed")
        names = [_absolute(option, name.strip()) for named in NAMED.findall(value) for name in named.split(",")]
        written_out = len(value) + sum(size(name, _at(config, name)) for name in names)
        if written_out > LARGEST:
            raise ValueError(f"{option}: is too much: more than {LARGEST:,} letters with all ${{...}} written out")
        return written_out

    for name in sorted(config, key="hydra".__eq__):  # which repeats the words of the command line, and comes last
        size(name, config[name])


def _absolute(option: str, name: str) -> str:
    """The whole name of what an option names: each dot before the name but the first leads out of one more node."""
    up = len(name) - len(name.lstrip("."))
    return ".".join([*(option.split(".")[:-up] if up else ()), *re.findall(r"[^.\[\]]+", name)])


def _at(config: Any, option: str) -> Any:
    """The value of an option, None where there is none."""
    for name in option.split("."):
        if isinstance(config, dict):
            config = next((value for key, value in config.items() if str(key) == name), None)
        elif isinstance(config, list) and name.isdigit():
            config = config[int(name)] if int(name) < len(config) else None
        else:
            return None
    return config
