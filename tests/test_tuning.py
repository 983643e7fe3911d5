"""Tuning: the rule, and a search that is cut, shared and kept."""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import CONF, Home, plan_of

from cnnlab import rates
from cnnlab.composing import sweep_of
from cnnlab.journal import Watcher
from cnnlab.rates import Key
from cnnlab.runs import make
from cnnlab.sweeps import Notices
from cnnlab.tracking.log import DIVERGED, RunLog
from cnnlab.tracking.store import CODE, FINGERPRINT, KIND
from cnnlab.tuning import GRID, SEEDS, WIDEST, WORDS, Point, arms, choice, curve_of, rate_at, tune, wanted

inf = math.inf
MLP = ("data=digits", "data.train=200", "data.validation=100", "model=mlp", "model.hidden=[4]", "epochs=1")
LARGE = ("relu", 0.3)  # diverges


def search(error: Callable[[int, int], float]) -> dict[Point, float]:
    """All runs that the rule asks for, where this is the error of a place and a seed."""
    found: dict[Point, float] = {}
    while points := wanted(found):
        assert not set(points) & found.keys()
        found |= {point: error(*point) for point in points}
    return found


def places(found: dict[Point, float], seed: int) -> list[int]:
    return sorted(place for place, of in found if of == seed)


def test_the_grid_is_the_same_for_all_and_of_1998_a_factor() -> None:
    assert [rate_at(place, "sgd") for place in GRID] == [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
    assert [rate_at(place, "sdlm") for place in GRID] == [0.000015, 0.00005, 0.00015, 0.0005, 0.0015, 0.005]
    assert (rate_at(WIDEST[0], "adam"), rate_at(WIDEST[-1], "adam")) == (0.00001, 10.0)


def test_the_best_two_rates_have_a_second_seed() -> None:
    found = search(lambda place, seed: abs(place + 3.4))
    assert (places(found, SEEDS[0]), places(found, SEEDS[1])) == (list(GRID), [-4, -3])
    assert choice(found) == -3 and len(found) == len(GRID) + 2


def test_the_second_seed_can_change_the_choice() -> None:
    found = search(lambda place, seed: abs(place + 3.4) + (place == -3 and seed == SEEDS[1]))
    assert choice(found) == -4


@pytest.mark.parametrize(("best", "tried"), [(-8, range(-9, 0)), (1, range(-6, 3)), (-6, range(-7, 0))])
def test_an_optimum_at_the_edge_widens_the_grid(best: int, tried: range) -> None:
    found = search(lambda place, seed: abs(place - best))
    assert (places(found, SEEDS[0]), choice(found)) == (list(tried), best)


def test_a_second_seed_that_chooses_the_edge_widens_it_too() -> None:
    errors = {-2: 1.0, -1: 1.1}
    found = search(lambda place, seed: errors.get(place, 5.0) + 2 * (place == -2 and seed == SEEDS[1]))
    assert choice(found) == -1 and places(found, SEEDS[0]) == [*GRID, 0]


def test_divergence_counts_as_worse_than_any_error() -> None:
    found = search(lambda place, seed: inf if place > -4 else 90.0 - place)
    assert choice(found) == -4 and found[-3, SEEDS[0]] == inf and places(found, SEEDS[1]) == [-5, -4]


def test_a_rate_that_diverges_with_the_second_seed_makes_room_for_the_next() -> None:
    found = search(lambda place, seed: inf if place == -3 and seed == SEEDS[1] else abs(place + 3.1))
    assert places(found, SEEDS[1]) == [-4, -3, -2]
    assert choice(found) == -4


def test_where_all_diverges_there_is_no_choice() -> None:
    found = search(lambda place, seed: inf)
    assert choice(found) is None and places(found, SEEDS[0]) == list(range(WIDEST[0], 0))


@pytest.fixture
def own_rates(inside: Home) -> Iterator[Path]:
    """A home with rates of its own, which tests may change."""
    (inside.folder / "conf").unlink()
    shutil.copytree(CONF, inside.folder / "conf")
    rates.table.cache_clear()
    yield inside.folder / "conf/rates.yaml"
    rates.table.cache_clear()


class Launcher:
    """Launches runs that train nothing: their words decide on the error. Ctrl-C comes after `stop` runs."""

    def __init__(self, folder: Path, stop: int = 1000) -> None:
        self.notices, self.stop, self.made = Notices(folder), stop, list[tuple[str, float, int]]()

    def __call__(self, runs: Sequence[Sequence[str]]) -> None:
        for words in runs:
            if len(self.made) == self.stop:
                raise KeyboardInterrupt
            plan = plan_of(*words)
            arm, rate, seed = plan.words["activation"], plan.config["lr"], plan.config["seed"]
            tags = {FINGERPRINT: plan.fingerprint, CODE: plan.code, KIND: "run", "cnnlab.host": "h", "cnnlab.pid": "1"}
            log = RunLog()
            log.begin(plan.study, plan.label, plan.words, tags)
            diverged = (arm, rate) == LARGE
            if diverged:
                log.tag(DIVERGED, "step 3")
            else:
                error = 5 + abs(math.log10(rate / 0.03)) + (seed - SEEDS[0]) / 8
                log.metrics({"val/error_percent": error, "time/total_s": 2.0})
            log.close("FAILED" if diverged else "FINISHED")
            self.notices.post(words, "failed" if diverged else "finished", "", "Diverged" * diverged)
            self.made.append((arm, rate, seed))


def tune_by(launch: Launcher, *words: str) -> int:
    asked = sweep_of("smoke", [*MLP, *words, *WORDS])
    return tune("smoke", asked, lambda said: plan_of(*said), launch, launch.notices.folder)


def test_a_search_that_was_cut_goes_on_and_is_kept(
    own_rates: Path, inside: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And an arm that another sweep has tuned is not tuned again; a run that diverged is not made again."""
    cut, rest, nothing = (Launcher(tmp_path / "sweep", stop) for stop in (7, 1000, 0))
    with pytest.raises(KeyboardInterrupt):
        tune_by(cut)
    assert len(cut.made) == 7 and not curve_of(Key("tanh cross_entropy mlp glorot momentum", ""))
    assert tune_by(rest) == 0
    made = cut.made + rest.made
    assert len(set(made)) == len(made) == 16
    assert {(arm, seed): sum((a, s) == (arm, seed) for a, _, s in made) for arm, _, seed in made} == {
        **{(arm, SEEDS[0]): 6 for arm in ("tanh", "relu")},
        **{(arm, SEEDS[1]): 2 for arm in ("tanh", "relu")},
    }
    setting = "digits epochs=1 batch_size=32 cosine data.validation=100 data.train=200"
    entry = yaml.safe_load(own_rates.read_text())["tuned"][setting][
        "relu cross_entropy mlp glorot momentum model.hidden=[4]"
    ]
    assert entry == {
        "rate": 0.03,
        "validation_errors": {
            **{0.001: [6.4771], 0.003: [6.0], 0.01: [5.4771, 5.6021]},
            **{0.03: [5.0, 5.125], 0.1: [5.5229], 0.3: ["diverged"]},
        },
        "budget": {"runs": 8, "seconds": 14},
    }
    said = capsys.readouterr().out
    assert "**5.00, 5.12**" in said and "smoke: 2 arms to tune, 0 tuned" in said and "16 runs, 30 s of training" in said
    summary = inside.run("tuning", "summary")
    assert {"report/report.md", "report/rates.png"} <= inside.artifacts(summary).keys()

    assert plan_of("activation=relu", *MLP).config["lr"] == 0.03
    assert plan_of("activation=relu", *MLP).lr_source == rates.TUNED
    assert tune_by(nothing, "activation=relu,tanh") == 0 and nothing.made == []  # as another sweep would have it
    assert "smoke: 0 arms to tune, 2 tuned" in capsys.readouterr().out
    own_rates.write_text((CONF / "rates.yaml").read_text())  # lost, but not the runs
    rates.table.cache_clear()
    assert tune_by(nothing) == 0 and nothing.made == []
    assert yaml.safe_load(own_rates.read_text())["tuned"][setting].popitem()[1]["rate"] == 0.03
    assert len(inside.runs("tuning", "summary")) == 2  # one of each sweep, though the first was summed up twice


def test_what_cannot_be_tuned_is_said_in_one_line(
    own_rates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launch = Launcher(tmp_path / "sweep", 0)
    assert tune_by(launch, "lr=0.1") == 0
    assert "smoke: nothing to tune: no arm has a learning rate that is to be found" in capsys.readouterr().out
    assert tune_by(launch, "data.validation=0") == 2
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 2 and all("no images are held out to choose by" in line for line in failed)


def test_an_arm_counts_once_whatever_its_seeds_and_a_classifier_not_at_all() -> None:
    plans = [plan_of(*MLP), plan_of(*MLP, "seed=3"), plan_of(*MLP, "lr=3"), plan_of("model=knn")]
    assert list(arms(plans)) == [plans[0].tuned_for]


def test_a_run_without_test_images_has_no_test_error(inside: Home) -> None:
    for words in (MLP, ("model=linear", *MLP[:3])):
        outcome = make(plan_of(*words, "data.test=hidden"), RunLog(), Watcher())
        assert outcome.status == "finished" and "test error" not in str(outcome)
    network, linear = inside.runs()
    for run in (network, linear):
        assert not [name for name in run.data.metrics if name.startswith("test/")]
        assert 0 < run.data.metrics["val/error_percent"] < 100
        assert not {"answers.npz", "confusion/test.json", "plots/mistakes.png"} & inside.artifacts(run).keys()


@pytest.mark.slow
def test_the_command_tunes_as_a_sweep_is_made(home: Home) -> None:
    (home.folder / "conf").unlink()
    shutil.copytree(CONF, home.folder / "conf")
    words = ("smoke", "activation=tanh", *MLP)
    said = home.command("tune", *words, "--launcher", "basic")
    assert (said.code, said.err) == (0, ""), said
    lines = said.out.splitlines()
    assert lines[:2] == ["smoke: 1 arm to tune, 0 tuned", "tuning: 6 arms to do, 0 finished"]
    runs = home.runs("tuning")
    assert len(runs) >= 8 and {run.data.params["seed"] for run in runs} == {"1000", "1001"}
    known: dict[str, Any] = yaml.safe_load((home.folder / "conf/rates.yaml").read_text())["tuned"]
    (entry,) = known["digits epochs=1 batch_size=32 cosine data.validation=100 data.train=200"].values()
    assert entry["budget"]["runs"] == len(runs)
    again = home.command("tune", *words, "--dry-run")
    assert again.out.splitlines()[-1].startswith("1 of 1 arms are tuned")
    assert home.leftovers() == []
