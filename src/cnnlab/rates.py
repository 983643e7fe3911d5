"""Learning rates: what each was tuned for, and which of them a run gets.

`conf/rates.yaml` holds them, by setting and arm, with the curve that each was chosen by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cnnlab.config import GROUPS, NO_RESULT
from cnnlab.locks import locked
from cnnlab.paths import conf_folder, write_atomically
from cnnlab.spelling import Grammar
from cnnlab.texts import LARGEST, parsed, text, values

TUNED = "tuned for this on validation images, see conf/rates.yaml"
DEFAULT = "default of the optimizer"
GIVEN = "given"

ARM = (*(group for group in GROUPS if group != "data"), "learner")
SETTING = ("data", "schedule", "augment", "stop")  # with epochs and batch size
UNSAID = ("none", "network", "early")  # choices that a key does not name
UNUSED = ("data.test", *(f"data.{name}" for name in NO_RESULT))  # what a rate does not hang on
OFF = (None, "none")
MOST = 10 * LARGEST  # letters of the file, which grows with every sweep that is tuned


class Key(NamedTuple):
    """What a rate is tuned for, in words: the arm, and the setting in which it is trained (data, epochs and so on).

    An option is named where it has another value than its file gives it. So an option that is added later, and off,
    changes no key.
    """

    arm: str
    setting: str

    @property
    def terms(self) -> list[str]:
        """All words of setting and arm."""
        return [*self.arm.split(), *self.setting.split()]

    @property
    def choices(self) -> set[str]:
        """The words of the arm without its options."""
        return {term for term in self.arm.split() if "=" not in term}


NO_KEY = Key("", "")  # of what has no learning rate


def key(config: Mapping[str, Any], choices: Mapping[str, str], used: Set[str], folders: tuple[Path, ...]) -> Key:
    """The key of a resolved config, with the `choices` of its groups, of which only the `used` ones count.

    `folders` are those of the options' files, the project's own first.
    """
    numbers = [f"{name}={config[name]}" for name in ("epochs", "batch_size") if name in used]
    arm = [*_named(ARM, choices, used), *_options(ARM, config, choices, used, folders)]
    setting = [*_named(SETTING[:1], choices, used), *numbers, *_named(SETTING[1:], choices, used)]
    setting += _options(SETTING, config, choices, used, folders)
    if config["data"].get("folder") and "name" in config["data"] and not config["data"]["name"]:
        setting.append(f"data.name={Path(config['data']['folder']).name}")  # all that tells one IDX set from another
    setting += ["reshuffle=False"] if "reshuffle" in used and not config["reshuffle"] else []
    return Key(" ".join(arm), " ".join(setting))


def _named(groups: tuple[str, ...], choices: Mapping[str, str], used: Set[str]) -> list[str]:
    return [choices[group] for group in groups if group in used and choices[group] not in UNSAID]


def _options(
    groups: tuple[str, ...],
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    used: Set[str],
    folders: tuple[Path, ...],
) -> list[str]:
    """The options of these groups that have another value than their files give them."""
    said = []
    for group in groups:
        known = _known(folders, group, choices[group]) if group in used and choices[group] not in OFF else {}
        for name, usual in known.items():
            value: Any = config[group]
            for part in name.split("."):
                value = value[part]
            same = value == usual or (value in OFF and usual in OFF)
            if not same and f"{group}.{name}" not in UNUSED:
                said.append(f"{group}.{name}={value}".replace(" ", ""))
    return said


@cache
def _known(folders: tuple[Path, ...], group: str, choice: str) -> dict[str, Any]:
    return Grammar(folders).options(group, choice)


def rate(wanted: Key, optimizer: str) -> tuple[float, str]:
    """The learning rate for a key, and where it is from; ValueError, in one line, if there is none.

    It is the one that was tuned for it, else one of the same words in the setting that is most like it, and with the
    options most like its own, else the optimizer's default.
    """
    known = table()
    found = {Key(arm, setting): entry for setting, arms in known["tuned"].items() for arm, entry in arms.items()}
    if wanted in found:
        return found[wanted]["rate"], TUNED
    if alike := [other for other in found if other.choices == wanted.choices]:
        nearest = min(alike, key=lambda other: len(set(other.terms) ^ set(wanted.terms)))
        return found[nearest]["rate"], _difference(nearest, wanted)
    if (default := known["default"].get(optimizer)) is None:
        raise ValueError(f"optimizer={optimizer}: conf/rates.yaml has no default rate for it; choose one with lr=")
    return default, DEFAULT


def _difference(tuned: Key, wanted: Key) -> str:
    """What a rate was tuned for that is not what is wanted."""
    theirs = " ".join(term for term in tuned.terms if term not in wanted.terms)
    ours = " ".join(term for term in wanted.terms if term not in tuned.terms)
    if theirs and ours:
        return f"tuned for {theirs}, not for {ours}"
    return f"tuned without {ours}" if ours else f"tuned with {theirs}"


@cache
def table() -> dict[str, Any]:
    """What conf/rates.yaml says: `tuned` by setting and arm, `default` by optimizer.

    ValueError, in one line, names the entry that is damaged.
    """
    known: Any = values(file(), MOST)
    try:
        unsound = [f"default: {optimizer}" for optimizer, rate in known["default"].items() if not _is_rate(rate)]
        entries = {(setting, arm): of for setting, arms in known["tuned"].items() for arm, of in arms.items()}
    except (AttributeError, KeyError, TypeError):
        raise ValueError(f"{file()}: write default: OPTIMIZER: RATE and tuned: SETTING: ARM: rate: RATE") from None
    unsound += [f"{setting}: {arm}" for (setting, arm), entry in entries.items() if not _is_sound(arm, entry)]
    if unsound:
        wrong = "the rate is no number above 0, or the curve that it was chosen by is damaged"
        raise ValueError(f"{file()}: {unsound[0]}: {wrong}: write a rate alone, or let `cnnlab tune` find it again")
    return known


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < math.inf


def _is_sound(arm: Any, entry: Any) -> bool:
    """Whether an entry has a rate and, if it has a curve, one that this rate is on, and its budget."""
    try:
        if not (isinstance(arm, str) and _is_rate(entry["rate"])):
            return False
        if "validation_errors" not in entry:
            return True
        curve, budget = entry["validation_errors"], entry["budget"]
        errors = [error for found in curve.values() for error in found if error != "diverged"]
        return entry["rate"] in curve and min(*errors, *curve, budget["runs"], budget["seconds"]) >= 0
    except (AttributeError, KeyError, TypeError):
        return False


def save(entries: Mapping[Key, Mapping[str, Any]]) -> Path:
    """Write entries into conf/rates.yaml, in place of those of the same keys; the file."""
    place = file()
    with locked(place.with_name(f".{place.name}.lock")):
        content = text(place, MOST)
        note = "".join(line for line in content.splitlines(True) if line.startswith("#"))
        known = parsed(content, str(place), MOST)
        for (arm, setting), entry in entries.items():
            known["tuned"].setdefault(setting, {})[arm] = dict(entry)
        listed = yaml.safe_dump(known, sort_keys=True, default_flow_style=None, width=200)
        write_atomically(place, (note + listed).encode())
    table.cache_clear()
    return place


def file() -> Path:
    """The file that the rates are kept in."""
    return conf_folder() / "rates.yaml"
