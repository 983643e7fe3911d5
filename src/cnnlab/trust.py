"""What a config or a file may name: code is imported because of a name only where the name is on a short list.

cnnlab's own modules are on it, the packages in `CNNLAB_TRUST`, and below `hydra.` cnnlab's launchers and sweeper, and
those of Hydra, joblib and submitit. All else is refused by its name alone, before anything is imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from cnnlab.code import LEFT_OUT

TOOLS = (  # cnnlab's modules that are no part of what is computed: data, learners, models and nn are
    *(*LEFT_OUT, "__main__", "api", "changes", "config", "estimator", "locks", "measuring", "npz", "pictures"),
    *("predictor", "rates", "robustness", "search", "signals", "spelling", "statistics", "streams", "training"),
    *("texts", "trust", "tuning"),
)
FETCHES = "cnnlab.data.download"  # writes files
PLUGINS = {
    "hydra.launcher": (
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
        "hydra_plugins.cnnlab_launchers.SlurmLauncher",
        "hydra_plugins.cnnlab_launchers.RayLauncher",
    ),
    "hydra.sweeper": (
        "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
        "hydra_plugins.cnnlab_sweeper.CnnlabSweeper",
    ),
}
LOGGING = ("hydra.job_logging", "hydra.hydra_logging")
LOGGERS = ("logging.FileHandler", "logging.Formatter", "logging.NullHandler", "logging.StreamHandler")
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
VARIABLES = "hydra.job.env_set"  # PATH and PYTHONPATH say what is run, too
READS = re.compile(r"\$\{(?:(?:hydra|now|oc\.env|python_version):|[\w.]+\})")


def trusted(module: str) -> bool:
    """Whether a module may be imported because a file or a config names it.

    It must be of cnnlab, or of a package that is named in `CNNLAB_TRUST` (several with commas between them), and no
    module that is a program (`__main__`).
    """
    packages = {"cnnlab", *(name.strip() for name in os.environ.get("CNNLAB_TRUST", "").split(","))}
    first, *others = module.split(".")
    return first in packages and all(re.fullmatch(r"(?!__)\w+", name) for name in (first, *others))


def check_targets(node: Any, at: str = "") -> None:
    """ValueError, in one line, for what a plain node or one inside it names and may not: `_target_`, loggers.

    `at` is the option that the node is the value of. Nothing is imported.
    """
    for name, value in _items(node):
        option = f"{at}.{name}" if at else name
        if name == "_target_":
            if not (isinstance(value, str) and (value in PLUGINS.get(at, ()) or _builds(value))):
                raise ValueError(_refusal(option, value))
        elif option == VARIABLES and value:
            raise ValueError(f"{option}: a config sets no variables of the environment; your shell may")
        elif option.startswith("hydra.") and isinstance(value, str) and value.startswith("${") and not _reads(value):
            raise ValueError(f"{option}={value}: below hydra, ${{...}} may name an option, oc.env:, now: or hydra:")
        elif option.startswith(LOGGING):
            _check_logging(option, name, value)
        check_targets(value, option)


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        yield from ((str(name), value) for name, value in node.items())
    elif isinstance(node, list | tuple):
        yield from ((str(number), value) for number, value in enumerate(node))


def _builds(target: str) -> bool:
    """Whether a target is in a module that may be imported; of cnnlab's, in one that computes something."""
    module = target.rpartition(".")[0]
    package, _, room = module.partition(".")
    return (
        trusted(module) and module != FETCHES and not (package == "cnnlab" and room.partition(".")[0] in ("", *TOOLS))
    )


def _reads(text: str) -> bool:
    """Whether the interpolations in a text read what is there, and make nothing of text that has yet to be checked."""
    return text.count("${") == len(READS.findall(text))


def _check_logging(option: str, name: str, value: Any) -> None:
    """Refuse what Python's logging would import, and nodes from elsewhere, which nobody has looked at."""
    text = value if isinstance(value, str) else ""
    if name == "()" or (name == "class" and value not in LOGGERS):
        raise ValueError(f"{option}={value}: choose from {', '.join(LOGGERS)}")
    if text.startswith(("ext://", "cfg://")) and text not in STREAMS:
        raise ValueError(f"{option}={value}: choose from {', '.join(STREAMS)}")
    if re.fullmatch(r"\$\{.*\}", text, re.DOTALL) and not re.search(r"\}.*\$\{", text, re.DOTALL):
        raise ValueError(f"{option}={value}: write it out")


def _refusal(option: str, value: Any) -> str:
    """Why a target is refused, and what is allowed."""
    said = " ".join(str(value).split())[:200]
    package = said.partition(".")[0]
    known = f"cnnlab's own and packages in CNNLAB_TRUST (CNNLAB_TRUST={package} if you trust it)"
    if not package.isidentifier() or package == "cnnlab":
        known = "what cnnlab computes with and packages in CNNLAB_TRUST"
    for place, plugins in PLUGINS.items():
        if option == f"{place}._target_":
            known += f", {', '.join(dict.fromkeys(plugin.rpartition('.')[2] for plugin in plugins))}"
    return f"{option}={said}: is not imported: a config may name {known}"
