"""Project homes for tests that make runs, and what reads their records back.

Creating an MLflow store takes seconds, so one empty store is made for the whole session and copied; what
several tests look at (a finished run, a finished sweep) is made once, whichever worker comes first.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from threadpoolctl import threadpool_limits

from cnnlab.data import Dataset, mnist5k
from cnnlab.locks import locked
from homes import LIMIT, Home, Said, end, epochs_done, kill, listen, theta_of, wait_for  # noqa: F401 - for tests

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cnnlab.composing import Plan

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
SMALL = ("data.train=300", "data.validation=100")
HEAVY = {"cv2", "matplotlib", "mlflow", "mlxtend", "pandas", "pooch", "requests", "scipy", "sklearn"}


def untimed(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its clocks."""
    return {key: value for key, value in record.items() if not key.startswith("time/")}


def composed(*words: str) -> "DictConfig":
    """The config of a command line."""
    from cnnlab.composing import composed

    return composed(words)


def plan_of(*words: str) -> "Plan":
    """The plan of a command line."""
    from cnnlab.composing import plan

    cfg = composed(*words)
    return plan(cfg, cfg.hydra)


def arms_of(sweep: str, *words: str) -> "list[Plan]":
    """The plans of a sweep's file."""
    from cnnlab.composing import sweep_of

    return sweep_of(sweep, words).plans


def is_one_line(message: str) -> bool:
    return bool(message.strip()) and "\n" not in message.strip() and "Traceback" not in message


def pytest_make_parametrize_id(val: object) -> str | None:
    """The name of bytes among a test's parameters: not their content, which may hold the time they were packed at."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Two workers that share two cores must not each take both; and results hang on the number of threads."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this session see."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def once(shared: Path) -> Callable[[str, Callable[[], Any]], Any]:
    """`once(name, make)`: what `make` returns (plain data), made by the first worker that asks."""

    def once(name: str, make: Callable[[], Any]) -> Any:
        kept = shared / f"{name}.json"
        with locked(shared / f"{name}.lock"):
            if not kept.exists():
                kept.write_text(json.dumps(make()))
        return json.loads(kept.read_text())

    return once


@pytest.fixture(scope="session")
def data_folder(shared: Path) -> Path:
    return shared / "data"


@pytest.fixture(scope="session")
def digits(data_folder: Path) -> Dataset:
    """200 digits that train, 100 that validate, 1,000 that test."""
    return mnist5k(train=300, validation=100, folder=data_folder)


@pytest.fixture(scope="session")
def new_home(shared: Path, data_folder: Path, once: Callable[..., Any]) -> Callable[..., Home]:
    """`new_home(folder, fresh=False)`: a home that has the configs and, unless fresh, an empty store."""
    template = Home(shared / "template", data_folder)

    def make_store() -> None:
        template.folder.mkdir()
        template.client().search_experiments()

    def new_home(folder: Path, fresh: bool = False) -> Home:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "conf").symlink_to(CONF)
        if not fresh:
            once("template", make_store)
            shutil.copy(template.folder / "mlflow.db", folder)
        return Home(folder, data_folder)

    return new_home


@pytest.fixture
def tries(record_property: Callable[[str, object], None]) -> Iterator[Callable[[Iterable[Any]], Iterator[Any]]]:
    """`tries(inputs)`: the same inputs, of which the report says how many there were; `make soak` adds them up."""
    seen = count()

    def tries(inputs: Iterable[Any]) -> Iterator[Any]:
        for one in inputs:
            next(seen)
            yield one

    yield tries
    record_property("tried", next(seen))


@pytest.fixture
def home(new_home: Callable[..., Home], tmp_path: Path) -> Home:
    """A home without runs."""
    return new_home(tmp_path / "home")


@pytest.fixture
def fresh_home(new_home: Callable[..., Home], tmp_path: Path) -> Home:
    """A home without a store."""
    return new_home(tmp_path / "fresh", fresh=True)


@pytest.fixture
def inside(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home that this very process is in."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, value in home.places.items():
        monkeypatch.setenv(name, value)
    return home
