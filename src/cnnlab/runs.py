"""One run, from plan to record: skipped if finished, copied if another study has it, resumed if cut off."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType

import yaml
from threadpoolctl import threadpool_limits

from cnnlab.composing import Plan
from cnnlab.data import Dataset
from cnnlab.journal import Journal, Stopped, Watcher
from cnnlab.locks import locked
from cnnlab.measuring import Metrics
from cnnlab.tracking import circumstances
from cnnlab.tracking.access import one_line
from cnnlab.tracking.leases import Elsewhere
from cnnlab.tracking.log import AlreadyFinished, RunLog
from cnnlab.tracking.store import (
    CODE,
    DIGEST,
    FINGERPRINT,
    KIND,
    LR_SOURCE,
    NOTE,
    SWEEP,
    checkpoints,
    own_tags,
    run_lock,
)
from cnnlab.tracking.views import note


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and why.

    It is "finished", "skipped" (it was finished before), "copied" from a study, "stopped" by its watcher, "failed", or
    left to another process, which makes it "elsewhere".
    """

    status: str
    label: str
    run_id: str = ""
    metrics: Metrics = field(default_factory=dict)
    reason: str = ""
    other_code: bool = False  # what is skipped was made by other code than is here now

    def __str__(self) -> str:
        """The outcome in one line."""
        if self.status in ("stopped", "failed"):
            return f"{self.status.upper():<8} {self.label}  {self.reason}"
        found = self.metrics
        said = {"finished": "finished", "skipped": "was done", "copied": "was done in another study:"}[self.status]
        errors = {
            name: found.get(f"{split}/error_percent") for split, name in (("val", "validation"), ("test", "test"))
        }
        shown = "".join(f"{name} error {error:.2f}%  " for name, error in errors.items() if error is not None)
        text = f"{said} {self.label}  {shown}{found['time/total_s']:.1f} s"
        return text + "  (by other code than today's: rerun=changed makes it again)" * self.other_code


def make(plan: Plan, log: RunLog, watcher: Watcher, more: Mapping[str, str] = MappingProxyType({})) -> Outcome:
    """Make the run of a plan, unless it is finished; how it ended. OSError where the store does not work.

    Its record has the tags `more`, beside those of any run.
    A lock on its fingerprint, which a dead process loses, keeps two processes off the same run, and a lease two homes
    (`cnnlab.tracking.leases`); Elsewhere where it is left to another one. An error in it becomes a FAILED record with
    its traceback. A record that is kept by a process of its own may find only later that the run is finished already;
    then AlreadyFinished ends what is going on.
    """
    kept = checkpoints(plan.fingerprint, plan.code)
    journal, rerun, begun = Journal(log, kept, watcher), plan.config["rerun"], False
    tags = {FINGERPRINT: plan.fingerprint, CODE: plan.code, KIND: "run", SWEEP: plan.study}
    own = own_tags(plan.config)
    tags |= {LR_SOURCE: plan.lr_source} if plan.lr_source else {}
    with threads(plan.config["threads"]), locked(run_lock(plan.fingerprint), lambda: log.busy(plan.label)):
        try:
            tags |= circumstances.process() | dict(more)
            log.begin(plan.study, plan.label, plan.words, tags, rerun, own)
            if kept.retired:
                log.check(begun=True)  # a run that is finished would not be begun
                kept.recover(again=rerun == "true")
            begun, data = True, plan.data
            _write_down(plan, data, log)
            metrics = plan.learner.learn(data, plan.config["seed"], journal)
            log.tag(NOTE, note(plan.label, journal.last | metrics, own, "finished"))
            journal.finished(metrics)
            return Outcome("finished", plan.label, log.run_id, journal.last | metrics)
        except AlreadyFinished as known:
            kept.forget()
            status = "copied" if known.copied else "skipped"
            return Outcome(status, plan.label, known.run_id, known.metrics, other_code=known.other_code)
        except Stopped as stopped:
            journal.stopped(str(stopped))
            return Outcome("stopped", plan.label, log.run_id, journal.last, str(stopped))
        except Elsewhere:
            with suppress(Exception):
                log.close("KILLED")
            raise
        except Exception as error:
            if not begun:  # the store is to blame
                raise
            reason = f"{type(error).__name__}: {one_line(error)}"
            outcome = Outcome("failed", plan.label, log.run_id, reason=reason)
            with suppress(Exception):  # a disk that is full, say, cannot take the record of it either
                journal.failed(error, reason)
            return outcome
        except BaseException:  # interrupted: the checkpoint stays for the next time
            with suppress(Exception):
                log.close("KILLED")
            raise


def _write_down(plan: Plan, data: Dataset, log: RunLog) -> None:
    """What was asked for: the resolved config, the words that made it, the learner as text, and the images."""
    log.text("config/network.txt", plan.description + "\n")
    log.text("config/config.yaml", yaml.safe_dump(plan.config, sort_keys=False, allow_unicode=True))
    log.text("config/overrides.txt", "".join(f"{override}\n" for override in plan.overrides))
    log.dataset(data.name, data.digest, "training")
    log.tag(DIGEST, data.digest)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """As many BLAS and OpenMP threads as a plan says: speed and the last bits of a result depend on them."""
    os.environ["OMP_NUM_THREADS"] = str(count)  # for libraries that are loaded later
    with threadpool_limits(count):
        yield
