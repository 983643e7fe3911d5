"""A search: the numbers and words with the lowest validation error, trial by trial, by Optuna.

Each trial is a run like any other, on data without test images, and what Optuna is told of it is read from the store:
so a search that was cut goes on, and nothing but the runs has to be kept. Optuna's generator is made anew for each
trial, from the seed and the trial's number: a trial depends on these and on the trials before it, wherever it is made.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.composing import Numbers, Options, Plan, planned, searched
from cnnlab.journal import Stopped, Watcher
from cnnlab.measuring import Metrics
from cnnlab.orphans import reaper
from cnnlab.paths import UI, conf_folder, root, write_atomically
from cnnlab.plots import png
from cnnlab.report import searched as shown
from cnnlab.report.searched import Tried
from cnnlab.report.tables import as_csv, count
from cnnlab.runs import make
from cnnlab.spelling import check_words
from cnnlab.sweeps import is_finished
from cnnlab.tracking import records as kept
from cnnlab.tracking.access import one_line, store_errors
from cnnlab.tracking.log import DIVERGED, PRUNED, RunLog
from cnnlab.tracking.store import CODE, Study, link
from cnnlab.tuning import GRID, rate_at

if TYPE_CHECKING:
    import optuna

SEARCH, TRIAL = "cnnlab.search", "cnnlab.trial"  # tags of a run: whose trial it is; its number and values, as JSON
HIDDEN = "data.test=hidden"  # a search looks at no test image
ONE = ("seed", "study", "rerun")  # words that a search has one of
WARM_UP = 2  # the first epoch by whose error a trial can be pruned
NOTHING: Mapping[str, float] = MappingProxyType({})
FEWEST = 8  # finished trials that say something of how much a word decides: two are the best quarter of them


@dataclass(frozen=True)
class Search:
    """What is searched for: the `words` of all trials, and the `space`, what the words that they differ in may be."""

    words: tuple[str, ...]
    space: Mapping[str, Options | Numbers]

    @classmethod
    def of(cls, said: Sequence[str]) -> Search:
        """The search of a command line, in which `lr` alone stands for the rates that tuning tries.

        ValueError, in one line, if it cannot be.
        """
        for word in said:
            if word.startswith(("sweep=", "hydra", "data.test=")):
                raise ValueError(f"{word}: leave it out; a search makes one trial after another, without test images")
        check_words([word for word in said if "=" not in word and word != "lr"], [conf_folder()])
        rest = [word for word in said if word != "lr"]
        space = searched(rest)
        ends = {name: f"{name}={','.join(map(str, _ends(choices)))}" for name, choices in space.items()}
        alone = ["lr=1"] * said.count("lr")
        check_words([*(ends.get(word.partition("=")[0], word) for word in rest), *alone], [conf_folder()], several=True)
        if several := next((name for name in space if name in ONE), None):
            raise ValueError(f"{several}: a search has one {several}; choose one")
        words = tuple(word for word in rest if word.partition("=")[0] not in space)
        if alone:
            space["lr"] = _rates(space.get("optimizer"), words)
        if not space:
            raise ValueError("nothing to search: say lr, or a word with several options, as in activation=relu,tanh")
        return cls(words, space)

    @cached_property
    def plan(self) -> Plan:
        """The trial of the first options and the lowest numbers, which must be possible."""
        return self.planned(self.differing({name: _ends(choices)[0] for name, choices in self.space.items()}))

    @property
    def identity(self) -> str:
        """What tells it from other searches: its words, data and defaults (by its first plan), and its space."""
        asked = [self.plan.fingerprint, sorted((name, repr(choices)) for name, choices in self.space.items())]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]

    def differing(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The words of a trial's own, of its values; numbers have four digits."""
        return tuple(f"{name}={_word(values[name])}" for name in self.space)

    def planned(self, own: Sequence[str]) -> Plan:
        """The plan of a trial, by the words of its own; ValueError, in one line, for what does not go together."""
        plan = planned([*self.words, *own, HIDDEN])
        if not len(plan.data.val):
            raise ValueError("no images are held out to choose by; data.validation=1000 holds some")
        return plan

    def command(self, own: Sequence[str]) -> str:
        """The command of a run by the words of a trial, with test images, outside of the search's study."""
        shared = [word for word in self.words if word.partition("=")[0] not in ("study", "rerun")]
        return shlex.join(["cnnlab", "train", *shared, *own])


def _rates(optimizer: Options | Numbers | None, words: Sequence[str]) -> Numbers:
    """The rates around those that tuning begins with, of all optimizers that are searched."""
    names = optimizer.options if isinstance(optimizer, Options) else (planned(words).words["optimizer"],)
    if names == ("none",):
        raise ValueError("lr: what is trained by these words has no learning rate")
    low, high = ([rate_at(place, name) for name in names] for place in (GRID[0] - 1, GRID[-1] + 1))
    return Numbers(min(low), max(high), log=True)


def _ends(choices: Options | Numbers) -> Sequence[Any]:
    return choices.options if isinstance(choices, Options) else (choices.low, choices.high)


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class _Pruner(Watcher):
    """Tells Optuna of the epochs of a trial, and ends the run of one that is worse than the median of those before."""

    def __init__(self, trial: optuna.Trial, epochs: int) -> None:
        self._trial, self._epochs = trial, epochs

    def epoch(self, metrics: Metrics) -> None:
        """Stop the run here, unless it is over anyway."""
        epoch = int(metrics["epoch"])
        self._trial.report(metrics["val/error_percent"], epoch)
        if epoch < self._epochs and self._trial.should_prune():
            raise Stopped(f"epoch {epoch}")


@dataclass
class _Trials:
    """The trials of a search so far, as Optuna knows them, and as they are told of."""

    asked: Search
    study: Study
    optuna: Any  # the library
    optimizer: Any  # its study
    tried: list[Tried] = field(default_factory=list)

    @cached_property
    def space(self) -> dict[str, Any]:
        """What the words may be, as Optuna says it."""
        return {name: _distribution(self.optuna.distributions, choices) for name, choices in self.asked.space.items()}

    def take(self, run: Any) -> None:
        """Tell Optuna of a trial that was made before."""
        values, (status, state, value) = json.loads(run.data.tags[TRIAL])["values"], _ended(run)
        errors, epochs = (kept.curve(self.study, run, name) for name in (kept.VALIDATION_ERROR, "time/epoch_s"))
        reported = {epoch: errors[epoch] for epoch in sorted(epochs)}  # a step after them has the error of the best one
        ended = {"state": self.optuna.trial.TrialState[state], "value": value, "intermediate_values": reported}
        self.optimizer.add_trial(self.optuna.trial.create_trial(params=values, distributions=self.space, **ended))
        self._note(self.asked.differing(values), status, run.data.metrics)

    def make(self) -> tuple[Tried, str]:
        """Ask Optuna for the next trial, make its run, and tell Optuna how it ended; with what there is to say of it.

        Words that were tried before are not tried again, and those that do not go together are infinitely bad, as
        those are with which training diverges: a trial that only failed would not keep Optuna away from its like.
        """
        number = len(self.tried) + 1
        seed = np.random.SeedSequence([self.asked.plan.config["seed"], number]).generate_state(1)
        self.optimizer.sampler = self.optuna.samplers.TPESampler(seed=int(seed[0]))
        trial = self.optimizer.ask(self.space)
        own = self.asked.differing(trial.params)
        alike = (each for each in self.tried if each.words == own and each.status != shown.FAILED)
        if twin := next(alike, None):
            known = self.optimizer.trials[twin.number - 1]
            for epoch, error in known.intermediate_values.items():
                trial.report(error, epoch)
            self.optimizer.tell(trial, None if twin.status == shown.PRUNED else known.value, known.state)
            return self._note(own, shown.REPEATED), f"as trial {twin.number}"
        try:
            plan = self.asked.planned(own)
        except ValueError as error:
            self.optimizer.tell(trial, math.inf)
            return self._note(own, shown.REFUSED), one_line(error)
        tags = {SEARCH: self.asked.identity, TRIAL: json.dumps({"number": number, "values": trial.params})}
        outcome = make(plan, RunLog(), _Pruner(trial, plan.config["epochs"]), tags)
        run = self.study.client.get_run(outcome.run_id)
        status, state, value = _ended(run)
        self.optimizer.tell(trial, value, self.optuna.trial.TrialState[state])
        return self._note(own, status, run.data.metrics), outcome.reason

    def _note(self, own: tuple[str, ...], status: str, metrics: Mapping[str, float] = NOTHING) -> Tried:
        self.tried.append(Tried(len(self.tried) + 1, own, status, metrics.get(kept.VALIDATION_ERROR, math.nan)))
        return self.tried[-1]

    def shares(self) -> dict[str, float]:
        """How much each word decides whether a trial is among the best quarter; none where too few have finished."""
        if len(shown.best_first(self.tried)) < FEWEST:
            return {}
        judge = self.optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
        return self.optuna.importance.get_param_importances(self.optimizer, evaluator=judge)


def _ended(run: Any) -> tuple[str, str, float | None]:
    """How the run of a trial ended, and the state and the value that Optuna is told.

    One that failed for another reason than its words says nothing of them.
    """
    if is_finished(run):
        return shown.FINISHED, "COMPLETE", run.data.metrics[kept.VALIDATION_ERROR]
    if PRUNED in run.data.tags:
        return shown.PRUNED, "PRUNED", None
    return (shown.DIVERGED, "COMPLETE", math.inf) if DIVERGED in run.data.tags else (shown.FAILED, "FAIL", None)


def _distribution(kinds: Any, choices: Options | Numbers) -> Any:
    if isinstance(choices, Options):
        return kinds.CategoricalDistribution(choices.options)
    low, high, step, log = choices.low, choices.high, choices.step, choices.log
    if isinstance(low, int) and isinstance(high, int):
        return kinds.IntDistribution(low, high, log=log, step=step or 1)
    return kinds.FloatDistribution(low, high, log=log, step=step)


def _optuna() -> Any:
    """The library, which is an extra."""
    try:
        import optuna
    except ModuleNotFoundError:
        raise ImportError("a search needs Optuna: pip install 'cnnlab[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


@contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    """The folder for the temporary files of this very process, which would leave them behind where it is killed."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


@store_errors()
def search(said: Sequence[str], trials: int) -> int:
    """Make the trials that are missing of so many, and sum up; how many failed for another reason than their words."""
    library, asked = _optuna(), Search.of(said)
    study = Study.open(asked.plan.study)
    pruner = library.pruners.MedianPruner(n_warmup_steps=WARM_UP)
    made, known = _Trials(asked, study, library, library.create_study(pruner=pruner)), _known(study, asked)
    total = max([trials, *known])
    print(f"{study.name}: {count(total - len(known), 'trial')} to make, {len(known)} made", flush=True)
    try:
        with reaper(study.name) as folder, _temporary(folder):
            for number in range(1, total + 1):
                if number in known:
                    made.take(known[number])
                else:
                    tried, reason = made.make()
                    print(f"trial {number} of {total}: {tried}{f' ({reason})' * bool(reason)}", flush=True)
    finally:  # of one that was interrupted, too
        _sum_up(made, shlex.join(["cnnlab", "search", *said]))
    return sum(each.status == shown.FAILED for each in made.tried)


def _known(study: Study, asked: Search) -> dict[int, Any]:
    """The newest run of each trial of this search that says something of its words, but those to be made again."""
    found: dict[int, Any] = {}
    for run in study.runs(f"tags.`{SEARCH}` = '{asked.identity}'"):
        if _ended(run)[0] != shown.FAILED:
            found.setdefault(json.loads(run.data.tags[TRIAL])["number"], run)
    rerun, others = asked.plan.config["rerun"], set[int]()
    for number, run in found.items():
        with kept.despite_lost_files():
            if run.data.tags[CODE] != kept.code_today(study, run):
                others.add(number)
    if others and rerun == "false":
        print(f"{study.name}: {len(others)} were made by other code than today's; rerun=changed makes them again")
    again = {"true": found.keys(), "changed": others}.get(rerun, set())
    return {number: run for number, run in found.items() if number not in again}


def _sum_up(made: _Trials, command: str) -> None:
    """Print the best words, draw how they were found into `reports/`, and keep both in the store, once."""
    tried, study = made.tried, made.study
    if not tried:
        return
    ended = Counter(each.status for each in tried)
    lines = [f"{count(len(tried), 'trial')}: {', '.join(f'{many} {status}' for status, many in ended.items())}"]
    for best in shown.best_first(tried)[:1]:
        lines += [f"best: trial {best.number}, validation error {best.error:.2f}%", made.asked.command(best.words)]
    folder = root() / "reports" / study.name
    title = f"{study.name}: {count(len(tried), 'trial')}"
    figures = {"history.png": shown.search_history(tried, title)}
    if shares := made.shares():
        figures["importances.png"] = shown.importances(shares, title)
    else:
        (folder / "importances.png").unlink(missing_ok=True)  # of another search
        lines.append(f"which word decides: {FEWEST} finished trials or more would say")
    for name, figure in figures.items():
        write_atomically(folder / name, png(figure))
    parts = [f"# {study.name}", f"`{command}`", shown.trials_table(tried), *lines]
    write_atomically(folder / "report.md", "\n\n".join(parts).encode())
    write_atomically(folder / "trials.csv", as_csv([each.row for each in tried]).encode())
    identity = hashlib.sha256(f"{made.asked.identity} {tried}".encode()).hexdigest()[:16]
    if study.finished(identity) is None:
        kept.log_summary(study, identity, folder, {"command": command})
    print(*lines, f"figures: {', '.join(str(folder / name) for name in figures)}", sep="\n")
    print(f"MLflow, after {UI}:", link(study))
