"""Distorted images against literal loops, SciPy and the papers' formulas; and only what trains is ever distorted."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pytest
from tests.conftest import untimed
from tests.recipes import Training

from cnnlab.data import Dataset, Distortion, Images
from cnnlab.data.distortion import PIECE
from cnnlab.data.warping import warp
from cnnlab.models import mlp
from cnnlab.nn import SGD, Constant, SoftmaxCrossEntropy
from cnnlab.training import DISTORTED, TrainingState, train

AFFINE = Distortion(translation=1.5, scale=0.2, squeeze=0.3, shear=0.4, rotation=0.5)
ALL = replace(AFFINE, shift=1, alpha=12.0, sigma=2.0)
KINDS = {name: Distortion(**{name: 1}) for name in asdict(Distortion()) if name != "sigma"}


def pictures(count: int = 20, height: int = 9, width: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width), dtype=np.uint8)


def places(distortion: Distortion, *shape: int, seed: int = 5) -> list[np.ndarray]:
    return list(distortion.places(shape, np.random.default_rng(seed)))


def still(*shape: int) -> list[np.ndarray]:
    """The places at which the pixels are."""
    return [grid.astype(np.float32) for grid in np.indices(shape)[1:]]


def distorted(distortion: Distortion, pixels: np.ndarray, seed: int = 5) -> np.ndarray:
    return distortion(pixels, np.random.default_rng(seed))


def bilinear(image: np.ndarray, row: float, column: float) -> float:
    """The value at a place, from the four pixels around it; outside there is 0."""
    total, height, width = 0.0, *image.shape
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            if 0 <= i < height and 0 <= j < width:
                total += (1 - abs(row - i)) * (1 - abs(column - j)) * float(image[i, j])
    return total


def same_but_for_rounding(found: np.ndarray, exact: np.ndarray) -> None:
    assert found.dtype == np.uint8 and found.shape == exact.shape
    assert np.abs(found - exact).max() < 0.51


def test_nothing_to_do_gives_the_same_bytes() -> None:
    pixels = pictures()
    assert Distortion().idle and Distortion(sigma=9).idle
    assert distorted(Distortion(), pixels).tobytes() == pixels.tobytes()
    assert warp(pixels, *still(*pixels.shape)).tobytes() == pixels.tobytes()


@pytest.mark.parametrize("distortion", [*KINDS.values(), ALL], ids=[*KINDS, "all"])
def test_number_shape_type_and_originals_are_kept(distortion: Distortion) -> None:
    assert not distortion.idle
    for count in (0, 1, PIECE + 3):
        pixels = pictures(count)
        before = pixels.copy()
        copies = distorted(distortion, pixels)
        assert copies.shape == pixels.shape and copies.dtype == np.uint8
        assert (pixels == before).all() and (count < 2 or (copies != pixels).any())


@pytest.mark.parametrize("distortion", [*KINDS.values(), ALL], ids=[*KINDS, "all"])
def test_the_seed_decides_every_bit(distortion: Distortion) -> None:
    pixels = pictures(2 * PIECE + 1)
    one, same, other = (distorted(distortion, pixels, seed) for seed in (3, 3, 4))
    assert one.tobytes() == same.tobytes() and (one != other).any()
    rng = np.random.default_rng(3)
    assert (distortion(pixels, rng) == one).all() and (distortion(pixels, rng) != one).any()
    alike = distorted(distortion, pixels[:1].repeat(2 * PIECE, 0))
    assert (alike[0] != alike).any() and (alike[:PIECE] != alike[PIECE:]).any()


def test_shifts_move_by_whole_pixels_and_bring_in_nothing() -> None:
    pixels = pictures(300)
    copies = distorted(Distortion(shift=2), pixels)
    framed = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
    seen = []
    for number, copy in enumerate(copies):
        moved = [
            np.roll(framed[number], move, (0, 1))[2:-2, 2:-2] for move in ((0, 0), (2, 0), (-2, 0), (0, 2), (0, -2))
        ]
        (which,) = [i for i, image in enumerate(moved) if (copy == image).all()]
        seen.append(which)
    assert min(np.bincount(seen, minlength=5)) > 35  # 60 each are expected


def test_warp_is_a_literal_loop() -> None:
    pixels, rng = pictures(6, 5, 4), np.random.default_rng(1)
    rows, columns = rng.uniform(-3, 8, (2, *pixels.shape)).astype(np.float32)
    exact = np.empty(pixels.shape)
    for n, h, w in np.ndindex(pixels.shape):
        exact[n, h, w] = bilinear(pixels[n], float(rows[n, h, w]), float(columns[n, h, w]))
    same_but_for_rounding(warp(pixels, rows.copy(), columns.copy()), exact)


def test_warp_is_scipys() -> None:
    from scipy.ndimage import map_coordinates

    pixels = pictures(50, 28, 28)
    found = places(ALL, *pixels.shape)
    framed = np.pad(pixels.astype(float), ((0, 0), (1, 1), (1, 1)))
    exact = [
        map_coordinates(image, [rows + 1.0, columns + 1.0], order=1)
        for image, rows, columns in zip(framed, *found, strict=True)
    ]
    same_but_for_rounding(warp(pixels, *found), np.array(exact))


def test_images_do_not_bleed_into_each_other() -> None:
    pixels = np.zeros((9, 6, 8), np.uint8)
    pixels[1::2] = 255
    wild = replace(ALL, translation=20, alpha=99)
    assert not distorted(wild, pixels)[::2].any() and distorted(ALL, pixels)[1::2].any()
    far = [np.full(pixels.shape, place, np.float32) for place in (1e9, -1e9)]
    assert not warp(pixels, far[0].copy(), far[0].copy()).any() and not warp(pixels, far[1], far[0]).any()


def test_affine_maps_are_a_literal_loop_over_pixels() -> None:
    """Forth by the definition: size, squeeze, shear, rotation about the middle, translation; the loop goes back."""
    pixels = pictures(8, 9, 7)
    u = np.random.default_rng(5).uniform(-1, 1, (6, 8))
    exact = np.empty(pixels.shape)
    for n in range(8):
        size, wide = 1.2 ** u[0, n], 1.3 ** u[1, n]
        shear, turn = 0.4 * u[2, n], 0.5 * u[3, n]
        stretch = np.diag([size / wide, size * wide])  # of (rows, columns)
        slant = np.array([[1, 0], [-shear, 1]])  # a pixel up, a row of -1, goes to the right
        rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        back = np.linalg.inv(rotation @ slant @ stretch)
        for h in range(9):
            for w in range(7):
                row, column = back @ (np.array([h - 4, w - 3]) - 1.5 * u[4:, n]) + (4, 3)
                exact[n, h, w] = bilinear(pixels[n], row, column)
    same_but_for_rounding(distorted(AFFINE, pixels), exact)


def linear(distortion: Distortion) -> tuple[np.ndarray, np.ndarray]:
    """Of 5,000 maps: the matrix from original to copy, (N, 2, 2), and the move of the middle, (N, 2)."""
    rows, columns = (found.astype(float) for found in places(distortion, 5000, 3, 3))
    back = np.array([[p[:, 2, 1] - p[:, 1, 1], p[:, 1, 2] - p[:, 1, 1]] for p in (rows, columns)]).transpose(2, 0, 1)
    forth = np.linalg.inv(back)
    return forth, (forth @ np.stack([1 - rows[:, 1, 1], 1 - columns[:, 1, 1]], 1)[..., None])[..., 0]


def fills(values: np.ndarray, low: float, high: float) -> bool:
    """Whether values reach from low to high, and not beyond."""
    found = (values.min(), values.max())
    return found == pytest.approx((low, high), abs=0.003 * (high - low))


def test_amplitudes_are_what_they_say() -> None:
    matrix, move = linear(Distortion(translation=2))
    assert fills(move[:, 0], -2, 2) and fills(move[:, 1], -2, 2) and np.allclose(matrix, np.eye(2), atol=1e-6)
    assert abs(np.corrcoef(move.T)[0, 1]) < 0.05
    matrix, move = linear(Distortion(scale=0.25))
    assert fills(matrix[:, 0, 0], 0.8, 1.25) and np.allclose(matrix, matrix[:, :1, :1] * np.eye(2), atol=1e-5)
    assert np.allclose(move, 0, atol=1e-6)
    matrix, _ = linear(Distortion(squeeze=0.25))
    assert fills(matrix[:, 1, 1], 0.8, 1.25) and np.allclose(np.linalg.det(matrix), 1, atol=1e-5)
    assert np.allclose(matrix[:, 0, 1], 0) and np.allclose(matrix[:, 1, 0], 0)
    matrix, _ = linear(Distortion(shear=0.3))
    assert fills(-matrix[:, 1, 0], -0.3, 0.3) and np.allclose(matrix[:, 0], (1, 0)) and np.allclose(matrix[:, 1, 1], 1)
    matrix, _ = linear(Distortion(rotation=0.3))
    assert fills(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]), -0.3, 0.3)
    assert np.allclose(matrix @ matrix.transpose(0, 2, 1), np.eye(2), atol=1e-5)


@pytest.mark.parametrize(("alpha", "sigma"), [(34.0, 4.0), (10.0, 2.5), (8.0, 1.0)])
def test_elastic_fields_are_as_strong_and_as_smooth_as_they_say(alpha: float, sigma: float) -> None:
    """Everywhere, to the corners, and the same along both axes; neighbours agree as a Gaussian's output does."""
    rows, columns = places(Distortion(alpha=alpha, sigma=sigma), 4000, 24, 28)
    fields = np.array([rows - np.arange(24)[:, None], columns - np.arange(28)])
    strength = alpha / (2 * sigma * math.sqrt(3 * math.pi))
    np.testing.assert_allclose(fields.std(1), strength, rtol=0.06)
    assert np.abs(fields.mean(1)).max() < 0.08 * strength
    assert abs(np.mean(fields[0] * fields[1])) < 0.02 * strength**2
    for distance in (1, 2, 4, 8):
        expected = math.exp(-(distance**2) / (4 * sigma**2))
        for one, other in (
            (fields[:, :, 8, 8], fields[:, :, 8 + distance, 8]),
            (fields[:, :, 8, 8], fields[:, :, 8, 8 + distance]),
        ):
            assert np.mean(one * other) / strength**2 == pytest.approx(expected, abs=0.05)


def test_elastic_fields_are_simards() -> None:
    """As strong and as smooth as noise in -1..1 at every pixel, smoothed by SciPy and multiplied by alpha."""
    from scipy.ndimage import gaussian_filter

    alpha, sigma = 34.0, 4.0
    theirs = alpha * gaussian_filter(np.random.default_rng(0).uniform(-1, 1, (1500, 1500)), sigma)
    ours = places(Distortion(alpha=alpha, sigma=sigma), 4000, 28, 28)[0] - np.arange(28)[:, None]
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    assert np.diff(ours).std() == pytest.approx(np.diff(theirs).std(), rel=0.02)


def test_affine_map_and_field_add_up_to_one_warp() -> None:
    both = replace(AFFINE, alpha=20.0)
    for whole, part, field in zip(
        *(places(d, 5, 9, 7) for d in (both, AFFINE, replace(both, alpha=40.0))), strict=True
    ):
        np.testing.assert_allclose(field - part, 2 * (whole - part), atol=1e-5)


def test_the_colours_of_an_image_are_distorted_together() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (PIECE + 2, 9, 7, 3), dtype=np.uint8)
    copies = distorted(ALL, pixels)
    for colour in range(3):
        assert (copies[..., colour] == distorted(ALL, np.ascontiguousarray(pixels[..., colour]))).all()


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("shift", 0, 99),
        ("translation", 0, 99),
        ("scale", 0, 1),
        ("squeeze", 0, 1),
        ("shear", 0, 1),
        ("rotation", 0, 3.1416),
        ("alpha", 0, 999),
        ("sigma", 1, 99),
    ],
)
def test_amplitudes_that_cannot_be_are_refused(name: str, low: float, high: float) -> None:
    for value in (low - 0.1, high + 0.1, math.nan, math.inf):
        with pytest.raises(ValueError) as caught:
            Distortion(**{name: value})
        kind = "a whole number" if name == "shift" else "a number"
        assert str(caught.value) == f"{name}={value}: choose {kind} from {low} to {high}"
    for value in (low, high):
        assert asdict(Distortion(**{name: value}))[name] == value


@dataclass(frozen=True)
class Counted(Distortion):
    """A distortion that counts the images of each call."""

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        CALLS.append(len(pixels))
        return super().__call__(pixels, rng)


@dataclass(frozen=True, eq=False)
class Watched(Dataset):
    """Data that remember every batch that was asked of them."""

    def batch(self, images: Images, index: Any) -> np.ndarray:
        ASKED.append(images[index])
        return super().batch(images, index)


CALLS: list[int] = []
ASKED: list[Images] = []


def recipe(distortion: Distortion = ALL, **options: Any) -> Training:
    numbers = {"lr": 0.1, "epochs": 2, "batch_size": 32} | options
    rules = (SoftmaxCrossEntropy(), SGD(momentum=0.9), Constant())
    return Training(*rules, augment=distortion, network=mlp((20,)), **numbers)


def trained(recipe: Training, data: Dataset, seed: int = 0) -> TrainingState:
    CALLS.clear(), ASKED.clear()
    state = recipe.start(data, seed)
    list(train(recipe, state, data))
    return state


def watched(data: Dataset) -> Watched:
    return Watched(data.name, data.train, data.val, data.test, data.classes, data.normalizer)


def test_training_sees_distorted_copies_of_the_images_in_the_same_order(digits: Dataset) -> None:
    data, seen = watched(digits), []
    for distortion in (Distortion(), ALL):
        trained(recipe(distortion), data)
        seen.append([images for images in ASKED if 1 < len(images) <= 32])  # one alone is for a view
    for plain, copies in zip(*seen, strict=True):
        assert (plain.labels == copies.labels).all()
        assert (plain.pixels != copies.pixels).any((1, 2)).mean() > 0.9
    first, second = seen[1][:7], seen[1][7:]
    assert not {image.tobytes() for b in first for image in b.pixels} & {i.tobytes() for b in second for i in b.pixels}


def test_only_what_trains_is_distorted(digits: Dataset) -> None:
    data = watched(digits)
    trained(recipe(epochs=1), data)
    probe, validation, viewed = ASKED[-3:]
    assert (viewed.pixels == digits.val.pixels[:1]).all()
    assert (probe.pixels == digits.train.pixels).all() and (validation.pixels == digits.val.pixels).all()
    still = trained(recipe(lr=1e-30, epochs=1), data)
    plain = trained(recipe(Distortion(), lr=1e-30, epochs=1), data)
    same = ("val/loss", "val/accuracy", "saturation/A1")
    assert [still.history[0][key] for key in same] == [plain.history[0][key] for key in same]
    assert still.history[0]["train/loss"] != plain.history[0]["train/loss"]


@pytest.mark.parametrize("size", [1, 7, 32, 5000])
def test_images_are_distorted_many_batches_at_a_time(size: int, digits: Dataset) -> None:
    train = Images(digits.train.pixels.repeat(6, 0), digits.train.labels.repeat(6))
    trained(recipe(Counted(shift=1), batch_size=size, epochs=1), replace(digits, train=train))
    expected = size * max(1, DISTORTED // size)
    calls = [expected, 1200 - expected] if expected < 1200 else [1200]
    assert calls == CALLS


def test_the_seed_of_a_run_decides_its_distortions(digits: Dataset) -> None:
    one, same, other = (trained(recipe(), digits, seed) for seed in (3, 3, 4))
    assert one.theta.tobytes() == same.theta.tobytes() and (one.theta != other.theta).any()
    assert [untimed(record) for record in one.history] == [untimed(record) for record in same.history]


def test_a_run_without_distortion_draws_none(digits: Dataset) -> None:
    state = trained(recipe(Distortion()), digits)
    assert state.distortion.bit_generator.state == recipe().start(digits, 0).distortion.bit_generator.state
    children = np.random.SeedSequence(0).spawn(3)  # those of the weights, the order and the noise, as ever
    assert recipe().start(digits, 0).order.random() == np.random.default_rng(children[1]).random()
