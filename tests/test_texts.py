"""Text files of one's own that are damaged, or made to do harm: one line that names them, soon, in little memory."""

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.conftest import CONF, Home, is_one_line
from tests.test_commands import said  # noqa: F401 - a fixture
from tests.test_damaged import within

from cnnlab import rates
from cnnlab.texts import DEEPEST, LARGEST, parsed, text, values

Said = Callable[..., tuple[object, str]]


def nested(levels: int, many: int) -> str:
    """YAML in which each list repeats the one before so many times."""
    lists = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * many)}]" for level in range(1, levels)]
    return "\n".join(["a0: &a0 [lol, lol]", *lists, ""])


MERGED = "".join(f"a{level}: &a{level} {{<<: [*a{level - 1}, *a{level - 1}], b{level}: 1}}\n" for level in range(1, 40))
TOO_MUCH = "is too much: more than "
HARMFUL = {
    "nested aliases": (nested(12, 9), f"line 5: {TOO_MUCH}"),
    "a long text, repeated": (f"a: &a {'x' * 10_000}\nb: [{'*a, ' * 100}]\n", f"line 2: {TOO_MUCH}"),
    "merged maps": (f"a0: &a0 {{x: 1}}\n{MERGED}", TOO_MUCH),
    "names that are repeated": (f"? &a {'x' * 300_000}\n: 1\nb: *a\n", f"line 3: {TOO_MUCH}"),
    "itself": ("a: &a [*a]\n", "line 1: *a is inside what it repeats"),
    "many values": (f"a: [{'1,' * 40_000}]\n", TOO_MUCH),
    "many brackets": ("[" * 100_000, f"line 1: brackets or names lie more than {DEEPEST} levels deep"),
    "deep names": ("".join(f"{' ' * level}a:\n" for level in range(900)), f"line {DEEPEST + 1}: brackets or names"),
    "many bytes": ("#" * (LARGEST + 1), f"has more than the {LARGEST:,} bytes"),
    "YAML in text": (repr(nested(12, 9)), "says no options"),
    "no YAML": ("a: [1\nb: 2\n", "line 2: "),
    "a letter of control": ("a: \a\n", "#x0007"),
}


@pytest.mark.parametrize(("content", "why"), HARMFUL.values(), ids=HARMFUL)
@pytest.mark.parametrize("word", ["activation=mine", "activation=mine activation.amplitude=2", "experiment=mine"])
def test_a_config_of_one_s_own(content: str, why: str, word: str, tmp_path: Path, said: Said) -> None:  # noqa: F811
    file = tmp_path / f"own/{word.partition('=')[0]}/mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(content, "utf-8")
    began = time.process_time()
    with within(5 * 10**7):
        for place in (["--config-dir", str(tmp_path / "own")], [f"hydra.searchpath=[{tmp_path / 'own'}]"]):
            code, line = said("train", *place, *word.split(), "data=digits")
            assert code == 1 and is_one_line(line), line
            assert (line.startswith(f"{file}: ") and why in line) or "has no option amplitude" in line, line
    assert time.process_time() - began < 20


@pytest.mark.parametrize("name", ["nested aliases", "many brackets", "YAML in text"])
def test_a_command_ends_soon_in_little_memory(name: str, tmp_path: Path, fresh_home: Home) -> None:
    """A whole process, that has as much memory as an empty config would take."""
    (tmp_path / "own/sweep").mkdir(parents=True)
    (tmp_path / "own/sweep/mine.yaml").write_text(HARMFUL[name][0], "utf-8")
    words = ["train", "--config-dir", str(tmp_path / "own"), "sweep=mine", "data=digits"]
    done = subprocess.run(
        [sys.executable, "-m", "cnnlab", *words],
        env={**os.environ, **fresh_home.places, "OPENBLAS_NUM_THREADS": "1"},
        cwd=fresh_home.folder,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (20, 20)),
    )
    assert (done.returncode, done.stdout) == (1, "") and is_one_line(done.stderr), done.stderr
    assert str(tmp_path / "own/sweep/mine.yaml") in done.stderr
    assert {path.name for path in fresh_home.folder.iterdir()} == {"conf"}


@pytest.mark.parametrize("content", [nested(30, 9).encode(), "größe: 1\n".encode("latin-1")], ids=["nested", "latin-1"])
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("train.yaml", "train"),
        ("train.yaml", "train sweep=smoke"),
        ("train.yaml", "sweep --list"),
        ("rates.yaml", "train"),
    ],
)
def test_the_files_of_a_home(
    file: str,
    words: str,
    content: bytes,
    inside: Home,
    said: Said,  # noqa: F811
) -> None:
    conf = inside.folder / "conf"
    conf.unlink()
    conf.mkdir()
    for each in CONF.iterdir():
        if each.name != file:
            (conf / each.name).symlink_to(each)
    (conf / file).write_bytes(content)
    rates.table.cache_clear()
    try:
        code, line = said(*words.split(), *(["data=digits"] if words == "train" else []))
    finally:
        rates.table.cache_clear()
    assert code == 1 and is_one_line(line) and line.startswith(f"{conf / file}: line "), line
    if file == "rates.yaml":
        with pytest.raises(ValueError, match=f"^{conf / file}: line "):
            rates.save({})


@pytest.mark.parametrize("content", ["_target_: cnnlab.nn.Tanh # ä\n".encode("latin-1"), b"a: 1\n\xff\xfe"])
@pytest.mark.parametrize("command", ["train --cfg job", "train", "train -m seed=0,1"])
def test_what_is_no_utf_8_is_named(content: bytes, command: str, tmp_path: Path, said: Said) -> None:  # noqa: F811
    file = tmp_path / "own/activation/mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    line = 1 + content[:-2].count(b"\n")
    code, told = said(*command.split(), "--config-dir", str(tmp_path / "own"), "activation=mine", "data=digits")
    assert (code, told) == (1, f"{file}: line {line} is no UTF-8: save the file in that encoding")


def test_aliases_in_moderation_are_read(tmp_path: Path, said: Said) -> None:  # noqa: F811
    content = "_target_: cnnlab.nn.Tanh\namplitude: &a 1.5\nslope: *a\n"
    file = tmp_path / "own/activation/mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert values(file) == yaml.safe_load(content)
    code, told = said("train", "--cfg", "job", "--config-dir", str(tmp_path / "own"), "activation=mine")
    assert code == 0 and yaml.safe_load(told)["activation"]["slope"] == 1.5
    twice = parsed("a: &a [1]\nb: *a\nc: &c [2, *a]\nd: *c\n", "x")
    assert twice == {"a": [1], "b": [1], "c": [2, [1]], "d": [2, [1]]}


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda file: str(file.relative_to(CONF)))
def test_the_lab_s_own_configs_have_room_to_grow(file: Path) -> None:
    content = text(file)
    assert parsed(content, str(file), LARGEST // 2) == yaml.safe_load(content)


def test_a_file_without_end_is_not_read_to_it() -> None:
    with within(10**7), pytest.raises(ValueError, match=r"^/dev/zero: has more than"):
        text(Path("/dev/zero"))


@pytest.mark.parametrize("name", ["tags.a{}", ".a{}", "tags[a{}]", "oc.select:tags.a{}, x"])
def test_options_that_name_each_other(name: str, said: Said) -> None:  # noqa: F811
    named = [f"${{{name.format(number)}}}" for number in range(40)]
    words = [f"tags.a{number + 1}='{named[number]} {named[number]}'" for number in range(39)]
    began = time.process_time()
    with within(5 * 10**7):
        code, line = said("train", "tags.a0=0123456789", *words)
    assert code == 1 and is_one_line(line), line
    assert re.match(r"tags\.a1\d: is too much: more than 500,000 letters with all \$\{\.\.\.\} written out", line), line
    assert time.process_time() - began < 20


def test_a_name_made_of_names_and_one_of_itself(said: Said) -> None:  # noqa: F811
    code, line = said("train", "tags.a='${tags.${seed}}'")
    assert (code, line.strip()) == (1, "tags.a=${tags.${seed}}: ${...} inside ${...} is not allowed")
    code, line = said("train", "tags.a='${tags.a}'")
    assert code == 1 and is_one_line(line) and "tags.a" in line
    code, line = said("train", "tags.a='${seed} of ${study}'", "tags.b='${.a} ${oc.env:HOME}'", "--cfg", "job")
    assert code == 0, line
