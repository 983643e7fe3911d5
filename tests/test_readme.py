"""What the README says to type: its commands, options, words and `make` variables are there, and its layer runs.

Its other Python is run in `test_api.py` and `test_newcomer.py`.
"""

import doctest
import re
import shlex
import subprocess
from collections.abc import Callable

import pytest
import yaml
from tests.conftest import CONF, ROOT, Home

from cnnlab import changes, commands
from cnnlab.commands import COMMANDS

README, MAKEFILE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "Makefile"))
LINES = re.findall(
    r"^ {4,}(?:RAY_ADDRESS=\S+ )?((?:cnnlab|make) .+?)(?:  +#.*| # on any of them)?$", README, re.MULTILINE
)
QUOTED = [" ".join(text.split()) for text in re.findall(r"`((?:cnnlab|make)\s[^`]+)`", README)]
TYPED = sorted({line for line in (*LINES, *QUOTED) if "..." not in line})
CNNLAB = [shlex.split(line)[1:] for line in TYPED if line.startswith("cnnlab ")]
MAKE = [shlex.split(line)[1:] for line in TYPED if line.startswith("make ")]


@pytest.fixture
def said(inside: Home, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command prints in this very process, which must go well."""

    def said(*words: str) -> str:
        try:
            commands.main(words)
        except SystemExit as over:
            assert not over.code, f"cnnlab {' '.join(words)}: {over.code}"
        return capsys.readouterr().out

    return said


def test_the_readme_has_commands_of_every_kind():
    assert {name for name, *_ in CNNLAB} >= {*COMMANDS} - {"data", "reproduce", "server"}
    assert len(CNNLAB) > 25 and len(MAKE) > 15


def test_each_command_takes_the_options_that_the_readme_gives_it(said):
    helps = {name: said(name, "--help") for name, *_ in CNNLAB if name in COMMANDS}
    for name, *words in CNNLAB:
        given = {word.partition("=")[0] for word in words if word.startswith("-")} - {"--help"}
        assert name in COMMANDS and [option for option in given if option not in helps[name]] == [], (name, words)


def first(word: str) -> str:
    """A word with the first of its options, where it is a list."""
    name, _, value = word.partition("=")
    return word if value.startswith("[") else f"{name}={value.partition(',')[0]}"


@pytest.mark.slow
def test_each_word_of_the_readme_can_be_chosen(said):
    runs = {
        tuple(first(word) for word in words if "=" in word and word[0] != "-" and "range(" not in word)
        for name, *words in CNNLAB
        if name in ("train", "sweep", "tune", "search")
    }
    for words in runs - {()}:
        assert "activation" in yaml.safe_load(said("train", "--cfg", "job", *words))
    for name, *words in CNNLAB:
        if name in ("sweep", "tune", "report") and words and re.fullmatch(r"[a-z_]+", words[0]):
            assert (CONF / f"sweep/{words[0]}.yaml").is_file()
        if name == "evaluate":
            assert changes.asked(words[1:])


def test_each_target_and_variable_of_make_is_there():
    targets = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)
    for target, *words in MAKE:
        assert target in targets
        for name in (word.partition("=")[0] for word in words):
            assert f"$(value {name})" in MAKEFILE or re.search(rf"[(,]{name}[),]", MAKEFILE), (target, name)


def test_the_file_of_a_sweep_may_say_so():
    (block,) = re.findall(r"((?:^    (?:contrasts|within|staircase):.+\n)+)", README, re.MULTILINE)
    known = {}
    for file in (CONF / "sweep").glob("*.yaml"):
        known |= yaml.safe_load(file.read_text(encoding="utf-8"))["hydra"]["sweeper"]
    asked = yaml.safe_load(block)
    assert set(asked) == {"contrasts", "within", "staircase"} <= set(known)
    for word, *options in re.findall(r"(\w+)=(\w+)(?:->(\w+))?", " ".join([*asked["contrasts"], *asked["staircase"]])):
        assert all((CONF / f"{word}/{option}.yaml").is_file() for option in options if option)


def test_a_layer_returns_its_output_and_its_own_backward():
    example = doctest.DocTestParser().get_doctest(README, {}, "README.md", None, 0)
    assert len(example.examples) == 6
    assert doctest.DocTestRunner().run(example).failed == 0


def test_the_list_of_targets_fits_a_terminal():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    listed = [line.split()[1] for line in lines if line.startswith("make ")]
    assert listed == re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)
    about = re.findall(r"^[a-z-]+:.*## (.+)", MAKEFILE, re.MULTILINE)
    assert all(" ".join(text.split()) in " ".join(done.stdout.split()) for text in about)
