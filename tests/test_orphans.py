"""Whatever ends a command, nothing that it started lives on, and no temporary file stays; others are left alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from tests.conftest import listen

from cnnlab import orphans
from cnnlab.orphans import MARK, reaper

OWNER = "CNNLAB_TEST"  # a variable by which these tests know their processes, whatever cnnlab knows
STUBBORN = "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]; time.sleep(600)"
LAUNCHER = f"""
import os, subprocess, sys, tempfile, time
from pathlib import Path
from cnnlab.orphans import reaper

def child(program={STUBBORN!r}, **options):
    return subprocess.Popen([sys.executable, "-S", "-c", program], stdout=subprocess.DEVNULL, **options)

print("begun", flush=True)
with reaper("test") as folder:
    print("watched", folder, flush=True)
"""
GENERATIONS = """
    start = "subprocess.Popen([sys.executable, '-S', '-c', sys.argv[1]])"
    grandchild = f"import subprocess, sys, time; {start}; time.sleep(600)"
    for number in range(6):
        command = [sys.executable, "-S", "-c", grandchild, "import time; time.sleep(600)"]
        subprocess.Popen(command, start_new_session=bool(number % 2))
        child(start_new_session=bool(number % 2), cwd=folder)
        (folder / f"{number}.npy").touch()
    print("all", flush=True)
    time.sleep(600)
"""
ALL = 2 + 6 * 3  # with the launcher and its guardian
POOL = """
    import numpy as np
    from joblib import Parallel, delayed
    print(sum(Parallel(2)(delayed(np.sum)(np.ones((1000, 1000))) for _ in range(4))), flush=True)
"""
BUSY_POOL = """
    from joblib import Parallel, delayed
    Parallel(2)(delayed(time.sleep)(600) for _ in range(4))
"""


@dataclass
class Launcher:
    """A command in a session of its own, and all that it starts."""

    program: str
    temporary: Path
    name: str = field(default_factory=lambda: uuid4().hex)

    def __post_init__(self) -> None:
        self.temporary.mkdir(exist_ok=True)
        source = Path(orphans.__file__).parents[1]
        path = os.pathsep.join([str(source), str(Path(psutil.__file__).parents[1])])
        changed = {OWNER: self.name, "TMPDIR": str(self.temporary), "PYTHONPATH": path}
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER + self.program],
            env=os.environ | changed,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=listen,
        )

    def wait_for(self, word: str) -> str:
        """The line that begins with a word."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return line.removeprefix(word).strip()
        raise AssertionError(f"no {word}: {self.process.communicate()}")

    def left(self) -> list[psutil.Process]:
        """All that lives of it: itself, its guardian, and whoever it or they started."""
        return [process for process in psutil.process_iter() if environment(process).get(OWNER) == self.name]

    def guardian(self) -> psutil.Process:
        (found,) = (process for process in self.left() if any("orphans.py" in word for word in process.cmdline()))
        return found

    def kill(self) -> None:
        """SIGKILL of itself alone, as the system does when memory is short."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait_until_none_is_left(self, seconds: float = 20) -> float:
        """How long that took."""
        began = time.monotonic()
        while (left := self.left()) and time.monotonic() < began + seconds:
            time.sleep(0.02)
        assert not left, [process.as_dict(["pid", "status", "cmdline"]) for process in left]
        assert list(self.temporary.iterdir()) == []
        return time.monotonic() - began


def environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ() if process.status() != psutil.STATUS_ZOMBIE else {}
    except psutil.Error:
        return {}


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[[str], Launcher]]:
    """`launch(program)`: a command whose body this is, inside of a reaper."""
    launchers: list[Launcher] = []

    def launch(program: str) -> Launcher:
        launchers.append(Launcher(program, tmp_path / f"tmp{len(launchers)}"))
        return launchers[-1]

    yield launch
    for launcher in launchers:
        for process in launcher.left():
            process.kill()
        launcher.process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(("program", "seconds"), [(GENERATIONS, 0.25), (BUSY_POOL, 2)], ids=["children", "joblib"])
def test_a_launcher_killed_at_any_moment_leaves_nothing(
    program: str, seconds: float, launch: Callable[[str], Launcher]
) -> None:
    """Before, while and after its workers start; several at once, since they must not count on each other."""
    rng = random.Random(0)
    for _ in range(4):
        launchers = [launch(program) for _ in range(4)]
        for launcher in launchers:
            launcher.wait_for("begun")
        for launcher in launchers:
            time.sleep(rng.choice([0, 0.05, seconds]) * rng.random())
            launcher.kill()
        for launcher in launchers:
            launcher.wait_until_none_is_left()


def test_workers_die_within_two_seconds(launch: Callable[[str], Launcher]) -> None:
    launcher = launch(GENERATIONS)
    launcher.wait_for("all")
    guardian = launcher.guardian()
    launcher.kill()
    began = time.monotonic()
    while launcher.left() not in ([guardian], []):
        assert time.monotonic() < began + 2
        time.sleep(0.02)
    launcher.wait_until_none_is_left()


def test_a_child_without_a_program_of_its_own_dies_too(launch: Callable[[str], Launcher]) -> None:
    launcher = launch("    print('all' if os.fork() else 'child', flush=True)\n    time.sleep(600)\n")
    launcher.wait_for("all")
    assert len(launcher.left()) == 3
    launcher.kill()
    launcher.wait_until_none_is_left()


def test_one_sweep_does_not_touch_another(launch: Callable[[str], Launcher]) -> None:
    """Nor one that runs inside of a worker of it, before that worker is dead."""
    first, second = launch(GENERATIONS), launch(GENERATIONS)
    for launcher in (first, second):
        launcher.wait_for("all")
    while len(second.left()) < ALL:
        time.sleep(0.02)
    others = {process.pid for process in second.left()}
    first.kill()
    first.wait_until_none_is_left()
    assert {process.pid for process in second.left()} == others
    second.kill()
    second.wait_until_none_is_left()


def test_a_sweep_inside_of_a_sweep_dies_with_it(launch: Callable[[str], Launcher]) -> None:
    inner = LAUNCHER + "    worker = child()\n    Path(sys.argv[1], 'inner').touch()\n    time.sleep(600)\n"
    launcher = launch(f"    subprocess.Popen([sys.executable, '-c', {inner!r}, folder])\n    time.sleep(600)\n")
    folder = Path(launcher.wait_for("watched"))
    while not (folder / "inner").exists():
        time.sleep(0.02)
    assert len(launcher.left()) == 5  # two launchers, their guardians, a worker
    launcher.kill()
    launcher.wait_until_none_is_left()


def test_signals_do_not_end_a_guardian(launch: Callable[[str], Launcher]) -> None:
    launcher = launch(GENERATIONS)
    launcher.wait_for("all")
    guardian = launcher.guardian()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        guardian.send_signal(number)
    os.killpg(launcher.process.pid, signal.SIGINT)  # Ctrl-C: the launcher unwinds, and its stubborn children stay
    _, said = launcher.process.communicate(timeout=20)
    assert said.endswith("KeyboardInterrupt\n")
    assert launcher.wait_until_none_is_left() < 1  # the launcher has waited for its guardian


@pytest.mark.parametrize(("program", "said"), [("    child()\n", ""), (POOL, "4000000.0\n")], ids=["child", "joblib"])
def test_at_a_normal_end_nothing_is_left_and_nothing_is_said(
    program: str, said: str, launch: Callable[[str], Launcher]
) -> None:
    launcher = launch(program + "    began = time.monotonic()\nprint(folder.exists(), time.monotonic() - began < 2)\n")
    launcher.wait_for("watched")
    out, err = launcher.process.communicate(timeout=60)
    assert (launcher.process.returncode, out, err) == (0, f"{said}False True\n", "")
    launcher.wait_until_none_is_left()


def test_the_process_itself_goes_on_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "outer")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = dict(os.environ)
    for _ in range(2):
        with reaper("test") as folder:
            assert folder.parent == tmp_path.resolve()
            assert folder.is_dir()
            child = subprocess.Popen(["sleep", "600"])
            while not (inherited := environment(psutil.Process(child.pid))):
                time.sleep(0.01)  # a process that has just begun shows none
            assert (inherited["TMPDIR"], inherited["JOBLIB_TEMP_FOLDER"]) == (str(folder), str(folder))
            assert inherited[MARK].startswith("test ")
            assert tempfile.gettempdir() == str(tmp_path)
        assert child.wait(20) == -signal.SIGKILL
        assert (dict(os.environ), list(tmp_path.iterdir())) == (before, [])


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 0), (ZeroDivisionError, -signal.SIGKILL)])
def test_after_ctrl_c_processes_may_end_by_themselves(error: type[BaseException], code: int) -> None:
    slow = "import time; time.sleep(0.6)"
    with pytest.raises(error), reaper("test"):
        ends, stays = (subprocess.Popen([sys.executable, "-S", "-c", program]) for program in (slow, STUBBORN))
        raise error
    assert (ends.wait(20), stays.wait(20)) == (code, -signal.SIGKILL)


def test_a_guardian_is_light() -> None:
    others = {*psutil.Process().children()}
    with reaper("a/group of sweeps"):
        (guardian,) = {*psutil.Process().children()} - others
        assert guardian.memory_info().rss < 24 << 20
        before = sum(guardian.cpu_times()[:2])
        time.sleep(1)
        assert sum(guardian.cpu_times()[:2]) - before <= 0.02


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(OSError, match=r"^cannot make the temporary folder .*gone/cnnlab-"), reaper("test"):
        pass
