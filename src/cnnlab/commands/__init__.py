"""What is typed: `cnnlab train activation=relu`, `cnnlab sweep pooling`, and so on; a module for each command."""

import importlib
import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Never

COMMANDS = {
    "train": "one run, in words: activation=relu epochs=3; with -m, a sweep over lists of words",
    "sweep": "an ablation: the arms of a file in conf/sweep",
    "reproduce": "LeNet-5's family on the full MNIST, row by row",
    "report": "the tables and figures of a study, written anew",
    "tune": "learning rates for the arms of sweeps, chosen on validation images",
    "ui": "MLflow's pages over all runs",
    "data": "fetch MNIST or Fashion-MNIST",
}


class Parser(ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> Never:
        """Exit with 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def parser(name: str) -> Parser:
    """The parser of a command, which says what it is for."""
    return Parser(f"cnnlab {name}", description=COMMANDS[name], allow_abbrev=False)


def counting(text: str) -> int:
    """A number to count with, for a parser."""
    if not text.isdecimal() or int(text) == 0:
        raise ValueError
    return int(text)


counting.__name__ = "positive whole number"  # what the parser calls it in its complaint


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name; exits with 1 if it fails and 2 if it cannot be understood."""
    name, *words = [*(sys.argv[1:] if arguments is None else arguments), ""]
    words = words[:-1]
    if name in ("-h", "--help"):
        print("cnnlab COMMAND ...; cnnlab COMMAND --help says more\n")
        print("\n".join(f"  {command:<10} {what}" for command, what in COMMANDS.items()))
        return
    if name == "--version":
        from importlib.metadata import version

        print("cnnlab", version("cnnlab"))
        return
    if name not in COMMANDS:
        sys.exit(f"cnnlab: there is no command {name or 'given'}: choose from {', '.join(COMMANDS)}")
    from cnnlab.paths import refuse_other_checkout, root

    refuse_other_checkout()
    os.environ["CNNLAB_HOME"] = str(root())  # where Hydra's own files of a sweep go, too
    try:
        importlib.import_module(f"cnnlab.commands.{name}").main(words)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on after the last whole epoch")
