"""The same sweep on a cluster: one node or task is lost in the middle, and is made up for.

The project's folder is shared, as on every cluster; the machines are this one, as far as anybody can tell.
"""

import secrets
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.cluster.nodes import Slurm, done, missing, ray_cluster, server, slurm_cluster, two_nodes, until
from tests.cluster.overhead import overhead
from tests.conftest import Home, Said, end, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
ARMS = ("smoke", "--seeds=4", "data.train=900", "epochs=30")  # eight of them, each of some ten seconds
TWO = {"OPENBLAS_NUM_THREADS": "2", "RAY_worker_niceness": "10"}  # an environment that does not care for either


@pytest.fixture
def ray() -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'cnnlab[ray]'")


@pytest.fixture
def cluster() -> Iterator[Slurm]:
    """A Slurm cluster of two nodes."""
    if lacks := missing("slurmctld", "slurmd", "sbatch", "munged"):
        pytest.skip(f"needs Slurm, and there is no {lacks}: apt-get install slurmctld slurmd slurm-client munge")
    with slurm_cluster() as found:
        yield found


@pytest.fixture
def slurm(cluster: Slurm) -> dict[str, str]:
    """The variables by which Slurm's commands find it."""
    return cluster.variables


def under_way(home: Home, of: Callable[[Any], bool] = lambda run: True) -> list[Any]:
    """Runs that have come through an epoch and go on."""
    kept = {path.stem for path in home.checkpoints()}
    running = [run for run in home.runs("smoke") if run.info.status == "RUNNING" and of(run)]
    return [run for run in running if run.data.tags["cnnlab.fingerprint"] in kept]


def all_but_one(said: Said, home: Home) -> Any:
    """The run of the only arm that has failed, since its worker is gone; all others are finished."""
    assert (said.code, said.err) == (1, ""), said
    lines = said.out.splitlines()
    assert lines[0] == "smoke: 8 arms to do, 0 finished"
    ended = [line for line in lines if " of 8 done" in line]
    assert len(ended) == 8 and sum("finished" in line for line in ended) == 7
    (failed,) = (line for line in lines if line.startswith("FAILED"))
    assert ": its worker died: " in failed
    states = Counter(run.info.status for run in home.runs("smoke"))
    assert states == {"FINISHED": 7, "KILLED": 1}
    return next(run for run in home.runs("smoke") if run.info.status == "KILLED")


def every_arm_once(said: Said, home: Home, lost: Any) -> None:
    """The next start goes on with the lost arm, and no other."""
    assert said.out.splitlines()[0] == "smoke: 1 arm to do, 7 finished"
    all_finished(said, home, lost)


def all_finished(said: Said, home: Home, lost: Any) -> None:
    """Every arm is finished once, the lost one by a run that went on where it stood."""
    assert (said.code, said.err) == (0, ""), said
    runs = home.runs("smoke")
    assert Counter(run.info.status for run in runs) == {"FINISHED": 8, "KILLED": 1}
    finished = [run for run in runs if run.info.status == "FINISHED"]
    assert len({run.data.tags["cnnlab.fingerprint"] for run in finished}) == 8
    assert {run.data.tags["blas.threads"] for run in finished} == {"1"}
    assert finished[-1].data.tags["cnnlab.fingerprint"] == lost.data.tags["cnnlab.fingerprint"]
    assert int(finished[-1].data.tags["cnnlab.resumed_after_epoch"]) > 0
    assert len(home.runs("smoke", "summary")) == 1


def test_ray_loses_a_node(ray: None, home: Home) -> None:
    """An MLflow server, to which all files go, is on the node that stays."""
    if lacks := missing("ip", "unshare"):
        pytest.skip(f"needs network namespaces, and there is no {lacks}")
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with ExitStack() as stack:
        head, other = stack.enter_context(two_nodes())
        address = stack.enter_context(ray_cluster(head, other, secret | TWO))
        uri = stack.enter_context(server(head, home.folder))
        words = (*ARMS, "--launcher=ray", f"hydra.launcher.ray.init.address={address}")
        places: dict[str, Any] = {"command": "sweep", "before": head.command(), "MLFLOW_TRACKING_URI": uri}
        process = home.start(*words, **places, **secret, **TWO)
        wait_for(lambda: under_way(home, lambda run: run.data.tags["cnnlab.host"] == other.name), process)
        other.lose()
        lost = all_but_one(end(process), home)
        assert lost.data.tags["cnnlab.host"] == other.name
        every_arm_once(end(home.start(*words, **places, **secret, **TWO)), home, lost)
        last = end(home.start(*words, **places))
        assert last.code == 0 and last.out.startswith("smoke: nothing to do, 8 arms finished")
    assert len(list((home.folder / "files").rglob("network.npz"))) == 8
    assert home.leftovers() == []


def test_ray_on_this_machine_alone(ray: None, home: Home) -> None:
    said = home.command("sweep", "smoke", "--launcher=ray", "--jobs=2", RAY_ADDRESS="local", **TWO)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0] == "smoke: 2 arms to do, 0 finished, 2 workers"
    assert sum(" of 2 done" in line for line in said.out.splitlines()) == 2
    assert {run.data.tags["blas.threads"] for run in home.runs("smoke")} == {"1"}
    assert home.leftovers() == [] and home.processes() == []


def of_slurm(run: Any, *names: str) -> list[str]:
    """What Slurm tells the process that makes a run, in variables of these names."""
    variables = psutil.Process(int(run.data.tags["cnnlab.pid"])).environ()
    return [variables[name] for name in names]


def queued(variables: dict[str, str]) -> list[str]:
    """The nodes of all tasks that Slurm knows, empty for those that wait."""
    return done("squeue", "--array", "--noheader", "--format=%N", **variables).splitlines()


def test_slurm_has_a_task_cancelled(slurm: dict[str, str], home: Home) -> None:
    words = (*ARMS, "--launcher=slurm", "hydra.launcher.partition=debug")
    process = home.start(*words, command="sweep", **slurm, **TWO)
    runs = wait_for(lambda: found if len(found := under_way(home)) == 2 else [], process)
    assert {"n1", "n2"} <= {name.strip() for name in queued(slurm)}
    done("scancel", "_".join(of_slurm(runs[0], "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")), **slurm)
    lost = all_but_one(end(process), home)
    assert lost.info.run_id == runs[0].info.run_id
    every_arm_once(home.command("sweep", *words, **slurm, **TWO), home, lost)


def test_slurm_loses_a_node(cluster: Slurm, home: Home) -> None:
    """Slurm itself starts what was on it again on the other one, where it goes on after its last epoch."""
    words = (*ARMS, "--launcher=slurm", "hydra.launcher.partition=debug")
    process = home.start(*words, command="sweep", **cluster.variables, **TWO)
    runs = wait_for(lambda: found if len(found := under_way(home)) == 2 else [], process)
    (lost,) = (run for run in runs if of_slurm(run, "SLURMD_NODENAME") == ["n2"])
    cluster.lose("n2")
    all_finished(end(process), home, lost)
    (killed,) = (run for run in home.runs("smoke") if run.info.status == "KILLED")
    assert killed.info.run_id == lost.info.run_id


def test_what_slurm_has_not_made_is_cancelled_with_the_sweep(slurm: dict[str, str], home: Home) -> None:
    words = (*ARMS, "--launcher=slurm", "hydra.launcher.partition=debug")
    process = home.start(*words, command="sweep", **slurm)
    wait_for(lambda: under_way(home), process)
    process.send_signal(signal.SIGINT)
    said = end(process)
    assert said.code == 1 and said.err.startswith("interrupted: 0 of 8 arms finished, and ")
    until(lambda: queued(slurm) == [])
    again = home.command("sweep", "smoke", *ARMS[2:], "--launcher=basic", "activation=relu")
    assert again.code == 0 and {run.info.status for run in home.runs("smoke")} == {"FINISHED", "KILLED"}


@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local", "slurm", "ray"])
def test_what_an_arm_costs(
    launcher: str, new_home: Callable[..., Home], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The table of the README, by `-k costs -rP`."""
    variables = (request.getfixturevalue(launcher) or {}) if launcher in ("ray", "slurm") else {}
    name = {"joblib": "workers", "ray": "ray_cluster"}.get(launcher, launcher)
    variables |= {"RAY_ADDRESS": "local"}
    start, each = overhead(lambda arms: new_home(tmp_path / arms), [f"hydra/launcher={name}"], **variables)
    print(f"| {launcher} | {start:.1f} | {each:.2f} |")
    assert 0 < each < 30
