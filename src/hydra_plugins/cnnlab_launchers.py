"""Launchers for Hydra that make the arms of a sweep on many machines: by Slurm, or by Ray.

Those of Hydra's own plugins end with the first worker that is lost, while others are at work. These wait for every arm:
one whose worker is lost has failed, and all others go on. They are run by the same engines, submitit and Ray.
"""

import math
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

Arm = Sequence[str]  # its words
End = tuple[Arm, JobReturn | Exception]

SLURM: dict[str, Any] = {  # with the options of submitit's launcher: hydra.launcher.partition, timeout_min, mem_gb, ...
    "defaults": ["submitit_slurm"],
    "_target_": "hydra_plugins.cnnlab_launchers.SlurmLauncher",
    "name": "cnnlab",
}
RAY: dict[str, Any] = {
    "_target_": "hydra_plugins.cnnlab_launchers.RayLauncher",
    "n_jobs": None,  # arms side by side; None: as many as there are processors
    "ray": {
        # address None: what RAY_ADDRESS names, else a new Ray on this machine, even if one runs there
        "init": {"address": None, "log_to_driver": False, "logging_level": "error", "include_dashboard": False},
        # each arm in a process of its own, and once: the next start of the command tries it again
        "remote": {"num_cpus": 1, "max_calls": 1, "max_retries": 0},
    },
}
ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SLURM, provider="cnnlab")
ConfigStore.instance().store(group="hydra/launcher", name="ray_cluster", node=RAY, provider="cnnlab")

LATE = 15.0  # seconds that a shared folder may take to show the result of a job that has left the queue
ASK = 3.0, 30.0  # seconds between two questions to Slurm, at first and in a long sweep
LONGEST = 38  # letters of a folder's name that leave room for a socket of Ray, which may have 107
KEPT = (
    "CNNLAB_",
    "MLFLOW_HTTP_",
    "MLFLOW_S3_",
    "MLFLOW_TRACKING_",
)  # so begin the variables that a worker of Ray is given


class ClusterLauncher(Launcher):
    """Launches arms on machines that share the project's folder, and waits for all of them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives every launcher."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Arm], initial_job_idx: int) -> Sequence[JobReturn]:
        """What the arms return whose workers were not lost; in the sweep's folder it is said which were."""
        from cnnlab.sweeps import Notices
        from cnnlab.tracking.access import one_line

        folder, made = Path(self.config.hydra.sweep.dir).absolute(), []
        with read_write(self.config.hydra):
            self.config.hydra.sweep.dir = str(folder)  # a worker may be in another one
        with closing(self.ends(job_overrides)) as ends:
            for arm, end in ends:
                if isinstance(end, Exception):
                    Notices(folder).lost(arm, one_line(end))
                else:
                    made.append(end)
        return made

    @abstractmethod
    def ends(self, arms: Sequence[Arm]) -> Generator[End, None, None]:
        """Launch these arms; each with what it returns, or with what its worker was lost by, as soon as it has ended.

        Where nobody waits for the others any more, they are cancelled.
        """


class SlurmLauncher(ClusterLauncher):
    """Makes each arm as a task of one job array, by submitit, with the options of Hydra's launcher `submitit_slurm`."""

    def __init__(self, **params: Any) -> None:
        self.params: dict[str, Any] = {
            name: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for name, value in params.items()
        }

    def ends(self, arms: Sequence[Arm]) -> Generator[End, None, None]:
        """Submit the array, and look for results in the shared folder.

        An arm without a result whose task has left the queue is lost. The queue is known on every cluster; what becomes
        of a task after that is known only where Slurm keeps accounts.
        """
        jobs = self._submitted(arms)
        left, gone, is_whole = dict(zip(jobs, arms, strict=True)), dict[Any, float](), True
        began = asked = time.monotonic()
        try:
            while left:
                time.sleep(1)
                if time.monotonic() - asked > min(max(ASK[0], (asked - began) / 20), ASK[1]):
                    asked, queued = time.monotonic(), _queued()
                    for job in left:
                        if queued is None or job.job_id in queued:
                            gone.pop(job, None)  # it may have been gone: Slurm begins a task anew if its node is lost
                        else:
                            gone.setdefault(job, asked)
                for job in list(left):
                    if end := _end(job, time.monotonic() - gone.get(job, math.inf) > LATE):
                        is_whole &= not isinstance(end, Exception)
                        yield left.pop(job), end
        finally:
            if left:
                subprocess.run(["scancel", *(job.job_id for job in left)], check=False)
            elif is_whole:  # else what the workers wrote may say why; a folder that the user has named stays
                shutil.rmtree(Path(self.config.hydra.sweep.dir, ".submitit"), ignore_errors=True)

    def _submitted(self, arms: Sequence[Arm]) -> list[Any]:
        import submitit
        from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
        from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as Job

        job = Job(**self.params)
        job.setup(hydra_context=self.context, task_function=partial(_heeding, self.task), config=self.config)
        options = dict(self.params)
        folder, tries = options.pop("submitit_folder"), options.pop("max_num_timeout")
        of_all = BaseQueueConf.__dataclass_fields__
        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=tries)
        executor.update_parameters(**{n if n in of_all else f"slurm_{n}": value for n, value in options.items()})
        numbers, state = range(len(arms)), Singleton.get_state()
        names = [str(number) for number in numbers]
        return executor.map_array(job, arms, ["hydra.sweep.dir"] * len(arms), numbers, names, [state] * len(arms))


def _queued() -> set[str] | None:
    """The user's tasks that wait or run; None where Slurm does not answer."""
    asked = subprocess.run(["squeue", "--me", "--array", "--noheader", "--format=%i"], capture_output=True, text=True)
    return None if asked.returncode else set(asked.stdout.split())


def _end(job: Any, is_gone: bool) -> JobReturn | Exception | None:
    """What a task returned, or why it will return nothing; None while it may."""
    with suppress(OSError):
        job.paths.folder.chmod(job.paths.folder.stat().st_mode)  # has a network file system look at the folder anew
    if job.paths.result_pickle.exists():
        return _result(job.result)
    if not is_gone:
        return None
    said = [line for line in (job.stderr() or "").splitlines() if line.strip()]
    return ChildProcessError(said[-1] if said else f"Slurm has cancelled task {job.job_id}, or lost it")


def _result(get: Callable[..., JobReturn], *arguments: Any) -> JobReturn | Exception:
    """What an engine returns, or the error that it raises."""
    try:
        return get(*arguments)
    except Exception as error:
        return error


def _heeding(task: TaskFunction, cfg: DictConfig) -> Any:
    """Run a task that `scancel` ends in order, its record closed: submitit would let it go on until it is killed."""
    from cnnlab.orphans import TEMPORARY

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name in TEMPORARY:  # folders of the command that has launched it, which other machines do not have
        if not os.path.isdir(os.environ.get(name, "")):
            os.environ.pop(name, None)
    return task(cfg)


class RayLauncher(ClusterLauncher):
    """Makes each arm as a task of Ray, as Hydra's launcher `ray` does, of whose options it takes `init` and `remote`.

    At most `n_jobs` are there at once, if it is given.
    """

    def __init__(self, ray: DictConfig, n_jobs: int | None = None) -> None:
        self.options, self.n_jobs = ray, n_jobs

    def ends(self, arms: Sequence[Arm]) -> Generator[End, None, None]:
        """Connect to the cluster that is named, or start Ray on this machine for as long as it takes."""
        import ray
        from hydra_plugins.hydra_ray_launcher._launcher_util import launch_job_on_ray, start_ray

        from cnnlab.signals import ENDS

        heard = {number: signal.getsignal(number) for number in ENDS}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a Ray that is started here
        with _short_names():
            start_ray(self.options.init)
            for end, handler in heard.items():  # Ray has its own
                signal.signal(end, handler)
            variables = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
            task, state = partial(_at_home, self.task, os.getcwd(), variables), Singleton.get_state()
            waiting, running = deque(enumerate(arms)), dict[Any, Arm]()
            try:
                while waiting or running:
                    while waiting and len(running) < (self.n_jobs or len(arms)):
                        number, arm = waiting.popleft()
                        config = self.context.config_loader.load_sweep_config(self.config, list(arm))
                        with open_dict(config):
                            config.hydra.job.id, config.hydra.job.num = str(number), number
                        running[launch_job_on_ray(self.context, self.options.remote, config, task, state)] = arm
                    (done,), _ = ray.wait(list(running))
                    yield running.pop(done), _result(ray.get, done)
            finally:
                ray.shutdown()


@contextmanager
def _short_names() -> Iterator[None]:
    """Have a Ray that is started here use a folder whose name is short enough for those of its sockets."""
    if len(os.environ.get("TMPDIR", "")) <= LONGEST or "RAY_TMPDIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="cnnlab-", dir="/tmp") as folder:
        os.environ["RAY_TMPDIR"] = folder
        try:
            yield
        finally:
            del os.environ["RAY_TMPDIR"]


def _at_home(task: Callable[[DictConfig], Any], folder: str, variables: Mapping[str, str], cfg: DictConfig) -> Any:
    """Run a task in the folder, and with the variables, of the command that has launched it."""
    os.chdir(folder)
    os.environ.update(variables)
    return task(cfg)
