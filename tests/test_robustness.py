"""Finished runs on changed test images: what the changes are, and what a run's record has of them."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import CONF, Home, is_one_line, kill, plan_of, wait_for

from cnnlab import commands, plots
from cnnlab.changes import KINDS, PIECE, Change
from cnnlab.composing import objects
from cnnlab.journal import Watcher
from cnnlab.robustness import Evaluated, metric
from cnnlab.runs import make
from cnnlab.tracking.log import RunLog

WORDS = ("model=mlp", "model.hidden=[16]", "data.test=200", "data.train=500", "data.validation=0", "epochs=2")
CHANGES = {(name, each): it.change for name, kind in KINDS.items() for each, it in kind.directions.items()}
METRICS = {metric(*change) for change in CHANGES}


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape or (20, 9, 7), dtype=np.uint8)


@pytest.mark.parametrize("colours", [(), (3,)], ids=["grey", "colour"])
@pytest.mark.parametrize("amount", [1, 3, 8])
def test_a_shift_moves_by_exactly_so_many_pixels(amount: int, colours: tuple[int, ...]) -> None:
    pixels = pictures(5, 9, 7, *colours)
    padded = np.pad(pixels, [(0, 0), (amount, amount), (amount, amount), *((0, 0) for _ in colours)])
    for direction, (row, column) in {"up": (2, 1), "down": (0, 1), "left": (1, 2), "right": (1, 0)}.items():
        expected = padded[:, row * amount : row * amount + 9, column * amount : column * amount + 7]
        assert (CHANGES["shift", direction](pixels, amount, 255) == expected).all()


@pytest.mark.parametrize("change", CHANGES.values(), ids=map("_".join, CHANGES))
@pytest.mark.parametrize("shape", [(PIECE + 3, 9, 7), (4, 6, 9, 3)], ids=["grey", "colour"])
def test_no_change_is_none_and_a_change_leaves_the_originals(change: Change, shape: tuple[int, ...]) -> None:
    pixels = pictures(*shape)
    before = pixels.copy()
    assert (change(pixels, 0, 255) == pixels).all()
    changed = change(pixels, 20, 255)
    assert changed.shape == shape and changed.dtype == np.uint8 and (changed != pixels).any()
    assert (pixels == before).all()


def test_a_quarter_turn_to_the_left_is_numpys() -> None:
    square, oblong = pictures(4, 8, 8), pictures(4, 9, 6)
    for direction, turns in {"left": 1, "right": -1}.items():
        turn = CHANGES["rotation", direction]
        assert (turn(square, 90, 255) == np.rot90(square, turns, (1, 2))).all()
        assert (turn(oblong, 180, 255) == oblong[:, ::-1, ::-1]).all()


def test_a_scale_keeps_the_middle_and_the_distances_from_it() -> None:
    pixels = pictures(4, 9, 7)
    large, small = CHANGES["scale", "larger"](pixels, 100, 255), CHANGES["scale", "smaller"](pixels, 50, 255)
    assert (large[:, ::2, 1::2] == pixels[:, 2:7, 2:5]).all()
    assert (small[:, 2:7, 2:5] == pixels[:, ::2, 1::2]).all()
    assert (CHANGES["scale", "larger"](pixels, 50, 255)[:, 1::3, ::3] == pixels[:, 2:7:2, 1:6:2]).all()


def test_gaussian_noise_has_its_deviation_and_stays_in_the_grey_range() -> None:
    grey = np.full((50, 20, 20), 8, np.uint8)
    for levels, amount in ((255, 1), (16, 10), (16, 20)):
        noisy = CHANGES["noise", "gaussian"](grey, amount, levels).astype(float)
        expected = np.hypot(levels * amount / 100, 12**-0.5)  # rounding to whole levels adds the second
        assert abs(noisy.mean() - 8) < 0.05 and abs(noisy.std() / expected - 1) < 0.05
    assert CHANGES["noise", "gaussian"](grey, 100, 16).max() == 16


def test_salt_and_pepper_replace_so_many_pixels_half_by_each() -> None:
    grey = np.full((100, 20, 20, 3), 9, np.uint8)
    noisy = CHANGES["noise", "salt_and_pepper"](grey, 10, 16)
    assert (noisy == noisy[..., :1]).all()  # a pixel's colours go together
    shares = {level: count / noisy.size for level, count in zip(*np.unique(noisy, return_counts=True), strict=True)}
    assert shares == pytest.approx({0: 0.05, 9: 0.9, 16: 0.05}, abs=0.004)


@pytest.mark.parametrize("direction", KINDS["noise"].directions)
def test_noise_is_the_same_for_every_run_and_another_for_each_image(direction: str) -> None:
    pixels, change = np.full((PIECE + 5, 9, 7), 99, np.uint8), CHANGES["noise", direction]
    noisy = change(pixels, 10, 255)
    assert (noisy == change(pixels, 10, 255)).all() and (noisy[:3] == change(pixels[:3], 10, 255)).all()
    assert len({picture.tobytes() for picture in noisy}) > PIECE


def test_amounts_end_where_the_word_says() -> None:
    assert KINDS["shift"].amounts("up", 3) == [0, 1, 2, 3]
    assert KINDS["rotation"].amounts("left", 12) == [0, 5, 10, 12]
    assert KINDS["scale"].amounts("larger", 1.25) == [0, 10, 20, 25]
    assert KINDS["scale"].amounts("smaller", 1.25) == [0, 10, 20]
    assert KINDS["scale"].amounts("smaller", 2) == [0, 10, 20, 30, 40, 50]
    assert KINDS["scale"].amounts("larger", 1.1) == [0, 10]  # and not 10.000000000000009
    assert KINDS["scale"].amounts("larger", 1) == [0]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """How often each error was computed, by metric and amount."""
    count, compute = Counter[tuple[str, int]](), Evaluated.error_percent

    def counted(self: Evaluated, kind: str, direction: str, amount: int) -> float:
        count[metric(kind, direction), amount] += 1
        return compute(self, kind, direction, amount)

    monkeypatch.setattr(Evaluated, "error_percent", counted)
    return count


@pytest.fixture
def evaluate(
    inside: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """How `cnnlab evaluate` ends in this very process, and what it says."""
    monkeypatch.setattr(sys, "argv", ["cnnlab"])  # pytest's may be of another checkout's environment

    def evaluate(*words: str) -> tuple[int, str]:
        code = 0
        try:
            commands.main(["evaluate", *words])
        except SystemExit as over:
            code = over.code if isinstance(over.code, int) else 1
            print("" if isinstance(over.code, int) else over.code)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return evaluate


def made(*words: str) -> str:
    """The id of a finished run."""
    outcome = make(plan_of(*WORDS, *words), RunLog(), Watcher())
    assert outcome.status == "finished", outcome
    return outcome.run_id


def test_a_run_knows_its_error_over_every_change(
    inside: Home, evaluate: Callable[..., tuple[int, str]], computed: Counter[tuple[str, int]]
) -> None:
    before = inside.client().get_run(made())
    code, said = evaluate(before.info.run_id[:6])
    run, plain = inside.run(), before.data.metrics["test/error_percent"]
    curves = {name: curve for name, curve in inside.curves(run).items() if name in METRICS}
    assert (code, curves.keys()) == (0, METRICS)
    expected = {metric(*change): KINDS[change[0]].amounts(change[1], KINDS[change[0]].default) for change in CHANGES}
    assert {name: sorted(curve) for name, curve in curves.items()} == expected
    assert {curve[0] for curve in curves.values()} == {plain}  # to the last bit
    for direction in ("up", "down", "left", "right"):
        shifted = curves[f"test_error_percent/shift_{direction}"]
        assert plain <= shifted[1] < shifted[2] < shifted[3] < shifted[4]
        assert f"{direction} 4: {shifted[4]:.2f}%" in said
    assert (run.info.status, run.info.end_time) == ("FINISHED", before.info.end_time)
    assert run.data.metrics.items() >= before.data.metrics.items()
    assert inside.artifacts(run)["plots/robustness.png"].read_bytes().startswith(b"\x89PNG")
    assert set(computed.values()) == {1} and len(computed) == sum(map(len, expected.values()))
    assert f"test error {plain:.2f}%" in said and "known" not in said and "other code" not in said
    assert inside.leftovers() == []

    again = evaluate(before.info.run_id)
    assert again[1].replace("  known", "") == said and again[1].count("  known") == len(KINDS)
    assert set(computed.values()) == {1}
    assert {name: curve for name, curve in inside.curves(inside.run()).items() if name in METRICS} == curves


def test_only_what_is_asked_for_and_not_known_is_computed(
    inside: Home, evaluate: Callable[..., tuple[int, str]], computed: Counter[tuple[str, int]]
) -> None:
    run = made()
    assert evaluate(run, "rotation=5", "scale=1.1")[0] == 0
    assert {name for name, _ in computed} == {
        metric(kind, each) for kind in ("rotation", "scale") for each in KINDS[kind].directions
    }
    computed.clear()
    code, said = evaluate(run, "rotation=12")
    assert code == 0 and "left 12: " in said and "shift" not in said
    assert computed == {(metric("rotation", each), amount): 1 for each in ("left", "right") for amount in (10, 12)}


@pytest.mark.parametrize(("owner", "method"), [(Evaluated, "error_percent"), (RunLog, "metrics")])
def test_what_was_cut_off_goes_on(
    owner: type,
    method: str,
    inside: Home,
    evaluate: Callable[..., tuple[int, str]],
    computed: Counter[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted at a turn, in the middle of computing or when some of it is written down."""
    run, drawn = made(), list[dict[str, dict[str, dict[int, float]]]]()
    draw = plots.robustness
    monkeypatch.setattr(plots, "robustness", lambda curves, title: drawn.append(curves) or draw(curves, title))
    plain = getattr(owner, method)

    def interrupted(self: object, *arguments: object) -> object:
        if arguments[0] == "rotation" and arguments[2] == 10:
            raise KeyboardInterrupt
        if isinstance(arguments[0], dict) and metric("rotation", "left") in arguments[0] and arguments[1] == 10:
            raise KeyboardInterrupt
        return plain(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, interrupted)
        code, said = evaluate(run, "shift=2", "rotation=20", "noise=2")
    assert code == 1 and said.splitlines()[-1] == "interrupted: the same command goes on after what is done"
    known = {name: set(curve) for name, curve in inside.curves(inside.run()).items() if name in METRICS}
    assert known[metric("shift", "up")] == {0, 1, 2} and metric("noise", "gaussian") not in known
    computed.clear()
    assert evaluate(run, "shift=2", "rotation=20", "noise=2")[0] == 0
    assert not any(amount in known.get(name, ()) for name, amount in computed)
    shown = [errors for lines in drawn[-1].values() for errors in lines.values()]
    now = inside.curves(inside.run())
    assert sorted(map(len, shown)) == sorted(len(curve) for name, curve in now.items() if name in METRICS)
    assert inside.leftovers() == []


@pytest.mark.slow
def test_a_killed_evaluation_goes_on(home: Home) -> None:
    assert home.train(*WORDS).code == 0
    run = home.run().info.run_id
    process = home.start(run, command="evaluate")
    wait_for(lambda: home.client().get_metric_history(run, metric("rotation", "right")), process)
    kill(process)
    before = home.curves(home.run())
    said = home.command("evaluate", run)
    assert (said.code, said.err) == (0, "")
    after = home.curves(home.run())
    assert after.keys() >= METRICS
    assert all(before[name].items() <= after[name].items() for name in before)
    points = home.client().get_metric_history(run, metric("shift", "left"))
    assert sorted(point.step for point in points) == [0, 1, 2, 3, 4]


def test_boosted_networks_answer_together(inside: Home, evaluate: Callable[..., tuple[int, str]]) -> None:
    run = made("learner=boosted", "augment=shift")
    assert evaluate(run, "shift=1")[0] == 0
    found = inside.run().data.metrics["test/error_percent"]
    assert inside.curves(inside.run())["test_error_percent/shift_up"][0] == found


def test_a_study_is_evaluated_but_for_what_is_no_network(
    inside: Home, evaluate: Callable[..., tuple[int, str]]
) -> None:
    runs = [made("study=mine", f"seed={seed}") for seed in (0, 1)]
    knn = make(plan_of("model=knn", "data=digits", "study=mine"), RunLog(), Watcher())
    code, said = evaluate("mine", "shift=1")
    assert code == 1
    failed = [line for line in said.splitlines() if line.startswith("FAILED")]
    assert failed == ["FAILED knn digits seed=0: model=knn is no network, and only networks are kept"]
    known = {run.info.run_id for run in inside.runs("mine") if METRICS & run.data.metrics.keys()}
    assert known == {*runs}
    code, said = evaluate(knn.run_id)
    assert (code, said.strip()) == (1, "model=knn is no network, and only networks are kept")


def test_a_run_has_a_name_and_an_id(inside: Home, evaluate: Callable[..., tuple[int, str]]) -> None:
    one, other = made("study=mine"), made("study=mine", "seed=1")
    name = inside.client().get_run(one).info.run_name
    assert evaluate(name, "shift=1")[0] == 0
    assert [METRICS & run.data.metrics.keys() != set() for run in inside.runs("mine")] == [True, False]
    code, said = evaluate(f"{name}2", "shift=1")
    assert code == 1 and is_one_line(said) and f"(did you mean {name}?)" in said and said.endswith("a study: mine\n")
    code, said = evaluate("", "shift=1")
    assert code == 1 and is_one_line(said)
    again = make(plan_of(*WORDS, "study=mine", "rerun=true"), RunLog(), Watcher()).run_id
    made("study=others", "seed=2")
    assert evaluate(name, "shift=1")[0] == 0  # the newest of the three
    assert METRICS & inside.client().get_run(again).data.metrics.keys()
    inside.client().set_tag(other, "mlflow.runName", name)
    code, said = evaluate(name, "shift=1")
    assert code == 1 and is_one_line(said) and "could be 2 runs: choose one by its id" in said
    assert again in said and other in said


def test_other_images_than_the_runs_own_are_refused(inside: Home, evaluate: Callable[..., tuple[int, str]]) -> None:
    run = made()
    inside.client().set_tag(run, "cnnlab.data.digest", "another")
    code, said = evaluate(run)
    assert (code, said.strip()) == (1, "the images of data=mnist5k are others now than when it was made")
    assert not METRICS & inside.run().data.metrics.keys()


def test_a_network_that_is_gone_is_missed(inside: Home, evaluate: Callable[..., tuple[int, str]]) -> None:
    run = made()
    shutil.rmtree(next(inside.folder.rglob("model")))
    code, said = evaluate(run)
    assert code == 1 and is_one_line(said) and f"run {run} of study runs" in said and "rerun=true makes it" in said


def test_a_network_that_answers_otherwise_now_is_told(inside: Home, evaluate: Callable[..., tuple[int, str]]) -> None:
    run = made()
    inside.client().log_metric(run, "test/error_percent", 1.25, step=0, timestamp=2**42)
    code, said = evaluate(run, "shift=1")
    assert code == 0 and "  it was 1.25% when the run was made, by other code or on another machine\n" in said


SOURCE = """
import numpy as np
from cnnlab.data import Images, RawData, source


@source(normalization="unit")
def flags(folder):
    pixels = np.load(folder / "flags.npy")
    images = Images(pixels, np.arange(len(pixels)) % 2)
    return RawData("flags", images[:40], images[40:], ("a", "b"))
"""


def test_oblong_images_in_colour_from_elsewhere(
    inside: Home, tmp_path: Path, evaluate: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (inside.folder / "conf").unlink()
    shutil.copytree(CONF, inside.folder / "conf")
    (inside.folder / "conf/data/flags.yaml").write_text("_target_: guest_flags.flags\nfolder: null\n")
    (tmp_path / "guest_flags.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    pixels = pictures(60, 16, 12, 3) // 8
    pixels[::2, 2:6, 2:6, 0] = 255
    np.save(tmp_path / "flags.npy", pixels)
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path))
    words = ("data=flags", "model=zhou", "lr=0.01", "epochs=3")
    monkeypatch.setenv("CNNLAB_TRUST", "guest_flags")
    outcome = make(plan_of(*words), RunLog(), Watcher())
    monkeypatch.delenv("CNNLAB_TRUST")
    objects._loaded.cache_clear()  # as in a new process
    code, said = evaluate(outcome.run_id)
    assert code == 1 and is_one_line(said) and "CNNLAB_TRUST=guest_flags if you trust it" in said
    monkeypatch.setenv("CNNLAB_TRUST", "guest_flags")
    assert evaluate(outcome.run_id)[0] == 0
    curves = inside.curves(inside.run())
    assert curves.keys() >= METRICS
    assert {curves[name][0] for name in METRICS} == {outcome.metrics["test/error_percent"]}
