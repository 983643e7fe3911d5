"""What a record says of its making, by real repositories and git's real answers."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cnnlab.tracking import circumstances
from cnnlab.tracking.circumstances import LARGEST, blas, changes, code

NOBODY = {f"GIT_{who}_{what}": "nobody@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
Git = Callable[..., str]


def repository(folder: Path) -> Git:
    """A repository with one commit of one file, and git in it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | NOBODY

    def git(*words: str) -> str:
        return subprocess.check_output(["git", *words], cwd=folder, text=True, env=clean).strip()

    (folder / "src").mkdir(parents=True)
    (folder / "src/größe.py").write_bytes(b"one\ntwo\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    return git


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A repository that takes the place of the checkout, and a user without settings."""
    monkeypatch.setattr(circumstances, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setenv("HOME", str(tmp_path))
    return repository(tmp_path / "checkout")


def facts() -> tuple[str, str]:
    found = code()
    return found["git.commit"], found["git.dirty"]


def test_a_clean_checkout_and_a_changed_one(git: Git, tmp_path: Path) -> None:
    head = git("rev-parse", "HEAD")
    assert (facts(), changes()) == ((head, "false"), "")
    (tmp_path / "checkout/src/größe.py").write_bytes(b"caf\xe9\ntwo\n")  # no UTF-8
    (tmp_path / "checkout/src/new.py").write_text("new = 1\n")
    assert facts() == (head, "true")
    assert "-one\n+caf\ufffd\n" in changes() and "not in git: src/new.py\nnew = 1\n" in changes()


SETTINGS = {
    "color.ui": "always",
    "color.diff": "always",
    "core.quotePath": "true",
    "diff.algorithm": "patience",
    "diff.context": "0",
    "diff.external": "echo another program",
    "diff.interHunkContext": "9",
    "diff.mnemonicPrefix": "true",
    "diff.noprefix": "true",
    "diff.orderFile": "/nowhere/order",
    "diff.relative": "true",
    "diff.renames": "copies",
    "diff.shouted.textconv": "tr a-z A-Z <",
    "diff.suppressBlankEmpty": "true",
    "diff.wsErrorHighlight": "all",
    "status.showUntrackedFiles": "no",
    "status.short": "true",
}


@pytest.mark.parametrize("scope", ["--global", "--local"])
def test_settings_of_a_user_change_no_record(scope: str, git: Git, tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    (folder / "src/größe.py").write_text("one\ntwo and a half\n")
    (folder / "src/neu größer.py").write_text("new = 1\n")
    (folder / ".git/info/attributes").write_text("*.py diff=shouted\n")
    before = (facts(), changes())
    assert "+++ b/src/größe.py" in before[1] and "not in git: src/neu größer.py\nnew" in before[1]
    for name, value in SETTINGS.items():
        subprocess.run(["git", "config", scope, name, value], cwd=folder, check=True)
    assert (facts(), changes()) == before


def test_the_diff_is_a_patch(git: Git, tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    git("config", "diff.noprefix", "true")
    git("config", "color.ui", "always")
    (folder / "src/größe.py").write_text("one\ntwo and a half\n")
    (tmp_path / "git.diff").write_text(changes(), "utf-8")
    git("checkout", "-q", ".")
    git("apply", str(tmp_path / "git.diff"))
    assert (folder / "src/größe.py").read_text() == "one\ntwo and a half\n"


def test_the_diff_has_no_password(git: Git, tmp_path: Path) -> None:
    """And is a patch all the same."""
    folder = tmp_path / "checkout"
    for name in ("src/größe.py", "src/new.py"):
        (folder / name).write_text("store = 'postgresql://me:s3cret@host/db'\n")
    said = changes()
    assert said.count("postgresql://me:***@host/db") == 2 and "s3cret" not in said
    (tmp_path / "git.diff").write_text(said, "utf-8")
    git("checkout", "-q", ".")
    git("apply", str(tmp_path / "git.diff"))


def test_new_files_alone_make_a_checkout_dirty(git: Git, tmp_path: Path) -> None:
    git("config", "status.showUntrackedFiles", "no")
    (tmp_path / "checkout/src/new.py").write_text("new = 1\n")
    assert facts()[1] == "true"


def test_variables_of_another_repository_are_not_followed(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path / "other")("commit", "-q", "--allow-empty", "-m", "two")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other/.git/index"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "echo another program")
    assert (facts(), changes()) == ((git("rev-parse", "HEAD"), "false"), "")


def refuse_owner(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    os.chown(folder, 12345, 12345)
    os.chown(folder / ".git", 12345, 12345)


def lose_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder / "nowhere"))


def lose_objects(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".git/HEAD").unlink()


def lose_commits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".git/HEAD").write_text("ref: refs/heads/none\n")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (refuse_owner, "detected dubious ownership in repository at"),
        (lose_git, "git cannot be started: No such file or directory"),
        (lose_objects, "not a git repository"),
        (lose_commits, "Needed a single revision"),
    ],
)
def test_the_record_says_why_git_refuses(
    spoil: Callable[[Path, pytest.MonkeyPatch], None], reason: str, git: Git, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    repository(tmp_path / "above")  # a repository above a broken one must not answer for it
    place = tmp_path / "above/below"
    (tmp_path / "checkout").rename(place)
    monkeypatch.setattr(circumstances, "CHECKOUT", place)
    spoil(place, monkeypatch)
    commit, dirty = facts()
    assert commit.startswith(f"unknown: {reason}") and "\n" not in commit
    assert dirty == "unknown"
    assert changes() == ("unknown: bad revision 'HEAD'" if spoil is lose_commits else commit) + "\n"


def test_without_a_repository_there_is_nothing_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circumstances, "CHECKOUT", tmp_path)
    assert (facts(), changes()) == (("none", "unknown"), "")


def test_only_small_source_files_are_copied_and_the_others_named(git: Git, tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    (tmp_path / "secret").write_text("password\n")
    (folder / "conf/.hidden").mkdir(parents=True)
    for name in ("conf/.env", "conf/.hidden/plain.yaml", "conf/model.bin", "conf/fine.yaml", "elsewhere.py"):
        (folder / name).write_text(f"text of {name}\n")
    (folder / "conf/link.yaml").symlink_to(tmp_path / "secret")
    (folder / "conf/folder").symlink_to(tmp_path)
    (folder / "conf/large.py").write_bytes(b"#" * (LARGEST + 1))
    os.mkfifo(folder / "conf/pipe.py")
    found = changes()
    assert "not in git: conf/fine.yaml\ntext of conf/fine.yaml\n" in found
    assert found.count("text of ") == 1 and "password" not in found and len(found) < 1000
    left_out = {line.partition("left out ")[2] for line in found.splitlines() if "left out" in line}
    assert left_out == {
        "(hidden): conf/.env",
        "(hidden): conf/.hidden/plain.yaml",
        "(a symbolic link): conf/link.yaml",
        "(a symbolic link): conf/folder",
        "(no source file): conf/model.bin",
        f"(larger than {LARGEST:,} bytes): conf/large.py",
    }


def test_changes_of_hidden_files_and_very_large_ones_are_named_alone(git: Git, tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    for name in (".env", "conf/.hidden/plain.yaml", "src/large.csv", "src/fine.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("before\n")
    git("add", "--all", "--force")
    git("commit", "-q", "-m", "more")
    for name in (".env", "conf/.hidden/plain.yaml"):
        (folder / name).write_text("password\n")
    (folder / "src/large.csv").write_text("1,2\n" * LARGEST)
    (folder / "src/fine.py").write_text("after\n")
    found = changes()
    assert "+after" in found and "password" not in found and len(found) < 2000
    assert [line for line in found.splitlines() if "left out" in line] == [
        "left out (hidden): .env",
        "left out (hidden): conf/.hidden/plain.yaml",
        f"left out (larger than {LARGEST:,} bytes): src/large.csv",
    ]


def test_the_blas_is_named_with_its_kernels() -> None:
    from threadpoolctl import threadpool_info

    kernels = {pool["architecture"] for pool in threadpool_info() if pool["internal_api"] == "openblas"}
    assert blas() != "unknown" and all(f" {kernel}" in blas() for kernel in kernels)
