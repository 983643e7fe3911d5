"""The record of a run, kept here or by a process of its own: what goes wrong there is known here."""

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from tests.conftest import LIMIT, Home

from cnnlab.tracking.apart import log_apart
from cnnlab.tracking.log import Made, RunLog
from cnnlab.tracking.store import FINGERPRINT, KIND

TAGS = {FINGERPRINT: "f", KIND: "run"}
LOGS = {"here": lambda: nullcontext(RunLog()), "apart": log_apart}


@pytest.mark.parametrize("where", LOGS)
def test_a_finished_run_is_not_made_again(where: str, inside: Home) -> None:
    with LOGS[where]() as log:
        log.begin("runs", "a name", {"lr": "0.1"}, TAGS)
        log.metrics({"test/error": 0.5}, 1)
        log.text("config/words.txt", "a few")
        log.upload()
        log.close("FINISHED")
    run = inside.run()
    assert (run.info.status, run.info.run_name, run.data.params) == ("FINISHED", "a name", {"lr": "0.1"})
    assert inside.artifacts(run)["config/words.txt"].read_text() == "a few"
    with LOGS[where]() as log, pytest.raises(Made) as caught:
        log.begin("runs", "a name", {}, TAGS)
        log.check(begun=True)
    assert (caught.value.run_id, caught.value.metrics) == (run.info.run_id, {"test/error": 0.5})


@pytest.mark.parametrize("where", LOGS)
def test_a_figure_that_fails_does_not_stand_in_the_way_of_the_record(where: str, inside: Home) -> None:
    with LOGS[where]() as log:
        log.begin("runs", "a name", {}, TAGS)
        with pytest.raises(ValueError, match="invalid literal"):
            log.figure("plots/nothing.png", int, "no number")
            log.close("FINISHED")
        log.text("traceback.txt", "why")
        log.upload()
        log.close("FAILED")
    assert "traceback.txt" in inside.artifacts(inside.run())


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] == "Z"  # dead, and nobody asked


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_far_end_does_not_outlive_a_killed_near_end(inside: Home) -> None:
    program = """if __name__ == "__main__":
        from multiprocessing import active_children
        from cnnlab.tracking.apart import log_apart
        with log_apart() as log:
            log.begin("runs", "a name", {}, {"cnnlab.fingerprint": "f"})
            log.check(begun=True)
            print(active_children()[0].pid, flush=True)
            input()"""
    file = inside.folder / "near.py"
    file.write_text(program)
    near = subprocess.Popen([sys.executable, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert near.stdout is not None
    far = int(near.stdout.readline())
    near.send_signal(signal.SIGKILL)
    near.communicate()
    limit = time.monotonic() + LIMIT
    while not gone(far):
        assert time.monotonic() < limit
        time.sleep(0.01)
