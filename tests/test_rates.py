"""What a learning rate is tuned for, and which one a run gets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import SMALL, Home, plan_of

from cnnlab import rates
from cnnlab.composing import Plan
from cnnlab.rates import DEFAULT, TUNED, Key
from cnnlab.report.arms import RunRecord
from cnnlab.report.pages import write_report
from cnnlab.sweeps import foreign_rates

ARM = "relu cross_entropy max same lenet5 glorot momentum"
SETTING = "mnist5k epochs=15 batch_size=32 cosine"


@pytest.fixture(scope="module")
def default() -> Plan:
    return plan_of()


def test_a_key_is_in_words(default: Plan) -> None:
    assert default.tuned_for == Key(ARM, SETTING)


@pytest.mark.parametrize(
    ("words", "arm", "setting"),
    [
        ("activation=tanh", "tanh cross_entropy max same lenet5 glorot momentum", SETTING),
        ("model.connections=table1", f"{ARM} model.connections=table1", SETTING),
        ("pooling.size=3 padding=valid", "relu cross_entropy max valid lenet5 glorot momentum pooling.size=3", SETTING),
        ("optimizer.momentum=0.5", f"{ARM} optimizer.momentum=0.5", SETTING),
        (
            "model=mlp model.hidden=[30,20] pooling.size=3",
            "relu cross_entropy mlp glorot momentum model.hidden=[30,20]",
            SETTING,
        ),
        (
            "model=nielsen_cnn model.dropout=0.5",
            "relu cross_entropy max nielsen_cnn glorot momentum model.dropout=0.5",
            SETTING,
        ),
        ("data=digits model=mlp", "relu cross_entropy mlp glorot momentum", "digits epochs=15 batch_size=32 cosine"),
        ("data.train=900 data.normalization=unit", ARM, f"{SETTING} data.normalization=unit data.train=900"),
        ("epochs=5 batch_size=8 schedule=constant", ARM, "mnist5k epochs=5 batch_size=8 constant"),
        ("augment=shift reshuffle=false", ARM, f"{SETTING} shift reshuffle=False"),
        (  # what each seed draws for itself is one arm
            "model.connections=random model.table_seed=${seed} data.subset=50 data.subset_seed=${seed}",
            f"{ARM} model.connections=random model.table_seed=${{seed}}",
            f"{SETTING} data.subset=50 data.subset_seed=${{seed}}",
        ),
    ],
)
def test_a_key_names_all_that_a_rate_hangs_on(words: str, arm: str, setting: str) -> None:
    assert plan_of(*words.split()).tuned_for == Key(arm, setting)


def test_a_key_names_nothing_else(default: Plan) -> None:
    words = ("seed=3", "lr=0.5", "threads=2", "study=x", "confusion_every=1", "rerun=true", "data.test=10")
    assert plan_of(*words).tuned_for == default.tuned_for


def test_an_option_that_is_added_later_and_off_changes_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"optimizer": {"momentum": 0.9, "new": None, "other": "none"}, "data": {}, "epochs": 1}
    choices, used = {"optimizer": "momentum", "data": "digits"}, {"optimizer", "data", "epochs"}
    options: dict[str, dict[str, Any]] = {"optimizer": {"momentum": 0.9, "new": None, "other": None}, "data": {}}
    monkeypatch.setattr(rates, "_known", lambda folders, group, choice: options[group])
    assert rates.key(config, choices, used, ()) == Key("momentum", "digits epochs=1")
    config["optimizer"] |= {"new": 2}
    assert rates.key(config, choices, used, ()) == Key("momentum optimizer.new=2", "digits epochs=1")
    options["optimizer"]["other"] = 3  # on as its file has it: then off is something to say
    assert rates.key(config, choices, used, ()).arm == "momentum optimizer.new=2 optimizer.other=none"


def test_two_sets_in_mnists_format_are_two_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_known", lambda folders, group, choice: {"folder": None, "name": None})
    node = {"learner": {}, "data": {"folder": "/somewhere/kmnist", "name": None}}
    assert rates.key(node, {"data": "idx"}, {"data"}, ()).setting == "idx data.name=kmnist"


def tuned(*entries: tuple[str, str, float]) -> Mapping[str, Any]:
    table: dict[str, Any] = {"default": {"momentum": 0.02}, "tuned": {}}
    for arm, setting, rate in entries:
        table["tuned"].setdefault(setting, {})[arm] = {"rate": rate}
    return table


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([(ARM, SETTING, 0.3), (ARM, "mnist epochs=5", 0.1)], (0.3, TUNED)),
        (
            [(ARM, "mnist epochs=15 batch_size=32 cosine", 0.1), (ARM, "mnist epochs=5 batch_size=32 cosine", 0.2)],
            (0.1, "tuned for mnist, not for mnist5k"),
        ),
        ([(f"{ARM} pooling.size=3", SETTING, 0.1)], (0.1, "tuned with pooling.size=3")),
        ([(ARM, SETTING.removesuffix(" cosine"), 0.1)], (0.1, "tuned without cosine")),
        ([(ARM.replace("relu", "tanh"), SETTING, 0.1)], (0.02, DEFAULT)),
        ([], (0.02, DEFAULT)),
    ],
)
def test_a_run_gets_the_rate_that_was_tuned_for_what_is_most_like_it(
    entries: list[tuple[str, str, float]], expected: tuple[float, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "table", lambda: tuned(*entries))
    assert rates.rate(Key(ARM, SETTING), "momentum") == expected


def test_an_optimizer_without_a_rate_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "table", lambda: {"default": {}, "tuned": {}})
    with pytest.raises(ValueError) as caught:
        plan_of()
    assert str(caught.value) == "optimizer=momentum: conf/rates.yaml has no default rate for it; choose one with lr="


def test_a_rate_for_other_epochs_is_said_so_on_the_terminal_in_the_tag_and_in_the_report(
    inside: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from cnnlab.commands.train import _make

    words = ("epochs=1", *SMALL)
    source = "tuned for epochs=15, not for epochs=1 data.validation=100 data.train=300"
    _make(plan_of(*words))
    run, (first, *_, last) = inside.run(), capsys.readouterr().out.splitlines()
    assert f"learning rate 0.01 ({source})" in first and last.startswith(f"run {run.info.run_id} of study runs")
    assert run.data.tags["cnnlab.lr_source"] == source
    plan = plan_of(*words)
    assert foreign_rates([plan, plan_of(), plan_of("lr=1")]) == [f"learning rate of 1 arm: {source}"]
    record = RunRecord("id", plan.words, "FINISHED", {"test/error_percent": 1.0}, lr_source=source)
    page = write_report("study", [record], tmp_path, {"question": "", "command": "", "environment": ""})
    assert f"all arms: {source}" in page.read_text() and f"- all arms: {source}" in (tmp_path / "report.md").read_text()


SHAPE = "write default: OPTIMIZER: RATE and tuned: SETTING: ARM: rate: RATE"
WRONG = (
    "the rate is no number above 0, or the curve that it was chosen by is damaged: "
    "write a rate alone, or let `cnnlab tune` find it again"
)
BUDGET = "budget: {runs: 1, seconds: 0}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("tuned: {}", SHAPE),
        ("default: {sgd: 0.1}\ntuned:", SHAPE),
        ("default: {}\ntuned: {digits: null}", SHAPE),
        ("default: {sgd: fast}\ntuned: {}", f"default: sgd: {WRONG}"),
        ("default: {sgd: 0.0}\ntuned: {}", f"default: sgd: {WRONG}"),
        ("default: {}\ntuned: {digits: {5: {rate: 0.1}}}", f"digits: 5: {WRONG}"),
        *(
            (f"default: {{}}\ntuned: {{digits: {{relu max: {entry}}}}}", f"digits: relu max: {WRONG}")
            for entry in (
                "null",
                "{budget: 1}",
                "{rate: .inf}",
                "{rate: 0.1, validation_errors: [1.5]}",
                "{rate: 0.1, validation_errors: {0.1: [2.0]}}",
                f"{{rate: 0.1, validation_errors: {{0.1: 2}}, {BUDGET}}}",
                f"{{rate: 0.1, validation_errors: {{0.1: [null]}}, {BUDGET}}}",
                f"{{rate: 0.1, validation_errors: {{0.1: oops}}, {BUDGET}}}",
                f"{{rate: 0.02, validation_errors: {{0.1: [2.0]}}, {BUDGET}}}",
                f"{{rate: 0.1, validation_errors: {{}}, {BUDGET}}}",
            )
        ),
    ],
)
def test_a_damaged_file_is_answered_in_one_line(
    content: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "rates.yaml"
    place.write_text(content)
    monkeypatch.setattr(rates, "file", lambda: place)
    rates.table.cache_clear()
    try:
        with pytest.raises(ValueError) as caught:
            plan_of()
    finally:
        rates.table.cache_clear()
    assert str(caught.value) == f"{place}: {said}"


def test_entries_are_kept_beside_those_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "rates.yaml"
    place.write_text("# a note\ndefault: {sgd: 0.1}\ntuned:\n  digits:\n    relu: {rate: 0.1}\n")
    monkeypatch.setattr(rates, "file", lambda: place)
    curve = {"validation_errors": {0.3: [1.5, "diverged"], 1e-05: [90.0]}, "budget": {"runs": 3, "seconds": 1}}
    entry = {"rate": 0.3} | curve
    rates.save({Key("tanh", "digits"): entry, Key("tanh", "mnist"): entry})
    assert place.read_text().startswith("# a note\ndefault: {sgd: 0.1}\n")
    known = yaml.safe_load(place.read_text())["tuned"]
    assert known == {"digits": {"relu": {"rate": 0.1}, "tanh": entry}, "mnist": {"tanh": entry}}
    assert rates.table()["tuned"] == known and [path.name for path in tmp_path.iterdir()] == ["rates.yaml"]
    rates.table.cache_clear()
