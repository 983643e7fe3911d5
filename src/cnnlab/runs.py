"""One run, from plan to record: skipped if finished, copied if another study has it, resumed if cut off."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from cnnlab.checkpoint import Checkpoints
from cnnlab.composing import Plan, load_data
from cnnlab.journal import Journal, Watcher
from cnnlab.locks import locked
from cnnlab.measuring import Metrics
from cnnlab.tracking import circumstances
from cnnlab.tracking.log import DIVERGED, REASON, AlreadyFinished, RunLog
from cnnlab.tracking.store import CODE, FINGERPRINT, KIND, SWEEP, one_line, run_lock, state_folder
from cnnlab.training import Diverged


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and why: "finished", "skipped" (it was finished before), "copied" from a study, or "failed"."""

    status: str
    label: str
    run_id: str = ""
    metrics: Metrics = field(default_factory=dict)
    reason: str = ""
    other_code: bool = False  # what is skipped was made by other code than is here now

    def __str__(self) -> str:
        """The outcome in one line."""
        if self.status == "failed":
            return f"FAILED   {self.label}  {self.reason}"
        found = self.metrics
        said = {"finished": "finished", "skipped": "was done", "copied": "was done in another study:"}[self.status]
        val = f"validation error {found['val/error_percent']:.2f}%  " if "val/error_percent" in found else ""
        text = f"{said} {self.label}  {val}test error {found['test/error_percent']:.2f}%  {found['time/total_s']:.1f} s"
        return text + "  (by other code than today's: rerun=changed makes it again)" * self.other_code


@dataclass
class OpenRun:
    """A run under way: its journal, if there is anything to be done, what was found, and how it ended."""

    journal: Journal | None = None
    metrics: Metrics = field(default_factory=dict)
    outcome: Outcome | None = None


def make(plan: Plan, log: RunLog, watcher: Watcher) -> Outcome:
    """Make the run of a plan, unless it is finished; how it ended. OSError where the store does not work."""
    with threads(plan.config["threads"]), open_run(plan, log, watcher) as run:
        if run.journal:
            data = load_data(plan)
            run.journal.dataset(data)
            run.metrics = plan.learner.learn(data, plan.config["seed"], run.journal)
    assert run.outcome
    return run.outcome


@contextmanager
def open_run(plan: Plan, log: RunLog, watcher: Watcher) -> Iterator[OpenRun]:
    """The run of a plan, open for learning, in a record that says how it ended, whatever happens inside.

    A lock on its fingerprint, which a dead process loses, keeps two processes off the same run. An error inside becomes
    a FAILED record with its traceback. A record that is kept by a process of its own may find only later that the run
    is finished already; then AlreadyFinished ends what is going on inside.
    """
    run, place = OpenRun(), state_folder() / f"{plan.fingerprint}.npz"
    checkpoints = Checkpoints(place, {"identity": plan.fingerprint, "code": plan.code})
    tags = {FINGERPRINT: plan.fingerprint, CODE: plan.code, KIND: "run", SWEEP: plan.study}
    tags |= {"cnnlab.lr_source": plan.lr_source} if plan.lr_source else {}
    journal = Journal(log, checkpoints, watcher)
    with locked(run_lock(plan.fingerprint), lambda: print(f"waiting for another process, which makes {plan.label}")):
        try:
            log.begin(plan.study, plan.label, plan.words, tags | circumstances.process(), plan.config["rerun"])
            if checkpoints.retired:
                log.check(begun=True)  # a run that is finished would not be begun
                checkpoints.recover(again=plan.config["rerun"] == "true")
            journal.asked(plan.config, plan.overrides, plan.description)
            run.journal = journal
            yield run
            journal.found(run.metrics)
            log.upload()
            checkpoints.retire()
            log.close("FINISHED")
            checkpoints.forget()
            run.outcome = Outcome("finished", plan.label, log.run_id, journal.last | run.metrics)
        except AlreadyFinished as known:
            checkpoints.forget()
            status = "copied" if known.copied else "skipped"
            run.outcome = Outcome(status, plan.label, known.run_id, known.metrics, other_code=known.other_code)
            if run.journal is None:
                yield run
        except Exception as error:
            if run.journal is None:  # the record was never begun: the store is to blame
                raise
            reason = f"{type(error).__name__}: {one_line(error)}"
            run.outcome = Outcome("failed", plan.label, log.run_id, reason=reason)
            with suppress(Exception):  # a disk that is full, say, cannot take the record of it either
                _record_failure(log, error, reason)
        except BaseException:  # interrupted: the checkpoint stays for the next time
            with suppress(Exception):
                log.close("KILLED")
            raise


def _record_failure(log: RunLog, error: Exception, reason: str) -> None:
    if isinstance(error, Diverged):
        log.tag(DIVERGED, f"step {error.step}")
    log.tag(REASON, reason)
    log.text("traceback.txt", traceback.format_exc())
    log.upload()
    log.close("FAILED")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """As many BLAS and OpenMP threads as a plan says: speed and the last bits of a result depend on them."""
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = str(count)  # for libraries that are loaded later
    with threadpool_limits(count):
        yield
