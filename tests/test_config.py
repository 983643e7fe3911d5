"""From the words of a command line to a plan, and what is said of words that make none."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import yaml
from tests.conftest import CONF, HEAVY, ROOT, Home, Said, arms_of, end, is_one_line, plan_of

from cnnlab.config import GROUPS, NUMBERS, Plan, _located, fingerprint, plan, rate_key
from cnnlab.spelling import explain, groups

RATES = {"default": {"sgd": 0.1, "momentum": 0.02, "nesterov": 0.02, "adam": 0.001}, "chosen": {}}
SWEEPS = sorted(path.stem for path in (CONF / "sweep").glob("*.yaml"))
NOT_OF_A_RUN = {"study", "rerun", "folder"}


@pytest.fixture(scope="module")
def default() -> Plan:
    return plan_of()


MISSPELT = {
    "activaton=relu": "activation",
    "poling=max": "pooling",
    "epoch=3": "epochs",
    "lrr=0.1": "lr",
    "batchsize=8": "batch_size",
    "swep=smoke": "sweep",
    "activation=rleu": "relu",
    "loss=crossentropy": "cross_entropy",
    "pooling=maxx": "max",
    "padding=sme": "same",
    "model=lenet": "lenet5",
    "init=glorott": "glorot",
    "optimizer=adm": "adam",
    "schedule=cosin": "cosine",
    "data=mnist5": "mnist5k",
    "experiment=zhu": "zhou",
    "sweep=activations": "activation",
    "activation=relu,tahn": "tanh",
    "optimizer.momentun=0.8": "momentum",
    "model.conections=full": "connections",
    "data.trian=300": "train",
}


@pytest.mark.parametrize(("argument", "meant"), MISSPELT.items())
def test_misspelt_words_get_a_guess_and_the_choices(argument: str, meant: str) -> None:
    message = explain(["-m", argument], CONF)
    assert message is not None and is_one_line(message)
    assert f"did you mean {meant}?" in message
    assert "choose from " in message and meant in message.split("choose from ")[1]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("zzz=1", "there is no option zzz: choose from activation,"),
        ("activation=zzz", "activation=zzz: there is no such choice: choose from gelu, identity,"),
        ("activation=null", "activation=null: there is no such choice"),
        ("data=", "data=: there is no such choice"),
        ("+foo=1", "+foo: every option is there already"),
        ("sweep=smoke,loss", "sweep=smoke,loss: one at a time"),
        ("experiment=zhou,lenet5_modern", "one at a time"),
        ("lr=abc", "lr=abc: needs a number or null"),
        ("seed=1.5", "seed=1.5: needs a whole number"),
        ("seed=0,1,x", "seed=x: needs a whole number"),
        ("seed=null", "seed=null: needs a whole number"),
        ("epochs=true", "epochs=true: needs a whole number"),
        ("rerun=maybe", "rerun=maybe: needs true or false"),
        ("lr=@x", "lr=@x: needs a number or null"),
        ("seed=%1", "seed=%1: needs a whole number"),
        ("study=", "study=: needs a word"),
    ],
)
def test_wrong_words_get_one_line(argument: str, said: str) -> None:
    message = explain([argument], CONF)
    assert message is not None and is_one_line(message)
    assert message.startswith(said) or said in message


def test_the_second_of_two_sweeps_does_not_win_in_silence() -> None:
    message = explain(["sweep=smoke", "sweep=loss"], CONF)
    assert message is not None and is_one_line(message) and "one at a time" in message


@pytest.mark.parametrize(
    "arguments",
    [
        ["activation=relu", "activation=tanh,relu", "lr=null", "lr=0.1,0.3", "lr=1", "seed=0,1,2"],
        ["lr=1e-3", "lr=.5", "lr=5e-2,1E-1"],
        ["optimizer.momentum=0.5", "data.train=300", "model.connections=table1", "study=mine", "rerun=true"],
        ["study=1998", "study=2024-05-01", "study=no"],
        ["hydra.launcher.n_jobs=1", "-m", "--cfg", "job", "--config-dir=x", "seed=range(0,3)"],
    ],
)
def test_right_words_get_none(arguments: list[str]) -> None:
    assert explain(["-m", *arguments], CONF) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.momentum=abc"], "optimizer.momentum=abc: needs a number"),
        (["data.train=1.5"], "data.train=1.5: needs a whole number or null"),
        (["data.normalization=3"], "data.normalization=3: needs "),
        (["optimizer.nesterov=1", "optimizer=nesterov"], "optimizer.nesterov=1: needs true or false"),
        (["model=mlp", "model.hidden=[a]"], "model.hidden="),
        (["pooling.size=two"], "pooling.size=two: needs "),
        (["seed=-1"], "seed=-1: choose a whole number from 0 up"),
        (["epochs=0"], "epochs=0: choose a whole number from 1 up"),
        (["batch_size=0"], "batch_size=0: choose a whole number from 1 up"),
        (["threads=0"], "threads=0: choose a whole number from 1 up"),
        (["confusion_every=-1"], "confusion_every=-1: choose a whole number from 0 up"),
        (["lr=0.0"], "lr=0.0: choose a number above 0"),
        (["lr=-0.1"], "lr=-0.1: choose a number above 0"),
        (["lr=nan"], "lr=nan: choose a number above 0"),
        (["lr=inf"], "lr=inf: choose a number"),
    ],
)
def test_values_that_cannot_be_make_no_plan(words: list[str], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        plan_of(*words)
    assert is_one_line(str(caught.value)) and said in str(caught.value)


def test_an_option_that_its_target_does_not_take(default: Plan) -> None:
    config = default.config | {"optimizer": {"_target_": "cnnlab.nn.SGD", "speed": 1}}
    with pytest.raises(ValueError, match=r"^optimizer\.speed: cnnlab\.nn\.SGD takes weight_decay, .*momentum"):
        plan(config, default.words, RATES)
    for target in ("cnnlab.nn.Nothing", "nowhere.Something", "word"):
        with pytest.raises(ValueError, match=f"^_target_={target}: there is no such class or function$"):
            plan(default.config | {"optimizer": {"_target_": target}}, default.words, RATES)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["activaton=relu"], ["activaton", "did you mean activation?", "padding"]),
        (["lr=abc"], ["lr=abc", "a number or null"]),
        (["optimizer.momentum=abc"], ["optimizer.momentum=abc", "a number"]),
        (["sweep=smoke,loss"], ["sweep=smoke,loss", "one at a time"]),
        (["sweep=null"], ["sweep=null"]),
        (["pooling.mix=0.3"], ["pooling", "mix", "size"]),  # an option that another choice has
        (["activation=relu,tanh"], ["activation=relu,tanh", "-m"]),
        (["epochs"], ["epochs", "="]),
        (["data=mnist"], ["train-images-idx3-ubyte", "make data"]),
        (["loss=lenet5_map", "model=zhou"], ["loss=lenet5_map", "model=zhou", "84"]),
        (["sweep=smoke", "pooling.size=99", "lr=-1"], ["lr=-1"]),
    ],
)
def test_a_command_that_cannot_be_is_answered_in_one_line(words: list[str], named: list[str], fresh_home: Home) -> None:
    said = fresh_home.train(*words, CNNLAB_DATA=str(fresh_home.folder))
    assert (said.code, said.out) == (1, "")
    assert is_one_line(said.err), said.err
    assert [word for word in named if word not in said.err] == []


@pytest.mark.parametrize(
    "words", [["--help"], ["--cfg", "job"], ["sweep=smoke", "--cfg", "job"], ["-sc", "install=bash"]]
)
def test_questions_are_answered_without_heavy_imports(words: list[str], fresh_home: Home) -> None:
    said = fresh_home.train(*words, PYTHONPROFILEIMPORTTIME="1")
    assert said.code == 0 and said.out
    imported = {line.split("|")[-1].strip().partition(".")[0] for line in said.err.splitlines()}
    assert "hydra" in imported
    assert not imported & (HEAVY | {"joblib", "sqlalchemy", "tqdm"})


def test_tab_completion_knows_the_choices(fresh_home: Home) -> None:
    said = completed("python experiments/train.py pooling=s", fresh_home)
    assert (said.code, said.out.split()) == (0, ["pooling=stochastic", "pooling=subsample"]), said.err


def completed(line: str, home: Home) -> Said:
    variables = {"COMP_LINE": line, "COMP_CWORD": str(len(line.split()) - 1)}
    return end(home.start("-sc", "query=bash", **variables))


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, dict) and node:
        for name, item in node.items():
            yield from leaves(item, (*path, name))
    else:
        yield path, node


def test_the_fingerprint_hangs_on_all_that_can_change_a_result(default: Plan) -> None:
    known = {default.fingerprint}
    changeable = list(leaves(default.config))
    assert len(changeable) > 30
    for path, value in changeable:
        config = deepcopy(default.config)
        node = config
        for name in path[:-1]:
            node = node[name]
        node[path[-1]] = not value if isinstance(value, bool) else f"{value} or another"
        if path[-1] in NOT_OF_A_RUN:
            assert fingerprint(config) == default.fingerprint
        else:
            assert fingerprint(config) not in known, path
            known.add(fingerprint(config))


def test_the_fingerprint_hangs_on_nothing_else(default: Plan) -> None:
    turned = dict(reversed(default.config.items()))
    assert fingerprint(turned) == default.fingerprint
    assert fingerprint(default.config | {"data": default.config["data"] | {"folder": "x"}}) == default.fingerprint
    assert plan_of("study=other", "rerun=true").fingerprint == default.fingerprint
    assert plan_of("optimizer.momentum=0").fingerprint == plan_of("optimizer.momentum=0.0").fingerprint
    assert plan_of("activation=relu", f"lr={default.config['lr']}").fingerprint == default.fingerprint
    assert plan_of("seed=1").fingerprint != default.fingerprint


def test_words_are_what_was_chosen() -> None:
    words = plan_of("activation=tanh", "optimizer=adam", "seed=3", "lr=0.5", "epochs=2", "batch_size=8").words
    assert words == {
        **{"activation": "tanh", "loss": "cross_entropy", "pooling": "max", "padding": "same"},
        **{"model": "lenet5", "init": "glorot", "optimizer": "adam", "data": "mnist5k"},
        **{"seed": "3", "epochs": "2", "batch_size": "8", "lr": "0.5"},
    }
    assert set(words) == {*GROUPS, *NUMBERS}


def test_details_beyond_the_words_tell_arms_apart() -> None:
    made = plan_of("study=mine", "optimizer.momentum=0.5", "schedule=constant", "lr=0.2")
    assert (made.words["optimizer.momentum"], made.words["schedule"]) == ("0.5", "constant")
    assert made.label.endswith("mnist5k optimizer.momentum=0.5 schedule=constant lr=0.2 seed=0")
    assert "study" not in made.words


def test_what_a_network_does_not_use_is_not_its_identity() -> None:
    assert plan_of("model=mlp", "pooling=avg").fingerprint == plan_of("model=mlp", "pooling=max").fingerprint


def test_a_network_without_pooling_has_none() -> None:
    made = plan_of("model=mlp")
    assert [made.words[word] for word in ("pooling", "padding", "activation")] == ["none", "none", "relu"]
    assert made.label == "relu cross_entropy mlp glorot momentum mnist5k seed=0"


@pytest.mark.parametrize(
    ("lr", "chosen", "expected"),
    [
        (None, 0.3, (0.3, "chosen for these words on validation images, see conf/rates.yaml")),
        (None, None, (0.02, "default of the optimizer")),
        (0.7, 0.3, (0.7, "given")),
    ],
)
def test_the_learning_rate(lr: float | None, chosen: float | None, expected: Any, default: Plan) -> None:
    table = {} if chosen is None else {rate_key(default.words): chosen}
    made = plan(default.config | {"lr": lr}, default.words, RATES | {"chosen": table})
    assert (made.config["lr"], made.lr_source) == expected
    assert made.words["lr"] == str(expected[0])


def test_an_optimizer_without_a_rate_asks_for_one(default: Plan) -> None:
    with pytest.raises(ValueError, match=r"^optimizer=momentum: conf/rates.yaml has no default rate .* lr=$"):
        plan(default.config | {"lr": None}, default.words, {"chosen": {}, "default": {}})


@pytest.mark.parametrize("group", [*GROUPS, "schedule"])
def test_every_choice_says_what_it_builds(group: str) -> None:
    for choice in groups(CONF)[group]:
        content = yaml.safe_load((CONF / group / f"{choice}.yaml").read_text())
        targets = [value for path, value in leaves(content) if path[-1] == "_target_"]
        assert targets or group == "padding", choice
        assert all(callable(_located(target)) for target in targets), choice


@pytest.fixture
def arms(once: Callable[..., Any]) -> Callable[[str], list[dict[str, str]]]:
    """What there is to know of a sweep's arms; composing them takes a tenth of a second each."""

    def told(plan: Plan) -> dict[str, str]:
        facts = {"study": plan.study, "fingerprint": plan.fingerprint, "words": f"{plan.label} {plan.words['lr']}"}
        return facts | {"source": plan.lr_source, "key": rate_key(plan.words)}

    return lambda sweep: once(f"arms of {sweep}", lambda: [told(plan) for plan in arms_of(sweep)])


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_sweep_composes(sweep: str, arms: Callable[..., Any]) -> None:
    found = arms(sweep)
    assert {arm["study"] for arm in found} == {sweep}
    assert len({arm["fingerprint"] for arm in found}) == len({arm["words"] for arm in found}) == len(found) > 1
    assert sweep != "classic_to_modern" or len(found) == 24


def test_every_arm_has_a_rate_chosen_for_it(arms: Callable[..., Any]) -> None:
    """A shared rate would decide the result of a sweep."""
    needed = [arm for sweep in SWEEPS if sweep not in ("smoke", "learning_rate") for arm in arms(sweep)]
    missing = sorted({arm["key"] for arm in needed if not arm["source"].startswith("chosen for")})
    said = f"conf/rates.yaml has no rate for {len(missing)} arms: run `python experiments/tune.py`"
    assert not missing, "\n".join([said, *missing])


def test_any_folder_will_do(fresh_home: Home, tmp_path: Any) -> None:
    """The configs are found from wherever the command is called."""
    command = [sys.executable, str(ROOT / "experiments/train.py"), "-m", "data=digits", "model=mlp", "epochs=1"]
    (elsewhere := tmp_path / "elsewhere").mkdir()
    done = subprocess.run(command, cwd=elsewhere, env=os.environ | fresh_home.places, capture_output=True, text=True)
    assert done.returncode == 0 and "1 arm to do" in done.stdout
    assert not list(elsewhere.iterdir())
