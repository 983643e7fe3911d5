"""How many can write at once? Simulated machines file runs on one server, as cnnlab's recorder does.

python experiments/reliability/writers.py [--writers 64] [--runs 320] [--pause 0] [--filled 10000] serves a PostgreSQL
database of its own by `cnnlab server`, makes one real run, and has it filed again and again, under other names, by so
many processes at once. It then fills the database with copies and times what is asked of it, and writes `writers.csv`
and the table of README.md.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial, wraps
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import psutil
from tabulate import tabulate

from cnnlab import signals
from cnnlab.commands import Parser, counting, in_one_line
from cnnlab.paths import refuse_other_checkout, write_atomically
from cnnlab.report.tables import as_csv, replaced
from homes import Home
from teams import Database, Team, database, served

if TYPE_CHECKING:
    from cnnlab.tracking.store import Study

FOLDER = Path(__file__).resolve().parent
STUDY, EPOCHS = "writers", 10
WORDS = (
    *("model=deep", "model.depth=16", "model.maps=4"),  # of many layers, so of many metrics
    *(f"epochs={EPOCHS}", "data.train=300", "data.validation=100", "study=pattern"),
)  # of the run that is repeated
CALLS = (
    *("get_experiment_by_name", "search_experiments", "create_experiment", "search_runs", "create_run", "log_batch"),
    *("set_tag", "log_inputs", "log_artifact", "set_terminated"),
)  # what the recorder asks of MLflow's client
TABLES = ("runs", "params", "tags", "latest_metrics", "inputs", "input_tags")  # that are read when runs are listed
IDS = ("run_uuid", "destination_id", "input_uuid")  # their columns with the id of a run, or of its dataset
MADE: list[tuple[str, float, str]] = []  # the calls of this process for its run: name, seconds, error
SHARED = ("cnnlab.fingerprint", "cnnlab.record")  # tags of which each run has its own


@dataclass(frozen=True)
class Pattern:
    """What a real run told its store: words, tags, metrics by epoch and at the end, and its files in a folder."""

    params: dict[str, str]
    tags: dict[str, str]
    epochs: list[dict[str, float]]
    last: dict[str, float]
    folder: Path
    files: list[Path]


@dataclass(frozen=True)
class Filed:
    """A run that a writer has filed: when, its calls with their seconds and errors, and why not all of it was filed."""

    began: float
    ended: float
    calls: list[tuple[str, float, str]]
    error: str


def pattern(team: Team, home: Home, folder: Path) -> Pattern:
    """Make a real run, file it on the server, and read back all that it has there."""
    made = home.train(*WORDS, **team.signed_in())
    if made.code:
        raise ValueError(f"the run that is to be repeated failed: {made.err}")
    from mlflow import MlflowClient

    client = MlflowClient(team.uri)
    experiment = client.get_experiment_by_name("pattern")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    client.download_artifacts(run.info.run_id, "", str(folder))
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    epochs = [{key: float(value) for key, value in row.items() if value and key != "epoch"} for row in rows]
    last = {key: value for key, value in run.data.metrics.items() if key not in epochs[0]}
    return Pattern(run.data.params, run.data.tags, epochs, last, folder, files_of(folder))


def begin(folder: Path) -> None:
    """Make this process a writer, in a project home of its own, as if on a machine of its own."""
    from mlflow import MlflowClient

    os.environ["CNNLAB_HOME"] = tempfile.mkdtemp(dir=folder)
    for name in CALLS:
        setattr(MlflowClient, name, timed(name, getattr(MlflowClient, name)))


def timed(name: str, call: Any) -> Any:
    """The call, which tells in MADE how long it took."""

    @wraps(call)
    def told(*arguments: Any, **options: Any) -> Any:
        began, error = time.perf_counter(), ""
        try:
            return call(*arguments, **options)
        except Exception as raised:
            error = " ".join(str(raised).split())[:200]
            raise
        finally:
            MADE.append((name, time.perf_counter() - began, error))

    return told


def file_run(made: Pattern, pause: float, number: int) -> Filed:
    """File a run, as an arm of a sweep is recorded; one write an epoch."""
    from cnnlab.tracking.log import RunLog
    from cnnlab.tracking.store import CODE, FINGERPRINT

    MADE.clear()
    began, why = time.time(), ""
    try:
        log = RunLog(of_sweep=True)
        tags = {name: text for name, text in made.tags.items() if not name.startswith("mlflow.")}
        tags |= {FINGERPRINT: f"{number:016x}", CODE: "0" * 16}
        log.begin(STUDY, f"run {number}", made.params, tags)
        for split in ("train", "validation", "test"):
            log.dataset("mnist5k", f"{split}{number % 4}", split)
        for epoch, values in enumerate(made.epochs, 1):
            time.sleep(pause)
            log.metrics(values, epoch)
        for file in made.files:
            shutil.copyfile(file, log.path(file.relative_to(made.folder).as_posix()))
        log.upload()
        log.metrics(made.last)
        log.close("FINISHED")
    except Exception as error:
        why = " ".join(str(error).split())[:200]
    return Filed(began, time.time(), [*MADE], why)


def filed(made: Pattern, writers: int, runs: int, pause: float, folder: Path) -> Iterator[Filed]:
    """So many runs, filed by so many writers at once, as they end."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "cnnlab.tracking.log"])  # imported once, not by each
    with context.Pool(writers, begin, (folder,)) as pool:
        yield from pool.imap_unordered(partial(file_run, made, pause), range(runs))


def load(processes: Sequence[psutil.Process]) -> tuple[float, int]:
    """Seconds of processor time that processes and their ended children took, and the memory that they have (bytes)."""
    seconds, memory = 0.0, 0
    for process in processes:
        with suppress(psutil.Error):
            seconds += sum(process.cpu_times()[:4])
            memory += process.memory_full_info().pss
    return seconds, memory


def lost(store: Database, server: Home, made: Pattern, runs: int) -> dict[str, int]:
    """What is not as it was told: runs that are missing, there twice, not FINISHED, or lack metrics, words or files."""
    query = f"""select t.value, r.status, r.experiment_id, r.run_uuid,
        (select count(*) from metrics m where m.run_uuid = r.run_uuid),
        (select count(*) from params p where p.run_uuid = r.run_uuid)
        from runs r join experiments e using (experiment_id) join tags t using (run_uuid)
        where e.name = '{STUDY}' and r.lifecycle_stage = 'active' and t.key = 'cnnlab.fingerprint'"""
    with connected(store) as ask:
        there = ask(query)
    different = len({fingerprint for fingerprint, *_ in there})
    points = len(made.last) + sum(map(len, made.epochs))
    whole, short = (points, len(made.params), len(made.files)), 0
    for _, _, study, run, *counts in there:
        folder = server.folder / "mlserver/artifacts" / str(study) / run
        short += (*counts, len(files_of(folder))) != whole
    return {
        "missing": runs - different,
        "there twice": len(there) - different,
        "not FINISHED": sum(status != "FINISHED" for _, status, *_ in there),
        "that lack metrics, words or files": short,
    }


def files_of(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


@contextmanager
def connected(store: Database) -> Iterator[Any]:
    """A function that gives the rows of a statement, or nothing; all is committed at the end."""
    import psycopg

    with psycopg.connect(store.uri) as connection:

        def ask(statement: str) -> list[Any]:
            done = connection.execute(statement)
            return done.fetchall() if done.description else []

        yield ask


def filled(store: Database, runs: int) -> int:
    """Copy the runs of the study, all that a list of them needs, until there are so many; how many there are."""
    with connected(store) as ask:
        mine = f"select r.run_uuid from runs r join experiments e using (experiment_id) where e.name = '{STUDY}'"
        ask(f"create temporary table mine as {mine}")
        (there,) = ask("select count(*) from mine")[0]
        copies = -(-runs // there) - 1
        ask("create temporary table data as select input_uuid from inputs where destination_id in (select * from mine)")
        for table in TABLES if copies else ():
            named = f"select column_name from information_schema.columns where table_name = '{table}'"
            columns = [name for (name,) in ask(f"{named} and table_schema = 'public'")]
            (known,) = [name for name in IDS if name in columns and (table, name) != ("inputs", "input_uuid")]
            among = "data" if known == "input_uuid" else "mine"
            values = [f"md5(t.{name} || n)" if name in IDS else f"t.{name}" for name in columns]
            if table == "tags":
                own = ", ".join(f"'{name}'" for name in SHARED)
                values[columns.index("value")] = f"case when t.key in ({own}) then md5(t.value || n) else t.value end"
            every = f"{table} t cross join generate_series(1, {copies}) n where t.{known} in (select * from {among})"
            ask(f"insert into {table} ({', '.join(columns)}) select {', '.join(values)} from {every}")
    with connected(store) as ask:
        ask("analyze")
    return there * (copies + 1)


def questions(study: Study) -> dict[str, float]:
    """Seconds that a sweep waits for what it asks of the store, before and after its arms."""
    asked: dict[str, Callable[[], object]] = {
        "is this arm finished?": lambda: study.finished("0" * 16),
        "in another study?": lambda: study.finished_elsewhere("no such", "0" * 16),
        "was it left RUNNING?": lambda: study.close_stale("no such"),
        "which arms are finished?": study.newest,
    }
    taken = {}
    for name, ask in asked.items():
        began = time.perf_counter()
        ask()
        taken[name] = time.perf_counter() - began
    return taken


def size(store: Database) -> int:
    """Bytes of the database."""
    with connected(store) as ask:
        return int(ask("select pg_database_size(current_database())")[0][0])


def measured(writers: int, runs: int, pause: float, fill: int) -> tuple[dict[str, str], int]:
    """What was found, by name, and how many runs failed or were lost. Database and server are gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="writers-"))
    home, client = Home(place / "server", place / "data"), Home(place / "client", place / "data")
    files = place / "files"
    files.mkdir()
    for folder in (home.folder, client.folder):
        folder.mkdir()
        (folder / "conf").symlink_to(FOLDER.parents[1] / "conf")
    try:
        with (
            database() as store,
            served(home, MLFLOW_BACKEND_STORE_URI=store.uri) as team,
            patch.dict(os.environ, team.signed_in() | client.places),
        ):
            from cnnlab.tracking.store import Study

            made = pattern(team, client, files)
            first = psutil.Process(store.pid)
            of: dict[str, Callable[[], list[psutil.Process]]] = {
                "server": home.processes,
                "database": lambda: [first, *first.children(recursive=True)],
            }
            before, room = {name: load(processes())[0] for name, processes in of.items()}, size(store)
            every, memory = list[Filed](), dict.fromkeys(of, 0)
            for run in filed(made, writers, runs, pause, place):
                every.append(run)
                memory = {name: max(memory[name], load(processes())[1]) for name, processes in of.items()}
            found = {"writers": f"{writers}", "pause before each epoch": f"{pause:g} s"} | described(made, every)
            for name, processes in of.items():
                found[f"{name}, processor time a run"] = f"{(load(processes())[0] - before[name]) / runs:.2f} s"
                found[f"{name}, memory"] = f"{memory[name] / 1e6:.0f} MB"
            wrong = lost(store, home, made, runs)
            found |= {f"runs {what}": f"{number}" for what, number in wrong.items()}
            found["database, a run"] = f"{(size(store) - room) / runs / 1000:.0f} kB"
            print(numbers(found), flush=True)
            study = Study.open(STUDY)
            for number in dict.fromkeys((runs, fill)):
                there = runs if number == runs else filled(store, number)
                found |= {f"{name} among {there:,} runs": f"{took:.2f} s" for name, took in questions(study).items()}
    finally:
        shutil.rmtree(place)
    return found, sum(wrong.values()) + sum(bool(run.error) for run in every)


def described(made: Pattern, every: Sequence[Filed]) -> dict[str, str]:
    """What was found while runs were filed."""
    seconds = max(run.ended for run in every) - min(run.began for run in every)
    taken = defaultdict[str, list[float]](list)
    errors = [f"the run: {run.error}" for run in every if run.error]
    failed = len(errors)
    for name, took, error in (call for run in every for call in run.calls):
        taken[name].append(took)
        errors += [f"{name}: {error}"] if error else []
    for line, times in Counter(errors).items():
        print(f"{times} times {line}")
    found = {
        "runs": f"{len(every)}",
        "epochs, metrics of an epoch, files of a run": f"{EPOCHS}, {len(made.epochs[-1])}, {len(made.files)}",
        "files, a run": f"{sum(path.stat().st_size for path in made.files) / 1000:.0f} kB",
        "calls": f"{sum(map(len, taken.values())):,}",
        "calls that failed": f"{len(errors) - failed}",
        "runs that failed": f"{failed}",
        "runs a minute": f"{60 * len(every) / seconds:.1f}",
        "a run, median": f"{np.median([run.ended - run.began for run in every]):.1f} s",
    }
    for name, took_each in sorted(taken.items()):
        middle, most = np.quantile(took_each, [0.5, 0.95])
        found[f"`{name}`, median and 95%"] = f"{1000 * middle:.0f}, {1000 * most:.0f} ms"
    return found


def main(words: Sequence[str], folder: Path = FOLDER) -> int:
    """Measure, and write the table; how many calls failed and runs were lost."""
    parse = Parser("writers", description="file runs on one server by many writers at once")
    parse.add_argument("--writers", type=counting, default=64, help="at once (default %(default)s)")
    parse.add_argument("--runs", type=counting, default=320, help="in all (default %(default)s)")
    parse.add_argument("--pause", type=float, default=0, help="seconds of training before an epoch (default: none)")
    parse.add_argument("--filled", type=counting, default=10000, help="runs to ask among (default %(default)s)")
    said = parse.parse_args(words)
    found, faults = measured(said.writers, said.runs, said.pause, said.filled)
    table = as_csv([{"what": what, "found": text} for what, text in found.items()])
    write_atomically(folder / "writers.csv", table.encode())
    page, made = folder / "README.md", numbers(found)
    write_atomically(page, replaced(page.read_text(encoding="utf-8"), "writers", made).encode())
    print(made)
    return faults


def read(folder: Path) -> dict[str, str]:
    """What was found, as it is kept."""
    lines = (folder / "writers.csv").read_text(encoding="utf-8").splitlines()
    return {line["what"]: line["found"] for line in csv.DictReader(lines)}


def numbers(found: Mapping[str, str]) -> str:
    """The part of the page that is made from the table."""
    return tabulate(found.items(), ["what", "found"], tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    refuse_other_checkout()
    signals.heed()
    with in_one_line():
        sys.exit(bool(main(sys.argv[1:])))
