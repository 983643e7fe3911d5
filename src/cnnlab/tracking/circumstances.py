"""What a run's record says of its making: the machine, the code and the packages."""

import os
import platform
import socket
import subprocess
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from ..paths import CHECKOUT


def process() -> dict[str, str]:
    """Where and on what this process makes a run."""
    from threadpoolctl import threadpool_info

    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "python": platform.python_version(),
        "blas": ", ".join(sorted({f"{p['internal_api']} {p['version']}" for p in blas})) or "unknown",
        "blas.threads": str(max((pool["num_threads"] for pool in blas), default=0)),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def code() -> dict[str, str]:
    """By which code a run is made."""
    commit = git("rev-parse", "HEAD").strip()
    script = Path(sys.argv[0])  # a worker has its parent's
    return {
        "git.commit": commit or "none",
        "git.dirty": str(bool(git("status", "--porcelain"))).lower() if commit else "unknown",
        "mlflow.source.name": f"experiments/{script.name if script.parent.name == 'experiments' else 'train.py'}",
        "mlflow.source.type": "LOCAL",
    }


@cache
def packages() -> str:
    """Every installed package and its version, a line each."""
    lines = {f"{dist.metadata['Name']}=={dist.version}" for dist in distributions()}
    return "\n".join([f"python=={sys.version.split()[0]}", *sorted(lines, key=str.lower)]) + "\n"


def changes() -> str:
    """How the code differs from its commit: git's diff, and the text of files that git does not know."""
    unknown = git("ls-files", "--others", "--exclude-standard", "--", "src", "conf", "experiments").splitlines()
    files = [name for name in unknown if (CHECKOUT / name).is_file()]
    texts = [f"\n+++ not in git: {name}\n{(CHECKOUT / name).read_text(errors='replace')}" for name in files]
    return git("diff", "HEAD") + "".join(texts)


def git(*arguments: str) -> str:
    """What git says of the folder that the code is in; empty where that is no checkout, or there is no git."""
    if not (CHECKOUT / ".git").exists():
        return ""
    command = ["git", "-C", str(CHECKOUT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""
