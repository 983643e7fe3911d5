"""A run that is killed goes on from its last epoch and ends bit-equal to one that never was."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import Home, kill, theta_of, untimed, wait_for

pytestmark = pytest.mark.slow
EPOCHS = 15
NOISY = ("pooling=stochastic", "optimizer=adam", "optimizer.weight_decay=0.001", "schedule=one_cycle")
WORDS = (*NOISY, f"epochs={EPOCHS}", "data.train=700", "data.validation=100", "confusion_every=1", "lr=0.003")


def epochs_done(path: Path) -> int:
    with np.load(path, allow_pickle=False) as archive:
        return len(json.loads(archive["header"].item())["history"])


def without_clocks(table: Path) -> list[dict[str, str]]:
    return [untimed(row) for row in csv.DictReader(table.read_text().splitlines())]


def test_a_killed_run_goes_on_bit_equal(home: Home, new_home: Callable[..., Home], tmp_path: Path) -> None:
    process = home.start(*WORDS)
    (checkpoint,) = wait_for(home.checkpoints, process)
    kill(process)
    done = epochs_done(checkpoint)
    assert 1 <= done < EPOCHS
    assert home.run().info.status == "RUNNING"

    said = home.train(*WORDS)
    assert (said.code, said.err) == (0, "")
    old, new = home.runs()
    assert (old.info.status, new.info.status) == ("KILLED", "FINISHED")
    assert new.data.tags["cnnlab.resumed_after_epoch"] == str(done)
    assert not home.checkpoints()

    uncut_home = new_home(tmp_path / "uncut")
    assert uncut_home.train(*WORDS).code == 0
    uncut = uncut_home.run()
    assert "cnnlab.resumed_after_epoch" not in uncut.data.tags
    assert new.data.tags["cnnlab.fingerprint"] == uncut.data.tags["cnnlab.fingerprint"]
    assert untimed(home.curves(new)) == untimed(uncut_home.curves(uncut))
    ours, theirs = home.artifacts(new), uncut_home.artifacts(uncut)
    assert ours.keys() == theirs.keys()
    assert without_clocks(ours["history.csv"]) == without_clocks(theirs["history.csv"])
    network = "model/artifacts/network.npz"
    assert theta_of(ours[network]).tobytes() == theta_of(theirs[network]).tobytes()
    matrices = [name for name in ours if name.startswith("confusion/") and name.endswith(".json")]
    assert len(matrices) == EPOCHS + 1
    assert [name for name in matrices if ours[name].read_bytes() != theirs[name].read_bytes()] == []


SMALL_NET = ("model=mlp", "model.hidden=[8]", "data.train=1000", "data.validation=0", "epochs=3")
CUTS = {  # words, and the checkpoint at which a run is cut off
    "the 1998 rule": (("optimizer=sdlm", "optimizer.every=300", "batch_size=1", "reshuffle=false", "lr=0.001"), ".npz"),
    "boosted, in its second network": (("boost=true", "augment=shift"), ".1.npz"),
}


@pytest.mark.parametrize(("words", "cut"), CUTS.values(), ids=CUTS)
def test_other_trainings_go_on_bit_equal(
    home: Home, new_home: Callable[..., Home], tmp_path: Path, words: tuple[str, ...], cut: str
) -> None:
    process = home.start(*SMALL_NET, *words)
    wait_for(lambda: [file for file in home.checkpoints() if file.name.endswith(cut)], process)
    kill(process)
    said = home.train(*SMALL_NET, *words)
    assert (said.code, said.err) == (0, "") and not home.checkpoints()
    uncut_home = new_home(tmp_path / "uncut")
    assert uncut_home.train(*SMALL_NET, *words).code == 0
    ours, theirs = home.artifacts(home.runs()[-1]), uncut_home.artifacts(uncut_home.run())
    assert without_clocks(ours["history.csv"]) == without_clocks(theirs["history.csv"])
    networks = [name for name in ours if name.endswith(".npz")]
    assert len(networks) == (3 if "boost=true" in words else 1)
    assert all(theta_of(ours[name]).tobytes() == theta_of(theirs[name]).tobytes() for name in networks)


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_checkpoint_that_is_not_whole_means_from_the_start(damage: str, inside: Home) -> None:
    from tests.conftest import plan_of

    from cnnlab import console
    from hydra_plugins.cnnlab_sweeper import build

    plan = plan_of("model=mlp", "data.train=300", "data.validation=100", "epochs=1")
    checkpoint = inside.folder / "outputs/state/runs" / f"{plan.fingerprint}.npz"
    checkpoint.parent.mkdir(parents=True)
    whole: dict[str, Any] = {"header": np.array(json.dumps({"history": []})), "theta": np.zeros(3, np.float32)}
    np.savez(checkpoint, allow_pickle=False, **whole)
    if damage == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-50])
    assert console.single(plan, build).status == "finished"
    run = inside.run()
    assert "cnnlab.resumed_after_epoch" not in run.data.tags
    assert sorted(inside.curves(run)["train/loss"]) == [1]
