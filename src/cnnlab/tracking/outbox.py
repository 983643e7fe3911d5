"""An outbox: what a run has to tell the store, kept on disk until the store has it.

It is a folder beside the run's checkpoint: `asked.jsonl` has a line for each thing to do, the run's creation first, and
`files` its artifacts. A thread does them in turn, and again where the store fails; training goes on meanwhile. What is
done twice leaves what it leaves when done once: a run is found by a token among its tags, and MLflow keeps one of equal
values of a metric. So an outbox that outlives its process can be delivered by another one, from its beginning.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from cnnlab.locks import locked
from cnnlab.tracking.access import PATIENCE, StoreAway, one_line, store_errors
from cnnlab.tracking.copies import write_inputs
from cnnlab.tracking.leases import Elsewhere, Lease, taken_over
from cnnlab.tracking.store import AGAIN, ASKED, CODE, FINGERPRINT, OUTBOX, RECORD, Study, refuse, run_lock, state_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")
HASTE = 4.0  # seconds that a call waits for the store, so that what goes wrong is mostly known at once
PAUSE = 1.0  # seconds between two tries
BRIEFLY = 5.0  # the same where somebody has interrupted the run


class Outbox:
    """What a run has to tell the store, kept in `folder`; `run_id` is empty until the store knows the run."""

    def __init__(self, folder: Path, study: Study | None = None, away: str = "", lease: Lease | None = None) -> None:
        self.folder, self.files, self.run_id = folder, folder / "files", ""
        self._study, self._lease = study, lease
        self._asked: list[tuple[Any, ...]] = []
        self._done = 0  # how many of these
        self._sent: set[Path] = set()  # files
        self._closed = self._over = self._late = False
        self._error: Exception | None = None  # of what cannot be done, which a later call raises
        self._why = away  # why the store fails, empty while it does not
        self._progress = -math.inf if away else time.monotonic()  # when it last did something
        self._news = threading.Condition()

    @classmethod
    def begun(
        cls,
        study: str,
        name: str,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        at: int,
        place: Study | None = None,
        away: str = "",
        lease: Lease | None = None,
    ) -> Outbox:
        """A new outbox, whose run is the first thing that it tells.

        `place` is the study, if it is open, and `away` why the store does not work, if it does not.
        """
        token = lease.owner if lease else uuid4().hex
        outbox = cls(state_folder() / f"{tags[FINGERPRINT]}.{token}{OUTBOX}", place, away, lease)
        outbox.files.mkdir(parents=True)
        threading.Thread(target=outbox._serve, daemon=True).start()
        try:
            outbox.put("begin", study, name, dict(params), {**tags, RECORD: token}, at)
        except BaseException:  # there is no run of which anything could be told
            outbox._end()
            shutil.rmtree(outbox.folder)
            raise
        return outbox

    def put(self, action: str, *arguments: Any) -> None:
        """Have something done, and wait a little for it; raises what went wrong with this or something earlier."""
        self._raise()
        self._append(action, *arguments)
        with self._news:
            caught_up = not self._late or self._done >= len(self._asked) - 1
            self._late = not (caught_up and self._news.wait_for(self._is_done, HASTE))
        self._raise()

    def close(self, status: str, at: int) -> str:
        """End the run, once; why some of it stays on disk, or nothing where the store has it all."""
        patience = BRIEFLY if status == "KILLED" else PATIENCE
        if status == "FINISHED":
            self._wait(patience)
            self._raise()  # what lacks something is not called finished
        if not self._closed:
            self._append("close", status, at)
            self._closed = True
        is_done = self._wait(patience)
        self._end()
        if is_done:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._raise()
        return "" if is_done else self._why or "the store is too slow"

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the run whose record it holds."""
        return self.folder.name.partition(".")[0]

    def deliver(self, end: bool = False) -> str:
        """Do here and now all that an ended process has left; which run that is. OSError where it cannot be done.

        A run that was cut off is brought to an `end`, as KILLED. Its lease is let go.
        """
        whole = (self.folder / ASKED).read_bytes().rpartition(b"\n")[0]  # without half a line, a killed one's last
        try:
            listed = [json.loads(line) for line in whole.splitlines()]
            with store_errors(), suppress(Elsewhere):  # raised when all is done
                for asked in listed:
                    self._perform(*asked)
                if end and self._study and listed[-1][0] != "close":
                    self._study.client.set_terminated(self.run_id, "KILLED")
                if self._lease:
                    self._lease.release()
        except StoreAway:
            raise
        except (OSError, ValueError) as error:
            raise OSError(f"the record in {self.folder} cannot be filed: {one_line(error)}") from error
        shutil.rmtree(self.folder)
        return f"{listed[0][2]}: run {self.run_id} of study {listed[0][1]}" if listed else "nothing"

    def _append(self, *asked: Any) -> None:
        line, place = (json.dumps(asked) + "\n").encode(), self.folder / ASKED
        size = place.stat().st_size if place.exists() else 0
        try:
            with place.open("ab") as file:
                file.write(line)
        except OSError:  # the disk is full, say: half a line would spoil the next one
            with suppress(FileNotFoundError):
                os.truncate(place, size)
            raise
        with self._news:
            if self._is_done() and not self._why:
                self._progress = time.monotonic()  # until now there was none to make
            self._asked.append(asked)
            self._news.notify_all()

    def _end(self) -> None:
        """Let the thread end after what it does just now."""
        with self._news:
            self._over = True
            self._news.notify_all()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error:
            raise error

    def _is_done(self) -> bool:
        return self._done == len(self._asked)

    def _wait(self, patience: float) -> bool:
        """Wait for as long as the store does something; whether all is done."""
        with self._news:
            while not self._is_done() and time.monotonic() - self._progress < patience:
                self._news.wait(0.1)
            return self._is_done()

    def _serve(self) -> None:
        """Do one thing after the other, until the end."""
        while True:
            with self._news:
                self._news.wait_for(lambda: self._over or not self._is_done())
                if self._over:
                    return
                if not self._why:
                    self._progress = time.monotonic()
            try:
                with store_errors():
                    self._perform(*self._asked[self._done])
            except StoreAway as error:
                self._why = one_line(error)
                time.sleep(PAUSE)
                continue
            except Exception as error:  # trying again would not help
                self._error = error
            with self._news:
                self._why, self._progress = "", time.monotonic()
                self._done += 1
                self._news.notify_all()

    def _perform(self, action: str, *arguments: Any) -> None:
        if action == "begin":
            self._begin(*arguments)
            return
        assert self._study is not None
        if action == "close":
            self._remove_doubles()
            self._close(*arguments)
            return
        for file in perform(self._study.client, self.run_id, self.files, action, *arguments, but=self._sent):
            self._sent.add(file)
            self._progress = time.monotonic()

    def _begin(self, study: str, name: str, params: dict[str, str], tags: dict[str, str], at: int) -> None:
        from mlflow.entities import Param

        self._study, self._name, self._tags = self._study or Study.open(study), name, tags
        self._lease = self._lease or Lease.of(tags[FINGERPRINT], tags[RECORD])
        if known := self._runs():
            self.run_id = known[-1]
        else:
            self.run_id = self._study.client.create_run(self._study.experiment_id, at, tags, name).info.run_id
        self._study.client.log_batch(self.run_id, params=[Param(key, value) for key, value in params.items()])

    def _runs(self) -> list[str]:
        assert self._study is not None
        return [run.info.run_id for run in self._study.runs(f"tags.`{RECORD}` = '{self._tags[RECORD]}'")]

    def _close(self, status: str, at: int) -> None:
        """End the run; Elsewhere, and KILLED, where another home makes it now or has made it."""
        assert self._study is not None
        end, lease, is_lost = self._study.client.set_terminated, self._lease, False
        is_own = status == "FINISHED" and lease is not None and lease.beat()
        is_open = status == "FINISHED" and not is_own  # another home may make it, too
        if is_open:
            is_lost = (lease is not None and lease.take() is not None) or self._lost_to_twin()
        end(self.run_id, "KILLED" if is_lost else status, at)
        if is_open and not is_lost:
            is_lost = self._lost_to_twin()
        if lease and not lease.release() and is_own:  # it was taken over in this very moment
            end(self.run_id, "KILLED", at)
            is_lost = True
        if is_lost:
            raise taken_over(self._name)

    def _lost_to_twin(self) -> bool:
        """Close all but one of the runs that homes have made at the same time; whether this is among the closed."""
        assert self._study is not None
        tags = self._tags
        return AGAIN not in tags and self._study.close_twins(self.run_id, tags[FINGERPRINT], tags.get(CODE, ""))

    def _remove_doubles(self) -> None:
        """Delete runs that a server made although its answer was lost: they were asked for again."""
        assert self._study is not None
        for run_id in self._runs():
            if run_id != self.run_id:
                self._study.remove(run_id)


def perform(
    client: MlflowClient, run_id: str, files: Path, action: str, *arguments: Any, but: set[Path] | None = None
) -> Iterator[Path]:
    """Do something to a run; gives each file, `but` those, as it is sent."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

    if action == "metrics":
        client.log_batch(run_id, [Metric(*point) for point in arguments[0]])
    elif action == "tag":
        client.set_tag(run_id, *arguments)
    elif action == "dataset":
        name, digest, source, context = arguments
        tags = [InputTag("mlflow.data.context", context)]
        write_inputs(client, run_id, [DatasetInput(Dataset(name, digest, "cnnlab", source), tags)])
    elif action == "upload":
        for file in sorted(path for path in files.rglob("*") if path.is_file() and path not in (but or ())):
            folder = file.relative_to(files).parent.as_posix()
            client.log_artifact(run_id, str(file), None if folder == "." else folder)
            yield file


def outboxes(fingerprint: str = "*") -> list[Outbox]:
    """Those that processes have left or are still filling, of a run or of all, the oldest first."""
    found = [folder for folder in state_folder().glob(f"{fingerprint}.*{OUTBOX}") if (folder / ASKED).exists()]
    return [Outbox(folder) for folder in sorted(found, key=lambda folder: (folder / ASKED).stat().st_mtime)]


def file_left() -> tuple[list[str], list[str]]:
    """Deliver what ended processes have left: the runs that are filed now, and why others cannot be.

    Runs under way are left alone. StoreAway where the store does not work.
    """
    filed, failed = list[str](), list[str]()
    for outbox in outboxes():
        with suppress(BlockingIOError), locked(run_lock(outbox.fingerprint), refuse):
            try:
                if outbox.folder.exists():  # somebody else may have been faster
                    filed.append(outbox.deliver(end=True))
                    print("filed", filed[-1], flush=True)
            except StoreAway:
                raise
            except OSError as error:
                failed.append(str(error))
    return filed, failed


def patiently(what: Callable[[], T]) -> T:
    """What a question to the store finds, asked again for a while if the store does not work."""
    limit = time.monotonic() + PATIENCE
    while True:
        try:
            return what()
        except StoreAway:
            if time.monotonic() > limit:
                raise
        time.sleep(PAUSE)
