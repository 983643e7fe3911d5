"""MNIST and Fashion-MNIST from four IDX files: small made-up ones, and the real MNIST where it is found."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnnlab.data import Images, archives, fashion_mnist, mnist, mnist_deslanted
from cnnlab.data.archives import FASHION_MNIST, MNIST, SHAPES, locate
from cnnlab.data.deslant import deslanted
from cnnlab.data.idx import pack_idx
from cnnlab.paths import data_folder, root

SMALL = dict(zip(SHAPES, [(60, 6, 4), (60,), (20, 6, 4), (20,)], strict=True))


def contents() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 256, (60, 6, 4)),
        np.arange(60) % 10,
        rng.integers(0, 256, (20, 6, 4)),
        np.arange(20) % 10,
    ]
    return {name: pack_idx(array.astype(np.uint8)) for name, array in zip(SMALL, arrays, strict=True)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with small files of both archives, MNIST's plain and outside a sub-folder."""
    monkeypatch.setattr(archives, "MNIST", replace(MNIST, shapes=SMALL, sha256={}))
    monkeypatch.setattr(archives, "FASHION_MNIST", replace(FASHION_MNIST, shapes=SMALL))
    (tmp_path / "fashion_mnist").mkdir()
    for name, content in contents().items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / "fashion_mnist" / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("load", [mnist, fashion_mnist])
def test_both_archives_are_read_split_and_normalised(folder: Path, load: type[mnist]) -> None:
    data = load(validation=10)
    assert [len(part) for part in (data.train, data.val, data.test)] == [50, 10, 20]
    assert np.bincount(data.val.labels).tolist() == [1] * 10
    assert data.shape == (6, 1, 4)
    assert data.name == load.__name__
    assert data.batch(data.train, slice(None)).std(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    assert load(validation=10, folder=folder).digest == data.digest


def test_deslanted_digits_are_mnists_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "deslanted", lambda images: deslanted(images, side=4))
    data, plain = mnist_deslanted("unit", validation=10), mnist(validation=10)
    assert (data.name, data.shape, data.classes) == ("mnist_deslanted", (4, 1, 4), plain.classes)
    assert data.normalizer.table[255] == 1
    for split in ("train", "val", "test"):
        assert getattr(data, split).digest == deslanted(getattr(plain, split), side=4).digest
    assert len(mnist_deslanted(validation=0).val) == 0


def test_train_takes_the_first_in_file_order(folder: Path) -> None:
    everything, first = mnist(validation=0).train, mnist(validation=0, train=25).train
    assert first.digest == everything[:25].digest
    some = mnist(validation=5, train=25)
    assert sorted(image.tobytes() for part in (some.train, some.val) for image in part.pixels) == sorted(
        image.tobytes() for image in first.pixels
    )


def test_sizes_that_do_not_fit_are_one_line(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"^validation=60: choose a whole number from 0 to 59$"):
        mnist(validation=60)
    with pytest.raises(ValueError, match=r"^validation=tests: choose a whole number from 0 up, or test$"):
        mnist(validation="tests")
    with pytest.raises(ValueError, match=r"^train=61: choose a whole number from 1 to 60$"):
        fashion_mnist(train=61)


def test_the_classes_have_their_names() -> None:
    assert MNIST.classes == tuple("0123456789")
    assert len(FASHION_MNIST.classes) == 10
    assert FASHION_MNIST.classes[0] == "T-shirt/top" and FASHION_MNIST.classes[9] == "Ankle boot"


def test_the_sub_folder_and_the_gz_come_first(folder: Path) -> None:
    file = "train-images-idx3-ubyte"
    assert locate(MNIST, file, folder) == folder / file
    (folder / "mnist").mkdir()
    for name in (file, f"{file}.gz"):  # in rising precedence
        (folder / "mnist" / name).touch()
        assert locate(MNIST, file, folder) == folder / "mnist" / name


@pytest.mark.parametrize("file", SHAPES)
def test_a_missing_file_is_one_line_that_says_what_to_do(folder: Path, file: str) -> None:
    (folder / file).unlink()
    (folder / "fashion_mnist" / f"{file}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=rf"^.*/mnist/{file}\.gz: expected .*, found none; run `make data`$"):
        mnist(validation=5)
    with pytest.raises(FileNotFoundError, match=rf"^.*{file}\.gz: .*; run `make data ARGS=fashion_mnist`$"):
        fashion_mnist(validation=5)


@pytest.mark.parametrize("file", SHAPES)
def test_a_cut_or_wrong_file_is_one_line(folder: Path, file: str) -> None:
    path = folder / file
    whole = path.read_bytes()
    other = contents()["t10k-labels-idx1-ubyte" if "images" in file else "t10k-images-idx3-ubyte"]
    for wrong in (whole[:-5], b"\0\0\x0b" + whole[3:], gzip.compress(whole, mtime=0)[:-9], other):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=rf"^[^\n]*{file}: expected [^\n]*found [^\n]*; run `make data`$"):
            mnist(validation=5)


def test_another_content_is_refused_by_its_hash(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MNIST", replace(MNIST, shapes=SMALL))
    with pytest.raises(ValueError, match=r"^[^\n]*train-images-idx3-ubyte: expected content of SHA-256 ba89104[^\n]*$"):
        mnist(validation=5)


def test_a_label_beyond_the_classes_is_one_line(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").write_bytes(pack_idx(np.full(20, 10, np.uint8)))
    with pytest.raises(
        ValueError, match=r"^[^\n]*t10k-labels-idx1-ubyte: expected labels from 0 to 9, found 10; [^\n]*$"
    ):
        mnist(validation=5)


def test_the_root_is_the_checkout_or_what_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CNNLAB_HOME", raising=False)
    monkeypatch.delenv("CNNLAB_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    checkout = Path(__file__).resolve().parents[1]
    assert root() in (checkout, tmp_path)  # tmp_path if cnnlab is installed elsewhere than in the checkout
    monkeypatch.setenv("CNNLAB_HOME", str(tmp_path / "home"))
    assert root() == tmp_path / "home"
    assert data_folder() == tmp_path / "home" / "data"
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path / "there"))
    assert data_folder() == tmp_path / "there"
    assert data_folder("here") == Path("here")


@pytest.fixture(scope="module")
def full() -> Path:
    home = data_folder()
    if not all(locate(MNIST, file, home).is_file() for file in SHAPES):
        pytest.skip("the full MNIST is not here: `make data` fetches it")
    return home


def test_the_full_mnist_is_the_real_one(full: Path) -> None:
    data = mnist(folder=full)
    assert [len(part) for part in (data.train, data.val, data.test)] == [55000, 5000, 10000]
    assert np.abs(np.bincount(data.val.labels) / 5000 - np.bincount(data.train.labels) / 55000).max() < 5e-4
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert data.digest == "75caa459f7e8c921d1ee241b5a43d259a0b7bcdad8a0efe0fad9ad94c2f98985"


def test_the_embedded_digits_are_training_images_of_the_full_mnist(full: Path, tmp_path: Path) -> None:
    from cnnlab.data import mnist5k

    small = mnist5k(folder=tmp_path)
    large = mnist(folder=full, validation=0)
    assert keys(small.train, small.val, small.test) <= keys(large.train)


def keys(*parts: Images) -> set[bytes]:
    return {image.tobytes() for part in parts for image in part.pixels}
