"""MLflow's pages, opened in a browser after a real sweep: they say at once what won, and show why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from tests.browser import CHROMIUM, DRIVER, HEIGHT, WIDTH, Browser, browser, free_port
from tests.conftest import Home, kill, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities import Run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs Chromium and its driver: apt install chromium chromium-driver"
    ),
]


@dataclass(frozen=True)
class Pages:
    """The pages of a home where the sweep `smoke` has ended."""

    home: Home
    browser: Browser
    address: str
    folder: Path

    @property
    def best(self) -> Run:
        """The run with the lowest validation error: of one seed, that of the arm that won."""
        return min(self.home.runs("smoke"), key=lambda run: run.data.metrics["val/error_percent"])

    def open(self, page: str) -> None:
        """Open a page of MLflow, without the assistant, which a reader closes once."""
        self.browser.open(f"{self.address}/#/{page}")
        self.browser.wait_for("Docs", "Settings")
        self.browser.click('button[aria-label="Close"]')

    def view(self, key: str, mode: str = "CHART", study: str = "smoke") -> None:
        """Open a saved view of a study."""
        place = f"experiments/{self.home.runs(study)[0].info.experiment_id}/runs"
        self.open(f"{place}?workflowType=machine_learning&compareRunsMode={mode}&viewStateShareKey={key}")


@pytest.fixture(scope="module")
def pages(new_home: Callable[..., Home], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """A sweep, its store served by `cnnlab ui`, and a browser."""
    folder = tmp_path_factory.mktemp("pages")
    home, port = new_home(folder / "home"), free_port()
    swept = home.command("sweep", "smoke")
    assert (swept.code, swept.err) == (0, "")
    server = home.start("--port", str(port), command="ui")
    try:
        wait_for(lambda: served(port), server)
        with browser(folder / "browser") as opened:
            yield Pages(home, opened, f"http://127.0.0.1:{port}", folder)
    finally:
        kill(server)


def served(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def seen(found: Browser, *texts: str) -> None:
    """All these are in the window, without scrolling."""
    found.wait_for(*texts)
    for text in texts:
        left, upper, right, lower = found.boxes(text)[0]
        assert 0 <= left < right <= WIDTH and 0 <= upper < lower <= HEIGHT


def error(run: Run, split: str) -> str:
    return f"{run.data.metrics[f'{split}/error_percent']:.2f}"


def pictures(found: Browser) -> list[dict[str, Any]]:
    """The pictures of a run that the page has loaded."""
    script = "return [...document.images].map(i => ({from: i.src, width: i.naturalWidth}))"
    return [each for each in found.run(script) if each["width"] > 100 and "svg" not in each["from"]]


def test_the_link_of_a_sweep_opens_on_what_won(pages: Pages) -> None:
    best, shown = pages.best, pages.browser
    assert best.info.run_name == f"{best.data.params['activation']} seed=0"
    pages.view("cnnlab-won")
    won = f"{best.data.params['activation']} has the lowest validation error of 2 arms: {error(best, 'val')}% (1 seed)"
    seen(shown, "matching runs", str(best.info.run_name), won)
    seen(shown, "val/error_percent", error(best, "val"), "test/error_percent", error(best, "test"))
    assert "error loading" not in shown.text().lower()
    names = [run.info.run_name for run in sorted(pages.home.runs("smoke"), key=lambda run: error(run, "val").zfill(6))]
    places = [min(box[1] for box in shown.boxes(str(name)) if box[0] < WIDTH / 2) for name in names]
    assert places == sorted(places)  # the best first
    said = shown.text()
    assert all(
        title in said
        for title in ("What won, and why", "How it learned", "Gradients, first and last layer", "What it sees")
    )
    shown.picture(pages.folder / "won.png")


def test_the_table_has_the_words_and_both_errors(pages: Pages) -> None:
    pages.view("cnnlab-won", "TABLE")
    seen(pages.browser, str(pages.best.info.run_name), "activation", "val/error_percent", "test/error_percent")


ARMS = [
    {"activation": activation, "loss": loss, "pooling": pooling, "model.connections": connections}
    for activation in ("relu", "tanh")
    for loss in ("cross_entropy", "lenet5_map", "mse")
    for pooling in ("max", "subsample")
    for connections in ("full", "table1")
]
SEEDS = 5  # of each arm: more runs in all than a page of MLflow's loads by itself


@pytest.fixture(scope="module")
def large(pages: Pages) -> list[str]:
    """A study of many arms and seeds, copied from a run of another; the names of its arms, the best first.

    All but the best have seeds that did better than any of the best one's, and as many that did worse: so a page that
    knew the best runs alone would show another order.
    """
    from mlflow.entities import Metric, Param, RunTag

    source, client, home = pages.best, pages.home.client(), pages.home
    files = {name: file for name, file in home.artifacts(source).items() if name in ("history.csv", "answers.npz")}
    place = (home.folder / "mlartifacts/large").as_uri()
    experiment = client.create_experiment("large", place)
    shared = {key: said for key, said in source.data.tags.items() if not key.startswith("mlflow.")}
    for number, arm in enumerate(ARMS):
        for seed in range(SEEDS):
            error = 1.23 + 0.1 * number + (0.5 * (seed - SEEDS // 2) if number else 0)
            run = client.create_run(experiment).info.run_id
            metrics = source.data.metrics | {f"{split}/error_percent": error for split in ("val", "test")}
            client.log_batch(
                run,
                [Metric(key, value, 0, 0) for key, value in metrics.items()],
                [Param(key, said) for key, said in (source.data.params | arm | {"seed": str(seed)}).items()],
                [RunTag(key, said) for key, said in (shared | {"cnnlab.fingerprint": f"{number} {seed}"}).items()],
            )
            for file in files.values():
                client.log_artifact(run, str(file))
            client.set_terminated(run)
    reported = home.command("report", "large")
    assert (reported.code, reported.err) == (0, "")
    means = sorted(home.runs("large", "means"), key=lambda run: run.data.metrics["val/error_percent"])
    return [str(run.info.run_name) for run in means]


def test_the_view_of_a_large_study_has_a_bar_for_each_arm_and_the_best_on_top(pages: Pages, large: list[str]) -> None:
    shown = pages.browser
    assert len(large) == len(ARMS) and large[0] == "relu cross_entropy max model.connections=full"
    pages.view("cnnlab-won", study="large")
    won = (
        f"relu / cross_entropy / max / full has the lowest validation error of {len(ARMS)} arms: 1.23% ({SEEDS} seeds)"
    )
    seen(shown, str(len(ARMS)), "matching runs", won, *large[:3], "1.23", "1.33")
    places = [min(box[1] for box in shown.boxes(name) if box[0] < WIDTH / 2) for name in large[:3]]
    assert places == sorted(places)
    charts = shown.run("return [...document.querySelectorAll('.barlayer')].map(e => e.querySelectorAll('path').length)")
    assert charts[:2] == [len(ARMS)] * 2
    shown.picture(pages.folder / "large.png")


def test_a_run_says_what_it_found_and_shows_its_pictures(pages: Pages) -> None:
    best, shown = pages.best, pages.browser
    place = f"experiments/{best.info.experiment_id}/runs/{best.info.run_id}"
    pages.open(place)
    seen(shown, f"validation error {error(best, 'val')}%, test error {error(best, 'test')}%")
    pages.open(f"{place}/model-metrics")
    shown.wait_for("grad_norm")
    limit = time.monotonic() + 60
    while len(pictures(shown)) < 3:  # confusion, kernels, activations: below all charts, and drawn when they are seen
        assert time.monotonic() < limit, pictures(shown)
        shown.run(SCROLL)
        time.sleep(0.5)
    shown.picture(pages.folder / "run.png")


SCROLL = """
for (const box of document.querySelectorAll("div")) {
  if (["auto", "scroll"].includes(getComputedStyle(box).overflowY)) box.scrollTop = box.scrollHeight;
}
"""


def test_the_best_network_is_a_registered_model(pages: Pages) -> None:
    pages.open("models/smoke")
    seen(pages.browser, "smoke", "best", "Version 1")


def test_the_report_begins_with_the_answer(pages: Pages) -> None:
    pages.browser.open((pages.home.folder / "reports/smoke/index.html").as_uri())
    seen(pages.browser, "Two tiny arms: does everything work?", error(pages.best, "test"))
    pages.browser.picture(pages.folder / "report.png")
