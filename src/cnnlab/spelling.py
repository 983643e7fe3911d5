"""What is wrong with the words of a command line, in one line and with a guess at what was meant."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from .config import TrainConfig, fits, spoken

PRESETS = ("experiment", "sweep")  # groups that set other groups, and may be left out
QUOTING = "(){}[]'\"*"  # a value that is more than words and numbers is left to Hydra
SWITCHES = ("-m", "--multirun", "-h", "--help", "--hydra-help", "--resolve", "-r", "--run", "--version")


@dataclass(frozen=True)
class Grammar:
    """What a command line may say: the ``main`` config of a folder, and the types of its values."""

    conf: Path
    main: str
    schema: type

    @property
    def defaults(self) -> dict[str, str]:
        """The groups of the main config, and the choice of each where nobody chooses."""
        main = yaml.safe_load((self.conf / f"{self.main}.yaml").read_text(encoding="utf-8"))
        return dict(pair for entry in main["defaults"] if isinstance(entry, dict) for pair in entry.items())

    @property
    def groups(self) -> dict[str, list[str]]:
        """The choices of each group: its folder's files."""
        folders = [path for group in self.defaults if (path := self.conf / group).is_dir()]
        return {path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in folders}


def explain(arguments: list[str], conf: Path, main: str = "train", schema: type = TrainConfig) -> str | None:
    """The first thing wrong with the overrides of a command line; None where all is well.

    ``conf`` is the folder of configs, ``main`` the one that is meant, and ``schema`` has the types of its values.
    """
    if {"-sc", "--shell-completion"} & set(arguments):
        return None
    return next(_problems(list(_overrides(arguments)), _is_sweep(arguments), Grammar(conf, main, schema)), None)


def groups(conf: Path) -> dict[str, list[str]]:
    """The choices of every config group of a training run."""
    return Grammar(conf, "train", TrainConfig).groups


def _overrides(arguments: list[str]) -> Iterator[str]:
    """The arguments that are neither flags, nor a flag's value, nor Hydra's own or in its fuller grammar."""
    before = ""
    for argument in arguments:
        takes_value = before.startswith("-") and "=" not in before and before not in SWITCHES
        if not takes_value and not argument.startswith(("-", "hydra", "+hydra", "~", "'", '"')):
            yield argument
        before = argument


def _is_sweep(arguments: list[str]) -> bool:
    return any(word in ("-m", "--multirun") or word.startswith(("sweep=", "hydra.mode=")) for word in arguments)


def _problems(overrides: list[str], sweep: bool, grammar: Grammar) -> Iterator[str]:
    chosen = _chosen(overrides, grammar)
    for preset in PRESETS:
        if sum(override.startswith(f"{preset}=") for override in overrides) > 1 or "," in chosen.get(preset, ""):
            yield f"{preset}={chosen[preset]}: one at a time, please"
    for override in overrides:
        name, equals, value = override.partition("=")
        yield from _unknown_name(name, chosen, grammar)
        if not equals:
            yield f"{name}: write {name}=..."
        elif not any(mark in value for mark in QUOTING):
            yield from _unknown_choice(name, value, grammar)
            yield from _wrong_type(name, value, grammar)
            if "," in value and not sweep:
                yield f"{override}: several values make a sweep; put -m before them"


def _chosen(overrides: list[str], grammar: Grammar) -> dict[str, str]:
    """The choice of each group, as far as it is plain to see: presets may choose others."""
    said = dict(override.split("=", 1) for override in overrides if "=" in override)
    if any(preset in said for preset in PRESETS):
        return said
    return {group: choice for group, choice in grammar.defaults.items() if choice} | said


def _unknown_name(name: str, chosen: dict[str, str], grammar: Grammar) -> Iterator[str]:
    if name.startswith("+"):
        yield f"{name}: every option is there already; write {name.lstrip('+')}=..."
        return
    known = {field.name for field in fields(grammar.schema)} | set(grammar.groups)
    group, dot, option = name.partition(".")
    if group not in known:
        yield f"there is no option {group}{_guess(group, known)}: choose from {', '.join(sorted(known))}"
    elif dot:
        inside = _options_inside(grammar.conf / group, chosen.get(group))
        if option.split(".")[0] not in inside:
            said = f"{group}={chosen[group]}" if group in chosen else group
            yield f"{said} has no option {option}{_guess(option, inside)}: choose from {', '.join(sorted(inside))}"


def _unknown_choice(name: str, value: str, grammar: Grammar) -> Iterator[str]:
    choices = grammar.groups.get(name)
    for choice in value.split(",") if choices else ():
        if choices and choice not in choices:
            known = ", ".join(choices)
            yield f"{name}={choice}: there is no such choice{_guess(choice, choices)}: choose from {known}"


def _wrong_type(name: str, value: str, grammar: Grammar) -> Iterator[str]:
    """A number or switch of the main config that is something else."""
    hint = get_type_hints(grammar.schema).get(name, Any)
    for part in value.split(",") if hint is not Any else ():
        said = _parsed(part)
        if not fits(str(said) if hint is str and said is not None else said, hint):  # 1998 is a name, too
            yield f"{name}={part}: needs {spoken(hint)}"


def _parsed(word: str) -> Any:
    """A value as Hydra reads it: 1e-3 is a number, which YAML alone takes for a word."""
    try:
        return yaml.safe_load(word) if not isinstance(yaml.safe_load(word), str) else float(word)
    except (ValueError, yaml.YAMLError):
        return word


def _options_inside(folder: Path, choice: str | None) -> set[str]:
    """Every key of a group's choice (or choices, or of any where none is known)."""
    names = [name for name in str(choice).split(",") if (folder / f"{name}.yaml").is_file()]
    files = [folder / f"{name}.yaml" for name in names] or list(folder.glob("*.yaml"))
    nodes = [yaml.safe_load(file.read_text(encoding="utf-8")) or {} for file in files]
    return {key for node in nodes for key in node if not key.startswith("_")}


def _guess(name: str, known: "set[str] | list[str]") -> str:
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
