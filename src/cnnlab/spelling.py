"""What is wrong with the words of a command line, in one line and with a guess at what was meant."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from cnnlab.config import RERUN, RunConfig, fits, spoken

PRESETS = ("experiment", "sweep")  # groups that set other groups, and may be left out
QUOTING = "(){}[]'\"*"  # a value that is more than words and numbers is left to Hydra
SWITCHES = ("-m", "--multirun", "--hydra-help", "--resolve", "-r", "--run", "--version")
CONFIG_DIR = ("-cd", "--config-dir")
VALUED = (*CONFIG_DIR, "-c", "--cfg", "-p", "--package", "-i", "--info", "-cp", "--config-path", "-cn", "--config-name")
COMPLETION = ("-sc", "--shell-completion")


@dataclass(frozen=True)
class Grammar:
    """What a command line may say: the options in the folders of configs, the project's own first."""

    folders: tuple[Path, ...]

    @property
    def main(self) -> Path:
        """The file that names every option."""
        return self.folders[0] / "train.yaml"

    @property
    def defaults(self) -> dict[str, str]:
        """The groups, and the choice of each where nobody chooses."""
        main = yaml.safe_load(self.main.read_text(encoding="utf-8"))
        return dict(pair for entry in main["defaults"] if isinstance(entry, dict) for pair in entry.items())

    @property
    def groups(self) -> dict[str, list[str]]:
        """The choices of each group: the files of its folders."""
        found = {group: sorted({file.stem for file in self.files(group)}) for group in self.defaults}
        return {group: names for group, names in found.items() if names}

    def files(self, group: str) -> list[Path]:
        """The files of a group."""
        return [file for folder in self.folders for file in (folder / group).glob("*.yaml")]


def explain(arguments: Sequence[str], conf: Path) -> str | None:
    """The first thing wrong with the words of a command line; None where all is well.

    `conf` is the folder of configs; folders that `--config-dir` names are looked into, too.
    """
    if {*COMPLETION} & set(arguments):
        return None
    overrides, folders = [], [conf]
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in VALUED:
            value = value if equals else next(words, "")
            folders += [Path(value)] if flag in CONFIG_DIR else []
        elif word.startswith("-") and word not in SWITCHES:
            return f"{word}: there is no such flag; a word is written without dashes, as in epochs=3"
        elif not word.startswith(("-", "hydra", "+hydra", "~", "'", '"')):
            overrides.append(word)
    return next(_problems(overrides, _is_sweep(arguments), Grammar(tuple(folders))), None)


def as_text(arguments: Sequence[str]) -> list[str]:
    """The words of a command line, with the names of studies in quotes: 1.10 is a name and no number."""
    return [
        "study=" + ",".join(f"'{name}'" for name in word[6:].split(","))
        if word.startswith("study=") and not set(word) & set(QUOTING)
        else word
        for word in arguments
    ]


def explained(conf: Path) -> str:
    """Every option of a run, with its choices and what the configs' own comments say of it."""
    grammar = Grammar((conf,))
    lines = ["cnnlab train [-m] WORD=OPTION ...", "", "Words, with their choices; the default is in brackets:", ""]
    for group, choices in grammar.groups.items():
        lines.append(f"{group} [{grammar.defaults[group] or 'none'}]")
        lines += [f"  {name:<20} {_said_of(conf / group / f'{name}.yaml')}".rstrip() for name in choices]
    lines += ["", "Numbers and switches:", ""]
    main = grammar.main.read_text(encoding="utf-8").partition("\nhydra:")[0]
    lines += [f"  {value.strip():<20} {comment.strip()}" for value, comment in _commented(main)]
    lines += ["", "Options inside a choice, as in optimizer.momentum=0.5:", ""]
    for file in (file for group in grammar.groups if group not in PRESETS for file in sorted(grammar.files(group))):
        inside = [pair for pair in _commented(file.read_text(encoding="utf-8")) if "$" not in pair[0]]
        group = file.parent.name
        lines += [f"{group}={file.stem}"] if inside else []
        lines += [f"  {group}.{value.strip():<28} {comment.strip()}".rstrip() for value, comment in inside]
    return "\n".join(lines)


def _said_of(file: Path) -> str:
    """The comment at the head of a config, on one line."""
    lines = file.read_text(encoding="utf-8").splitlines()
    said = [line[2:] for line in lines if line.startswith("# ") and "@package" not in line]
    return " ".join(said)


def _commented(text: str) -> Iterator[tuple[str, str]]:
    """The top-level values of a config, each with the comment behind it."""
    for line in text.splitlines():
        value, _, comment = line.partition("#")
        if re.match(r"[a-z]\w*: *\S", value):
            yield value, comment


def _is_sweep(arguments: Sequence[str]) -> bool:
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
    known = {field.name for field in fields(RunConfig)} | set(grammar.groups)
    group, dot, option = name.partition(".")
    if group not in known:
        yield f"there is no option {group}{_guess(group, known)}: choose from {', '.join(sorted(known))}"
    elif dot:
        inside = _options_inside(grammar.files(group), chosen.get(group))
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
    if name == "rerun":
        yield from (f"rerun={part}: choose from {', '.join(RERUN)}" for part in value.split(",") if part not in RERUN)
    hint = get_type_hints(RunConfig).get(name, Any)
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


def _options_inside(files: Sequence[Path], choice: str | None) -> set[str]:
    """Every key of a group's choice (or choices, or of any where none is known)."""
    chosen = [file for file in files if file.stem in str(choice).split(",")] or files
    nodes = [yaml.safe_load(file.read_text(encoding="utf-8")) or {} for file in chosen]
    return {key for node in nodes for key in node if not key.startswith("_") and key != "defaults"}


def _guess(name: str, known: "set[str] | list[str]") -> str:
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
