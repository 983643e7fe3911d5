"""Whatever is typed is a plan, or refused in one line: odd overrides and sweeps through the door of the command line.

`CNNLAB_FUZZ=2000` tries so many in this process (a tenth of them as whole commands) instead of the few of every day.
"""

import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Never

import pytest
from tests.conftest import CONF, Home, is_one_line

from cnnlab import commands
from cnnlab.config import RunConfig
from cnnlab.spelling import Grammar

TRIES = int(os.environ.get("CNNLAB_FUZZ", "60"))
WHOLE = 200 if TRIES >= 2000 else 15
BLOCK = 20  # tries in one test
SECONDS, WAIT = 20, 200  # of work for one, and until it ends on a busy machine: it takes a few
MEMORY = 2 * 2**20  # KiB that this process may need in all
GRAMMAR = Grammar((CONF,))
SWEEPS = (("smoke",), ("smoke",), ("lenet_family", "--only", "linear"), ("lenet_family", "--only", "keras_convnet"))
NAMES = (
    *(*GRAMMAR.groups, *RunConfig.__annotations__),
    *(f"{group}.{name}" for group, one in GRAMMAR.defaults.items() if one for name in GRAMMAR.options(group, one)),
    *("model.hidden", "model.maps", "model.c3", "pooling.size", "loss.criterion", "loss.output.squash", "padding.fill"),
    *("hydra.mode", "hydra.launcher.n_jobs", "hydra/launcher", "hydra.sweep.dir", "hydra.sweeper.only"),
    *("hydra.searchpath", "hydra.callbacks.x", "hydra.job.name", "hydra.run.dir", "hydra.sweeper.params", "hydra"),
    *("_target_", "activation._target_", "model._target_", "defaults", "nonsense", "größe", "a b", "", "."),
)  # fmt: skip
VALUES = (
    *("", " ", "null", "none", "true", "True", "0", "1", "2", "-1", "3.5", "1e3", "1e400", "-1e400", "nan", "inf"),
    *("99999999999999999999", "1e-320", "0x10", "1_000", "007", "½", "٣", "größe", "日本", "\u202e", "a\tb", "a\nb"),
    *("${seed}", "${lr}", "${nope}", "${oc.env:HOME}", "${oc.env:CNNLAB_NOPE}", "${oc.env:CNNLAB_NOPE,3}", "${", "$"),
    *("${oc.decode:'{a: 1}'}", "${oc.create:{_target_:os.getcwd}}", "${epochs}", "${now:%Y}", "${hydra:job.name}"),
    *("${activation}", "${model}", "${a.b}", "${..seed}", "${seed", "\\${seed}", "???", "'", '"', "'x'", '"x"', "\\"),
    *("[]", "[1]", "[1,2]", "[[1]]", "[" * 30, "[" * 200 + "]" * 200, "{}", "{a:1}", "{a:{b:1}}", "{", "[1e400]"),
    *("{_target_:os.getcwd}", "[{_target_:os.getcwd}]", "[-1]", "[0]", "[10000000000]", "[nan]", "[a,b]", "[null]"),
    *("1,2", "1,", ",", ",,", "1,1", "1,x", "tanh,relu", "tanh,", "relu,relu", "1,nan", "[1],[2]", "{a:1},{b:2}"),
    *("choice(1,2)", "choice()", "choice(tanh)", "range(3)", "range(0,3)", "range(0,3,0)", "range(3,0)", "range(0)"),
    *("range(0,1e400)", "range(nan,1)", "range(0,1000000000000)", "range(0,1,0.3)", "interval(0,1)", "interval(1)"),
    *(
        "glob(*)",
        "glob(t*)",
        "glob(zzz)",
        "sort(3,1)",
        "shuffle(1,2)",
        "sort(range(3))",
        "range(0,99999)",
        "int(3.7)",
        "float(3)",
    ),
    *("str(3)", "bool(x)", "json_str(3)", "tag(a,choice(1,2))", "extend_list(1)", "choice(range(0,3))", "range(x,y)"),
    *("x" * 300, "1" * 400, "9" * 5000, "a," * 300, "../../x", "/etc", "file:///etc", "pkg://os", "[pkg://os]"),
    *("MULTIRUN", "RUN", "basic", "joblib", "submitit_slurm", "mnist5k", "mnist", "knn", "test", "hidden"),
)
SIGNS = (*("",) * 40, "+", "++", "~", "-", "--", "@", "$", "%", "#")
AFTER = (*("=",) * 40, "", "==", "=-", "@x=", ".x=")


def odd(number: int) -> tuple[str, ...]:
    """The words of one try, command included; the same each time."""
    draw = random.Random(f"words {number}")
    words = []
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 4))):
        name = draw.choice(NAMES)
        value = draw.choice((*VALUES, *GRAMMAR.groups.get(name, ())[:3] * 8))
        words.append(draw.choice(SIGNS) + name + draw.choice(AFTER) + value)
    words += draw.choices(words, k=int(draw.random() < 0.03))
    words = [word for word in words if word not in ("-", "--", "-h") and "\0" not in word]
    kind = draw.random()
    if kind < 0.3:
        return ("sweep", *draw.choice(SWEEPS), "--dry-run", *words)
    return ("train", *(("-m",) if kind < 0.55 else ()), *words)


class HangsError(BaseException):
    """What was tried has taken too long."""


@contextmanager
def limited() -> Iterator[None]:
    """An alarm for what hangs."""

    def hangs(*_: object) -> Never:
        raise HangsError

    clocks = {signal.SIGPROF: (signal.ITIMER_PROF, SECONDS), signal.SIGALRM: (signal.ITIMER_REAL, WAIT)}
    before = {number: signal.signal(number, hangs) for number in clocks}
    for clock, seconds in clocks.values():
        signal.setitimer(clock, seconds)
    try:
        yield
    finally:
        for number, (clock, _) in clocks.items():
            signal.setitimer(clock, 0)
            signal.signal(number, before[number])


@pytest.fixture
def planned(
    inside: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str]]:
    """How a command ends, which plans but trains nothing, and what it complains of."""
    from cnnlab import composing

    def sweep(asked: composing.Sweep, *_: object) -> int:
        for line in asked.refused:
            assert is_one_line(line)
        return 0

    monkeypatch.setattr("cnnlab.commands.train._make", lambda plan: None)
    monkeypatch.setattr("cnnlab.sweeps.run_sweep", sweep)
    monkeypatch.setattr("cnnlab.tuning.tune", lambda *_: 0)
    monkeypatch.setattr("cnnlab.tracking.store.studies", lambda: [])
    monkeypatch.delenv("CNNLAB_NOPE", raising=False)
    monkeypatch.chdir(inside.folder)

    def planned(*words: str) -> tuple[object, str]:
        code: object = 0
        try:
            with limited():
                commands.main(words)
        except SystemExit as over:
            code = over.code
        said = capsys.readouterr()
        return (1, said.err + code) if isinstance(code, str) else (code, said.err)

    return planned


@pytest.mark.slow
@pytest.mark.parametrize("block", range(TRIES // BLOCK))
def test_what_is_typed_is_planned_or_refused_in_one_line(
    block: int, planned: Callable[..., tuple[object, str]], tries: Callable[..., Iterator[int]]
) -> None:
    for number in tries(range(block * BLOCK, (block + 1) * BLOCK)):
        words = odd(number)
        try:
            code, said = planned(*words)
        except BaseException as error:
            pytest.fail(f"{number} {words}: {type(error).__name__}: {error}")
        assert not code if not said.strip() else code and is_one_line(said), (number, words, code, said[-2000:])
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < MEMORY, (number, words)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(WHOLE))
def test_a_whole_command_ends_in_one_line_too(number: int, home: Home) -> None:
    """Of train only what cannot be, or it would train: `--cfg` composes it."""
    command, *words = odd(10**6 + number)
    said = home.command(command, *words, *(() if "--dry-run" in words or "-m" in words else ("--cfg", "job")))
    assert "Traceback" not in said.out + said.err
    if said.err.strip():
        assert said.code and is_one_line(said.err), (words, said)
    else:  # an arm that cannot be is told among the others
        assert bool(said.code) == ("\nFAILED " in said.out), (words, said)
