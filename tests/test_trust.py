"""Nobody gets in: a name in a config, in a file or among words imports nothing that is not on the short list."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.conftest import CONF, SMALL, Home, composed, is_one_line, plan_of
from tests.test_commands import said  # noqa: F401 - a fixture

from cnnlab.composing import load
from cnnlab.networks import load_network
from cnnlab.paths import PACKAGE
from cnnlab.trust import PLUGINS, TOOLS, check_targets, trusted

Said = Callable[..., tuple[object, str]]


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the package `evil`, which can be imported from now on, writes as soon as it is."""
    place = tmp_path / "it was imported"
    (tmp_path / "sites/evil").mkdir(parents=True)
    text = f"open({str(place)!r}, 'w').close()\nclass Mine: pass\n"
    (tmp_path / "sites/evil/__init__.py").write_text(text)
    (tmp_path / "sites/evil/inner.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "sites")
    monkeypatch.delenv("CNNLAB_TRUST", raising=False)
    monkeypatch.delenv("HYDRA_INSTANTIATE_ALLOWLIST_OVERRIDE", raising=False)
    return place


def preset(folder: Path, text: str, name: str = "experiment/mine") -> str:
    """A folder of configs with one that sets all kinds of things."""
    file = folder / f"own/{name}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"# @package _global_\n{text}" if name.startswith("experiment") else text)
    return str(folder / "own")


PRESETS = {
    "activation._target_": "activation: {_target_: evil.Mine}",
    "model.hidden.1._target_": "model: {_target_: cnnlab.models.mlp, hidden: [3, {_target_: evil.Mine}]}",
    "hydra.callbacks.x._target_": "hydra: {callbacks: {x: {_target_: evil.Mine}}}",
    "hydra.launcher._target_": "hydra: {launcher: {_target_: evil.Mine}}",
    "hydra.sweeper._target_": "hydra: {sweeper: {_target_: evil.Mine}}",
    "hydra.job_logging.handlers.x.class": "hydra: {job_logging: {root: {}, handlers: {x: {class: evil.Mine}}}}",
    "hydra.hydra_logging.formatters.x.()": "hydra: {hydra_logging: {root: {}, formatters: {x: {(): evil.Mine}}}}",
    "hydra.hydra_logging.filters.x.y": "hydra: {hydra_logging: {root: {}, filters: {x: {y: 'ext://evil.Mine'}}}}",
    "hydra.job_logging.handlers": "hydra: {job_logging: {root: {}, handlers: '${stop}'}}\nstop: {class: evil.Mine}",
    "hydra.callbacks.x": "hydra: {callbacks: {x: '${oc.create:{_target_:evil.Mine}}'}}",
    "hydra.callbacks.y": "hydra: {callbacks: {y: \"${oc.decode:'{_target_: evil.Mine}'}\"}}",
    "hydra.callbacks.z": "hydra: {callbacks: {z: '${oc.select:nope,{_target_:evil.Mine}}'}}",
    "hydra.callbacks.w": "hydra: {callbacks: {w: '${${oc.env:R,oc.create}:{_target_:evil.Mine}}'}}",
    "hydra.callbacks.v._target_": "hydra: {callbacks: {v: {_target_: '${oc.env:TARGET,evil.Mine}'}}}",
    "hydra.job.env_set": "hydra: {job: {env_set: {PYTHONPATH: /somewhere}}}",
    "stop._target_": "stop: '${oc.create:{patience:null,_target_:evil.Mine}}'",
}


@pytest.mark.parametrize("option", PRESETS)
@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_a_preset_imports_nothing(option: str, sweep: tuple[str, ...], marker: Path, said: Said) -> None:  # noqa: F811
    own = preset(marker.parent, PRESETS[option])
    code, text = said("train", *sweep, "--config-dir", own, "experiment=mine", "data=digits", "epochs=1", "lr=0.1")
    assert not marker.exists()
    assert code == 1 and is_one_line(text) and text.startswith(option), text
    assert "_target_" not in option or "CNNLAB_TRUST" in text


@pytest.mark.parametrize(
    "words",
    [
        ("activation={_target_:evil.Mine}",),
        ("model=mlp", "model.hidden={_target_:evil.Mine}"),
        ("model=mlp", "model.hidden=[{_target_:evil.Mine}]"),
        ("lr={_target_:evil.Mine}",),
        ("study={_target_:evil.Mine}",),
        ("activation._target_=evil.Mine",),
        ("+hydra.callbacks.x={_target_:evil.Mine}",),
        ("hydra.callbacks.x={_target_:evil.Mine}",),
        ("-m", "hydra.launcher.n_jobs={_target_:evil.Mine}"),
        ("-m", "hydra.launcher.batch_size={_target_:evil.Mine}"),
        ("-m", "hydra.launcher={_target_:evil.Mine}"),
        ("hydra.searchpath=[pkg://evil]",),
        ("hydra.searchpath=['pkg://evil']",),
        ("hydra.searchpath=pkg://evil",),
        ("hydra.searchpath=[structured://evil]",),
        ("--experimental-rerun", "evil.pickle"),
        ("--experimental-rerun=evil.pickle",),
        ("-sc", "install=bash", "--experimental-rerun", "evil.pickle"),
        ("--config-path", "pkg://evil"),
        ("--config-name", "evil"),
        ("--package", "evil"),
    ],
)
def test_a_command_line_imports_nothing(words: tuple[str, ...], marker: Path, said: Said) -> None:  # noqa: F811
    code, text = said("train", *words)
    assert not marker.exists()
    assert code in (1, 2) and is_one_line(text), text


@pytest.mark.parametrize("sign", ["+", "++", "~"])
def test_no_sign_before_an_option_of_hydra_leads_to_advice_that_is_refused(sign: str, said: Said) -> None:  # noqa: F811
    code, text = said("train", f"{sign}hydra.callbacks.x=1")
    assert code == 1 and text.startswith(f"{sign}hydra.callbacks.x=1: of Hydra's own options, choose from ")
    code, text = said("train", f"{sign}hydra.launcher.n_jobs=1")
    assert code == 1 and "write hydra.launcher.n_jobs=..." in text


def test_a_value_with_commas_in_brackets_is_refused_whole(said: Said) -> None:  # noqa: F811
    code, text = said("train", "lr=interval(0.01,0.1)")
    assert code == 1 and text.startswith("lr=interval(0.01,0.1): choose a number above 0")


def test_what_is_refused_says_nothing_to_the_terminal(marker: Path, said: Said) -> None:  # noqa: F811
    """A file's name may hold a command that clears the screen, or colours what follows."""
    own = preset(marker.parent, '_target_: "evil.\\x1b[2J\\u202eMine"\n', "activation/mine")
    code, text = said("train", "activation=mine", f"hydra.searchpath=[{own}]", "data=digits")
    assert code == 1 and is_one_line(text) and r"evil.\x1b[2J\u202eMine: is not imported" in text
    code, text = said("train", "--no\x1b[2J")
    assert code == 2 and is_one_line(text) and r"--no\x1b[2J" in text


def test_the_main_config_may_not_search_packages(marker: Path, inside: Home, said: Said) -> None:  # noqa: F811
    (inside.folder / "conf").unlink()
    (inside.folder / "conf").mkdir()
    for each in CONF.iterdir():
        (inside.folder / "conf" / each.name).symlink_to(each)
    main = inside.folder / "conf/train.yaml"
    text = main.read_text("utf-8").replace("\nhydra:\n", "\nhydra:\n  searchpath: [pkg://evil]\n")
    main.unlink()
    main.write_text(text, "utf-8")
    code, line = said("train", "data=digits")
    assert not marker.exists()
    assert code == 1 and is_one_line(line) and "pkg://evil" in line


def test_a_folder_to_search_may_be_named(tmp_path: Path, said: Said) -> None:  # noqa: F811
    own = preset(tmp_path, "_target_: cnnlab.nn.Tanh\namplitude: 1.5\n", "activation/mine")
    for place in (own, f"file://{own}"):
        code, text = said("train", "--cfg", "job", "activation=mine", f"hydra.searchpath=[{place}]")
        assert code == 0 and yaml.safe_load(text)["activation"]["amplitude"] == 1.5
    code, text = said("train", "activation=mine", "hydra.searchpath=[/nowhere]")
    assert code == 1 and is_one_line(text) and text.startswith("hydra.searchpath: /nowhere: choose folders")


def test_what_a_folder_to_search_brings_is_held_to_the_same_list(marker: Path, said: Said) -> None:  # noqa: F811
    own = preset(marker.parent, "_target_: evil.Mine\n", "activation/mine")
    code, text = said("train", "activation=mine", f"hydra.searchpath=[{own}]", "data=digits")
    assert code == 1 and is_one_line(text) and not marker.exists()
    assert text == (
        "activation._target_=evil.Mine: is not imported: a config may name cnnlab's own and packages in CNNLAB_TRUST "
        "(CNNLAB_TRUST=evil if you trust it)"
    )


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "cnnlab.code.find_spec", "name": "evil.inner"},  # importlib's: it imports the package
        {"_target_": "cnnlab.spelling.get_close_matches", "word": "a", "possibilities": []},
        {"_target_": "cnnlab.commands.main", "arguments": ["data"]},
        {"_target_": "cnnlab.__main__.main"},
        {"_target_": "cnnlab.networks.load_network", "path": "evil.npz"},
        {"_target_": "cnnlab.api.run", "words": "epochs=1"},
        {"_target_": "cnnlab.Classifier"},
        {"_target_": "cnnlab.data.download.fetch", "archive": None},
        {"_target_": "cnnlab.nn.nothing"},
        {"_target_": "cnnlab"},
        {"_target_": "evil"},
        {"_target_": ["cnnlab.nn.Tanh"]},
        {"_target_": "cnnlab.nn.Tanh", "slope": {"_target_": "evil.Mine"}},
        {"_target_": PLUGINS["hydra.launcher"][1]},
        {"_target_": "hydra.utils.instantiate", "config": {}},
    ],
)
def test_of_cnnlab_only_what_computes_is_made(node: dict[str, object], marker: Path) -> None:
    with pytest.raises(ValueError, match=r"^.*_target_="):
        load(node)
    assert not marker.exists()


def test_every_room_that_only_uses_results_is_refused() -> None:
    """A room that is new is a choice to make: it computes, or it is one of the tools."""
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__"} - set(TOOLS) == {"data", "learners", "models", "nn"}


def test_a_record_of_a_run_imports_nothing(marker: Path) -> None:
    """A file that says it is a network."""
    header = {"network": {"type": "evil:Mine", "fields": {}}, "shape": [1], "normalizer": None}
    np.savez(marker.parent / "network.npz", header=np.array(json.dumps(header)), theta=np.zeros(1))
    with pytest.raises(ValueError, match=r"evil:Mine is no layer.*CNNLAB_TRUST=evil$"):
        load_network(marker.parent / "network.npz")
    assert not marker.exists()
    header["network"]["type"] = "cnnlab.__main__:main"  # type: ignore[index]
    np.savez(marker.parent / "network.npz", header=np.array(json.dumps(header)), theta=np.zeros(1))
    with pytest.raises(ValueError, match=r"cnnlab\.__main__:main is no layer, normaliser or initialiser of cnnlab$"):
        load_network(marker.parent / "network.npz")


def test_a_package_that_is_trusted_may_be_named(marker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (marker.parent / "sites/guest_act.py").write_text("from cnnlab.nn import Tanh\n")
    monkeypatch.setenv("CNNLAB_TRUST", "guest_act")
    check_targets({"activation": {"_target_": "guest_act.Tanh"}})
    assert trusted("guest_act") and not trusted("evil") and not trusted("guest_act.__main__")
    with pytest.raises(ValueError, match=r"^activation\._target_=evil"):
        check_targets({"activation": {"_target_": "evil.Mine"}})


def test_all_that_the_project_s_own_configs_name_is_on_the_list() -> None:
    """Every `_target_` in conf/, and every launcher that is installed."""
    for file in CONF.rglob("*.yaml"):
        for target in re.findall(r"_target_: ([\w.]+)", file.read_text("utf-8")):
            check_targets({"_target_": target})
    for launcher in ("workers", "joblib", "basic", "submitit_local", "submitit_slurm", "slurm"):
        assert composed(f"hydra/launcher={launcher}").hydra.launcher._target_ in PLUGINS["hydra.launcher"]
    for logging in ("default", "none", "disabled", "stdout"):
        composed(f"hydra/job_logging={logging}")
    assert plan_of("data=digits", *SMALL).code
