"""The way to the store: its address, whether it answers, and what goes wrong there, in one line without secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote

from cnnlab.paths import root, sqlite_uri
from cnnlab.streams import printable

if TYPE_CHECKING:
    from sqlalchemy import Engine

PASSING = "INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"  # MLflow's codes of what may pass
CLASH = re.compile("UNIQUE constraint|UniqueViolation|Duplicate entry")  # databases' words for what is there already
STRANGER = "UNAUTHENTICATED"  # its code for who is not known to a server
ANSWER = 5  # seconds in which a server must answer before anything else is asked of it
LOCKED = 20  # seconds for which a question waits for an SQLite file that is locked, as MLflow's do
POSTGRES = re.compile(r"postgresql(\+psycopg2?)?://")  # beginnings of its addresses
SECRET = "pass?w|token|secret|credential|auth|jwt|sig|(?:api|access)[_-]?key"  # in names: also sslpassword, pasword
PARAMETER = re.compile(rf"(?i)([?&](?:[\w-]*(?:{SECRET})[\w-]*)=)([^\s&]+)")  # of an address, with a secret
TOKEN = re.compile(r"(?i)(https?://)([^\s/:@?#]+)(:?@)")  # in the place of a user's name, where there is no password
VARIABLES = "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "PGPASSWORD"  # that hold a secret


def seconds(variable: str, otherwise: float) -> float:
    """A time-out, which a variable of the environment can say; tests wait no longer than they must."""
    said = os.environ.get(variable, str(otherwise))
    try:
        return float(said)
    except ValueError:
        raise ValueError(f"{variable}={said}: choose a number of seconds") from None


PATIENCE = seconds("CNNLAB_PATIENCE", 90)  # for which a store that does not answer is waited for


def tracking_uri() -> str:
    """Address of the store: `MLFLOW_TRACKING_URI`, or the SQLite file at the project root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(root() / "mlflow.db")


class StoreAway(OSError):
    """The store does not work now, but may do so later."""


@contextmanager
def store_errors(uri: str = "") -> Iterator[None]:
    """Whatever the store answers instead of working becomes an OSError of one line, StoreAway where it may pass.

    It is the store of all runs, or that of another address. Its errors are told by their module's name: naming their
    classes would import MLflow where nothing goes wrong.
    """
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("mlflow", "requests", "sqlalchemy", "sqlite3", "urllib3"):
            raise
        store = f"the MLflow store {without_password(uri or tracking_uri())}"
        if _is_stranger(error):  # a password may be given, or be changed back, before the record is filed
            users = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD must be one of its users and his password"
            raise StoreAway(f"{store} does not let you in: {users}") from error
        kind = StoreAway if _may_pass(error) else OSError
        raise kind(f"{store} does not work: {one_line(error)}") from error


def _may_pass(error: Exception) -> bool:
    """Whether the store is out of order: MLflow has a code for what is wrong with a question itself."""
    answer = getattr(error, "response", None)  # of an HTTP server that keeps files
    code = getattr(error, "error_code", PASSING[0])
    return is_clash(error) or (code in PASSING and (answer is None or answer.status_code >= 500))


def is_clash(error: Exception) -> bool:
    """Whether another wrote the same at the same time, so that it is there for whoever asks again.

    That other may be a question's own repetition: a server that was stopped for a while answers them together.
    """
    return getattr(error, "error_code", "") == "BAD_REQUEST" and bool(CLASH.search(str(error)))


def _is_stranger(error: Exception) -> bool:
    answer = getattr(error, "response", None)
    return getattr(error, "error_code", "") == STRANGER or getattr(answer, "status_code", 0) == 401


def one_line(error: Exception) -> str:
    """What an error says, without passwords, the SQL statement that it came from and SQLAlchemy's remarks on it."""
    text = re.sub(r"\((raised as a result|Background on this error)[^()]*\)", "", str(error).split("[SQL")[0])
    return printable(" ".join(without_password(text).split()))[:300]


def without_password(text: str) -> str:
    """A text in which no address has a password or a token, the store's least of all.

    In the store's address a secret may hold characters that should be quoted there. Then programs take a piece of it
    for something else, such as the name of a host, and may say so: the pieces are left out, too.
    """
    uri = tracking_uri()
    own, token = re.search(r"://[^/:@]*:(.+)@", uri), re.search(r"(?i)^https?://([^@]+?):?@", uri)
    passwords = [own[1]] if own else []
    tokens = [token[1]] if token and not own else []
    tokens += [value for _, value in PARAMETER.findall(uri)]
    tokens += [value for variable in VARIABLES if (value := os.environ.get(variable, ""))]
    for secret in dict.fromkeys(spelt for each in passwords + tokens for spelt in (each, unquote(each))):
        text = text.replace(f":{secret}@", ":***@")
        pieces = re.split("[@:/?#]", secret)
        whole = [secret] if secret not in passwords else []  # a password may be a common word, a user's name, say
        for piece in [*whole, *(pieces if len(pieces) > 1 else ())]:
            if len(piece) > 2:
                text = re.sub(rf"(?<!\w){re.escape(piece)}(?!\w)", "***", text)
    text = PARAMETER.sub(r"\1***", text)
    text = re.sub(r"(://[^\s/:@]*):[^\s/@]+@", r"\1:***@", text)
    return TOKEN.sub(r"\1***\3", text)


def raise_if_away(uri: str) -> bool:
    """StoreAway, in seconds, where a server is down or silent: MLflow would ask it again for minutes.

    Whether it is a PostgreSQL without MLflow's tables.
    """
    with store_errors(uri):
        if uri.startswith("http"):
            import requests

            answer = requests.get(f"{uri.rstrip('/')}/health", timeout=ANSWER)
            if answer.status_code >= 500:
                answer.raise_for_status()
        elif POSTGRES.match(uri) or uri.startswith("mysql+pymysql:"):
            from sqlalchemy import inspect

            with database(uri).connect() as store:
                return bool(POSTGRES.match(uri)) and not inspect(store).has_table("alembic_version")
    return False


def database(uri: str) -> Engine:
    """The database of this address, with a connection for each use that is closed after it; no other is kept."""
    from sqlalchemy import NullPool, create_engine

    patience = {"timeout": LOCKED} if uri.startswith("sqlite") else {"connect_timeout": ANSWER}
    try:
        return create_engine(uri, poolclass=NullPool, connect_args=patience)
    except ValueError as error:  # its port is no number, say
        raise ValueError(f"the MLflow store {without_password(uri)} is no address: {one_line(error)}") from None
    except ModuleNotFoundError as error:
        if not POSTGRES.match(uri):
            raise
        raise ImportError(f"{error}: PostgreSQL needs an extra: pip install 'cnnlab[postgres]'") from None


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """One process at a time of all homes that make tables in a PostgreSQL: together they stand in each other's way."""
    from sqlalchemy import text

    with database(uri).connect() as store:
        store.execute(text("SELECT pg_advisory_lock(60000)"))
        yield
