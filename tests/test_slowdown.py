"""The slowdown of squared error: Nielsen's neuron against his formulas and outputs, and first steps read from runs."""

import math
from pathlib import Path

import numpy as np
import pytest
from experiments.loss import slowdown
from experiments.loss.slowdown import (
    EPOCHS,
    FOLDER,
    LOSSES,
    SMOOTHED,
    STARTS,
    first_steps,
    main,
    neuron,
    numbers,
    read,
    smooth,
    steps_to_half,
    write,
)
from tests.conftest import Home

from cnnlab.composing import sweep_of
from cnnlab.journal import Watcher
from cnnlab.runs import make
from cnnlab.tracking.log import RunLog


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_neuron_is_that_of_the_formulas(loss: str, start: tuple[float, float]) -> None:
    (w, b), rate = start, LOSSES[loss][1]
    for line in neuron(loss, *start):
        a = 1 / (1 + math.exp(-(w + b)))
        slope, cost = (a * a * (1 - a), a * a / 2) if loss == "squared error" else (a, -math.log(1 - a))
        found = [float(line[name]) for name in ("output", "slope", "cost")]
        assert found == pytest.approx([a, slope, cost], abs=2e-6)
        w, b = w - rate * slope, b - rate * slope


def test_the_outputs_by_squared_error_are_those_that_nielsen_prints() -> None:
    outputs = [[float(line["output"]) for line in neuron("squared error", *start)] for start in STARTS]
    assert [[round(each[0], 2), round(each[EPOCHS], 2)] for each in outputs] == [[0.82, 0.09], [0.98, 0.20]]


def test_a_smoothed_value_is_a_mean_of_those_around_it() -> None:
    values = np.arange(100.0)
    found = smooth(values)
    assert found[50] == pytest.approx(50) and found[0] == pytest.approx(np.mean(values[: SMOOTHED // 2 + 1]))
    assert smooth(np.full(40, 3.0)) == pytest.approx(np.full(40, 3.0))
    assert steps_to_half(np.full(40, 3.0)) is None
    assert steps_to_half(np.array([8.0] * 100 + [1.0] * 100)) in range(98, 108)


def test_the_kept_files_make_the_page(tmp_path: Path) -> None:
    lines, losses = read(FOLDER)
    assert numbers(lines, losses) in (FOLDER / "README.md").read_text(encoding="utf-8")
    fresh = [line for start in STARTS for loss in LOSSES for line in neuron(loss, *start)]
    for kept, today in zip(lines, fresh, strict=True):
        assert {name: str(value) for name, value in today.items()}.keys() == kept.keys()
        assert float(kept["output"]) == pytest.approx(float(today["output"]), abs=2e-6)
    (tmp_path / "neuron.csv").write_bytes((FOLDER / "neuron.csv").read_bytes())
    write(tmp_path)
    assert (tmp_path / "slowdown.png").read_bytes().startswith(b"\x89PNG")


def test_first_steps_are_means_over_the_seeds_that_finished(
    inside: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first_steps() == {}
    words = ("data=digits", "data.train=200", "data.validation=100", "epochs=1", "lr=0.01", "steps_recorded=4")
    sweep = sweep_of("loss", [*words, "seed=0,1"], ["tanh_mse", "relu_cross_entropy"])
    monkeypatch.setattr(slowdown, "sweep_of", lambda name: sweep)
    made = [make(plan, RunLog(), Watcher()) for plan in sweep.plans[:3]]  # the last seed of the last arm is not there
    curves = [inside.curves(inside.client().get_run(run.run_id))["first_steps/loss"] for run in made]
    assert [list(curve) for curve in curves] == [[1, 2, 3, 4]] * 3
    found = first_steps()
    losses = [[curve[step] for step in (1, 2, 3, 4)] for curve in curves]
    assert found.keys() == {"tanh_mse", "relu_cross_entropy"}
    np.testing.assert_allclose(found["tanh_mse"], np.mean(losses[:2], axis=0))
    np.testing.assert_allclose(found["relu_cross_entropy"], losses[2])

    (tmp_path / "kept").mkdir()
    main(tmp_path / "kept")
    _, kept = read(tmp_path / "kept")
    assert kept.keys() == found.keys()
    np.testing.assert_allclose(kept["tanh_mse"], found["tanh_mse"], rtol=1e-4)
    page = (tmp_path / "kept/README.md").read_text(encoding="utf-8")
    assert "Steps until the loss (smoothed) is half of the first step's: " in page and "](first_steps.png)" in page
    assert (tmp_path / "kept/first_steps.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "kept/first_steps.png").unlink()
    monkeypatch.setattr(slowdown, "studies", lambda: [])  # a store that has forgotten the runs
    main(tmp_path / "kept")
    assert (tmp_path / "kept/README.md").read_text(encoding="utf-8") == page
    assert (tmp_path / "kept/first_steps.png").exists()
