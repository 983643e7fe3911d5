"""The digest of the code that a run uses, found by reading its modules without importing them.

What counts is what can change a number: the syntax trees of the modules in which a run's classes and functions are
defined, and of what these import from cnnlab or from the packages of the run's targets, wherever in a file they do.
Comments, docstrings, layout, annotations of functions, imports for types only, and the order of imports do not count.
Other packages (NumPy, scikit-learn) do not count either: their versions belong in the record of a run.

Not seen: modules that are imported by a name put together at run time. CPython 3.11 to 3.13 give the same digest.
"""

import ast
import hashlib
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = "cnnlab"
LEFT_OUT = (  # modules that show, keep or launch runs, but compute none of their numbers
    *("checkpoint", "code", "commands", "composing", "journal", "networks", "orphans"),
    *("paths", "plots", "report", "runs", "summaries", "sweeps", "tracking"),
)
UNSEEN = {"annotation", "returns", "type_comment", "type_params", "ctx", "kind"}  # fields that change no number

Reference = tuple[str, tuple[str, ...]]  # a module, and names to look up in it, one inside the other


def digest(targets: Iterable[str]) -> str:
    """16 hex digits for the code behind dotted names, such as `cnnlab.nn.MaxPool` or `mypackage.layers.Mine`.

    The order and the place of the files on disk do not matter. A module without source counts by the bytes of its
    compiled file, one that is built into Python by Python's version. ValueError where a target's package is missing.
    Files are read once in a process.
    """
    asked = sorted(set(targets))
    packages = frozenset({PACKAGE, *(target.partition(".")[0] for target in asked)})
    found: set[str] = set()
    for target in asked:
        top, *names = target.split(".")
        if _spec(top) is None:
            raise ValueError(f"{target}: there is no package named {top}")
        _follow((top, tuple(names)), packages, found)
    lines = "".join(f"{name} {_module(name).digest}\n" for name in sorted(found))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def _follow(reference: Reference, packages: frozenset[str], found: set[str]) -> None:
    """Add the module in which a name is defined, and all that this module uses."""
    module, names = reference
    package, _, room = module.partition(".")
    if package not in packages or (package == PACKAGE and room.partition(".")[0] in LEFT_OUT):
        return
    spec = _spec(module)
    if spec is None or module in found:
        return
    if spec.submodule_search_locations is not None and names:  # a package: its own code is passed on the way only
        name, *rest = names
        if name in (offered := _module(module).offers):
            inside, path = offered[name]
            return _follow((inside, (*path, *rest)), packages, found)
        if _spec(f"{module}.{name}"):
            return _follow((f"{module}.{name}", tuple(rest)), packages, found)
        if name.startswith("__"):
            return
    found.add(module)
    for used in _module(module).uses:
        _follow(used, packages, found)


@cache
def _spec(module: str) -> ModuleSpec | None:
    """Where a module lies; its packages are not imported."""
    parent, _, _ = module.rpartition(".")
    if not parent:
        return find_spec(module)
    above = _spec(parent)
    places = above and above.submodule_search_locations
    return PathFinder.find_spec(module, list(places)) if places else None


@dataclass(frozen=True)
class _Module:
    """What was read of a module: the digest of its own code, what it imports under which name, and what it uses."""

    digest: str
    offers: dict[str, Reference]
    uses: list[Reference]


@cache
def _module(name: str) -> _Module:
    spec = _spec(name)
    assert spec is not None
    source = spec.loader.get_source(name) if spec.loader and hasattr(spec.loader, "get_source") else None
    if source is None:
        compiled = Path(spec.origin) if spec.has_location and spec.origin else None
        content = compiled.read_bytes() if compiled else platform.python_version().encode()
        return _Module(hashlib.sha256(content).hexdigest(), {}, [])
    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
    words, dotted, imports = [""], set[str](), list[ast.Import | ast.ImportFrom]()
    _read(ast.parse(source), words, dotted, imports)
    bound = sorted({entry for statement in imports for entry in _bound(statement, package)})
    heads = {path.partition(".")[0] for path in dotted}
    words += [f"{alias}={module}:{'.'.join(names)}" for alias, (module, names) in bound if alias.split(".")[0] in heads]
    uses = {use for alias, reference in bound for use in _uses(alias, reference, dotted)}
    return _Module(hashlib.sha256("\0".join(words).encode()).hexdigest(), dict(bound), sorted(uses))


def _read(node: Any, words: list[str], dotted: set[str], imports: list[ast.Import | ast.ImportFrom]) -> None:
    """Add to `words` the tree under a node, to `dotted` the names that it uses, to `imports` what it imports."""
    kind = type(node)
    if kind is ast.Name or (kind is ast.Attribute and (path := _path(node))):
        words.append(node.id if kind is ast.Name else path)
        dotted.add(words[-1])
        return
    if kind is ast.Constant:
        words.append(f"{type(node.value).__name__} {node.value!r}")
        return
    words.append(f"({kind.__name__}")
    for field in node._fields:
        value = getattr(node, field, None)
        if value is None or value == [] or (field in UNSEEN and kind is not ast.AnnAssign):  # fields of a dataclass
            continue
        words.append(f".{field}")
        for item in value if isinstance(value, list) else (value,):
            if isinstance(item, ast.Import | ast.ImportFrom):
                imports.append(item)
            elif isinstance(item, ast.If) and _path(item.test).rpartition(".")[2] == "TYPE_CHECKING":
                for other in item.orelse:
                    _read(other, words, dotted, imports)
            elif isinstance(item, ast.AST):
                if not _does_nothing(item):
                    _read(item, words, dotted, imports)
            else:
                words.append(repr(item))
    words.append(")")


def _path(node: ast.expr) -> str:
    """`a.b.c` of an attribute of an attribute of a name; empty where it begins otherwise."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else ""


def _does_nothing(node: ast.AST) -> bool:
    """Whether this is `pass`, a docstring, or an ellipsis in the place of one."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _bound(statement: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Reference]]:
    """Each name that an import binds (for `import a.b` the whole of it), and what it stands for."""
    if isinstance(statement, ast.Import):
        yield from ((alias.asname or alias.name, (alias.name, ())) for alias in statement.names)
        return
    above = package.split(".")
    start = above[: len(above) + 1 - statement.level] if statement.level else []
    module = ".".join([*start, *([statement.module] if statement.module else [])])
    for alias in statement.names:
        yield (module, (module, ())) if alias.name == "*" else (alias.asname or alias.name, (module, (alias.name,)))


def _uses(alias: str, reference: Reference, dotted: set[str]) -> set[Reference]:
    """What is used of an import: of `from cnnlab import nn` `nn.MaxPool`, say, or the whole where `nn` stands alone."""
    module, names = reference
    longer = {path[len(alias) + 1 :] for path in dotted if path == alias or path.startswith(f"{alias}.")}
    return {(module, (*names, *(rest.split(".") if rest else ()))) for rest in longer} or {reference}
