"""The page of derivations is that of today's code, and its notebook runs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from experiments.derivations import derivations
from experiments.derivations.derivations import FOLDER, SECTIONS
from experiments.derivations.excerpts import chosen
from experiments.derivations.section import agree
from experiments.derivations.tour import NOTEBOOK, executed
from tests.conftest import ROOT

PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_written_anew_is_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its excerpts are the source's lines, and its numbers those that the engine computes."""
    bare = re.sub(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", r"\1\3", PAGE, flags=re.DOTALL)
    assert len(bare) < len(PAGE) / 2
    (tmp_path / "README.md").write_text(bare, encoding="utf-8")
    derivations.main(tmp_path)
    assert capsys.readouterr().out == f"written: {tmp_path / 'README.md'} and its {len(SECTIONS)} pictures\n"
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == PAGE, "`make study STUDY=derivations` renews it"
    for name in SECTIONS:
        for folder in (tmp_path, FOLDER):
            assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert {path.stem for path in FOLDER.glob("*.png")} == set(SECTIONS)


def test_each_proof_is_in_the_index() -> None:
    files = sorted((ROOT / "tests/nn").glob("test_document_*.py"))
    proofs = {name for file in files for name in re.findall(r"def (test_\d_\d+)_", file.read_text(encoding="utf-8"))}
    index = re.findall(r"^\| 00(\d): .*\| `(test_(\d)_\d+)` \|$", PAGE, re.MULTILINE)
    assert {name for _, name, _ in index} == proofs and len(index) == len(proofs)
    assert all(document == number for document, _, number in index)


def test_links_lead_somewhere() -> None:
    for place in re.findall(r"\]\(([^)#]+)(?:#\w+)?\)", PAGE):
        assert (FOLDER / place).exists(), place


def test_an_excerpt_is_a_head_and_the_statements_that_are_asked_for() -> None:
    text = "def f(a, b):\n    x = 1\n    y = 2\n\n    def g():\n        return x\n\n    return g\n"
    assert chosen(text, ("y =", "return g")) == "def f(a, b):\n    ...\n    y = 2\n\n    ...\n\n    return g"
    for part in ("z =", "return"):
        with pytest.raises(ValueError, match="expected one such statement"):
            chosen(text, (part,))


def test_what_does_not_agree_is_not_said_to() -> None:
    ones = np.ones(3)
    assert agree("Both", (ones, ones + 1e-12)) == "Both agree to 9 digits."
    for other in (ones + 1e-6, np.ones((3, 1)), np.full(3, np.nan)):
        with pytest.raises(ValueError, match="are not the same"):
            agree("Both", (ones, other))


@pytest.mark.slow
def test_the_notebook_runs_to_its_end() -> None:
    """In under a minute of processor time, so that a busy machine does not fail it."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    kept, today = json.loads(NOTEBOOK.read_text(encoding="utf-8")), json.loads(executed())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60
    for old, new in zip(kept["cells"], today["cells"], strict=True):
        assert old["source"] == new["source"] and old.get("execution_count") == new.get("execution_count")
        kinds = [[output["output_type"] for output in cell.get("outputs", [])] for cell in (old, new)]
        assert kinds[0] == kinds[1]


def test_the_notebook_is_kept_with_its_outputs_and_without_a_trace_of_the_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 1_500_000
    said = [output for cell in json.loads(text)["cells"] for output in cell.get("outputs", [])]
    assert {output["output_type"] for output in said} == {"stream", "display_data"}
    assert all(output.get("name", "stdout") == "stdout" for output in said)  # no warnings
    assert sum("image/png" in output.get("data", {}) for output in said) >= 7
    printed = "".join("".join(output.get("text", [])) for output in said)
    assert not re.search(r"/\w+/\w+", printed) and str(Path.home()) not in text
