"""What is wrong with the words of a command line, in one line and with a guess at what was meant."""

from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from .config import TrainConfig, fits, spoken

PRESETS = ("experiment", "sweep")  # groups that set other groups, and may be left out
QUOTING = "(){}[]'\"*"  # a value that is more than words and numbers is left to Hydra


def explain(arguments: list[str], conf: Path) -> str | None:
    """The first override that names no option, or no choice of its group; None where all are known.

    ``conf`` is the folder of configs: its folders are the groups, their files the choices.
    """
    for argument in arguments:
        name, is_override, value = argument.partition("=")
        if not is_override or name.startswith(("-", "hydra", "+hydra", "~", "'", '"')):
            continue
        problem = _unknown_name(name, conf) or _unknown_choice(name, value, conf) or _wrong_type(name, value)
        if problem:
            return problem
    return None


def groups(conf: Path) -> dict[str, list[str]]:
    """The choices of every config group."""
    return {path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in conf.iterdir() if path.is_dir()}


def _unknown_name(name: str, conf: Path) -> str | None:
    if name.startswith("+"):
        return f"{name}: every option is there already; write {name.lstrip('+')}=..."
    known = {field.name for field in fields(TrainConfig)} | set(groups(conf))
    group, dot, option = name.partition(".")
    if group not in known:
        return f"there is no option {group}{_guess(group, known)}: choose from {', '.join(sorted(known))}"
    inside = _options_inside(conf / group)
    if dot and option.split(".")[0] not in inside:
        return f"{group} has no option {option}{_guess(option, inside)}: choose from {', '.join(sorted(inside))}"
    return None


def _unknown_choice(name: str, value: str, conf: Path) -> str | None:
    choices = groups(conf).get(name)
    if choices is None or any(mark in value for mark in QUOTING):
        return None
    if name in PRESETS and "," in value:
        return f"{name}={value}: one at a time, please"
    for choice in value.split(","):
        if choice not in choices and not (choice == "null" and name in PRESETS):
            known = ", ".join(choices)
            return f"{name}={choice}: there is no such choice{_guess(choice, choices)}: choose from {known}"
    return None


def _wrong_type(name: str, value: str) -> str | None:
    """A number or switch of the main config that is something else."""
    hint = get_type_hints(TrainConfig).get(name, Any)
    if hint is Any or any(mark in value for mark in QUOTING):
        return None
    for part in value.split(","):
        if not fits(yaml.safe_load(part), hint):
            return f"{name}={part}: needs {spoken(hint)}"
    return None


def _options_inside(folder: Path) -> set[str]:
    """Every key that some choice of a group has."""
    loaded = [yaml.safe_load(file.read_text(encoding="utf-8")) or {} for file in folder.glob("*.yaml")]
    return {key for content in loaded for key in content}


def _guess(name: str, known: "set[str] | list[str]") -> str:
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
