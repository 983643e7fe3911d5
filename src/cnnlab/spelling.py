"""What is wrong with the words of a command line, in one line and with a guess at what was meant."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cnnlab.config import RunConfig, Tags
from cnnlab.nn.options import Natural, annotated, choices, fits, refuse
from cnnlab.texts import text, values

PRESETS = ("experiment", "sweep")  # groups that set other groups, and may be left out
TEXT = ("study", "data.folder", "data.name", "hydra/launcher")  # these are text, even if it looks like a number
PROSE = ("description", "tags.")  # these are text, too, in which a comma ends nothing
HYDRA = (
    "hydra/launcher",
    "hydra.mode",
    "hydra.searchpath",
    "hydra.sweep.dir",
    "hydra.sweeper.only",
    "hydra.sweeper.tune",
    "hydra.sweeper.yes",
)  # and hydra.launcher.OPTION
NEEDS = dict.fromkeys(("slurm", "submitit_local", "submitit_slurm"), ("submitit", "slurm"))
NEEDS["ray_cluster"] = ("hydra_plugins.hydra_ray_launcher", "ray")  # a module of each launcher in an extra, and which
QUOTED = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\""""  # text in quotes
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
        entries = values(self.main)["defaults"]
        pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
        return {group: choice for group, choice in pairs if " " not in group}

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """The choices of each group: the files of its folders."""
        return {group: sorted({file.stem for file in self.files(group)}) for group in self.defaults}

    def files(self, group: str) -> list[Path]:
        """The files of a group."""
        return [file for folder in self.folders for file in sorted((folder / group).glob("*.yaml"))]

    def file(self, group: str, choice: str) -> Path:
        """The file of a choice."""
        return next(file for file in self.files(group) if file.stem == choice)

    def text(self, group: str, choice: str) -> str:
        """What is in the file of a choice."""
        return text(self.file(group, choice))

    def about(self, group: str, choice: str) -> str:
        """What the comment at the head of that file says: its first paragraph, on one line."""
        comment = re.match(r"(?:# @package.*\n)?((?:# .*\n)*)", self.text(group, choice))
        return " ".join(line[2:] for line in comment[1].splitlines()) if comment else ""

    def options(self, group: str, choice: str) -> dict[str, Any]:
        """Every option of a choice, with its value; those inside another are joined by dots."""
        node = values(self.file(group, choice))
        if not isinstance(node, dict) or node == {group: None}:
            return {}
        bases = [base for base in node.pop("defaults", []) if base in self.groups[group]]
        found = {name: value for base in bases for name, value in self.options(group, base).items()}
        return found | dict(_flat(node))


def check_words(words: Sequence[str], folders: Sequence[Path], several: bool = False) -> None:
    """Refuse the options of a command line with a ValueError, in one line, if anything is wrong with them.

    `folders` are those of the configs, the project's own first; `several` values of an option make a sweep.
    """
    said: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name in said:
            raise ValueError(f"{word}: {name}={said[name]} is there already; one at a time, please")
        said[name] = value
    several = several or bool({"sweep", "hydra.mode"} & said.keys())
    grammar = Grammar((*folders, *_searched(said.get("hydra.searchpath", "[]"))))
    for word in words:
        name, _, value = word.partition("=")
        if name.startswith("hydra"):
            _check_hydra(word, name, value)
            continue
        _check_name(word, name, said, grammar)
        if name in grammar.groups:
            _check_choices(name, value, grammar.groups[name])
        elif not value.startswith(SEVERAL) and "${" not in value:
            _check_values(name, value)
        listed = value.startswith(SEVERAL) or ("," in value and not set(value) & set("[{'\""))
        listed = listed and not name.startswith(PROSE)
        if listed and (name in PRESETS or not several):
            how = "one at a time, please" if name in PRESETS else "several values make a sweep; put -m before them"
            raise ValueError(f"{word}: {how}")


def as_text(arguments: Sequence[str]) -> list[str]:
    """The words of a command line, with what is text in quotes: study=1.10 is a name and no number."""
    words = []
    for word in arguments:
        name, _, value = word.partition("=")
        prose = name.startswith(PROSE)
        quoted = value[:1] == value[-1:] and value[:1] in "'\"" if prose else value.startswith(("'", '"', *SEVERAL))
        if (name in TEXT or prose) and not quoted and "${" not in value and value not in ("", "null"):
            parts = [value] if prose else value.split(",")
            word = f"{name}=" + ",".join(map(_quoted, parts))
        words.append(word)
    return words


def _quoted(text: str) -> str:
    """A text in quotes, as Hydra reads it: only there do backslashes before a quote, or at the end, count twice."""
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + f"\\{found[2]}" * bool(found[2]), text) + "'"


def _unquoted(text: str) -> str:
    """The text that Hydra reads in these quotes."""
    return re.sub(rf"(\\+)({text[0]}|\Z)", lambda found: found[1][: len(found[1]) // 2] + found[2], text[1:-1])


def seeds(count: int) -> str:
    """The word for the seeds 0 to count - 1, which is never long."""
    return f"seed={','.join(map(str, range(count)))}" if count <= 1000 else f"seed=range(0,{count})"


def local_folder(place: str) -> Path:
    """The folder of configs that a place of `hydra.searchpath` means; ValueError if it is none of this machine."""
    folder = Path(place.removeprefix("file://"))
    if "://" in str(place).removeprefix("file://") or not folder.is_dir():
        raise ValueError(f"hydra.searchpath: {place}: choose folders of this machine that are there, as in [/my/conf]")
    return folder


def _searched(value: str) -> list[Path]:
    """The folders of the word `hydra.searchpath=[...]`."""
    if not re.fullmatch(r"\[.*\]", value):
        raise ValueError(f"hydra.searchpath={value}: choose a list of folders, as in [/my/conf]")
    parts = re.findall(rf"\s*({QUOTED}|[^,]*?)\s*(?:,|\Z)", value[1:-1])
    return [local_folder(_unquoted(place) if re.fullmatch(QUOTED, place) else place) for place in parts if place]


def guess(name: str, known: Collection[str]) -> str:
    """A question after the known name that is most like this one, if any is."""
    close = get_close_matches(name.lower(), known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _check_hydra(word: str, name: str, value: str) -> None:
    """Of Hydra's own options, those that choose how a sweep is launched may be set."""
    if name not in HYDRA and not (name.startswith("hydra.launcher.") and "._" not in name):
        raise ValueError(f"{word}: of Hydra's own options, choose from {', '.join(HYDRA)}, hydra.launcher.n_jobs")
    if name == "hydra/launcher" and value in NEEDS and find_spec(NEEDS[value][0]) is None:
        raise ImportError(f"{word}: needs a package more: pip install 'cnnlab[{NEEDS[value][1]}]'")
    if name == "hydra.launcher.n_jobs" and not fits(_parsed(value), Natural):
        refuse(name, value, choices(Natural))


def _check_name(word: str, name: str, said: Mapping[str, str], grammar: Grammar) -> None:
    """Refuse what is no option, of the main config or of the choice that is made in a group."""
    if name.startswith(("+", "~")):
        bare = name.lstrip("+~")
        if bare.startswith("hydra"):
            _check_hydra(word, bare, word.partition("=")[2])
        raise ValueError(f"{word}: every option is there already, and stays; write {bare}=...")
    known = list(dict.fromkeys([*grammar.groups, *RunConfig.__annotations__]))
    group, dot, option = name.partition(".")
    if group == "tags":
        if not (dot and "=" in word and fits({option: "text"}, Tags)):
            raise ValueError(f"{word}: choose tags.NAME=TEXT, and for NAME {choices(Tags)}")
        return
    if group not in known:
        owners = [f"{owner}={name}" for owner, choices in grammar.groups.items() if name in choices]
        meant = f" (did you mean {owners[0]}?)" if owners else guess(group, known)
        raise ValueError(f"there is no option {group or repr('')}{meant}: choose from {', '.join(known)}")
    if dot:
        default = None if said.keys() & set(PRESETS) else grammar.defaults.get(group)  # a preset may choose others
        chosen = said.get(group, default)
        possible = [choice for choice in grammar.groups.get(group, []) if choice in (chosen or choice).split(",")]
        inside = dict.fromkeys(key for choice in possible for key in grammar.options(group, choice))
        if option not in inside:
            there = f"choose from {', '.join(inside)}" if inside else "it has none"
            there = f"write {option}=..." if option in known else there
            chosen = f"{group}={chosen}" if chosen and group in grammar.groups else group
            raise ValueError(f"{chosen} has no option {option or repr('')}{guess(option, inside)}: {there}")
    if "=" not in word:
        raise ValueError(f"{name}: write {name}=...")


def _check_choices(name: str, value: str, known: Sequence[str]) -> None:
    """Refuse what is no choice of a group."""
    listed = value.removeprefix("choice(").removesuffix(")")
    for choice in () if listed.startswith(SEVERAL) else _parts(listed):
        if choice not in known:
            there = f"{guess(choice, known)}: choose from {', '.join(known)}"
            raise ValueError(f"{name}={choice}: there is no such choice{there}")


def _check_values(name: str, value: str) -> None:
    """Refuse a number, switch or name of the main config that is something else."""
    kind = annotated(RunConfig).get(name, Any)
    for part in [value] if name.startswith(PROSE) else _parts(value):
        if not fits(part if name in TEXT and part != "null" else _parsed(part), kind):
            refuse(name, part, choices(kind))


def _parts(value: str) -> list[str]:
    """The values of a list with commas, without quotes; what is in brackets of any kind is one value."""
    return [value] if set(value) & set("[{(") else [part.strip().strip("'\"") for part in value.split(",")]


def _parsed(word: str) -> Any:
    """A plain value as Hydra reads it; one that no float can hold is infinite."""
    for number in (int, float) if len(word) < 300 else (float,):
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
