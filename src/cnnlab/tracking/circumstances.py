"""What a run's record says of its making: the machine, the code and the packages."""

import os
import platform
import re
import socket
import subprocess
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from cnnlab.paths import CHECKOUT
from cnnlab.tracking.access import without_password
from cnnlab.tracking.store import HOST, PID

SOURCES = {".j2", ".md", ".py", ".toml", ".yaml", ".yml"}  # kinds of files whose text is kept where git lacks them
LARGEST = 10**6  # bytes of such a file, or of the changes of another

SETTINGS = (  # of git, where no option of the command says the same
    "core.quotePath=off",
    "core.fsmonitor=false",
    "diff.algorithm=default",
    "diff.orderFile=/dev/null",
    "diff.suppressBlankEmpty=false",
)


def process() -> dict[str, str]:
    """Where and on what this process makes a run."""
    from threadpoolctl import threadpool_info

    threads = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {
        HOST: socket.gethostname(),
        PID: str(os.getpid()),
        "python": platform.python_version(),
        "blas": blas(),
        "blas.threads": str(max(threads, default=0)),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def blas() -> str:
    """The BLAS libraries that are loaded, with their kernels' architecture: the last bits of results depend on it."""
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    words = [(pool["internal_api"], pool["version"], pool.get("architecture")) for pool in pools]
    return ", ".join(sorted({" ".join(filter(None, each)) for each in words})) or "unknown"


def code() -> dict[str, str]:
    """By which code a run is made; where git refuses to tell the commit, its reason."""
    script = Path(sys.argv[0]).resolve()  # a worker has its parent's
    in_notebook = script.is_relative_to(CHECKOUT / "experiments")
    try:
        commit, dirty = git("rev-parse", "--verify", "HEAD").strip(), "unknown"
        if commit:
            dirty = str(bool(git("status", "--porcelain", "--untracked-files=all", "--ignore-submodules=none"))).lower()
    except OSError as error:
        commit, dirty = f"unknown: {error}", "unknown"
    return {
        "git.commit": commit or "none",
        "git.dirty": dirty,
        "mlflow.source.name": script.relative_to(CHECKOUT).as_posix() if in_notebook else "cnnlab",
        "mlflow.source.type": "LOCAL",
    }


@cache
def packages() -> str:
    """Every installed package and its version, a line each."""
    lines = {f"{dist.metadata['Name']}=={dist.version}" for dist in distributions()}
    return "\n".join([f"python=={sys.version.split()[0]}", *sorted(lines, key=str.lower)]) + "\n"


def changes() -> str:
    """How the code differs from its commit: git's diff, then the text of source files that git does not know.

    Hidden files, and what is larger than `LARGEST`, are left out, and named. Addresses that were written into a file
    since the commit have no passwords here.
    """
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-relative", "--find-renames")
    pinned = ("--src-prefix=a/", "--dst-prefix=b/", "--unified=3", "--inter-hunk-context=0", "--submodule=short")
    try:
        unknown = git("ls-files", "-z", "--others", "--exclude-standard", "--", "src", "conf", "experiments")
        known = git("diff", *plain, *pinned, "--ignore-submodules=none", "HEAD", "--")
    except OSError as error:
        return f"unknown: {error}\n"
    parts = re.split(r"(?m)^(?=diff --git )", known)  # a line of a file begins with a sign or a blank
    return "".join(map(_change, parts)) + "".join(_text(name) for name in unknown.split("\0") if name)


def _change(part: str) -> str:
    """Git's diff of a file, or why it is left out."""
    head, _, _ = part.partition("\n")
    name = head.rpartition(" b/")[2].strip('"')
    if any(each.startswith(".") for each in Path(name).parts):
        reason = "hidden"
    elif len(part) > LARGEST:
        reason = f"larger than {LARGEST:,} bytes"
    else:
        return re.sub(r"(?m)^\+.*://.*", lambda line: without_password(line[0]), part)
    return f"{head}\nleft out ({reason}): {name}\n"


def _text(name: str) -> str:
    """A file that git does not know, or why its text is left out: it may be secret, large or anything at all."""
    path = CHECKOUT / name
    if any(part.startswith(".") for part in Path(name).parts):
        reason = "hidden"
    elif path.is_symlink():
        reason = "a symbolic link"
    elif path.suffix not in SOURCES or not path.is_file():
        reason = "no source file"
    elif path.stat().st_size > LARGEST:
        reason = f"larger than {LARGEST:,} bytes"
    else:
        return f"\n+++ not in git: {name}\n{without_password(path.read_text('utf-8', errors='replace'))}"
    return f"\n+++ not in git, left out ({reason}): {name}\n"


def git(*arguments: str) -> str:
    """What git says of the checkout that the code is in; empty where that is none. OSError with git's reason.

    Of the user's settings only trusted folders and ignored files count; variables such as `GIT_DIR`, which hooks
    set, do not. No repository above the checkout is looked at, and nothing is written.
    """
    if not os.path.lexists(CHECKOUT / ".git"):
        return ""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    ours = {"GIT_CEILING_DIRECTORIES": str(CHECKOUT.parent), "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    command = ["git", "-C", str(CHECKOUT), "--no-pager", *(word for each in SETTINGS for word in ("-c", each))]
    try:
        done = subprocess.run([*command, *arguments], capture_output=True, env=kept | ours, check=False)
    except OSError as error:
        raise OSError(f"git cannot be started: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip() or f"git ended with exit code {done.returncode}"
        raise OSError(said.splitlines()[0].removeprefix("fatal: "))
    return done.stdout.decode("utf-8", "replace")
