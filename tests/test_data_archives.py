"""Sets that come as four IDX files: small made-up ones, and the real MNIST where it is found."""

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import is_one_line

from cnnlab.data import Dataset, Images, archives, fashion_mnist, idx, mnist, mnist_deslanted
from cnnlab.data.archives import FASHION_MNIST, FILES, MNIST, locate, read_checked
from cnnlab.data.deslant import deslanted
from cnnlab.data.idx_format import pack_idx
from cnnlab.paths import data_folder, root


def contents(seed: int = 0, height: int = 6, width: int = 4) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    arrays = [
        rng.integers(0, 256, (60, height, width)),
        (np.arange(60) + seed) % 10,
        rng.integers(0, 256, (20, height, width)),
        (np.arange(20) + seed) % 10,
    ]
    return {name: pack_idx(array.astype(np.uint8)) for name, array in zip(FILES, arrays, strict=True)}


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with small files of both published sets, MNIST's plain and outside a sub-folder."""
    digits, clothes = contents(), {name: packed(content) for name, content in contents(1).items()}
    sha256 = {name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in digits.items()}
    md5 = {name: f"md5:{hashlib.md5(content).hexdigest()}" for name, content in clothes.items()}
    monkeypatch.setitem(archives.ARCHIVES, "mnist", replace(MNIST, digests=sha256))
    monkeypatch.setitem(archives.ARCHIVES, "fashion_mnist", replace(FASHION_MNIST, digests=md5))
    (tmp_path / "fashion_mnist").mkdir()
    for name in FILES:
        (tmp_path / name).write_bytes(digits[name])
        (tmp_path / "fashion_mnist" / f"{name}.gz").write_bytes(clothes[name])
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path))
    return tmp_path


def refused(kind: type[Exception], call: Callable[..., Dataset], *reasons: str, **words: Any) -> None:
    with pytest.raises(kind) as caught:
        call(**{"validation": 5, **words})
    message = str(caught.value)
    assert is_one_line(message) and not [reason for reason in reasons if reason not in message], message


@pytest.mark.parametrize("load", [mnist, fashion_mnist])
def test_both_published_sets_are_read_split_and_normalised(folder: Path, load: Callable[..., Dataset]) -> None:
    data = load(validation=10)
    assert [len(part) for part in (data.train, data.val, data.test)] == [50, 10, 20]
    assert np.bincount(data.val.labels).tolist() == [1] * 10
    assert data.shape == (6, 1, 4)
    assert data.name == load.__name__
    assert data.batch(data.train, slice(None)).std(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    assert load(validation=10, folder=folder).digest == data.digest


def test_deslanted_digits_are_mnists_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = {name: contents(0, 24, 28)[name] for name in FILES}
    sha256 = {name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in digits.items()}
    monkeypatch.setitem(archives.ARCHIVES, "mnist", replace(MNIST, digests=sha256))
    for name, content in digits.items():
        (folder / name).write_bytes(content)
    data, plain = mnist_deslanted("unit", validation=10), mnist(validation=10)
    assert (data.name, data.shape, data.classes) == ("mnist_deslanted", (20, 1, 20), plain.classes)
    assert data.normalizer.table[255] == 1
    for split in ("train", "val", "test"):
        assert getattr(data, split).digest == deslanted(getattr(plain, split)).digest
    assert len(mnist_deslanted(validation=0).val) == 0
    assert mnist("unit", validation=10, deslant=True).digest == data.digest


def test_train_takes_the_first_in_file_order(folder: Path) -> None:
    everything, first = mnist(validation=0).train, mnist(validation=0, train=25).train
    assert first.digest == everything[:25].digest
    some = mnist(validation=5, train=25)
    assert sorted(image.tobytes() for part in (some.train, some.val) for image in part.pixels) == sorted(
        image.tobytes() for image in first.pixels
    )


def test_sizes_that_do_not_fit_are_one_line(folder: Path) -> None:
    refused(ValueError, mnist, "validation=60: choose a whole number from 0 to 59", validation=60)
    refused(ValueError, mnist, "validation=tests: choose a whole number from 0 up, or test", validation="tests")
    refused(ValueError, fashion_mnist, "train=61: choose a whole number from 1 to 60", train=61)
    refused(ValueError, mnist, "deslant=true: needs at least 20x20 pixels, but these images have 6x4", deslant=True)


def test_the_classes_have_their_names() -> None:
    assert MNIST.classes == tuple("0123456789")
    assert len(FASHION_MNIST.classes) == 10
    assert FASHION_MNIST.classes[0] == "T-shirt/top" and FASHION_MNIST.classes[9] == "Ankle boot"


@pytest.mark.parametrize("archive", [MNIST, FASHION_MNIST])
def test_the_sub_folder_and_the_gz_come_first(tmp_path: Path, archive: archives.Archive) -> None:
    file, inside = FILES[0], tmp_path / archive.name
    assert locate(archive, file, tmp_path) == inside / f"{file}.gz"
    inside.mkdir()
    for path in (tmp_path / file, tmp_path / f"{file}.gz", inside / file, inside / f"{file}.gz"):
        path.touch()  # in rising precedence
        assert locate(archive, file, tmp_path) == path


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_one_line_that_says_what_to_do(folder: Path, file: str) -> None:
    (folder / file).unlink()
    names = [f"{name}.gz" for name in FILES]
    refused(FileNotFoundError, mnist, f"/mnist/{file}.gz: expected ", *names, "; run `make data ARGS=mnist`")
    (folder / "fashion_mnist" / f"{file}.gz").unlink()
    refused(FileNotFoundError, fashion_mnist, f"{file}.gz: expected ", *names, "; run `make data ARGS=fashion_mnist`")


@pytest.mark.parametrize("file", FILES)
def test_a_cut_or_wrong_file_is_one_line(folder: Path, file: str) -> None:
    path = folder / file
    whole = path.read_bytes()
    for wrong in (whole[:-5], b"\0\0\x0b" + whole[3:], packed(whole)[:-9], whole[:-1] + b"\x01"):
        path.write_bytes(wrong)
        refused(ValueError, mnist, f"{path}: ", "expected ", "found ", "; run `make data ARGS=mnist`")


def test_files_in_each_others_places_are_called_by_their_names(folder: Path) -> None:
    images, labels = folder / FILES[0], folder / FILES[2]
    images.write_bytes(labels.read_bytes())
    refused(ValueError, mnist, f"{images}: expected {FILES[0]} of mnist, found {FILES[2]} of mnist; run ")


@pytest.mark.parametrize("pack", [bytes, packed])
def test_mnists_files_are_not_taken_for_fashion_mnists(folder: Path, pack: Callable[[bytes], bytes]) -> None:
    for name, content in contents().items():
        (folder / "fashion_mnist" / f"{name}.gz").write_bytes(pack(content))
    refused(ValueError, fashion_mnist, f"/fashion_mnist/{FILES[0]}.gz: expected ", f"found {FILES[0]} of mnist; run ")


def test_fashion_mnist_must_be_the_files_as_published(folder: Path) -> None:
    """A plain file, or one packed again, has the right bytes: but nothing that was published can say so."""
    path = folder / "fashion_mnist" / f"{FILES[1]}.gz"
    plain = gzip.decompress(path.read_bytes())
    for content in (plain, gzip.compress(plain, 1, mtime=1), packed(plain[:-1] + b"\7")):
        path.write_bytes(content)
        found = hashlib.md5(content).hexdigest()
        reasons = f"{path}: cannot be verified as fashion_mnist's: expected the .gz as it was published, of MD5 ", found
        refused(ValueError, fashion_mnist, *reasons, "; run `make data ARGS=fashion_mnist`")


def test_digests_are_the_published_ones(folder: Path) -> None:
    """Those of the files that Zalando Research, Torchvision and Keras name; MNIST's are tried on the files below."""
    assert [FASHION_MNIST.digests[file][4:12] for file in FILES] == ["8d4fb7e6", "25c81989", "bef4ecab", "bb300cfd"]
    assert {len(digest) for digest in FASHION_MNIST.digests.values()} == {len("md5:") + 32}
    (folder / FILES[0]).write_bytes(contents(9)[FILES[0]])
    with pytest.raises(ValueError, match=r"expected plain bytes of SHA-256 ba891046e6505d7aad[0-9a-f]+, found "):
        read_checked(MNIST, FILES[0], folder / FILES[0])


def save(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_a_set_in_mnists_format_is_called_after_its_folder_or_as_it_is_said(tmp_path: Path) -> None:
    home = save(tmp_path / "kmnist", {f"{name}.gz": packed(content) for name, content in contents(2, 5, 7).items()})
    data = idx(folder=home, validation=10)
    assert (data.name, data.shape, data.classes) == ("kmnist", (5, 1, 7), tuple("0123456789"))
    assert [len(split) for split in (data.train, data.val, data.test)] == [50, 10, 20]
    raw = np.frombuffer(contents(2, 5, 7)[FILES[2]], np.uint8, offset=16).reshape(20, 5, 7)
    assert (data.test.pixels == raw).all() and (data.test.labels == np.arange(2, 22) % 10).all()
    named = idx(folder=str(home), validation=10, name="kuzushiji", classes=list("abcdefghij"))
    assert (named.name, named.classes[9]) == ("kuzushiji", "j") and named.digest != data.digest


def test_emnists_files_are_known_by_their_names_and_put_upright(tmp_path: Path) -> None:
    """Several sets in one folder, labels from 1, rows and columns swapped."""
    rng = np.random.default_rng(3)
    drawn, home = {}, tmp_path / "gzip"
    for name in ("emnist-letters", "emnist-digits"):
        for part, count in (("train", 40), ("test", 13)):
            pixels, labels = rng.integers(0, 256, (count, 4, 6)), np.arange(count) % 3 + (name == "emnist-letters")
            drawn[name, part] = pixels, labels
            swapped = np.ascontiguousarray(pixels.transpose(0, 2, 1).astype(np.uint8))
            images, numbers = packed(pack_idx(swapped)), pack_idx(labels.astype(np.uint8))
            save(home, {f"{name}-{part}-images-idx3-ubyte.gz": images, f"{name}-{part}-labels-idx1-ubyte": numbers})
    letters = idx(folder=home, name="emnist-letters", transposed=True, validation=0)
    assert (letters.name, letters.classes, letters.shape) == ("emnist-letters", ("1", "2", "3"), (4, 1, 6))
    for part, images in (("train", letters.train), ("test", letters.test)):
        pixels, labels = drawn["emnist-letters", part]
        assert (images.pixels == pixels).all() and (images.labels == labels - 1).all()
        assert images.pixels.flags.c_contiguous
    assert idx(folder=home, name="emnist-digits", validation=0).shape == (6, 1, 4)
    refused(ValueError, idx, "name=null: choose one of emnist-digits, emnist-letters, the sets in ", folder=home)
    refused(ValueError, idx, "name=kmnist: choose one of emnist-digits, ", folder=home, name="kmnist")
    for file in home.glob("emnist-digits*"):
        file.unlink()
    assert idx(folder=home, validation=0).name == "emnist-letters"
    refused(ValueError, idx, "name=letters: choose one of emnist-letters, ", folder=home, name="letters")


def test_qmnists_labels_are_the_first_column_of_a_table(tmp_path: Path) -> None:
    files, home = contents(4), tmp_path / "q"
    for part, file in (("train", "train"), ("test", "t10k")):
        labels = np.frombuffer(files[f"{file}-labels-idx1-ubyte"], np.uint8, offset=8)
        table = np.stack([labels, *np.full((7, len(labels)), 9999)], 1)
        header = bytes([0, 0, 0x0C, 2]) + np.array(table.shape, ">u4").tobytes()
        save(
            home,
            {
                f"qmnist-{part}-images-idx3-ubyte.gz": packed(files[f"{file}-images-idx3-ubyte"]),
                f"qmnist-{part}-labels-idx2-int.gz": packed(header + table.astype(">i4").tobytes()),
            },
        )
    data = idx(folder=home, validation=0)
    assert (data.name, data.classes) == ("qmnist", tuple("0123456789"))
    assert (data.test.labels == np.arange(4, 24) % 10).all()


def test_published_sets_are_not_taken_under_another_name(folder: Path) -> None:
    reasons = f"/{FILES[0]}: this is {FILES[0]} of mnist; use data=mnist"
    refused(ValueError, idx, reasons, name="kmnist")
    clothes = folder / "fashion_mnist"
    refused(ValueError, idx, "name=fashion_mnist: data=fashion_mnist reads that set and verifies it", folder=clothes)
    refused(ValueError, idx, "this is train-images-idx3-ubyte of fashion_mnist", folder=clothes, name="clothes")
    (folder / FILES[0]).write_bytes(contents(5)[FILES[0]])
    refused(ValueError, idx, f"{FILES[1]}: this is {FILES[1]} of mnist", name="mine")  # other images, MNIST's labels


IMAGES, LABELS = FILES[0], FILES[1]
NONE = [pack_idx(np.zeros(shape, np.uint8)) for shape in ((0, 6, 4), (0,))]
LABELS_OF_59 = pack_idx(np.zeros(59, np.uint8))


@pytest.mark.parametrize(
    ("files", "words", "reasons"),
    [
        ({LABELS: LABELS_OF_59}, {}, (LABELS, "expected", "(60, 6, 4) and (59,)")),
        ({LABELS: pack_idx(np.zeros((60, 0), np.uint8))}, {}, (LABELS, "(60, 0)")),
        ({IMAGES: contents()[LABELS]}, {}, ("expected bytes (N, H, W)", "uint8 (60,)")),
        ({IMAGES: contents()[IMAGES].replace(b"\0\0\x08", b"\0\0\x0c", 1)}, {}, (IMAGES, "found 1440")),
        ({IMAGES: contents()[IMAGES][:-1]}, {}, (IMAGES, "found 1439")),
        ({IMAGES: contents(0, 4, 6)[IMAGES]}, {}, ("mine: expected images of one size", "(55, 4, 6)", "(20, 6, 4)")),
        ({FILES[3]: pack_idx(np.full(20, 10, np.uint8))}, {}, ("the test label 10 is that of no training image",)),
        ({IMAGES: NONE[0], LABELS: NONE[1]}, {}, ("the test label 0 is that of no training image",)),
        ({FILES[2]: NONE[0], FILES[3]: NONE[1]}, {}, ("expected images for training and for the test", "(0, 6, 4)")),
        ({}, {"classes": ["a", "b"]}, ("classes=a,b: choose 10 names",)),
        ({}, {"validation": 60}, ("validation=60: choose a whole number from 0 to 59",)),
    ],
)
def test_what_is_wrong_with_such_a_set_is_one_line(
    tmp_path: Path, files: dict[str, bytes], words: dict[str, Any], reasons: tuple[str, ...]
) -> None:
    home = save(tmp_path / "mine", contents() | files)
    refused(ValueError, idx, *reasons, folder=home, **words)


@pytest.mark.parametrize("file", FILES)
def test_such_a_set_has_four_files(tmp_path: Path, file: str) -> None:
    home = save(tmp_path / "mine", contents())
    (home / file).unlink()
    part, kind = "train" if "train" in file else "test", "images" if "images" in file else "labels"
    refused(FileNotFoundError, idx, f"{home}: expected a file with the {kind} of the {part} part", folder=home)


def test_a_folder_without_such_a_set_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path))
    (tmp_path / FILES[0]).mkdir()
    (tmp_path / "notes-images.txt").touch()
    for words in ({}, {"folder": tmp_path / "nowhere"}):
        refused(FileNotFoundError, idx, ": expected files such as train-images-idx3-ubyte.gz, found none; ", **words)


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
    if not all(locate(MNIST, file, home).is_file() for file in FILES):
        pytest.skip("the full MNIST is not here: `make data` fetches it")
    return home


def test_the_full_mnist_is_the_real_one(full: Path) -> None:
    data = mnist(folder=full)
    assert [len(part) for part in (data.train, data.val, data.test)] == [55000, 5000, 10000]
    assert np.abs(np.bincount(data.val.labels) / 5000 - np.bincount(data.train.labels) / 55000).max() < 5e-4
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    splits = [images.digest[:16] for images in (data.train, data.val, data.test)]
    assert splits == ["120ef5810d072b94", "55cb3b3808f84379", "f5147f7baa1787ec"]
    assert (data.normalizer.scale, data.normalizer.shift) == (3.2453615615085303, -0.4240749075383819)
    upright = mnist_deslanted(folder=full, test=2000)
    assert upright.val.digest[:16] == "ac0f0bf77e7076dd" and upright.normalizer.scale == 2.6624689659037823


def test_the_real_mnist_is_not_taken_for_fashion_mnist(full: Path, tmp_path: Path) -> None:
    (tmp_path / "fashion_mnist").mkdir()
    for file in FILES:
        path = locate(MNIST, file, full)
        (tmp_path / "fashion_mnist" / path.name).symlink_to(path)
    refused(ValueError, fashion_mnist, "found train-images-idx3-ubyte of mnist; run ", folder=tmp_path)


def test_the_embedded_digits_are_training_images_of_the_full_mnist(full: Path) -> None:
    from cnnlab.data import mnist5k

    small = mnist5k()
    large = mnist(folder=full, validation=0)
    assert keys(small.train, small.val, small.test) <= keys(large.train)


def keys(*parts: Images) -> set[bytes]:
    return {image.tobytes() for part in parts for image in part.pixels}
