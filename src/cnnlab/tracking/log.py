"""The record of one run while it is made: metrics once an epoch, files when they are ready."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid4, uuid5

import numpy as np

from cnnlab.signals import uninterrupted
from cnnlab.tracking.access import StoreAway, store_errors
from cnnlab.tracking.circumstances import changes, code, packages
from cnnlab.tracking.copies import copied
from cnnlab.tracking.leases import Lease, taken_over
from cnnlab.tracking.model import write_model
from cnnlab.tracking.outbox import Outbox, outboxes, perform
from cnnlab.tracking.store import AGAIN, CODE, FINGERPRINT, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow.entities import Run

    from cnnlab.plots.page import Page

THUMB = 400  # pixels of a small picture, which is larger than the 256 of MLflow's own, so that numbers can be read
PATIENCE = 2.0  # seconds for which short epochs are collected before they are written: a write costs as much as several
LOCKED = 90.0  # seconds for which a run that is to begin waits for an SQLite file
DIVERGED, REASON = "diverged", "cnnlab.reason"  # tags of a failed run
PRUNED = "cnnlab.pruned"  # tag of a run that a search has given up, with the epoch


class AlreadyFinished(Exception):
    """A run that need not be made, since it is finished: its id, metrics, and what is to be said of it.

    It was made by `other_code` than is here now, or has been `copied` from another study.
    """

    def __init__(self, run_id: str, metrics: dict[str, float], other_code: bool = False, copied: bool = False) -> None:
        super().__init__(run_id, metrics, other_code, copied)
        self.run_id, self.metrics, self.other_code, self.copied = run_id, metrics, other_code, copied


@cache
def say_waiting(name: str) -> None:
    """Say, once in a process, that a run is waited for, which another process makes."""
    print(f"waiting for another process, which makes {name}", flush=True)


class RunLog:
    """The record of a run: `begin` opens it, `close` says how it ended.

    Files are collected in a folder of their own and uploaded together by `upload`. `when` is the time of what is
    recorded (seconds since 1970) if that is not now. `busy` is called with the run's name, again and again, while
    another process makes it; it may raise Elsewhere.
    """

    when: float | None = None

    def __init__(self, of_sweep: bool = False, busy: Callable[[str], object] = say_waiting) -> None:
        self._of_sweep = of_sweep  # which has seen the store at work, and knows that the run is to be made
        self.busy = busy
        self._lease: Lease | None = None
        self._points: list[tuple[str, float, int, int]] = []  # of epochs, that are to be written: name, value, at, step
        self._written = -math.inf  # when that was done last
        self._name = ""  # of the run
        self._shown = False  # whether MLflow knows that there are pictures

    def begin(
        self,
        study: str,
        name: str,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        rerun: str = "false",
        own: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Open a RUNNING record; its id. AlreadyFinished where a finished run has the same fingerprint.

        Its maker's `own` tags describe it, and a finished run, too. With `rerun` "true" it is made again all the same,
        with "changed" if it was made by other code. What another study has finished by this code is copied. The caller
        has the run's lock, and waits here for its lease; so what is RUNNING was left behind by a dead process.
        StoreAway where the store does not work; an arm of a sweep is begun all the same, and has its id later.
        """
        self._name, self._lease = name, None
        place, away, again = None, "", rerun == "true"
        try:
            try:
                with store_errors():
                    place = self._opened(study, tags, rerun, own)
                    again = again or _is_known(place, name, params, tags, rerun, own)
            except StoreAway as error:
                if not self._of_sweep:
                    raise
                away = str(error)
            with uninterrupted():
                kept = {"config/packages.txt": packages(), "config/git.diff": changes()}
                told, at = code() | {**tags, **own} | ({AGAIN: "true"} if again else {}), self._milliseconds()
                self._outbox = Outbox.begun(study, name, params, told, at, place, away, self._lease)
                self._files, self._do = self._outbox.files, self._outbox.put
                for file, content in kept.items():
                    self.text(file, content)
        except BaseException:
            if self._lease:
                self._lease.release()
            raise
        return self.run_id

    def _opened(self, study: str, tags: Mapping[str, str], rerun: str, own: Mapping[str, str]) -> Study:
        """The study, once the run is this process's own, with what earlier tries at it have left.

        Their outboxes are delivered, their leases let go, their records closed. For a run that is finished no lease is
        taken, since a store that can only be read has no room for one. An SQLite file that another process has locked
        is waited for.
        """
        fingerprint, limit = tags[FINGERPRINT], time.monotonic() + LOCKED
        while True:
            try:
                with store_errors():
                    with uninterrupted():
                        place = Study.open(study)
                        for outbox in outboxes(fingerprint):
                            outbox.deliver()
                        _finished(place, tags, rerun, own)
                    self._lease = self._lease or Lease.of(fingerprint, uuid4().hex)
                    if self._lease:
                        self._lease.wait(lambda: self.busy(self._name))
                    with uninterrupted():
                        place.close_stale(fingerprint)
                    return place
            except StoreAway as error:
                if self._of_sweep or "locked" not in str(error) or time.monotonic() > limit:
                    raise

    @property
    def run_id(self) -> str:
        """The record's id, empty while the store does not know the run."""
        return self._outbox.run_id

    @classmethod
    @contextmanager
    def reopened(cls, study: Study, run_id: str) -> Iterator[RunLog]:
        """The record of a run that has ended, to which something is added, at once."""
        log = cls()
        with tempfile.TemporaryDirectory(prefix="cnnlab-") as folder:
            log._files = Path(folder)
            log._do = partial(_at_once, study, run_id, log._files)
            yield log

    def check(self, begun: bool = False) -> None:
        """Raise what has gone wrong meanwhile, or kept the record from being `begun`; here every call waits."""
        if self._lease and self._lease.lost:
            raise taken_over(self._name)

    def rehearse(self) -> None:
        """Draw a figure and write a model that are thrown away, so that later ones need not wait for imports."""
        from cnnlab.plots import learning_curves
        from cnnlab.plots.style import own_style

        with tempfile.TemporaryDirectory() as folder, own_style():
            picture = Path(folder, "figure.png")
            learning_curves([{"epoch": 1, "train/loss": 1}], "rehearsal").savefig(picture)
            write_model(Path(folder, "model"), [picture], (1, 1, 1))

    @uninterrupted()
    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Numbers at a step (epoch); what is not finite cannot be drawn and is left out."""
        self._keep(values, step)
        self._write()

    @uninterrupted()
    def epoch(self, record: Mapping[str, float]) -> None:
        """One epoch's record, in one write; short epochs share a write, within two seconds."""
        self._keep({key: value for key, value in record.items() if key != "epoch"}, int(record["epoch"]))
        if time.monotonic() - self._written > PATIENCE:
            self._write()

    def _keep(self, values: Mapping[str, float], step: int) -> None:
        at = self._milliseconds()
        self._points += [(key, float(value), at, step) for key, value in values.items() if math.isfinite(value)]

    def _write(self) -> None:
        points, self._points = self._points, []
        if points:
            self._do("metrics", points)
        self._written = time.monotonic()

    @uninterrupted()
    def curve(self, name: str, values: Sequence[float]) -> None:
        """A metric's values at the steps 1, 2, ..., in one go, if there are any."""
        for step, value in enumerate(values, 1):
            self._keep({name: value}, step)
        self._write()

    @uninterrupted()
    def tag(self, name: str, value: str) -> None:
        """A word that describes the run."""
        self._do("tag", name, value)

    @uninterrupted()
    def dataset(self, name: str, digest: str, context: str) -> None:
        """Which data went in, as the run's page shows it."""
        self._do("dataset", name[:500], digest[:36], json.dumps({"name": name, "sha256": digest}), context)

    def path(self, name: str) -> Path:
        """Where to write an artifact of this name."""
        path = self._files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def text(self, name: str, content: str) -> None:
        """Keep a text file as an artifact of the run."""
        self.path(name).write_text(content, encoding="utf-8")

    def json(self, name: str, content: Any) -> None:
        """Keep an object as an artifact of the run, in a JSON file."""
        self.text(name, json.dumps(content, indent=1))

    def arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Arrays by name, as an npz file."""
        np.savez_compressed(self.path(name), allow_pickle=False, **arrays)

    def figure(self, name: str, draw: Callable[..., Figure | Page], *arguments: Any, **options: Any) -> None:
        """A picture: what `draw` makes of the arguments."""
        from cnnlab.plots.style import own_style

        with own_style():
            draw(*arguments, **options).savefig(self.path(name), pil_kwargs={"compress_level": 1})

    def picture(
        self, key: str, step: int, draw: Callable[..., Page], *arguments: Any, file: str = "", **options: Any
    ) -> None:
        """A picture beside a slider over steps on the run's page, signed with the run's name; also kept as a `file`.

        MLflow's pages find it by the names of two files, as `MlflowClient.log_image` would write them; but without
        clock and chance: the same run has the same files.
        """
        from cnnlab.plots.style import own_style

        with own_style():
            page = draw(*arguments, **options)
            page.sign(f"{self._name}, epoch {step}")
            image = page.image()
        name = f"images/{key}+step+{step}+timestamp+{step}+{uuid5(NAMESPACE_OID, f'{key} {step}')}"
        image.save(self.path(f"{name}.png"), compress_level=1)
        small = image.reduce(max(1, round(max(image.size) / THUMB)))
        small.save(self.path(f"{name}+compressed.webp"), lossless=True, method=0)
        if file:
            shutil.copyfile(self.path(f"{name}.png"), self.path(file))
        if not self._shown:
            self.tag("mlflow.loggedImages", "True")
            self._shown = True

    def model(self, networks: Sequence[bytes], shape: tuple[int, int, int]) -> None:
        """The trained network, or those whose outputs add up, by the content of npz files, as an MLflow model."""
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder, f"network{number or ''}.npz") for number in range(len(networks))]
            for file, network in zip(files, networks, strict=True):
                file.write_bytes(network)
            write_model(self.path("model"), files, shape)

    @uninterrupted()
    def upload(self) -> None:
        """Send the files collected so far."""
        self._do("upload")

    def close(self, status: str) -> None:
        """The end: FINISHED, FAILED or KILLED. Where the store is away, a line says that the record stays on disk."""
        try:
            self._write()
        finally:
            if why := self._outbox.close(status, self._milliseconds()):
                print(f"the record of {self._name} is kept on disk, and `cnnlab sync` files it: {why}", flush=True)

    def _milliseconds(self) -> int:
        return int(1000 * (self.when or time.time()))


def _at_once(study: Study, run_id: str, files: Path, *asked: Any) -> None:
    for _ in perform(study.client, run_id, files, *asked):
        pass


@uninterrupted()
def _is_known(
    study: Study, name: str, params: Mapping[str, str], tags: Mapping[str, str], rerun: str, own: Mapping[str, str]
) -> bool:
    """Whether there is a finished run already, which is to be made again; AlreadyFinished where none is to be made."""
    known = _finished(study, tags, rerun, own)
    elsewhere = study.finished_elsewhere(tags[FINGERPRINT], tags[CODE])
    if elsewhere is None or (known and known.info.start_time > elsewhere.info.start_time):
        return known is not None  # a copy that is older than what is known here would not be found again
    if copy := copied(study, elsewhere, name, params, own):
        raise AlreadyFinished(copy, elsewhere.data.metrics, copied=True)
    return known is not None


def _finished(study: Study, tags: Mapping[str, str], rerun: str, own: Mapping[str, str]) -> Run | None:
    """The finished run of this fingerprint if it is to be made again, else None; AlreadyFinished if it is not to be."""
    known = study.finished(tags[FINGERPRINT])
    other_code = known is not None and known.data.tags.get(CODE) != tags[CODE]
    if known and rerun != "true" and not (other_code and rerun == "changed"):
        study.describe(known, own)
        raise AlreadyFinished(known.info.run_id, known.data.metrics, other_code=other_code)
    return known
