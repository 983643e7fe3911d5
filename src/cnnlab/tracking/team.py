"""A store for a team, before it is served: its tables, and the accounts of those who may sign in."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from cnnlab.paths import sqlite_file, sqlite_uri
from cnnlab.tracking.access import raise_if_away, store_errors
from cnnlab.tracking.store import create

if TYPE_CHECKING:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

PROXIED = "mlflow-artifacts:/"  # where files are for clients who reach them through the server


def open_store(uri: str) -> None:
    """See that a database answers; an SQLite file that is not there is made. OSError, in one line, where it fails."""
    raise_if_away(uri)
    if (file := sqlite_file(uri)) and not file.exists():
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        with store_errors(uri):
            create(file, lambda draft: SqlAlchemyStore(sqlite_uri(draft), PROXIED))  # type: ignore[no-untyped-call]


def set_administrator(accounts: Path, name: str, password: str) -> None:
    """Let an administrator of this name sign in with this password, and with no other from now on.

    The accounts are in an SQLite file, which is made where it is not there. ImportError without the extra `server`.
    """
    with store_errors(sqlite_uri(accounts)):
        if not accounts.exists():
            create(accounts, _opened)
        known = _opened(accounts)
        if known.has_user(name):
            known.update_user(name, password=password, is_admin=True)
        else:
            known.create_user(name, password, is_admin=True)


def _opened(accounts: Path) -> SqlAlchemyStore:
    try:
        with warnings.catch_warnings(action="ignore"):  # MLflow's, of what it imports
            from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
    except ImportError:
        raise ImportError("accounts need Flask-WTF, an extra: pip install 'cnnlab[server]'") from None
    store = SqlAlchemyStore()
    store.init_db(sqlite_uri(accounts))  # type: ignore[no-untyped-call]
    return store
