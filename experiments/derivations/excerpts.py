"""Lines of a program as they stand in its file, for a page that is to show the code that runs."""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

FOLDER = Path(__file__).resolve().parent
DOTS = "    ..."  # where lines are left out


def excerpt(function: Callable[..., Any], *parts: str) -> str:
    """A function's source in Markdown, under a link to its file: all of it, or its head and some of its statements.

    A part is how a statement begins, such as "def backward"; where lines are left out stand three dots. ValueError
    unless each part is found once.
    """
    function = inspect.unwrap(function)
    path = inspect.getsourcefile(function)
    place = Path(os.path.relpath(path or "", FOLDER)).as_posix()
    text = dedent(inspect.getsource(function))
    code = chosen(text, parts) if parts else text.rstrip()
    return f"[`{function.__qualname__}`]({place}):\n\n```python\n{code}\n```"


def chosen(text: str, parts: tuple[str, ...]) -> str:
    """The head of the function in this text, and those of its statements that begin like the parts."""
    lines = text.splitlines()
    (function,) = ast.parse(text).body
    inside = [node for node in ast.walk(function) if isinstance(node, ast.stmt) and node is not function]
    first = min(node.lineno for node in inside)
    kept = set(range(next(n for n, line in enumerate(lines) if line.startswith("def ")), first - 1))
    for part in parts:
        found = [node for node in inside if lines[node.lineno - 1].strip().startswith(part)]
        if len(found) != 1:
            raise ValueError(f"{part}: expected one such statement, found {len(found)}")
        kept |= set(range(found[0].lineno - 1, found[0].end_lineno or 0))
    shown: list[str] = []
    for number, line in enumerate(lines):
        if number in kept:
            shown.append(line)
        elif not line.strip():
            shown += [""] * bool(shown[-1:] != [""])
        elif DOTS not in shown[-2:]:
            shown.append(DOTS)
    return "\n".join(shown).rstrip()
