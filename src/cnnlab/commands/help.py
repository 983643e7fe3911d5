"""The help of `cnnlab train`, made from the configs and their comments."""

import json
import re
import shutil
import textwrap
from collections.abc import Iterable
from pathlib import Path

from cnnlab.spelling import PRESETS, Grammar
from cnnlab.texts import text

USAGE = """\
usage: cnnlab train [-m] [--yes] [--cfg job] [--config-dir DIR] [WORD=OPTION ...]

  cnnlab train activation=tanh epochs=5            one run
  cnnlab train -m activation=tanh,relu seed=0,1,2  every combination: a sweep
  cnnlab train experiment=lenet5_1998 epochs=3     a recipe, with a change
  cnnlab train --config-dir DIR activation=mine    DIR/activation/mine.yaml; CNNLAB_TRUST=PACKAGE if it names yours
  cnnlab train --cfg job epochs=5                  the whole config, and no run

Numbers and switches, with their defaults:
"""


def listing(conf: Path) -> str:
    """Every option of a run, with its choices and what the configs say of it."""
    grammar = Grammar((conf,))
    main = text(grammar.main).partition("\nhydra:")[0]
    values = re.findall(r"(?m)^(\w+): (\S+) *# (.*)", main)
    lines = [USAGE + table((f"{name}={value}", said) for name, value, said in values)]
    lines += ["", "Words, with their choices and the options of each choice:"]
    about = dict(re.findall(r"(?m)^  - (\w+): \S+ *# (.*)", main))
    for group, default in grammar.defaults.items():
        lines += ["", table([(f"{group}={default}" if default else f"{group}=", about[group])], indent=0)]
        lines += [table((name, grammar.about(group, name)) for name in grammar.groups[group])]
        inside = table(_inside(grammar, group, default)) if group not in PRESETS else ""
        lines += [inside] if inside else []
    return "\n".join(lines)


def table(rows: Iterable[tuple[str, str]], indent: int = 2) -> str:
    """Names and what is said of them, side by side, as wide as the terminal."""
    width = min(shutil.get_terminal_size().columns, 120)
    margin = " " * (indent + 22)
    return "\n".join(
        textwrap.fill(
            f"{' ' * indent}{name:<21} {said}".rstrip(), width, subsequent_indent=margin, break_on_hyphens=False
        )
        for name, said in rows
    )


def _inside(grammar: Grammar, group: str, default: str | None) -> Iterable[tuple[str, str]]:
    """The options inside the choices of a group: values (the default choice's first), whose they are, a comment."""
    choices = sorted(grammar.groups[group], key=lambda choice: choice != default)
    found: dict[str, dict[str, str]] = {}
    said: dict[str, str] = {}
    for choice in choices:
        content = grammar.text(group, choice)
        for name, value in grammar.options(group, choice).items():
            found.setdefault(name, {})[choice] = json.dumps(value, separators=(",", ":")).strip('"')
            comment = re.search(rf"(?m)^ *{name.rpartition('.')[2]}: *[^#\n]*# (.*)", content)
            said.setdefault(name, comment[1] if comment else "")
    for name, values in found.items():
        whose = f"({', '.join(values)}) " if len(values) < len(choices) else ""
        yield f"{group}.{name}={'|'.join(dict.fromkeys(values.values()))}", whose + said[name]
