"""Text files that people write, and the YAML in them: what is damaged, or made to do harm, is refused by name.

An alias repeats what an anchor names. Nested ones make more of a few lines than a machine has memory, so a text's size
is that of what it says when all of them are written out; it is found before any of that is made.
"""

from pathlib import Path
from typing import Any

import yaml

LARGEST = 500_000  # bytes of a text, and letters of its YAML with all aliases written out; conf/sweep has up to 20,000
VALUE = 25  # letters that each value and each name count for beside their own: OmegaConf takes long for one
DEEPEST = 50  # levels of its YAML, of which the lab's own have 7
READER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the fast one, where it is installed


def text(file: Path, most: int = LARGEST) -> str:
    """The text of a file; ValueError, in one line that names it, where it is too large or no UTF-8."""
    with file.open("rb") as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{file}: has more than the {most:,} bytes that it may have")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{file}: line {line} is no UTF-8: save the file in that encoding") from None


def values(file: Path, most: int = LARGEST) -> Any:
    """What the YAML in a file says; ValueError, in one line that names it, where that cannot be read or is too much."""
    return parsed(text(file, most), str(file), most)


def parsed(content: str, name: str, most: int = LARGEST) -> Any:
    """What YAML says; ValueError, in one line with its name, where it is none, too large or too deep."""
    try:
        why = _excess(content, most)
        if not why:
            return yaml.load(content, Loader=READER)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        why = f"{line}{error.problem or error.context}"
    except yaml.YAMLError as error:  # a character that YAML does not know
        why = " ".join(str(error).split())
    raise ValueError(f"{name}: {why}")


def _excess(content: str, most: int) -> str:
    """What is too much in YAML, by what its parser meets on the way; "" where nothing is."""
    sizes = dict[str, int]()  # of what anchors name
    inside: list[tuple[str | None, int]] = []  # what the place is in: the anchor, and the size before it
    size = 0
    for event in yaml.parse(content, Loader=READER):
        line = f"line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                return f"{line}: *{event.anchor} is inside what it repeats, or named nowhere before"
            size += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            size += (own := len(event.value) + VALUE)
            sizes |= {event.anchor: own} if event.anchor else {}
        elif isinstance(event, yaml.CollectionStartEvent):
            inside.append((event.anchor, size))
            size += VALUE
            if len(inside) > DEEPEST:
                return f"{line}: brackets or names lie more than {DEEPEST} levels deep inside each other"
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = inside.pop()
            sizes |= {anchor: size - before} if anchor else {}
        if size > most:
            return f"{line}: is too much: more than {most:,} letters ({VALUE} a value) with all aliases (*) written out"
    return ""
