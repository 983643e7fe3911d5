"""From the words of a command line to a plan, and what is said of words that make none."""

import shlex
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import CONF, arms_of, is_one_line, plan_of

from cnnlab.composing import Plan, plans
from cnnlab.config import GROUPS, NUMBERS, fingerprint, targets, typed, without_off
from cnnlab.data import Images
from cnnlab.rates import TUNED
from cnnlab.spelling import Grammar, as_text, check_words

GRAMMAR = Grammar((CONF,))
FULL = [sweep for sweep in GRAMMAR.groups["sweep"] if "mnist\n" in GRAMMAR.text("sweep", sweep)]  # on all images
SWEEPS = [sweep for sweep in GRAMMAR.groups["sweep"] if sweep not in ("lenet_family", *FULL)]


@pytest.fixture(scope="module")
def default() -> Plan:
    return plan_of()


def refusal(*words: str) -> str:
    """Why words make no plan, in one line."""
    with pytest.raises(ValueError) as caught:
        plan_of(*words)
    assert is_one_line(str(caught.value))
    return str(caught.value)


def explain(*words: str, several: bool = False) -> str:
    """What is said of the words of a command line, in one line."""
    with pytest.raises(ValueError) as caught:
        check_words(words, [CONF], several)
    assert is_one_line(str(caught.value))
    return str(caught.value)


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
    "loss.criterion.jj=3": "criterion.j",
    "ACTIVATION=relu": "activation",
    "relu": "activation=relu",
    "activation=choice(rleu,tanh)": "relu",
}


@pytest.mark.parametrize(("argument", "meant"), MISSPELT.items())
def test_misspelt_words_get_a_guess_and_the_choices(argument: str, meant: str) -> None:
    before = ["loss=lenet5_map"] * argument.startswith("loss.")
    message = explain(*before, argument, several=True)
    assert f"did you mean {meant}?" in message
    assert "choose from " in message and meant.partition("=")[0] in message.split("choose from ")[1]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("zzz=1", "there is no option zzz: choose from activation,"),
        ("activation=zzz", "activation=zzz: there is no such choice: choose from gelu,"),
        ("activation=null", "activation=null: there is no such choice"),
        ("data=", "data=: there is no such choice"),
        ("+foo=1", "+foo=1: every option is there already"),
        ("sweep=smoke,loss", "sweep=smoke,loss: one at a time"),
        ("experiment=zhou,lenet5_modern", "one at a time"),
        ("lr=abc", "lr=abc: choose a number above 0 or null"),
        ("seed=1.5", "seed=1.5: choose a whole number from 0 up"),
        ("seed=0,1,x", "seed=x: choose a whole number"),
        ("seed=null", "seed=null: choose a whole number"),
        ("epochs=true", "epochs=true: choose a whole number"),
        ("rerun=maybe", "rerun=maybe: choose from false, true, changed"),
        ("lr=@x", "lr=@x: choose a number above 0 or null"),
        ("seed=%1", "seed=%1: choose a whole number"),
        ("study=", "study=: choose a name of letters"),
        ("tags=x", "tags=x: choose tags.NAME=TEXT, and for NAME names of letters"),
        ("tags.a", "tags.a: choose tags.NAME=TEXT"),
        ("tags.=x", "tags.=x: choose tags.NAME=TEXT"),
        ("tags.1st=x", "tags.1st=x: choose tags.NAME=TEXT"),
        ("tags.mlflow.user=x", "tags.mlflow.user=x: choose tags.NAME=TEXT"),
        ("tags.machine=x", "none of blas, diverged, machine, python"),
        ("description=", "description=: choose some text, at most 5000 letters"),
        ("study=null", "study=null: choose a name of letters"),
        ("lr=", "lr=: choose a number above 0 or null"),
        ("lr=[0.1]", "lr=[0.1]: choose a number above 0 or null"),
        ("seed={a:1}", "seed={a:1}: choose a whole number"),
        ("lr=interval(0.01,0.1)", "lr=interval(0.01,0.1): choose a number"),
        ("activation=[relu,tanh]", "activation=[relu,tanh]: there is no such choice"),
        ("activation=${oc.env:X}", "activation=${oc.env:X}: there is no such choice"),
        ("~threads", "~threads: every option is there already, and stays"),
        ("activation", "activation: write activation=..."),
        ("", "there is no option ''"),
        ("seed=range(0,3)", "seed=range(0,3): several values make a sweep; put -m before them"),
        ("activation._target_=os.system", "activation=relu has no option _target_"),
        ("learner.lr=0.5", "learner=network has no option lr: write lr=..."),
        ("seed.x=1", "seed has no option x: it has none"),
        ("hydra.run.dir=x", "hydra.run.dir=x: of Hydra's own options, choose from hydra/launcher,"),
        ("+hydra.callbacks.x={_target_:os.getcwd}", "of Hydra's own options, choose from"),
        ("hydra.launcher._target_=os.getcwd", "of Hydra's own options, choose from"),
        ("hydra.launcher.n_jobs=0", "hydra.launcher.n_jobs=0: choose a whole number from 1 up"),
    ],
)
def test_wrong_words_get_one_line(argument: str, said: str) -> None:
    assert said in explain(argument)


@pytest.mark.parametrize(
    ("first", "second"), [("sweep=smoke", "sweep=loss"), ("seed=1", "seed=2"), ("pooling=max", "pooling=max")]
)
def test_an_option_is_said_once(first: str, second: str) -> None:
    for words in ((first, second), (first, "epochs=3", second)):
        assert explain(*words) == f"{second}: {first} is there already; one at a time, please"


@pytest.mark.parametrize(
    "arguments",
    [
        ["activation=tanh,relu", "lr=0.1,0.3", "seed=0,1,2"],
        ["activation=relu", "lr=null"],
        ["lr=1e-3"],
        ["lr=.5"],
        ["lr=5e-2,1E-1,1"],
        ["optimizer.momentum=0.5", "data.train=300", "model.connections=table1", "study=mine", "rerun=true"],
        ["study=1998,2024-05-01,no"],
        ["hydra.launcher.n_jobs=1", "seed=range(0,3)", "hydra/launcher=basic"],
        [
            "loss=lenet5_map",
            "loss.criterion.j=1",
            "loss.output.factor=0.5",
            "learner=boosted",
            "model=knn",
            "model.k=1",
        ],
        ["activation=choice(relu,tanh)", "pooling=glob(m*)", "rerun=changed"],
        [
            "activation='relu',tanh",
            "epochs=${seed}",
            "study=größe,1.10,true",
            "data=idx",
            "data.folder=/a (1)/b",
            "data.name=1e3",
        ],
    ],
)
def test_right_words_get_none(arguments: list[str]) -> None:
    check_words(arguments, [CONF], several=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.momentum=abc"], "optimizer.momentum=abc: choose a number"),
        (["data.train=1.5"], "data.train=1.5: choose a whole number or null"),
        (["data.normalization=3"], "data.normalization=3: choose a word"),
        (["optimizer.nesterov=1", "optimizer=nesterov"], "optimizer.nesterov=1: choose true or false"),
        (["model=mlp", "model.hidden=[a]"], "model.hidden=['a']: choose [a whole number, ...]"),
        (["pooling.size=two"], "pooling.size=two: choose "),
        (["lr=${oc.env:HOME}"], "lr=/"),
        (["seed=-1"], "seed=-1: choose a whole number from 0 up"),
        (["epochs=0"], "epochs=0: choose a whole number from 1 up"),
        (["batch_size=0"], "batch_size=0: choose a whole number from 1 up"),
        (["threads=0"], "threads=0: choose a whole number from 1 to 1024"),
        (["confusion_every=-1"], "confusion_every=-1: choose a whole number from 0 up"),
        (["lr=0.0"], "lr=0.0: choose a number above 0"),
        (["lr=-0.1"], "lr=-0.1: choose a number above 0"),
        (["lr=nan"], "lr=nan: choose a number above 0"),
        (["lr=inf"], "lr=inf: choose a number"),
        (["threads=100000000"], "threads=100000000: choose a whole number from 1 to 1024"),
        (["seed=${lr}"], "seed=None: choose a whole number"),
        (["schedule=steps", "schedule.at=3"], "schedule.at=3: choose [a number from 0"),
        (["loss.output.squash=3"], "loss.output.squash=3: choose Layer or null"),
        (["pooling.size=0"], "pooling.size=0: choose "),
        (["loss=lenet5_map", "loss.criterion.j=0"], "loss.criterion.j=0: choose "),
        (["model=knn", "model.k=0"], "model.k=0: choose "),
        (["model=knn", "learner=boosted"], "learner=boosted: is for networks, and model=knn is none"),
        (["study=../x"], "study=../x: choose a name of letters, digits, "),
        (["study=/abs"], "study=/abs: choose a name"),
        (["study=Default"], "study=Default: choose a name"),
        (["study=it's"], "study=it's: choose a name"),
        (["tags.course="], "tags={'course': ''}: choose names of letters"),
        (["description=" + 5001 * "x"], "choose some text, at most 5000 letters"),
    ],
)
def test_values_that_cannot_be_make_no_plan(words: list[str], said: str) -> None:
    assert said in refusal(*as_text(words))


def test_an_option_that_its_target_does_not_take(default: Plan) -> None:
    config = default.config | {"optimizer": {"_target_": "cnnlab.nn.SGD", "speed": 1}}
    with pytest.raises(ValueError, match=r"^optimizer\.speed: cnnlab\.nn\.SGD takes momentum, .*weight_decay"):
        typed(config)
    for target in ("cnnlab.nn.Nothing", "nowhere.Something", "word"):
        with pytest.raises(ValueError, match=f"^_target_={target}: there is no such class or function$"):
            typed(default.config | {"optimizer": {"_target_": target}})


@pytest.mark.parametrize("name", ["1.10", "2024_01_15", "1e3", "true", "no", "größe", "a/b", "2024-05-01"])
def test_a_study_is_text(name: str) -> None:
    assert plan_of(*as_text([f"study={name}"])).study == name


def test_text_is_quoted_and_nothing_else() -> None:
    words = ["study=1.10,b", "study='x'", "study=${seed}", "data.folder=/a (1)/it's", "data.name=null", "lr=1.10"]
    quoted = [
        "study='1.10','b'",
        "study='x'",
        "study=${seed}",
        r"data.folder='/a (1)/it\'s'",
        "data.name=null",
        "lr=1.10",
    ]
    assert as_text(words) == quoted


@pytest.mark.parametrize(
    "text",
    ["a, b", "1.10", "true", "it's", "$\\alpha$", "a \\' b\\\\", "choice(a)", "'Tis [so] {b: 3} = 100%", "5 > 4; #1"],
)
def test_tags_and_a_description_are_text(default: Plan, text: str) -> None:
    words = [f"tags.course={text}", f"description={text}"]
    check_words(words, [CONF])
    made = plan_of(*as_text(as_text(words)))
    assert (made.config["tags"], made.config["description"]) == ({"course": text}, text)
    assert (made.key, made.words, made.label) == (default.key, default.words, default.label)


def test_an_option_may_name_what_hydra_knows() -> None:
    assert plan_of("tags.job=${hydra:job.name}").config["tags"] == {"job": "train"}


def test_a_folder_of_ones_own_has_choices(tmp_path: Path) -> None:
    (tmp_path / "activation").mkdir()
    (tmp_path / "activation/mine.yaml").write_text("defaults: [tanh]\ngain: 2.0\n")
    folders = [CONF, tmp_path]
    check_words(["activation=mine", "activation.gain=1", "activation.slope=1"], folders)
    check_words(["activation=mine,relu"], folders, several=True)
    with pytest.raises(ValueError, match=r"\(did you mean mine\?\).*lenet_tanh, mine, relu"):
        check_words(["activation=mind"], folders)
    with pytest.raises(ValueError, match=r"^activation=mine has no option gian \(did you mean gain\?\)"):
        check_words(["activation=mine", "activation.gian=1"], folders)


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, dict) and node:
        for name, item in node.items():
            yield from leaves(item, (*path, name))
    else:
        yield path, node


def test_the_fingerprint_hangs_on_all_that_can_change_a_result(default: Plan) -> None:
    asked = {name: default.config[name] for name in ("learner", "data", "seed", "threads")}
    known = {fingerprint(without_off(asked))}
    changeable = list(leaves(asked))
    assert len(changeable) > 30
    for path, value in changeable:
        config = deepcopy(asked)
        node = config
        for name in path[:-1]:
            node = node[name]
        node[path[-1]] = not value if isinstance(value, bool) else f"{value} or another"
        assert fingerprint(without_off(config)) not in known, path
        known.add(fingerprint(without_off(config)))


def test_the_fingerprint_hangs_on_nothing_else(default: Plan) -> None:
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})
    assert plan_of("study=other", "rerun=true").fingerprint == default.fingerprint
    assert plan_of("optimizer.momentum=0").fingerprint == plan_of("optimizer.momentum=0.0").fingerprint
    assert plan_of("activation=relu", f"lr={default.config['lr']}").fingerprint == default.fingerprint
    assert plan_of("seed=1").fingerprint != default.fingerprint
    assert plan_of("model=knn", "epochs=3", "lr=1").fingerprint == plan_of("model=knn", "pooling=avg").fingerprint


def test_an_option_that_is_off_is_no_part_of_the_identity() -> None:
    node = {"seed": 0, "data": {"train": 3, "margin": 0}, "flag": False, "rates": [0.1]}
    later = node | {"option": None, "data": {"train": 3, "margin": 0, "later": "none", "folder": "/x"}}
    assert without_off(later) == node == without_off(node)


def test_the_images_are_part_of_the_identity(default: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    load = plans.load

    def other(node: Any) -> Any:
        data = load(node)
        pixels = data.train.pixels.copy()
        pixels[0, 0, 0] ^= 1
        return replace(data, train=Images(pixels, data.train.labels))

    monkeypatch.setattr(plans, "load", other)
    assert plan_of().fingerprint != default.fingerprint


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


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            "knn",
            ("augment=affine", "schedule=constant", "optimizer.momentum=0.5", "learner=network", "reshuffle=false"),
        ),
        ("mlp", ("pooling=mixed", "pooling.mix=0.3", "padding=valid")),
    ],
)
def test_a_record_says_no_option_that_was_not_used(model: str, words: tuple[str, ...]) -> None:
    said, plain = plan_of(f"model={model}", *words), plan_of(f"model={model}")
    assert (said.words, said.label, said.fingerprint) == (plain.words, plain.label, plain.fingerprint)


def test_text_is_told_without_the_quotes_that_it_has_for_hydra() -> None:
    (word,) = as_text(["data.folder=/a b"])
    assert plans._details([word], {}, set()) == {"data.folder": "/a b"}


def test_what_a_network_does_not_use_is_not_its_identity() -> None:
    assert plan_of("model=mlp", "pooling=avg").fingerprint == plan_of("model=mlp", "pooling=max").fingerprint


def test_a_network_without_pooling_has_none() -> None:
    made = plan_of("model=mlp")
    assert [made.words[word] for word in ("pooling", "padding", "activation")] == ["none", "none", "relu"]
    assert made.label == "relu cross_entropy mlp glorot momentum mnist5k seed=0"


def test_a_classifier_has_the_words_that_it_takes() -> None:
    made = plan_of("model=knn")
    assert {word for word, said in made.words.items() if said != "none"} == {"model", "data", "seed"}
    assert (made.label, made.lr_source) == ("knn mnist5k seed=0", "")


@pytest.mark.parametrize("group", [*GROUPS, "schedule", "learner"])
def test_every_choice_says_what_it_builds(group: str) -> None:
    for choice in GRAMMAR.groups[group]:
        content = yaml.safe_load((CONF / group / f"{choice}.yaml").read_text(encoding="utf-8"))
        assert group == "padding" or all(target.startswith("cnnlab.") for target in targets(content)), choice
        assert group == "padding" or list(targets(content)), choice


@pytest.fixture
def arms(once: Callable[..., Any]) -> Callable[[str], list[dict[str, str]]]:
    """What there is to know of a sweep's arms; composing them takes a tenth of a second each."""

    def told(plan: Plan) -> dict[str, str]:
        facts = {"study": plan.study, "fingerprint": plan.fingerprint, "words": f"{plan.label} {plan.words['lr']}"}
        return facts | {"source": plan.lr_source, "key": " ".join(plan.tuned_for.terms)}

    return lambda sweep: once(f"arms of {sweep}", lambda: [told(plan) for plan in arms_of(sweep)])


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_sweep_composes(sweep: str, arms: Callable[..., Any]) -> None:
    found = arms(sweep)
    assert {arm["study"] for arm in found} == {sweep}
    assert len({arm["fingerprint"] for arm in found}) == len({arm["words"] for arm in found}) == len(found) > 1
    assert sweep != "first_look" or len(found) == 48


ARMS = {
    "activation": 6,
    "batch_size": 5,
    "classic_to_modern": 16,
    "classic_to_modern_fashion": 16,
    "classic_to_modern_long": 16,
    "connections": 4,
    "depth": 12,
    "dropout": 9,
    "from_1998": 18,
    "init": 10,
    "learning_rate": 9,
    "loss": 14,
    "optimizer": 4,
    "padding": 7,
    "pooling": 11,
    "robustness": 10,
    "train_size": 3,
}


@pytest.mark.parametrize("sweep", FULL)
def test_every_sweep_on_all_images_composes_on_a_few(sweep: str) -> None:
    few = ("data=mnist5k", "seed=0", *["data.subset=100,1000,2000"] * (sweep == "train_size"))
    found = arms_of(sweep, *few)
    assert {(arm.study, arm.config["epochs"]) for arm in found} == {(sweep, 12 if sweep.endswith("_long") else 5)}
    assert len({arm.fingerprint for arm in found}) == len({arm.label for arm in found}) == ARMS[sweep]


@pytest.mark.parametrize(("sweep", "option"), [("train_size", "data.subset_seed"), ("connections", "model.table_seed")])
def test_what_a_sweep_draws_is_drawn_by_each_seed(sweep: str, option: str) -> None:
    group, name = option.split(".")
    words = ["data.subset=100"] if group == "data" else []
    arms = arms_of(sweep, "data=mnist5k", "seed=3,4", *words)
    drawn = [arm for arm in arms if arm.config[group][name] is not None]
    assert [arm.config[group][name] for arm in drawn] == [3, 4]
    assert len({arm.tuned_for for arm in drawn}) == 1, "seeds of an arm have one learning rate"
    assert not any("\\" in arm.label for arm in drawn)


def test_arms_that_differ_by_their_seed_alone_are_planned_as_if_each_was_composed() -> None:
    arms = arms_of("connections", "data=mnist5k", "seed=0,1", "model.dropout=0.5,0.25")
    assert len({arm.fingerprint for arm in arms}) == len(arms) == 16
    alone = [plan_of(*arm.overrides) for arm in arms]
    assert [vars(arm) | {"learner": None} for arm in arms] == [vars(arm) | {"learner": None} for arm in alone]


def test_every_arm_has_a_rate_that_was_tuned_for_just_it(arms: Callable[..., Any]) -> None:
    """A shared rate would decide the result of a sweep."""
    needed = [arm for sweep in SWEEPS if sweep not in ("smoke", "learning_rate") for arm in arms(sweep)]
    missing = sorted({arm["key"] for arm in needed if arm["source"] != TUNED})
    said = f"conf/rates.yaml has no rate for {len(missing)} arms: run `cnnlab tune`"
    assert not missing, "\n".join([said, *missing])


def test_every_row_of_the_family_is_written_in_right_words() -> None:
    rows = yaml.safe_load((CONF / "sweep/lenet_family.yaml").read_text(encoding="utf-8"))["hydra"]["sweeper"]["rows"]
    assert len(rows) > 30
    for row in rows.values():
        if row.get("votes") not in rows:
            check_words(shlex.split(row["words"]), [CONF])
