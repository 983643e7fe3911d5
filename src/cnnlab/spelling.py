"""What is wrong with the words of a command line, in one line and with a guess at what was meant."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from cnnlab.config import RERUN, RunConfig, fits, spoken

PRESETS = ("experiment", "sweep")  # groups that set other groups, and may be left out
TEXT = ("study", "data.folder", "data.name", "hydra/launcher")  # these are text, even if it looks like a number
FLAGS = ("-m", "--multirun", "--resolve")
SHOW = ("-c", "--cfg")
SHOWN = ("job", "hydra", "all")
CONFIG_DIR = ("-cd", "--config-dir")
COMPLETION = ("-sc", "--shell-completion")
HYDRA = ("hydra/launcher", "hydra.mode", "hydra.sweep.dir", "hydra.sweeper.only")  # and hydra.launcher.OPTION
SEVERAL = ("choice(", "range(", "glob(", "sort(", "shuffle(")  # Hydra's lists of values


@dataclass(frozen=True)
class Grammar:
    """What a command line may say: the options in the folders of configs, the project's own first."""

    folders: tuple[Path, ...]

    @property
    def main(self) -> Path:
        """The file that names every option."""
        return self.folders[0] / "train.yaml"

    @cached_property
    def defaults(self) -> dict[str, str | None]:
        """The groups, and the choice of each where nobody chooses."""
        entries = yaml.safe_load(self.main.read_text(encoding="utf-8"))["defaults"]
        pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
        return {group: choice for group, choice in pairs if " " not in group}

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """The choices of each group: the files of its folders."""
        return {group: sorted({file.stem for file in self.files(group)}) for group in self.defaults}

    def files(self, group: str) -> list[Path]:
        """The files of a group."""
        return [file for folder in self.folders for file in sorted((folder / group).glob("*.yaml"))]

    def options(self, group: str, choice: str) -> dict[str, Any]:
        """Every option of a choice, with its value; those inside another are joined by dots."""
        file = next(file for file in self.files(group) if file.stem == choice)
        node = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(node, dict) or node == {group: None}:
            return {}
        bases = [base for base in node.pop("defaults", []) if base in self.groups[group]]
        found = {name: value for base in bases for name, value in self.options(group, base).items()}
        return found | dict(_flat(node))


def explain(arguments: Sequence[str], conf: Path) -> str | None:
    """The first thing wrong with the words of a command line; None where all is well.

    `conf` is the folder of configs; folders that `--config-dir` names are looked into, too.
    """
    return None if {*COMPLETION} & set(arguments) else next(_problems(arguments, conf), None)


def head(file: Path) -> str:
    """The first paragraph of the comment at the head of a config, on one line."""
    comment = re.match(r"(?:# @package.*\n)?((?:# .*\n)*)", file.read_text(encoding="utf-8"))
    return " ".join(line[2:] for line in comment[1].splitlines()) if comment else ""


def as_text(arguments: Sequence[str]) -> list[str]:
    """The words of a command line, with what is text in quotes: study=1.10 is a name and no number."""
    words = []
    for word in arguments:
        name, _, value = word.partition("=")
        given = not value.startswith(("'", '"', *SEVERAL)) and "${" not in value and value not in ("", "null")
        if name in TEXT and given:
            escaped = (part.replace("\\", "\\\\").replace("'", "\\'") for part in value.split(","))
            word = f"{name}=" + ",".join(f"'{part}'" for part in escaped)
        words.append(word)
    return words


def guess(name: str, known: Collection[str]) -> str:
    """A question after the known name that is most like this one, if any is."""
    close = get_close_matches(name.lower(), known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _problems(arguments: Sequence[str], conf: Path) -> Iterator[str]:
    overrides, folders = [], [conf]
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in SHOW or flag in CONFIG_DIR:
            value = value if equals else next(words, "")
            if flag in SHOW and value not in SHOWN:
                yield f"{word if equals else f'{word} {value}'.strip()}: choose from {', '.join(SHOWN)}"
            if flag in CONFIG_DIR and not (value and Path(value).is_dir()):
                yield f"{word if equals else f'{word} {value}'.strip()}: there is no such folder"
            folders += [Path(value)] if flag in CONFIG_DIR else []
        elif not word.startswith("-"):
            overrides.append(word)
        elif word not in FLAGS:
            known = ", ".join((*FLAGS, "--cfg", "--config-dir", "--help"))
            yield f"{word}: there is no such flag: choose from {known}; a word has no dashes, as in epochs=3"
    grammar = Grammar(tuple(folders))
    sweep = any(word in ("-m", "--multirun") or word.startswith(("sweep=", "hydra.mode=")) for word in arguments)
    for preset in PRESETS:
        values = [word.partition("=")[2] for word in overrides if word.startswith(f"{preset}=")]
        if len(values) > 1 or "," in "".join(values):
            yield f"{preset}={values[-1]}: one at a time, please"
    said = dict(override.split("=", 1) for override in overrides if "=" in override)
    for override in overrides:
        if override.startswith("hydra"):
            yield from _hydra_problems(override)
        else:
            yield from _word_problems(override, said, grammar)
            value = override.partition("=")[2]
            if not sweep and (value.startswith(SEVERAL) or ("," in value and not set(value) & set("[{'\""))):
                yield f"{override}: several values make a sweep; put -m before them"


def _hydra_problems(override: str) -> Iterator[str]:
    """Of Hydra's own options, those that choose how a sweep is launched may be set."""
    name, _, value = override.partition("=")
    if name not in HYDRA and not (name.startswith("hydra.launcher.") and "._" not in name):
        yield f"{override}: of Hydra's own options, choose from {', '.join(HYDRA)}, hydra.launcher.n_jobs"
    elif name == "hydra.launcher.n_jobs" and not (value.isdecimal() and int(value)):
        yield f"{override}: choose a whole number from 1 up"


def _word_problems(override: str, said: dict[str, str], grammar: Grammar) -> Iterator[str]:
    name, equals, value = override.partition("=")
    if name.startswith(("+", "~")):
        yield f"{override}: every option is there already, and stays; write {name.lstrip('+~')}=..."
    yield from _unknown_name(name, said, grammar)
    if not equals:
        yield f"{name}: write {name}=..."
    elif name in grammar.groups:
        choices, listed = grammar.groups[name], value.removeprefix("choice(")
        plain = not set(value) & set("[{")
        for choice in _parts(listed.removesuffix(")")) if plain else [value]:
            if listed.startswith(SEVERAL):
                return
            if choice not in choices:
                known = ", ".join(choices)
                yield f"{name}={choice}: there is no such choice{guess(choice, choices)}: choose from {known}"
    elif not value.startswith(SEVERAL) and "${" not in value:
        yield from _wrong_type(name, value)


def _unknown_name(name: str, said: dict[str, str], grammar: Grammar) -> Iterator[str]:
    known = list(dict.fromkeys([*grammar.groups, *(field.name for field in fields(RunConfig))]))
    group, dot, option = name.partition(".")
    if group not in known:
        owners = [f"{owner}={name}" for owner, choices in grammar.groups.items() if name in choices]
        meant = f" (did you mean {owners[0]}?)" if owners else guess(group, known)
        yield f"there is no option {group or repr('')}{meant}: choose from {', '.join(known)}"
    elif dot:
        default = None if said.keys() & set(PRESETS) else grammar.defaults.get(group)  # a preset may choose others
        chosen = said.get(group, default)
        choices = [choice for choice in grammar.groups.get(group, []) if choice in (chosen or choice).split(",")]
        inside = dict.fromkeys(key for choice in choices for key in grammar.options(group, choice))
        if option not in inside:
            there = f"choose from {', '.join(inside)}" if inside else "it has none"
            there = f"write {option}=..." if option in known else there
            chosen = f"{group}={chosen}" if chosen and group in grammar.groups else group
            yield f"{chosen} has no option {option or repr('')}{guess(option, inside)}: {there}"


def _wrong_type(name: str, value: str) -> Iterator[str]:
    """A number or switch of the main config that is something else."""
    hint = get_type_hints(RunConfig).get(name, Any)
    for part in [value] if set(value) & set("[{") else _parts(value):
        if name == "rerun" and part.lower() not in RERUN:
            yield f"rerun={part}: choose from {', '.join(RERUN)}"
        elif not (part.lower() not in ("", "null") if hint is str else fits(_parsed(part), hint)):
            yield f"{name}={part}: needs {spoken(hint)}"


def _parts(value: str) -> list[str]:
    """The values of a list without brackets or quotes."""
    return [part.strip().strip("'\"") for part in value.split(",")]


def _parsed(word: str) -> Any:
    """A plain value as Hydra reads it."""
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            pass
    return {"true": True, "false": False, "null": None}.get(word.lower(), word)


def _flat(node: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a node and of those inside it, without what builds them and what repeats other words."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        elif not (str(name).startswith("_") or str(value).startswith("${")):
            yield f"{before}{name}", value
