"""Clusters on one machine: two nodes of Ray in network namespaces of their own, and two of Slurm.

Whatever becomes of a test, all that it started is ended by the id of its process, and its namespaces go.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tests.faults import free_port

LIMIT = 600  # seconds after which what is waited for will not come
HEALTHY = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=1)"


def missing(*programs: str) -> str:
    """Which of these programs are not installed, and whether the user may not start machines; "" where all is there."""
    lacks = [name for name in programs if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    return ", ".join([*lacks, *(["the rights of root"] if os.geteuid() else [])])


def until(what: Callable[[], Any]) -> Any:
    """What is looked for, once it is there."""
    limit = time.monotonic() + LIMIT
    while not (found := what()):
        assert time.monotonic() < limit, "what was waited for did not come"
        time.sleep(0.1)
    return found


def done(*command: str, **variables: str) -> str:
    """What a command says that must not fail."""
    made = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert made.returncode == 0, (command, made.stdout, made.stderr)
    return made.stdout


@dataclass(frozen=True)
class Node:
    """A machine of its own, as far as the network and the name are concerned."""

    name: str
    address: str

    def command(self, *words: str) -> list[str]:
        """A command as it is given on this machine."""
        named = f'hostname {self.name}; exec "$@"'
        return ["ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c", named, "sh", *words]

    def processes(self) -> list[int]:
        """The ids of its processes."""
        return [int(pid) for pid in done("ip", "netns", "pids", self.name).split()]

    def lose(self) -> None:
        """Kill all that runs on it, at once."""
        while pids := self.processes():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


@contextmanager
def two_nodes() -> Iterator[tuple[Node, Node]]:
    """Two machines with a cable between them, and no way to anywhere else."""
    token = secrets.token_hex(2)
    nodes = Node(f"head{token}", "10.77.0.1"), Node(f"other{token}", "10.77.0.2")
    cable = [f"cable{token}{end}" for end in "ab"]
    with ExitStack() as stack:
        for node in nodes:
            done("ip", "netns", "add", node.name)
            stack.callback(done, "ip", "netns", "delete", node.name)
            stack.callback(node.lose)
            own = Path("/etc/netns", node.name)  # what stands here, `ip` shows its processes in /etc
            own.mkdir(parents=True)
            stack.callback(shutil.rmtree, own)
            (own / "resolv.conf").touch()  # nobody is asked for names
            (own / "hosts").write_text(
                "127.0.0.1 localhost\n" + "".join(f"{each.address} {each.name}\n" for each in nodes)
            )
        done("ip", "link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for node, end in zip(nodes, cable, strict=True):
            done("ip", "link", "set", end, "netns", node.name)
            done("ip", "-n", node.name, "address", "add", f"{node.address}/24", "dev", end)
            for link in ("lo", end):
                done("ip", "-n", node.name, "link", "set", link, "up")
            done("ip", "-n", node.name, "route", "add", "default", "dev", end)
        yield nodes


@contextmanager
def server(node: Node, folder: Path) -> Iterator[str]:
    """The address of an MLflow server on a node, over the store in this folder; it hands out and takes in files."""
    port = free_port()
    uri, store = f"http://{node.address}:{port}", ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    where = ["--host", node.address, "--port", str(port), "--workers", "1", *store]
    command = [sys.executable, "-m", "mlflow", "server", *where, "--artifacts-destination", f"{folder}/files"]
    variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(node.command(*command), cwd=folder, env=variables, stdout=log, stderr=log)
    asked = node.command(sys.executable, "-c", HEALTHY, f"{uri}/health")
    try:
        until(lambda: subprocess.run(asked, capture_output=True, check=False).returncode == 0)
        yield uri
    finally:
        process.terminate()
        process.wait()


@contextmanager
def ray_cluster(head: Node, other: Node, variables: Mapping[str, str]) -> Iterator[str]:
    """The address of a Ray cluster of these nodes, on which nothing else runs yet, with a processor each."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # sockets have short names
        address = f"{head.address}:{free_port()}"
        first = ["--head", f"--port={address.partition(':')[2]}", "--include-dashboard=false", f"--temp-dir={folder}"]
        try:
            for node, words in ((head, first), (other, [f"--address={address}"])):
                until(lambda: _joins(node, words, variables))  # noqa: B023 - which is called at once
            yield address
        finally:
            for node in (other, head):
                node.lose()


def _joins(node: Node, words: Sequence[str], variables: Mapping[str, str]) -> bool:
    """Whether Ray starts on a node: it gives up where its own processes take 15 seconds, so they come first."""
    start = ["start", f"--node-ip-address={node.address}", "--num-cpus=1", "--disable-usage-stats", *words]
    command = node.command("nice", "-n", "-10", sys.executable, "-m", "ray.scripts.scripts", *start)
    if subprocess.run(command, env=os.environ | variables, capture_output=True, check=False).returncode == 0:
        return True
    node.lose()
    return False


SLURM = """
ClusterName=cnnlab{port}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=30
KillWait=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=1000"


@dataclass(frozen=True)
class Slurm:
    """A cluster: its file of settings, and the daemon of each of its nodes."""

    config: str
    daemons: Mapping[str, subprocess.Popen[bytes]]

    @property
    def variables(self) -> dict[str, str]:
        """By which Slurm's commands find it."""
        return {"SLURM_CONF": self.config}

    def lose(self, name: str) -> None:
        """Kill all that runs on a node, its daemon first, at once: Slurm hears nothing of it any more."""
        jobs = _said(["squeue", "--noheader", f"--nodelist={name}", "--format=%A"], Path(self.config)).split()
        self.daemons[name].kill()
        while found := [process for process in psutil.process_iter() if _is_on(process, name, jobs)]:
            for process in found:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.05)


def _is_on(process: psutil.Process, node: str, jobs: Sequence[str]) -> bool:
    """Whether a process belongs to a task of these jobs, or watches over one, on that node."""
    with suppress(psutil.Error):
        watches = process.name() == "slurmstepd" and any(f"[{job}." in " ".join(process.cmdline()) for job in jobs)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return watches or process.environ().get("SLURMD_NODENAME") == node
    return False


@contextmanager
def slurm_cluster() -> Iterator[Slurm]:
    """A Slurm cluster of two nodes, `n1` and `n2`, with a processor each, on this machine."""
    host = os.uname().nodename
    with tempfile.TemporaryDirectory(prefix="slurm", dir="/tmp") as name, ExitStack() as stack:
        folder, config = Path(name), Path(name, "slurm.conf")
        (folder / "state").mkdir()
        nodes = "\n".join(NODE.format(name=node, host=host, port=free_port()) for node in ("n1", "n2"))
        config.write_text(SLURM.format(folder=folder, host=host, port=free_port(), nodes=nodes))
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        own = [f"--{what}-file={folder}/munge.{what}" for what in ("key", "pid", "log", "seed")]
        commands = {
            "munge": ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *own],
            "control": ["slurmctld", "-D", "-f", str(config)],
            **{node: ["slurmd", "-D", "-f", str(config), "-N", node] for node in ("n1", "n2")},
        }
        daemons = {}
        for what, command in commands.items():
            with (folder / f"{what}.out").open("w") as log:
                daemons[what] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            stack.callback(_end, daemons[what])
            if what == "munge":
                until((folder / "munge.socket").exists)
        states = ["sinfo", "--noheader", "--Node", "--format=%T"]
        until(lambda: _said(states, config).split() == ["idle", "idle"])
        try:
            yield Slurm(str(config), daemons)
        finally:
            _said(["scancel", "--partition=debug", "--signal=KILL", "--full"], config)
            _said(["scancel", "--partition=debug"], config)
            with suppress(AssertionError):
                until(lambda: not _said(["squeue", "--noheader"], config).strip())


def _said(command: list[str], config: Path) -> str:
    variables = os.environ | {"SLURM_CONF": str(config)}
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False).stdout


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
