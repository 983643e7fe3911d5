"""Images, normalisation and batches, on small made-up images."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cnnlab.data import Dataset, Images, Normalizer
from cnnlab.data.dataset import normalizer
from cnnlab.data.splits import hold_out, stratified_order


def images(n: int = 30, height: int = 5, width: int = 3, seed: int = 0) -> Images:
    rng = np.random.default_rng(seed)
    return Images(rng.integers(0, 256, (n, height, width), dtype=np.uint8), np.arange(n, dtype=np.int64) % 3)


def dataset(rule: Normalizer, train: Images | None = None) -> Dataset:
    empty = images()[:0]
    return Dataset("made up", train or images(), empty, images(seed=1), ("a", "b", "c"), rule)


def test_lecun_is_the_papers_numbers_exactly() -> None:
    rule = normalizer("lecun", images().pixels)
    assert rule.background == -0.1
    assert rule.table.dtype == np.float32 and rule.table.shape == (256,)
    assert rule.table[0] == np.float32(-0.1) and rule.table[255] == np.float32(1.175)
    assert normalizer("lecun", images().pixels, levels=16).table[16] == np.float32(1.175)


def test_unit_is_zero_to_one() -> None:
    rule = normalizer("unit", images().pixels)
    assert rule.background == 0 and rule.table[0] == 0 and rule.table[255] == 1


@pytest.mark.parametrize("levels", [255, 16])
def test_standardised_has_mean_zero_and_deviation_one_on_the_training_pixels(levels: int) -> None:
    train = Images(np.minimum(images().pixels, np.uint8(levels)), images().labels)
    inputs = dataset(normalizer("standardised", train.pixels, levels), train).batch(train, slice(None))
    assert inputs.mean(dtype=np.float64) == pytest.approx(0, abs=1e-6)
    assert inputs.std(dtype=np.float64) == pytest.approx(1, abs=1e-6)


def test_standardised_agrees_with_the_textbook_formula() -> None:
    values = images().pixels / 255
    rule = normalizer("standardised", images().pixels)
    assert (rule.scale, rule.shift) == pytest.approx((1 / values.std(), -values.mean() / values.std()), rel=1e-12)


def test_standardised_refuses_pixels_that_are_all_alike() -> None:
    with pytest.raises(ValueError, match=r"^normalization=standardised: .*choose lecun or unit$"):
        normalizer("standardised", np.full((2, 3, 3), 7, np.uint8))


def test_a_wrong_normalization_names_the_choices() -> None:
    with pytest.raises(ValueError, match=r"^normalization=foo: choose one of lecun, .*, centred, signed$"):
        normalizer("foo", images().pixels)


@pytest.mark.parametrize("index", [np.array([4, 0, 4, 29]), np.array([], np.int64), slice(2, 9), slice(None)])
def test_batch_is_a_literal_loop(index: np.ndarray | slice) -> None:
    train, data = images(), dataset(Normalizer(2.0, -0.5))
    chosen = np.arange(len(train))[index]
    height, channels, width = data.shape
    assert (height, channels, width) == (5, 1, 3)
    expected = np.empty((height, channels, width, len(chosen)), np.float32)
    for b, i in enumerate(chosen):
        for h in range(height):
            for w in range(width):
                expected[h, 0, w, b] = 2.0 * train.pixels[i, h, w] / 255 - 0.5
    batch = data.batch(train, index)
    np.testing.assert_array_equal(batch, expected)
    assert batch.dtype == np.float32 and batch.flags.c_contiguous


def test_a_batch_of_colour_images_has_their_colours_as_channels() -> None:
    rng = np.random.default_rng(0)
    train = Images(rng.integers(0, 256, (7, 5, 4, 3), dtype=np.uint8), np.arange(7) % 3)
    data = Dataset("colour", train, train[:0], train[:2], ("a", "b", "c"), Normalizer(2.0, -0.5))
    index = np.array([6, 0, 6])
    batch = data.batch(train, index)
    assert data.shape == (5, 3, 4) and batch.shape == (5, 3, 4, 3)
    for h, c, w, b in np.ndindex(batch.shape):
        assert batch[h, c, w, b] == np.float32(2.0 * train.pixels[index[b], h, w, c] / 255 - 0.5)
    assert batch.dtype == np.float32 and batch.flags.c_contiguous
    assert data.batch(train, slice(0, 0)).shape == (5, 3, 4, 0)


def test_the_digest_sees_all_that_can_change_a_result() -> None:
    one = dataset(Normalizer(1.0, 0.0))
    pixels, labels = one.train.pixels.copy(), one.train.labels.copy()
    pixels[3, 2, 1] ^= 1
    labels[7] ^= 1
    turned = [Images(split.pixels.reshape(-1, 3, 5), split.labels) for split in (one.train, one.val, one.test)]
    variants = [
        one,
        replace(one, train=Images(pixels, one.train.labels)),
        replace(one, train=Images(one.train.pixels, labels)),
        replace(one, train=one.train[:29]),
        replace(one, train=turned[0], val=turned[1], test=turned[2]),
        replace(one, train=one.train[5:], val=one.train[:5]),
        replace(one, test=one.test[1:]),
        replace(one, classes=("a", "b", "d")),
        replace(one, classes=("a", "b", "c", "d")),
        replace(one, normalizer=Normalizer(2.0, 0.0)),
        replace(one, normalizer=Normalizer(1.0, -0.5)),
        replace(one, normalizer=Normalizer(1.0, 0.0, levels=16)),
        replace(one, watch_test=True),
    ]
    assert len({variant.digest for variant in variants}) == len(variants)
    assert dataset(Normalizer(1.0, 0.0)).digest == replace(one, name="another").digest == one.digest


def test_the_digest_is_a_fixed_number() -> None:
    one = Images(np.arange(12, dtype=np.uint8).reshape(2, 3, 2), np.array([1, 0]))
    assert one.digest == "d8c5fa0cd5f73750b6e987c35f959f5e5e258b007d878d1a67c282219a32642b"
    data = Dataset("one", one, one[:0], one[:1], ("a", "b"), Normalizer(1.275, -0.1, 16))
    assert data.digest == "88010bf99c6e520689a28e53da1f99df4f1d1d52addb83f6b41ae48edcafe33e"
    backwards = Images(one.pixels[::-1], one.labels[::-1])[::-1]  # other memory layout, same images
    assert backwards.digest == one.digest


@pytest.mark.parametrize(
    ("pixels", "labels"),
    [
        (np.zeros((2, 3, 3), np.float32), np.zeros(2, np.int64)),
        (np.zeros((2, 3, 3), np.uint8), np.zeros(3, np.int64)),
        (np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.uint8)),
        (np.zeros((2, 9), np.uint8), np.zeros(2, np.int64)),
        (np.zeros((2, 3, 3, 4), np.uint8), np.zeros(2, np.int64)),
        (np.zeros((2, 3, 3, 3, 3), np.uint8), np.zeros(2, np.int64)),
    ],
)
def test_images_refuse_arrays_of_another_kind(pixels: np.ndarray, labels: np.ndarray) -> None:
    wanted = r"pixels uint8 \(N, H, W\) or \(N, H, W, 3\) and labels int64 \(N,\)"
    with pytest.raises(ValueError, match=rf"^images: expected {wanted}, found {pixels.dtype} "):
        Images(pixels, labels)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"test": images(4, 3, 5)}, r"expected images of one size .*, found \(30, 5, 3\), \(0, 5, 3\), \(4, 3, 5\)$"),
        ({"classes": ("a", "b")}, "expected labels from 0 to 1, found 0 to 2$"),
        ({"train": Images(images().pixels, images().labels - 1)}, "expected labels from 0 to 2, found -1 to 2$"),
        (
            {"watch_test": True, "val": images()[:1]},
            "test images are watched in place of validation images, found both",
        ),
    ],
)
def test_a_dataset_refuses_what_does_not_fit_together(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^made up: {reason}"):
        replace(dataset(Normalizer(1.0, 0.0)), **change)


def test_every_prefix_of_the_stratified_order_has_the_proportions_of_the_whole() -> None:
    labels = np.repeat([0, 1, 2, 3], [400, 300, 200, 100])
    order = stratified_order(labels)
    assert sorted(order) == list(range(1000))
    for n in range(1, 1001):
        counts = np.bincount(labels[order[:n]], minlength=4)
        assert np.abs(counts - n * np.array([0.4, 0.3, 0.2, 0.1])).max() <= 1.5


def test_the_stratified_order_is_fixed_and_shuffled() -> None:
    order = stratified_order(np.zeros(20, np.int64))
    assert order.tolist() == [10, 5, 2, 11, 19, 3, 12, 13, 15, 14, 7, 17, 6, 16, 4, 9, 0, 18, 1, 8]


def test_hold_out_divides_the_images_and_keeps_their_order() -> None:
    numbered = Images(np.arange(60, dtype=np.uint8).reshape(60, 1, 1), np.arange(60, dtype=np.int64) % 3)
    train, val = hold_out(numbered, 12)
    assert np.bincount(val.labels).tolist() == [4, 4, 4]
    for part in (train, val):
        assert (np.diff(part.pixels.ravel().astype(int)) > 0).all()
    assert sorted([*train.pixels.ravel(), *val.pixels.ravel()]) == list(range(60))
    few, held = hold_out(numbered, 6, train=24)
    assert sorted([*few.pixels.ravel(), *held.pixels.ravel()]) == list(range(24))
    assert len(hold_out(numbered, 0)[1]) == 0 and len(hold_out(numbered, 59)[0]) == 1


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"validation": 30}, "validation=30: choose a whole number from 0 to 29"),
        ({"validation": -1}, "validation=-1: choose a whole number from 0 to 29"),
        ({"validation": 0.1}, "validation=0.1: choose a whole number from 0 to 29"),
        ({"validation": 0, "train": 31}, "train=31: choose a whole number from 1 to 30"),
        ({"validation": 0, "train": 0}, "train=0: choose a whole number from 1 to 30"),
        ({"validation": 10, "train": 10}, "validation=10: choose a whole number from 0 to 9"),
    ],
)
def test_a_size_that_does_not_fit_names_the_range(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        hold_out(images(), **sizes)
    assert str(caught.value) == message
