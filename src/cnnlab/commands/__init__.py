"""The command line: `cnnlab train activation=relu`, `cnnlab sweep pooling`, and so on; a module for each command."""

import importlib
import sys
import traceback
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Never

from cnnlab.streams import printable

COMMANDS = {
    "train": "one run, in words: activation=relu epochs=3; with -m, a sweep over lists of words",
    "sweep": "an ablation: the arms of a file in conf/sweep",
    "reproduce": "LeNet-5's family on the full MNIST, row by row",
    "evaluate": "how finished runs answer test images that are shifted, turned, scaled or noisy",
    "predict": "which digits pictures of your own show",
    "compare": "two finished runs, by their answers to the same test images",
    "report": "the tables and figures of a study, written anew",
    "tune": "a learning rate for each arm of a sweep, chosen on validation images",
    "search": "the numbers and words with the lowest validation error, by Optuna",
    "sync": "file the records that the MLflow store could not take when their runs ended",
    "ui": "MLflow's pages over all runs",
    "server": "a store of runs for a team, whose members sign in",
    "data": "fetch MNIST or Fashion-MNIST",
}
HELP = f"""\
usage: cnnlab COMMAND ...

{chr(10).join(f"  {name:<10} {what}" for name, what in COMMANDS.items())}

`cnnlab COMMAND --help` says more. Runs are kept in the folder that CNNLAB_HOME names, else in the checkout or here."""

INTERRUPTED = "interrupted: the same command goes on after what is done"


class Parser(ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> Never:
        """Print the complaint and exit with 2; an option that is not known is told those that are."""
        if message.startswith("unrecognized arguments: -"):
            known = ", ".join(action.option_strings[-1] for action in self._actions if action.option_strings)
            message += f": choose from {known}; a word has no dashes, as in epochs=3"
        self.exit(2, f"{printable(f'{self.prog}: {message}')}\n")


def parser(name: str, examples: str = "") -> Parser:
    """The parser of a command, which says what it is for."""
    return Parser(
        f"cnnlab {name}",
        description=COMMANDS[name],
        epilog=examples,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def counting(text: str) -> int:
    """The whole number above 0 that this text is; ValueError where it is none."""
    if not (text.isdecimal() and 0 < int(text) < 10**6):
        raise ValueError
    return int(text)


counting.__name__ = "whole number above 0"  # what the parser calls it in its complaint


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name; if it is wrong or fails, print one line and exit with 1 or 2.

    Without arguments they are those of the command line.
    """
    if arguments is None:
        from cnnlab import signals, streams

        signals.heed()
        streams.take_all()
        try:
            code = _ended(sys.argv[1:])
        except KeyboardInterrupt:  # once more, while the first was answered
            code = INTERRUPTED
        with signals.ending():
            code = code or streams.failure()
            if isinstance(code, str) and code:
                print(code, file=sys.stderr)
                code = 1
        sys.exit(code or None)
    name, *words = arguments or [""]
    if name in ("-h", "--help"):
        print(HELP)
    elif name == "--version":
        from importlib.metadata import version

        print("cnnlab", version("cnnlab"))
    elif name in ("-sc", "--shell-completion"):
        _run("train", [name, *words])
    elif name in COMMANDS:
        _run(name, words)
    else:
        from cnnlab.spelling import guess

        said = f"there is no command {name}{guess(name, COMMANDS)}" if name else "no command given"
        sys.exit(f"cnnlab: {said}: choose from {', '.join(COMMANDS)}; cnnlab --help says more")


def _ended(words: Sequence[str]) -> str | int | None:
    """What a command exits with: a code, or the line that says why."""
    try:
        with in_one_line():
            main(words)
    except SystemExit as over:
        return over.code
    except Exception:  # a bug
        from cnnlab.tracking.access import without_password

        return without_password(traceback.format_exc().rstrip())
    return 0


def _run(name: str, words: Sequence[str]) -> None:
    from cnnlab.paths import refuse_other_checkout, settle

    refuse_other_checkout()
    settle()
    with in_one_line():
        importlib.import_module(f"cnnlab.commands.{name}").main(words)


@contextmanager
def in_one_line() -> Iterator[None]:
    """Where what is done inside fails, say why in one line, and exit with 1; a bug keeps its traceback."""
    try:
        yield
    except Exception as error:
        sys.exit(explained(error))
    except KeyboardInterrupt as stop:
        sys.exit(f"interrupted: {stop}" if str(stop) else INTERRUPTED)


def _is_interrupted(error: BaseException | None) -> bool:
    """Whether an error is one of tidying up after an interruption: few libraries can be interrupted everywhere."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or _is_interrupted(error.__context__))


def explained(error: Exception) -> str:
    """One line on an error in words, files or a store; any other is a bug, and is raised again with its traceback."""
    return INTERRUPTED if _is_interrupted(error) else printable(_explained(error))


def _explained(error: Exception) -> str:
    from cnnlab.paths import is_full

    kind, text = type(error), str(error)
    if is_full(error):
        return f"the disk is full ({text}): make room, then give the same command again"
    if kind.__module__.partition(".")[0] not in ("hydra", "omegaconf", "yaml"):
        if isinstance(error, MemoryError):
            return f"there is not enough memory: {text or 'choose something smaller'}"
        if isinstance(error, RecursionError):
            return "brackets or names lie too deep inside each other"
        if not isinstance(error, (ValueError, OSError, ImportError)):
            raise error
        return text
    if override := getattr(error, "override", None):
        return f"{override}: cannot be read as an option and its value; what is unusual in it needs quotes"
    if choices := getattr(error, "options", None):
        group, _, choice = str(getattr(error, "missing_cfg_file", "")).rpartition("/")
        return f"{group}={choice}: there is no such choice: choose from {', '.join(choices)}"
    lines = dict.fromkeys(line.strip() for line in f"{text}\n{error.__cause__ or ''}".splitlines())
    return "; ".join(line for line in lines if line and not line.startswith(("object_type", "reference", "To append")))
