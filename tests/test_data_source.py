"""A source of images becomes a word of `data=...`: what is done to its images, and how little a new one takes."""

import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hydra.utils import instantiate
from tests.conftest import CONF, plan_of

from cnnlab import data as data_room
from cnnlab.config import typed
from cnnlab.data import Dataset, Images, RawData, source
from cnnlab.data.deslant import deslanted
from cnnlab.data.scaling import enlarged, scaled

COMMON = [
    "normalization",
    "validation",
    "train",
    "test",
    "size",
    "margin",
    "draw",
    "resize",
    "enlarge",
    "deslant",
    "folder",
    "subset",
    "subset_seed",
]


def images(count: int, *shape: int, seed: int = 1) -> Images:
    return Images(np.random.default_rng(seed).integers(0, 17, (count, *shape), np.uint8), np.arange(count) % 10)


@source(validation=10)
def made_up(height: int = 6, width: int = 4, colours: bool = False) -> RawData:
    """Sixty images for training, forty for the test."""
    shape = (height, width, 3) if colours else (height, width)
    return RawData("made up", images(60, *shape), images(40, *shape, seed=2), tuple("0123456789"), levels=16)


RAW = images(60, 6, 4), images(40, 6, 4, seed=2)


def test_the_first_images_are_taken_of_either_part() -> None:
    few, all_ = made_up(train=30, test=12), made_up()
    assert [len(split) for split in (few.train, few.val, few.test)] == [20, 10, 12]
    assert few.test.digest == all_.test[:12].digest == RAW[1][:12].digest
    for count in (0, 41):
        with pytest.raises(ValueError, match=rf"^test={count}: choose a whole number from 1 to 40$"):
            made_up(test=count)
    hidden = made_up(test="hidden")
    assert len(hidden.test) == 0 and hidden.train.digest == all_.train.digest and hidden.digest != all_.digest
    with pytest.raises(ValueError, match=r"^test=some: choose a whole number from 1 to 40$"):
        made_up(test="some")


def test_images_are_drawn_at_random_by_a_seed() -> None:
    """As Karpathy's reproduction of 1989 does: training images first, then test images, by one generator."""
    data = made_up("unit", 0, train=20, test=10, draw=1337)
    old = np.random.RandomState(1337)
    training, tests = (old.permutation(len(images))[:count] for images, count in zip(RAW, (20, 10), strict=True))
    assert data.train.digest == RAW[0][training].digest and data.test.digest == RAW[1][tests].digest
    assert made_up("unit", 0, draw=1338).train.digest != made_up("unit", 0, draw=1337).train.digest
    with pytest.raises(ValueError, match=r"^draw=-1: choose a whole number from 0 to 4294967295$"):
        made_up(draw=-1)


def test_a_subset_is_drawn_of_what_is_not_held_out() -> None:
    whole, drawn, again, other, fewer = (
        made_up(**words)
        for words in (
            {},
            {"subset": 20, "subset_seed": 3},
            {"subset": 20, "subset_seed": 3},
            {"subset": 20},
            {"subset": 9, "subset_seed": 3},
        )
    )
    assert {data.val.digest for data in (drawn, other, fewer)} == {whole.val.digest}
    assert {data.test.digest for data in (drawn, other, fewer)} == {whole.test.digest}
    order = np.random.RandomState(3).permutation(50)
    assert drawn.train.digest == whole.train[np.sort(order[:20])].digest
    assert fewer.train.digest == whole.train[np.sort(order[:9])].digest  # some of the twenty
    assert (len(drawn.train), drawn.digest) == (20, again.digest)
    assert len({data.digest for data in (whole, drawn, other, fewer)}) == 4
    assert drawn.normalizer != whole.normalizer  # it knows the images that train, and no others
    assert made_up(subset=20, subset_seed=0).digest == other.digest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"subset": 51}, "subset=51: choose a whole number from 1 to 50"),
        ({"subset": 0}, "subset=0: choose a whole number from 1 to 50"),
        ({"subset": 5, "subset_seed": -1}, "subset_seed=-1: choose a whole number from 0 to 4294967295"),
        ({"subset_seed": 1}, "subset_seed=1: choose null, or how many images with subset="),
    ],
    ids=str,
)
def test_a_subset_that_cannot_be_is_one_line(words: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        made_up(**words)
    assert str(caught.value) == said


def test_all_splits_are_processed_and_normalised_after_that() -> None:
    data = made_up(size=3, margin=1, enlarge=2)
    assert data.shape == (5, 1, 5)
    assert data.test.digest == scaled(enlarged(RAW[1], 2), 3, 1).digest
    assert data.batch(data.train, slice(None)).mean(dtype=np.float64) == pytest.approx(0, abs=1e-6)
    assert (data.name, data.normalizer.levels) == ("made up", 16)
    assert len({made_up(**words).digest for words in ({}, {"size": 3}, {"margin": 1}, {"enlarge": 2})}) == 4


def test_images_are_enlarged_then_made_upright_then_scaled() -> None:
    data = made_up(height=7, width=8, enlarge=4, deslant=True, size=16, margin=6)
    expected = scaled(deslanted(enlarged(images(40, 7, 8, seed=2), 4)), 16, 6)
    assert data.shape == (28, 1, 28) and data.test.digest == expected.digest


def test_watched_test_images_are_no_validation_images() -> None:
    data, plain = made_up(validation="test"), made_up(validation=0)
    assert data.watch_test and not plain.watch_test and not made_up().watch_test
    assert (len(data.train), len(data.val), len(data.test)) == (60, 0, 40)
    assert (data.train.digest, data.test.digest) == (plain.train.digest, plain.test.digest)
    assert data.normalizer == plain.normalizer and data.digest != plain.digest
    with pytest.raises(ValueError, match=r"^validation=tests: choose a whole number from 0 up, or test$"):
        made_up(validation="tests")


def test_colour_images_go_all_the_way() -> None:
    data = made_up(colours=True, enlarge=3, size=20, margin=2, normalization="unit")
    assert data.shape == (24, 3, 24) and [len(split) for split in (data.train, data.val, data.test)] == [50, 10, 40]
    assert data.batch(data.train, slice(0, 8)).shape == (24, 3, 24, 8)
    with pytest.raises(ValueError, match=r"^deslant=true: .* in colour$"):
        made_up(colours=True, deslant=True)


@pytest.mark.parametrize("empty", [0, 1])
def test_a_source_without_images_is_one_line(empty: int) -> None:
    parts = [images(0 if number == empty else 5, 3, 2) for number in (0, 1)]
    load = source()(lambda: RawData("nothing", *parts, ("a",)))
    with pytest.raises(
        ValueError, match=r"^nothing: expected images for training and for the test, found \(\d, 3, 2\)"
    ):
        load()


def test_a_source_says_truly_what_it_takes() -> None:
    parameters, hints = inspect.signature(made_up).parameters, typing.get_type_hints(made_up)
    assert [*parameters] == [*COMMON, "height", "width", "colours"]
    assert set(hints) == {*parameters, "return"} and hints["return"] is Dataset
    assert (parameters["validation"].default, parameters["height"].default) == (10, 6)
    assert (hints["validation"], hints["size"], hints["colours"]) == (int | str, int | None, bool)
    assert (made_up.__name__, made_up.__doc__) == ("made_up", "Sixty images for training, forty for the test.")
    assert made_up("unit").normalizer.scale == 1
    plain = source()(lambda: RawData("plain", *RAW, tuple("0123456789")))()
    assert (plain.train.digest, len(plain.val), plain.test.digest) == (RAW[0].digest, 0, RAW[1].digest)
    for call in (
        lambda: made_up(heigth=3),
        lambda: made_up("unit", 1, None, None, None, 0, None, "area", 1, False, None, 6),
    ):
        with pytest.raises(TypeError, match="argument"):
            call()


@pytest.mark.parametrize("path", sorted((CONF / "data").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_of_the_configs_names_what_its_source_takes(path: Path) -> None:
    node = yaml.safe_load(path.read_text("utf-8"))
    target = node.pop("_target_")
    assert target == f"cnnlab.data.{path.stem}"
    parameters = inspect.signature(getattr(data_room, path.stem)).parameters
    assert set(parameters) - set(node) <= {"folder"} and set(node) <= set(parameters)
    different = {name for name, value in node.items() if value != parameters[name].default}
    assert different == ({"enlarge"} if path.stem == "digits" else set())
    assert typed(plan_of().config | {"data": {"_target_": target, **node}})["data"] == {"_target_": target, **node}
    for wrong, reason in (({"sizes": 3}, "takes normalization, "), ({"train": 1.5}, "a whole number or null")):
        with pytest.raises(ValueError, match=rf"^data\.{next(iter(wrong))}.*{reason}"):
            typed(plan_of().config | {"data": {"_target_": target, **wrong}})


# What a newcomer writes to add a set of their own.
DOODLES = '''
"""Doodles: small colour drawings in an .npz file."""

from pathlib import Path

import numpy as np

from cnnlab.data import Images, RawData, source


@source(validation=4)
def doodles(folder: Path) -> RawData:
    """The doodles of `doodles.npz` in the data folder."""
    with np.load(folder / "doodles.npz") as kept:
        train, test = (Images(kept[f"{part}_pixels"], kept[f"{part}_labels"]) for part in ("train", "test"))
    return RawData("doodles", train, test, classes=("cat", "dog"))
'''
YAML = """
_target_: cnnlab.data.doodles.doodles
validation: 4
train: null
"""


@pytest.fixture
def doodles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Dataset]:
    """The newcomer's source, its file where the set is, in this very process."""
    (tmp_path / "doodles.py").write_text(DOODLES)
    spec = importlib.util.spec_from_file_location("cnnlab.data.doodles", tmp_path / "doodles.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "cnnlab.data.doodles", module)
    monkeypatch.setattr(data_room, "doodles", module, raising=False)
    drawn = {"train": images(20, 5, 7, 3), "test": images(6, 5, 7, 3, seed=2)}
    arrays: dict[str, Any] = {f"{part}_pixels": drawn[part].pixels for part in drawn}
    arrays |= {f"{part}_labels": drawn[part].labels % 2 for part in drawn}
    np.savez(tmp_path / "doodles.npz", **arrays)
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path))
    return module.doodles


def test_a_new_set_takes_at_most_twenty_lines(doodles: Callable[..., Dataset], tmp_path: Path) -> None:
    assert len(DOODLES.strip().splitlines()) + len(YAML.strip().splitlines()) <= 20
    node = typed(plan_of().config | {"data": yaml.safe_load(YAML)})["data"]
    data = instantiate(node)
    assert (data.name, data.shape, data.classes) == ("doodles", (5, 3, 7), ("cat", "dog"))
    assert [len(split) for split in (data.train, data.val, data.test)] == [16, 4, 6]
    assert instantiate(node, train=10, folder=str(tmp_path)).train.digest == doodles(train=10).train.digest
    with pytest.raises(ValueError, match=r"^data\.tran: cnnlab\.data\.doodles\.doodles takes normalization, "):
        typed(plan_of().config | {"data": node | {"tran": 3}})
