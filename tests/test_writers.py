"""Many writers at once on one served store: what is counted, and the page on which it is."""

from pathlib import Path

import pytest
from tests.conftest import ROOT

import writers
from teams import BINARIES


@pytest.mark.cluster
@pytest.mark.slow
def test_many_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    """Processes, each as if on a machine of its own, begin one study together."""
    pytest.importorskip("flask_wtf")
    pytest.importorskip("psycopg")
    if BINARIES is None:
        pytest.skip("PostgreSQL is not installed")
    found, faults = writers.measured(writers=8, runs=16, pause=0, fill=64)
    assert faults == 0, found
    assert {name: text for name, text in found.items() if name.startswith("runs ") and "minute" not in name} == {
        "runs missing": "0",
        "runs there twice": "0",
        "runs not FINISHED": "0",
        "runs that lack metrics, words or files": "0",
        "runs that failed": "0",
    }
    assert "which arms are finished? among 64 runs" in found


def test_the_page_is_made_from_the_kept_table() -> None:
    folder = ROOT / "experiments/reliability"
    assert writers.numbers(writers.read(folder)) in (folder / "README.md").read_text(encoding="utf-8")
