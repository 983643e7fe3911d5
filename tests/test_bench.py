"""The benchmark's arithmetic, options and workers; no test looks at how long anything took."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from importlib import util

import numpy as np
import pytest
from tests.conftest import ROOT, is_one_line, listen
from tests.test_floors import MODULES, tops

import bench
import notebook
import ours
import profiling
from bench import FACTORIES, compare
from cases import CASES, KINDS, NETWORKS, PEAK_SIZE, PEERS, QUANTITIES, Case, Work, chosen, rehearsed, target
from commands import mean
from figure import Pace, panels, speed
from machine import described, machine
from profiling import exponent, growth_table, instrumented, profile
from results import Result, as_dict, from_dict, missed, peak_rate, progress, spread, summary, table

PROGRAM = ROOT / "experiments/speed"
STEP = Case("step", "lenet5_relu", 32)
ALONE = {side: factory for side, factory in FACTORIES.items() if side not in PEERS}
GEMM = 2 * PEAK_SIZE**3


def result(case=STEP, threads=1, **seconds):
    return Result(case, threads, parameters=61_706, flops=GEMM // 10, seconds=seconds)


def die(case):
    """A side whose process ends without a word."""
    os._exit(7)


def short_and_long(case):
    """A side whose short unit finds 0.1, and whose long one 0.9."""
    return Work(lambda: 0.9, rehearse=lambda: 0.1)


def test_quartiles():
    assert spread([1, 2, 3, 4, 5]) == (2, 3, 4)
    assert spread([7]) == (7, 7, 7)


def test_ratios_are_formed_within_each_round():
    """The machine was three times as slow in the second round: no ratio shows it."""
    slow = result(ours=[1.0, 3.0, 1.0], eager=[2.0, 6.0, 2.0])
    assert slow.ratio("eager") == (2, 2, 2)
    assert slow.ratio("compile") is None
    assert slow.median("ours") == 1
    assert slow.median("compile") is None


def test_the_share_of_the_peak_is_of_operations_per_second():
    found = result(ours=[0.4, 0.2], peak=[1.0, 1.0])
    assert found.share().median == pytest.approx((0.25 + 0.5) / 2)
    assert peak_rate([found]) == GEMM
    assert peak_rate([]) is None
    assert result(ours=[1.0]).share() is None


def test_operations_of_a_step():
    """LeNet-5 by hand: C1 117,600, C3 240,000, C5 48,000, F6 10,080, OUT 840 multiply-accumulates an image."""
    network = ours.NETWORKS["lenet5_relu"](background=0.0)
    assert network.cost(ours.SHAPE).macs == 416_520
    assert ours.step_flops(network, ours.SHAPE, 1) == 2 * (3 * 416_520 - 117_600) == 2 * 1_131_960
    assert ours.step_flops(network, ours.SHAPE, 64) == 64 * 2 * 1_131_960
    mlp = ours.NETWORKS["nielsen_mlp"](background=0.0)
    assert ours.step_flops(mlp, ours.SHAPE, 1) == 2 * (2 * 784 * 30 + 3 * 30 * 10)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("step/lenet5_tanh/1", {"eager": 4.5, "compile": 1.8, "jax": 1.7}),
        ("step/lenet5_relu/32", {"eager": 3.4, "compile": 1.8, "share": 0.3}),
        ("step/lenet5_relu/64", {"eager": 2.7, "compile": 1.8}),
        ("step/lenet5_relu/256", {"eager": 2.9, "compile": 1.5}),
        ("predict/lenet5_tanh/256", {"eager": 2.2, "compile": 1.3}),
        ("epoch/lenet5_relu/64", {"eager": 2.7, "compile": 1.5, "memory": 500}),
        ("step/zhou/10", {"eager": 3.0, "compile": 2.0}),
        ("step/nielsen_mlp/32", {"eager": 3.0, "compile": 2.0}),
        ("step/keras_convnet/128", {"eager": 1.0, "compile": 0.8}),
        ("step/zhou/64", {}),
        ("race/lenet5_relu/32", {"eager": 2.5, "seconds": 30}),
        ("sweep/first_look/32", {"eager": 2.2}),
        ("run/lenet5_modern/32", {"beyond": 0.15}),
    ],
)
def test_targets(name, wanted):
    (case,) = chosen(name)
    found = {quantity: target(case, quantity) for quantity in QUANTITIES}
    assert {quantity: value for quantity, value in found.items() if value is not None} == wanted


def test_a_target_is_met_or_missed_at_one_thread():
    seconds = {"ours": [1.0], "eager": [3.5], "compile": [1.7]}
    assert [result(**seconds).met(name) for name in ("eager", "compile", "share")] == [True, False, None]
    assert missed([result(**seconds)]) == ["step/lenet5_relu/32: compile 1.7, target 1.8"]
    assert result(threads=2, **seconds).met("eager") is None
    (epoch,) = chosen("epoch/lenet5_relu/*")
    assert Result(epoch, memory={"ours": 400 * 10**6}).met("memory")
    assert Result(epoch, memory={"ours": 501 * 10**6}).met("memory") is False


def test_the_table_shows_what_there_is():
    whole = result(ours=[1e-3], eager=[4e-3], compile=[1e-3], peak=[5e-3])
    alone = result(Case("step", "zhou", 8), ours=[2.0])
    lines = table([whole, alone]).splitlines()
    assert lines[2].split("  ")[0] == "step/lenet5_relu"
    assert all(text in lines[2] for text in ("4.00 [4.00-4.00]", "3.4 met", "1.8 missed", "50.0%", "0.3 met"))
    assert lines[3].split() == ["step/zhou", "8", "2,000", *"-------"]
    assert "targets met: 2 of 3, missed:" in summary([whole, alone])
    assert is_one_line(progress(whole)) and "eager/ours 4.00" in progress(whole)
    assert progress(Result(STEP, failed={"ours": "why"})) == "step/lenet5_relu/32: not measured"


def test_an_epoch_tells_memory_and_accuracy():
    (case,) = chosen("epoch/lenet5_tanh/*")
    epoch = Result(case, memory={"ours": 2 * 10**8, "eager": 6 * 10**8}, found={"ours": [0.97, 0.99]})
    assert (
        "peak MB ours 200, eager 600 (target of ours: 500 met); test accuracy ours 98.00% (97.00% to 99.00%)"
        in summary([epoch])
    )


def test_a_race_counts_when_it_reaches_its_goal():
    (case,) = chosen("race/*")
    race = Result(case, seconds={"ours": [20.0, 21.0, 22.0], "eager": [60.0, 61.0, 62.0]})
    race.found = {"ours": [0.991, 0.98, 0.99], "eager": [0.98, 0.98, 0.99]}
    race.memory = {"ours": 10**8}
    assert (race.to_goal("ours"), race.to_goal("eager")) == (22.0, math.inf)
    assert race.met("seconds") and race.met("eager")
    assert "median seconds to 99%: ours 22.0, eager inf (30 met)" in summary([race])
    race.found["ours"] = [0.989] * 3
    assert race.met("seconds") is False and "race/lenet5_relu/32: seconds inf, target 30" in missed([race])
    assert result(ours=[1.0]).to_goal("ours") is None


def test_a_sweep_tells_processor_time_and_errors():
    (case,) = chosen("sweep/*")
    sweep = Result(case, seconds={"ours": [50.0, 60.0], "eager": [150.0, 120.0]})
    sweep.processor, sweep.found = {"ours": [80.0], "eager": [320.0]}, {"ours": [0.95], "eager": [0.94, 0.96]}
    assert sweep.met("eager")
    assert (
        "sweep/first_look/32: processor s ours 80.0, eager 320.0, eager/ours 4.00 [4.00-4.00]; "
        "mean validation error ours 5.00%, eager 5.00%" in summary([sweep])
    )


def test_a_run_tells_what_is_not_training():
    (case,) = chosen("run/*")
    run = Result(case, seconds={"ours": [10.0, 20.0, 30.0]}, found={"ours": [9.0, 16.0, 29.0]})
    assert run.beyond() == pytest.approx(0.1) and run.met("beyond")
    assert "run/lenet5_modern/32: training 16.0 s, beyond it 10.0% of the time (0.15 met)" in summary([run])
    assert result(ours=[1.0]).beyond() is None


def test_processor_time_is_of_all_that_a_command_starts():
    """Even of a process whose parent has not waited for it."""
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    orphan = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {busy!r}])"
    before = os.times()
    subprocess.run([sys.executable, str(PROGRAM / "whole.py"), sys.executable, "-c", orphan], check=True)
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system > 0.3


def test_a_sweep_that_fails_says_why():
    with pytest.raises(ValueError, match="exits with 3: no such sweep"):
        mean(("-c", "print('no such sweep'); raise SystemExit(3)"), "val/accuracy", 1)


def test_growth_is_an_exponent():
    """Twice the time for twice the images, whatever a first image costs; and four times for the square."""
    sizes = (5_000, 1), (15_000, 1), (5_000, 4)
    line = {size: [3e-5 * math.prod(size), 1.0, 0.0] for size in sizes}
    assert exponent(line) == pytest.approx(1)
    assert exponent({size: [math.prod(size) ** 2] for size in sizes}) == pytest.approx(2)
    rows = growth_table(line).splitlines()
    assert rows[3].split() == ["15,000", "1", "0.45", "30.0"]
    assert rows[-1] == "seconds grow as (images x epochs)^1.000"


def test_json_holds_every_round():
    found = json.loads(json.dumps(as_dict(result(ours=[1.0, 2.0], eager=[4.0, 8.0], peak=[1.0, 1.0]))))
    assert found["seconds"] == {"ours": [1, 2], "eager": [4, 8], "peak": [1, 1]}
    assert found["ratios"] == {"eager": {"low": 4, "median": 4, "high": 4}}
    assert found["targets"]["eager"] == {"wanted": 3.4, "met": True}
    assert (found["kind"], found["network"], found["batch"], found["parameters"]) == (*STEP, 61_706)


def test_a_result_is_read_as_it_was_written():
    written = result(ours=[1.0, 2.0], eager=[4.0, 8.0])
    assert from_dict(json.loads(json.dumps(as_dict(written)))) == written


def measured(case, **changes):
    """A result of one round in which all sides did a case's work, PyTorch in three times our time."""
    seconds = {side: [3.0 if side in PEERS else 1.0] for side in KINDS[case.kind].sides}
    found = {side: [0.992] for side in seconds} if case.kind != "step" else {}
    return Result(case, 1, 1, seconds=seconds, processor=seconds, found=found, **changes)


def test_the_notebook_has_what_was_measured(tmp_path, capsys):
    """And keeps what was not, or not to its end."""
    page, report = tmp_path / "README.md", tmp_path / "bench.json"
    before = (PROGRAM / "README.md").read_text("utf-8")
    page.write_text(before, "utf-8")
    cut = measured(chosen("race/*")[0])
    cut.rounds = 10
    results = [measured(case) for case in CASES if case.kind != "race"] + [cut]
    speed = [as_dict(each) for each in results]
    report.write_text(json.dumps({"machine": machine(), "threads": 1, "rehearsal": False, "speed": speed}), "utf-8")
    notebook.main(report, tmp_path)
    after = page.read_text("utf-8")
    part = {name: after.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0] for name in notebook.PARTS}
    assert all(case.name in part["cases"] for case in CASES if KINDS[case.kind].sides[-1] in ("compile", "peak"))
    assert "| PyTorch / ours" in part["cases"] and "3.00 to 3.00" in part["cases"] and "GFLOP/s" in part["cases"]
    assert re.search(r"\| 1.0 +\| 1.0 +\| 0.8% +\| 0.15 met ", part["run"])
    assert "3.00 [3.00-3.00] (2.2 met)" in part["sweep"]
    assert part["race"] in before
    assert capsys.readouterr().out == "race: left as it is, since 0 of its 1 cases have all their rounds\n"
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_the_figure_shows_the_ratios():
    (epoch,) = chosen("epoch/lenet5_tanh/*")
    drawn = panels([result(ours=[1.0], eager=[4.0], compile=[0.5]), result(epoch, ours=[1.0], eager=[2.0])])
    assert drawn["lenet5_relu, training step"] == [Pace("batch 32", {"eager": (4, 4, 4), "compile": (0.5, 0.5, 0.5)})]
    figure = speed(drawn, "title $")
    widths = [[bar.get_width() for bar in axes.patches[1:]] for axes in figure.axes]
    assert widths == [[4, 0.5], [2]]  # after the shaded part
    assert [text.get_text() for text in figure.axes[0].texts] == ["4.0×", "0.5×"]
    assert figure.axes[1].get_yticklabels()[0].get_text() == "epoch\nlenet5_tanh"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cnnlab (= 1)", *PEERS.values()]


def test_a_figure_of_nothing_says_so():
    figure = speed(panels([result(ours=[1.0])]), "title")
    assert figure.axes[0].texts[0].get_text() == "nothing to compare with"


def test_networks_have_one_list_of_names():
    assert set(ours.NETWORKS) == set(NETWORKS) == {case.network for case in CASES if case.kind not in ("sweep", "run")}
    assert len({case.name for case in CASES}) == len(CASES)


def test_an_epoch_is_rehearsed_with_all_its_shapes():
    assert rehearsed(60_000, 64) == 64 + 64 + 32
    assert rehearsed(60_000, 100) == 100 + 100


@pytest.mark.parametrize("network", NETWORKS)
def test_the_profile_names_every_layer(network):
    lines = profile(network, 2, seconds=0).splitlines()
    parts = [line.split()[0] for line in lines[4:]]
    assert parts == [*ours.NETWORKS[network](background=0.0).layers, "loss", "optimiser", "rest", "step"]
    assert all(line.endswith("%") for line in lines[4:])
    assert lines[-1].endswith("100.0%")
    shares = [float(line.split()[-1].removesuffix("%")) for line in lines[4:]]
    assert sum(shares[:-1]) == pytest.approx(100, abs=0.05 * len(shares))


def test_a_profile_adds_up_where_each_step_is_held_up_in_another_part():
    parts = ("C1", "C3", "loss")
    steps = [{(part, "forward"): 1e-3 + 9e-3 * (part == slow) for part in parts} for slow in parts]
    clocks = [step | {profiling.WHOLE: sum(step.values()) + 1e-3} for step in steps]
    table = profiling._profile_table(dict.fromkeys(parts, "Layer"), clocks).splitlines()[2:]
    assert [line.split()[-1] for line in table] == ["30.8%", "30.8%", "30.8%", "7.7%", "100.0%"]


def test_clocks_change_no_number_and_no_order():
    plain = ours.recipe(STEP, 0.1)
    clock = {}
    clocked = instrumented(plain, clock)
    x, (params, _) = np.ones((*ours.SHAPE, 2), np.float32), plain.network.init(ours.SHAPE, np.random.default_rng(0))
    y, backward = plain.network.forward(params, x)
    z, backward_too = clocked.network.forward(params, x)
    np.testing.assert_array_equal(y, z)
    np.testing.assert_array_equal(backward(y)[1]["C1"]["W"], backward_too(z)[1]["C1"]["W"])
    assert [name for name, _ in clocked.network._steps] == [name for name, _ in plain.network._steps]
    in_place = [[layer.forgets_output for layer in how.network.layers.values()] for how in (plain, clocked)]
    assert in_place[0] == in_place[1]
    assert set(clock) == {(name, way) for name in plain.network.layers for way in ("forward", "backward")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--only lenet5", "--only: no case is called lenet5"),
        ("--rounds 0", "--rounds: '0' is not a positive whole number"),
        ("--threads two", "--threads: 'two' is not"),
        ("--out no/such/folder/bench.json", "--out: 'no/such/folder/bench.json' is not a file"),
        ("--figure .", "--figure: '.' is not a file"),
        ("--profile --network alexnet", "lenet5_relu"),
        ("--profile --batch 1.5", "--batch: '1.5' is not"),
        ("--profile --rounds 3", "--rounds: does not go with --profile"),
        ("--batch 8", "--batch: does not go without --profile"),
        ("--growth --out x.json", "--out: does not go with --growth"),
        ("--growth --network zhou", "--network: does not go with --growth"),
        ("--growth --rehearsal", "--rehearsal: does not go with --growth"),
        ("--growth --profile", "--growth: does not go with --profile"),
        ("--quick", "--quick"),
    ],
)
def test_bad_options_are_answered_in_one_line(words, said, capsys):
    with pytest.raises(SystemExit) as exit:
        bench.parsed(words.split())
    message = capsys.readouterr().err
    assert exit.value.code == 2
    assert is_one_line(message) and said in message


def test_patterns_choose_cases_in_their_order():
    options = bench.parsed(["--only", "epoch/*", "step/zhou/1"])
    assert [case.name for case in options.cases] == ["step/zhou/1", "epoch/lenet5_tanh/64", "epoch/lenet5_relu/64"]
    assert bench.parsed([]).cases == [case for case in CASES if case.kind not in ("race", "sweep", "run")]
    assert bench.parsed(["--only", "*"]).cases == list(CASES)


def test_cnnlab_alone_is_measured_into_a_file(tmp_path, monkeypatch, capsys):
    for name in bench.THREADS:
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(bench, "find_spec", lambda name: None if name in bench.LIBRARIES else util.find_spec(name))
    out, figure = tmp_path / "bench.json", tmp_path / "speed.png"
    words = ["--only", "step/nielsen_mlp/1", "--rounds", "2", "--out", str(out), "--figure", str(figure)]
    assert bench.main(bench.parsed(words)) == 0
    report, said = json.loads(out.read_text()), capsys.readouterr().out
    (case,) = report["speed"]
    assert {side: len(rounds) for side, rounds in case["seconds"].items()} == {"ours": 2, "peak": 2}
    assert case["parameters"] == 784 * 30 + 30 + 30 * 10 + 10
    assert report["machine"]["versions"]["numpy"] == np.__version__
    assert said.count("PyTorch, JAX (`make bench` installs them)") == 1
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_rehearsal_is_no_measurement(tmp_path, monkeypatch):
    for name in bench.THREADS:
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(bench, "FACTORIES", {"ours": "tests.test_bench:short_and_long"})
    out = tmp_path / "bench.json"
    assert bench.main(bench.parsed(["--only", "race/*", "--rehearsal", "--out", str(out)])) == 0
    (case,) = json.loads(out.read_text())["speed"]
    assert case["found"] == {"ours": [0.1]}
    with pytest.raises(SystemExit, match="of a rehearsal"):
        notebook.main(out, tmp_path)


def test_a_benchmark_that_is_cut_keeps_what_it_has(tmp_path, monkeypatch, capsys):
    """The rounds of a case that was not finished are kept as well."""
    for name in bench.THREADS:
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(bench, "FACTORIES", ALONE)
    asked = []

    def cut(crew, side, name, *arguments):
        asked.append(name)
        if asked.count("turn") == 8:  # in the middle of the second case's second round
            raise KeyboardInterrupt
        return ask(crew, side, name, *arguments)

    ask = bench.Crew.ask
    monkeypatch.setattr(bench.Crew, "ask", cut)
    out = tmp_path / "bench.json"
    words = ["--only", "step/nielsen_mlp/1", "step/nielsen_mlp/8", "--rounds", "2", "--out", str(out)]
    with pytest.raises(SystemExit, match=f"interrupted: what was measured is in {out}"):
        bench.main(bench.parsed(words))
    found = [from_dict(each) for each in json.loads(out.read_text())["speed"]]
    assert [(each.case.batch, len(each.seconds["ours"]), each.whole) for each in found] == [(1, 2, True), (8, 1, False)]


def test_a_side_that_fails_costs_its_own_column():
    said = []
    sides = {"ours": ALONE["ours"], "eager": "no_such_module:work", "compile": "tests.test_bench:die"}
    found = list(compare(chosen("step/zhou/1") + chosen("step/zhou/8"), 1, 1, sides, said.append))
    assert [list(result.seconds) for result in found] == [["ours"], ["ours"]]
    assert len(said) == 2 and all(map(is_one_line, said))
    assert "step/zhou/1: eager: ModuleNotFoundError: No module named 'no_such_module'" in said
    assert "step/zhou/1: compile: the process ended with exit code 7" in said


def test_missing_images_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path))
    said = []
    found = list(compare(chosen("epoch/*"), 1, 1, FACTORIES, said.append))
    assert [(result.seconds, list(result.failed)) for result in found] == 2 * [({}, ["ours"])]
    assert len(said) == 1 and said[0].endswith("run `make data ARGS=mnist`")


def test_ctrl_c_ends_all_processes(tmp_path):
    command = [sys.executable, str(PROGRAM / "bench.py"), "--only", "step/keras_convnet/256"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "bench.json")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=listen,
    )  # fmt: skip
    assert process.stdout.readline()
    time.sleep(1)  # wherever it is by then
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)  # ends when the last process has closed its end
    assert (process.returncode, errors) == (1, "interrupted: nothing was written\n")
    assert not list(tmp_path.iterdir())


def test_the_machine_is_described():
    facts = machine()
    assert facts["cpu"] and facts["versions"]["numpy"] in described(facts)


@pytest.mark.parametrize(("library", "peers"), [("torch", {"peer.py", "peer_sweep.py"}), ("jax", {"peer_jax.py"})])
def test_only_the_peers_import_their_library(library, peers):
    texts = {path.name: path.read_text("utf-8") for path in PROGRAM.glob("*.py")}
    assert {name for name, text in texts.items() if re.search(rf"^\s*(from|import) {library}", text, re.M)} == peers
    assert not [path for path in MODULES if library in tops(path)]


def test_the_number_of_threads_can_be_set_before_numpy_is_there():
    program = "import sys, bench; print(*sorted({'numpy', 'torch', 'jax'} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", program], cwd=PROGRAM, capture_output=True, text=True)
    assert (run.returncode, run.stdout.split(), run.stderr) == (0, [], "")
