"""`cnnlab server`: MLflow for a team, whose members sign in with a name and a password."""

import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from cnnlab.commands import parser
from cnnlab.commands.serving import in_url, placed, refuse_taken, serve
from cnnlab.paths import root, sqlite_file, sqlite_uri, write_atomically

ADMIN = "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD"
STORE = "MLFLOW_BACKEND_STORE_URI"
POOL = {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "20", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "60"}
# connections to the database: each of the server's 40 threads may hold one while it asks for another, and with MLflow's
# own limit of 15 they all wait for each other; PostgreSQL allows 100
KNOWN = "password1234"  # what earlier versions of MLflow came with
SHORTEST = 12  # characters, which MLflow asks of every password
ACCOUNTS = """\
[mlflow]
database_uri = {uri}
admin_username = {name}
default_permission = EDIT
auth_cache_ttl_seconds = 600
"""  # whoever signs in may add to every study; a password is hashed once in ten minutes, not with every request
EXAMPLES = f"""\
The administrator is {ADMIN[0]} with {ADMIN[1]}, or the line NAME:PASSWORD of
the file that --admin names, which nobody else may be able to read. The password is set with every start, and has
{SHORTEST} characters or more. Further accounts are made at /signup, by the administrator.

Members set MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD for cnnlab's commands.

A database that asks for a password has it in ~/.pgpass, or is named by {STORE} instead of --store."""


def main(words: Sequence[str]) -> None:
    """Serve until interrupted; all but the database is in the folder `mlserver`, which nobody else can read."""
    parse = parser("server", EXAMPLES)
    parse.add_argument("--store", help="postgresql://USER@HOST/DATABASE, else the file mlserver/mlflow.db")
    parse.add_argument("--admin", metavar="FILE", help="the administrator: a line NAME:PASSWORD")
    said = placed(parse, words)
    name, password = _administrator(said.admin)
    folder = root() / "mlserver"
    uri = _store(said.store) or sqlite_uri(folder / "mlflow.db")
    refuse_taken("server", said.host, said.port)
    from cnnlab.tracking.access import without_password
    from cnnlab.tracking.team import open_store, set_administrator

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # of one that was there, too
    accounts, told = folder / "accounts.db", folder / "accounts.ini"
    open_store(uri)
    set_administrator(accounts, name, password)
    values = {"uri": sqlite_uri(accounts), "name": name}
    write_atomically(told, ACCOUNTS.format(**{key: text.replace("%", "%%") for key, text in values.items()}).encode())
    if not _is_loopback(said.host):
        print("passwords cross the network in plain text unless a proxy with TLS is before this server: SECURITY.md")
    place = f"http://{in_url(said.host)}:{said.port}"
    print(f"serving {without_password(uri)} at {place} (half a minute to start, Ctrl-C to stop)", flush=True)
    settings = POOL | {
        "MLFLOW_AUTH_CONFIG_PATH": str(told),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        STORE: uri,
    }
    serve("server", said, folder / "artifacts", ["--app-name", "basic-auth"], settings)


def _administrator(file: str | None) -> tuple[str, str]:
    """The administrator's name and password; the environment of what is started has the password no more."""
    name, password = (os.environ.pop(variable, "") for variable in ADMIN)
    if file:
        name, password = _read(file)
    name = name.strip()
    if not name or not password:
        needed = f"set {' and '.join(ADMIN)}, or give --admin FILE (with make: ADMIN=FILE)"
        raise ValueError(f"an administrator needs a name and a password: {needed}")
    if password == KNOWN:
        raise ValueError("the administrator's password is the one that MLflow once came with: choose another")
    if len(password) < SHORTEST:
        raise ValueError(f"the administrator's password is short: choose one of {SHORTEST} characters or more")
    return name, password


def _read(file: str) -> tuple[str, str]:
    """The name and the password that a file has in its only line."""
    try:
        lines = [line for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise ValueError(f"--admin {file}: {error.strerror}") from None
    except UnicodeError:
        lines = []
    if Path(file).stat().st_mode & 0o077:
        raise ValueError(f"--admin {file}: others can read this file: chmod 600 {file}")
    if len(lines) != 1 or ":" not in lines[0]:
        raise ValueError(f"--admin {file}: needs one line, NAME:PASSWORD")
    name, _, password = lines[0].partition(":")
    return name, password


def _store(given: str | None) -> str:
    """The address of the database, empty where none is named; ValueError for what others could see or cannot be."""
    from cnnlab.tracking.access import PARAMETER, POSTGRES

    if given and (re.search("://[^/@:]*:[^@]*@", given) or PARAMETER.search(given)):
        raise ValueError(f"--store: others can see a password on a command line: set {STORE}, or keep it in ~/.pgpass")
    uri = given or os.environ.get(STORE, "")
    if uri and not POSTGRES.match(uri) and not sqlite_file(uri):
        raise ValueError(f"{'--store' if given else STORE}: choose postgresql://USER@HOST/DATABASE or sqlite:///FILE")
    return uri


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
