"""What a person sees in the terminal while runs are made."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from .classics.run import Parts as Classic
    from .config import Plan
    from .recording import Outcome
    from .tracking.log import RunLog
    from .training import Parts

ARMS = "CNNLAB_ARMS"  # how many arms the sweep makes: the launching process tells its workers


def single(plan: "Plan", build: "Callable[[Plan], Parts]") -> "Outcome":
    """Make one run, with a progress bar on a terminal; exit with 1 if it fails."""
    from .boosting import NETWORKS
    from .models import describe
    from .runs import execute
    from .tracking.apart import log_apart

    try:
        parts = build(plan)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(str(error))
    print(f"{plan.label}  learning rate {plan.config['lr']:g} ({plan.lr_source})", flush=True)
    if sys.stdout.isatty():
        print(describe(parts.recipe.network, parts.data.shape), flush=True)
    networks = NETWORKS if plan.config["boost"] else 1
    bar = Bar(networks * parts.recipe.epochs * len(parts.data.train))
    try:
        with _threads(plan), log_apart() as log:
            outcome = execute(plan, lambda: parts, log, tick=bar)
    except OSError as error:
        sys.exit(str(error))
    finally:
        bar.close()
    return _ended(plan, outcome)


def classic(plan: "Plan", parts: "Classic") -> "Outcome":
    """Make one run of a classifier that LeNet-5 was compared with; exit with 1 if it fails."""
    from .classics.run import execute
    from .tracking.log import RunLog

    print(plan.label, flush=True)
    return _ended(plan, execute(plan, lambda: parts, RunLog()))


def _ended(plan: "Plan", outcome: "Outcome") -> "Outcome":
    """Say how a single run ended."""
    print(line(outcome), f"run {outcome.run_id} of study {plan.study}; `make ui` shows it", sep="\n")
    if outcome.status == "failed":
        sys.exit(1)
    return outcome


def arm(plan: "Plan", make: "Callable[[RunLog], Outcome]", number: int) -> "Outcome":
    """Make one of many runs, and say how it ended in one line."""
    from .recording import Outcome
    from .tracking.log import RunLog

    try:
        with _threads(plan):
            outcome = make(RunLog())
    except OSError as error:
        outcome = Outcome("failed", "", plan.label, reason=str(error))
    except SystemExit as end:  # the sweep is dead; a worker that only raised this would wait for its next arm for ever
        print(end, file=sys.stderr, flush=True)
        os._exit(1)
    print(f"{number + 1:>3}/{os.environ.get(ARMS, '?')}  {line(outcome)}", flush=True)
    return outcome


def line(outcome: "Outcome") -> str:
    """How a run ended, in one line."""
    if outcome.status == "failed":
        return f"FAILED   {outcome.label}  {outcome.reason}"
    found, status = outcome.metrics, {"finished": "finished", "skipped": "was done"}[outcome.status]
    val = f"validation error {100 * (1 - found['val/accuracy']):.2f}%  " if "val/accuracy" in found else ""
    error = f"test error {100 * found['test/error']:.2f}%"
    return f"{status} {outcome.label}  {val}{error}  {found['time/total_s']:.1f} s"


class Bar:
    """A progress bar in images, with loss, accuracy, images/s and time left; nothing where no terminal is."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar: Any = None

    def __call__(self, done: int, batch: int, loss: float, accuracy: float) -> None:
        """``done`` images of the whole training so far, ``batch`` of them just now."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=self._total, initial=done - batch, unit=" images", disable=None, leave=False)
        self._bar.set_postfix_str(f"loss {loss:.4f}, accuracy {accuracy:.2%}", refresh=False)
        self._bar.update(batch)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


def _threads(plan: "Plan") -> "AbstractContextManager[object]":
    """As many BLAS threads as the plan says: speed and the last bits of a result depend on them."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(plan.config["threads"])
