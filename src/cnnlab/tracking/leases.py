"""Leases: of all homes that share a database, one at a time makes a run.

Locks keep the processes of one home apart, leases the homes. A lease is a row of the table `cnnlab_lease` in the
store's own database (MLflow minds no table but its own): the run's fingerprint, its owner, which is the token of one
attempt, and a count. The owner counts up every ten seconds in a thread of its own, and deletes the row at the end. Who
else wants the run looks at the row every second. After sixty looks in a row that found the same count the owner is
taken for dead: one UPDATE, which changes nothing if the owner has counted up meanwhile, makes the row the other's. No
clock is compared with another machine's. An owner that was only asleep finds that the row is not its own any more with
the next count, and ends its run as KILLED.

While the store is away nobody can take a run over: training goes on, the owner tries to count up every ten seconds, and
who waits begins again to count its looks, and gives up where it has had no answer for a minute and a half. (An SQLite
file is away, too, while a process is stopped in the middle of a write to it.) An arm of a sweep that begins meanwhile
has no lease, and a record that stays on disk keeps its lease only while its process lives. Such a run is FINISHED if no
other home has made it, or makes it, by the time that its record is filed; else it is KILLED.

Behind a server (HTTP) there are no leases: homes may make a run at the same time. Then the first to end counts, and a
later twin is closed as KILLED, with the tag `cnnlab.twin`, which leaves it out of reports and of what is finished.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from cnnlab.paths import sqlite_file
from cnnlab.signals import uninterrupted
from cnnlab.tracking.access import PATIENCE, POSTGRES, database, one_line, seconds, tracking_uri

STILL = seconds("CNNLAB_LEASE", 60)  # without a count, after which an owner is dead
LOOKS = 60  # looks in that time: seconds that this process itself slept through do not count
BEATS = 6  # counts in that time

TABLE = "cnnlab_lease"
CREATE = f"""CREATE TABLE IF NOT EXISTS {TABLE}
    (run VARCHAR(64) PRIMARY KEY, owner VARCHAR(64) NOT NULL, beat BIGINT NOT NULL)"""
LOOK = f"SELECT owner, beat FROM {TABLE} WHERE run = :run"
TAKE = f"INSERT INTO {TABLE} (run, owner, beat) VALUES (:run, :owner, 0)"
TAKE_OVER = f"UPDATE {TABLE} SET owner = :owner, beat = beat + 1 WHERE run = :run AND owner = :old AND beat = :seen"
COUNT_UP = f"UPDATE {TABLE} SET beat = beat + 1 WHERE run = :run AND owner = :owner"
GIVE_BACK = f"DELETE FROM {TABLE} WHERE run = :run AND owner = :owner"

Row = tuple[str, int]  # an owner and the count


class Elsewhere(OSError):
    """A run that another process makes, or has made meanwhile."""


def taken_over(name: str) -> Elsewhere:
    """The error for a run that another home has made its own."""
    return Elsewhere(f"{name}: another home makes it now, or has made it; this record of it is closed as KILLED")


class Lease:
    """The right of one attempt, the `owner`, to make a run: `held` once it was waited for, `lost` if taken over."""

    def __init__(self, uri: str, run: str, owner: str) -> None:
        self._database = database(uri)
        self.owner, self._names = owner, {"run": run, "owner": owner}
        self._over = threading.Event()
        self.held = self.lost = False

    @classmethod
    def of(cls, run: str, owner: str) -> Lease | None:
        """A lease of a run in the store of all runs, still to be waited for; None where that store has no leases."""
        uri = tracking_uri()
        return cls(uri, run, owner) if POSTGRES.match(uri) or sqlite_file(uri) else None

    def wait(self, busy: Callable[[], object]) -> None:
        """Take the run: at once where no other has it, else when they let it go or are dead.

        `busy` is called after each look that found another; what it raises comes out. So does what the store answers
        instead of working, at the first look, and later where it has done so for `PATIENCE`.
        """
        seen, looks, limit = None, 0, 0.0
        while not self.held:
            try:
                row = self.take()
                looks, seen = (looks + 1 if row == seen else 0), row
                self.held = row is None or (looks >= LOOKS and self._take_over(row))
            except Exception:
                looks, limit = 0, limit or time.monotonic() + PATIENCE  # it is away, for the owner perhaps too
                if seen is None or time.monotonic() > limit:
                    raise
            else:
                limit = 0.0
            if self.held:
                threading.Thread(target=self._keep, daemon=True).start()
            else:
                busy()
                time.sleep(STILL / LOOKS)

    @uninterrupted()
    def take(self) -> Row | None:
        """Take the run if nobody has it; else who has it."""
        from sqlalchemy.exc import IntegrityError

        if found := self._do(LOOK):
            owner, beat = found[0]
            return None if owner == self.owner else (owner, beat)
        try:
            self._do(TAKE)
        except IntegrityError:
            return "who was faster", 0
        return None

    @uninterrupted()
    def _take_over(self, row: Row) -> bool:
        return self._do(TAKE_OVER, old=row[0], seen=row[1]) == 1

    def beat(self) -> bool:
        """Count up; whether the row is still the owner's."""
        return self._do(COUNT_UP) == 1

    def release(self) -> bool:
        """Let the run go; whether the row was still the owner's, as far as is known."""
        self._over.set()
        try:
            return self._do(GIVE_BACK) == 1
        except Exception:  # the store is away: the row stays, and counts for nothing after a minute
            return True

    def _keep(self) -> None:
        while not self._over.wait(STILL / BEATS):
            with suppress(Exception):  # the store is away: it may be back in a while
                if not self.beat():
                    self.lost = not self._over.is_set()
                    return

    def _do(self, statement: str, **more: Any) -> Any:
        """The rows that a statement finds, or how many it changes; the table is made where it is missing."""
        from sqlalchemy.exc import OperationalError, ProgrammingError

        try:
            return self._execute(statement, more)
        except (OperationalError, ProgrammingError) as error:
            if isinstance(error, OperationalError) and "no such table" not in str(error):
                raise  # not to be done again: of what went wrong on the way nobody knows whether it was done
        self._make_table()
        return self._execute(statement, more)

    def _make_table(self) -> None:
        """Make the table, unless it is there; OSError where the store's user may not."""
        from sqlalchemy import inspect
        from sqlalchemy.exc import DBAPIError, ProgrammingError

        try:
            self._execute(CREATE, {})
        except DBAPIError as error:
            if inspect(self._database).has_table(TABLE):  # another was faster, whom PostgreSQL does not keep apart
                return
            if isinstance(error, ProgrammingError):
                what = " ".join(CREATE.split())
                why = f"{one_line(error)}; have its owner say once: {what}"
                raise OSError(f"the store lacks the table {TABLE}, and its user may not make it: {why}") from error
            raise

    def _execute(self, statement: str, more: dict[str, Any]) -> Any:
        from sqlalchemy import text

        with self._database.begin() as store:
            result = store.execute(text(statement), self._names | more)
            return result.fetchall() if result.returns_rows else result.rowcount


@contextmanager
def leased(what: str, busy: Callable[[], object]) -> Iterator[None]:
    """Do something that is no run, of all homes that share a database one at a time; `busy` as for `Lease.wait`."""
    lease = Lease.of(what, uuid4().hex)
    try:
        if lease:
            lease.wait(busy)
        yield
    finally:
        if lease:
            lease.release()
