"""Slurm's commands as one program, for tests: every task begins at once, on this machine.

A folder has a file for each task, named as Slurm calls it, with the id of its process. Tasks need no daemon.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

JOB = "7"


def install(folder: Path) -> dict[str, str]:
    """Put the commands into a folder; the variables by which they are found."""
    folder.mkdir()
    for name in ("sbatch", "srun", "squeue", "scancel"):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} {folder} "$@"\n')
        program.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def sbatch(folder: Path, script: str) -> None:
    """Begin a task, or those of an array."""
    listed = re.search(r"--array='?0-(\d+)", Path(script).read_text())
    for task in [f"_{number}" for number in range(int(listed[1]) + 1)] if listed else [""]:
        variables = {"SLURM_JOB_ID": f"{JOB}{task[1:]}"}
        variables |= {"SLURM_ARRAY_JOB_ID": JOB, "SLURM_ARRAY_TASK_ID": task[1:]} if task else {}
        command = ["sh", "-c", 'echo $$ >"$1"; exec bash "$2"', "sh", str(folder / f"{JOB}{task}"), script]
        streams = {name: subprocess.DEVNULL for name in ("stdin", "stdout", "stderr")}
        subprocess.Popen(command, env=os.environ | variables, start_new_session=True, **streams)
    print(f"Submitted batch job {JOB}")


def srun(folder: Path, *words: str) -> None:
    """Run a task, whose files are called after it."""
    names = {"%A": JOB, "%a": os.environ.get("SLURM_ARRAY_TASK_ID", ""), "%j": JOB, "%t": "0"}
    told = list(words)
    while told[0].startswith("--"):
        option = told.pop(0)
        if option in ("--output", "--error"):
            file = told.pop(0)
            for short, name in names.items():
                file = file.replace(short, name)
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1 if option == "--output" else 2)
    os.execvp(told[0], told)


def squeue(folder: Path, *words: str) -> None:
    """List the tasks that are there."""
    for place in folder.glob(f"{JOB}*"):
        with suppress(ProcessLookupError, ValueError):
            os.kill(int(place.read_text()), 0)
            print(place.name)


def scancel(folder: Path, *tasks: str) -> None:
    """Tell tasks to end."""
    for task in tasks:
        with suppress(ProcessLookupError):
            os.killpg(int((folder / task).read_text()), signal.SIGTERM)


if __name__ == "__main__":
    commands: dict[str, Callable[..., None]] = {"sbatch": sbatch, "srun": srun, "squeue": squeue, "scancel": scancel}
    commands[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
