"""The networks against the numbers that their papers print."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from cnnlab import models
from cnnlab.models import (
    LENET_TANH,
    DenseOutput,
    RBFOutput,
    costs,
    deep,
    describe,
    digit_codes,
    lecun1989,
    lenet1,
    lenet4,
    lenet5,
    memory,
    nielsen_cnn,
)
from cnnlab.models.lecun import LECUN1989_TABLE, LENET1_TABLE, LENET4_C3, LENET4_C5, TABLE_1, random_table
from cnnlab.nn import (
    RBF,
    AvgPool,
    Conv2D,
    Dense,
    Dropout,
    Gaussian,
    GlobalAvgPool,
    Glorot,
    He,
    Identity,
    LeakyReLU,
    LeCun1998,
    MaxPool,
    ReLU,
    Sequential,
    Sigmoid,
    StochasticPool,
    StridedConv,
    Subsample,
    Tanh,
    gradcheck,
)

IMAGE, SMALL = (28, 1, 28), (16, 1, 16)


def modern(**choices: object) -> Sequential:
    """LeNet-5's sizes with today's parts."""
    parts = {"activation": ReLU(), "pooling": MaxPool(2), "output": DenseOutput(), "connections": "full"}
    return lenet5(**parts | choices)


MODERN = modern()

# LeCun et al. 1998, II-B: layer, output, parameters, connections.
LENET5 = [
    ("C1", "6@28x28", 156, 122_304),
    ("S2", "6@14x14", 12, 5_880),
    ("C3", "16@10x10", 1_516, 151_600),
    ("S4", "16@5x5", 32, 2_000),
    ("C5", "120", 48_120, 48_120),
    ("F6", "84", 10_164, 10_164),
    ("OUT", "10", 0, 840),
]
# LeCun et al. 1990.
LENET1 = [
    ("H1", "4@24x24", 104, 59_904),
    ("H2", "4@12x12", 8, 2_880),
    ("H3", "12@8x8", 512, 32_768),
    ("H4", "12@4x4", 24, 960),
    ("OUT", "10", 1_930, 1_930),
]
# LeCun et al. 1989.
LECUN1989 = [
    ("H1", "12@8x8", 1_068, 19_968),
    ("H2", "12@4x4", 2_592, 38_592),
    ("H3", "30", 5_790, 5_790),
    ("OUT", "10", 310, 310),
]
# The maps and the units are LeNet-4's (LeCun et al. 1998, III-C), the connections of C3 and C5 are not known.
LENET4 = [
    ("C1", "4@28x28", 104, 81_536),
    ("S2", "8@14x14", 16, 7_840),
    ("C3", "16@10x10", 1_516, 151_600),
    ("S4", "16@5x5", 32, 2_000),
    ("C5", "120@1x1", 14_120, 14_120),
    ("OUT", "10", 1_210, 1_210),
]
# Table 1 as it is printed, a row for each map of S2: the maps of C3 that see it.
PRINTED = [
    {0, 4, 5, 6, 9, 10, 11, 12, 14, 15},
    {0, 1, 5, 6, 7, 10, 11, 12, 13, 15},
    {0, 1, 2, 6, 7, 8, 11, 13, 14, 15},
    {1, 2, 3, 6, 7, 8, 9, 12, 14, 15},
    {2, 3, 4, 7, 8, 9, 10, 12, 13, 15},
    {3, 4, 5, 8, 9, 10, 11, 13, 14, 15},
]


def image(network: Sequential) -> tuple[int, ...]:
    """The shape of the images that a network was made for."""
    return SMALL if network == lecun1989() else IMAGE


@pytest.mark.parametrize(
    ("network", "table"),
    [(lenet5(), LENET5), (lenet1(), LENET1), (lecun1989(), LECUN1989), (lenet4(), LENET4)],
    ids=["5", "1", "1989", "4"],
)
def test_the_table_is_the_papers(network: Sequential, table: list[tuple[object, ...]]) -> None:
    rows = [(name, out, *cost[:2]) for name, _, out, cost in costs(network, image(network)) if cost.connections]
    assert rows == table


@pytest.mark.parametrize(
    ("network", "parameters", "connections"),
    [
        (lenet5(), 60_000, 340_908),
        (lenet1(), 2_578, 98_442),
        (lecun1989(), 9_760, 64_660),
        (lenet4(), 16_998, 258_306),
        (models.zhou(), 13_602, None),
        (models.keras_convnet(), 34_826, None),
        (models.nielsen_mlp(), 23_860, None),
        (models.nielsen_mlp((100,)), 79_510, None),
        (models.mlp((300, 100)), 266_610, None),
        (nielsen_cnn(()), 79_510, None),
        (nielsen_cnn((20,)), 289_630, None),
        (nielsen_cnn(), 85_670, None),
        (nielsen_cnn(hidden=(1000, 1000), dropout=0.5), 1_672_570, None),
        (MODERN, 61_706, None),
        (modern(padding="valid", c5=171), 61_817, None),  # the three paddings within 0.3% of each other
        (modern(padding="full", c5=88), 61_674, None),
        (modern(connections="table1"), 60_806, None),
        (modern(connections="random", table_seed=1), 60_806, None),
        (modern(c3=10), 42_800, None),  # as many kernels of C3 as in Table 1, and fewer maps for C5
        (modern(pooling=StridedConv(2)), 61_706 + 150 + 1_040, None),
        (deep(2), 80 + 584 + 3_930, None),
        (deep(8), 80 + 7 * 584 + 3_930, None),
        (deep(8, maps=16), 160 + 7 * 2_320 + 7_850, None),
    ],
)
def test_totals(network: Sequential, parameters: int, connections: int | None) -> None:
    cost = network.cost(image(network))
    assert cost.parameters == parameters
    assert connections in (None, cost.connections)
    assert cost.macs <= cost.connections
    params, out = network.init(image(network), np.random.default_rng(0))
    arrays = [array for layer in params.values() for array in layer.values()]
    unconnected = sum((array == 0).sum() for array in (layer["W"] for layer in params.values() if "W" in layer))
    assert sum(array.size for array in arrays) - unconnected == parameters
    assert out == (10,)


def test_describe_prints_rows_and_totals() -> None:
    lines = [line.split() for line in describe(lenet5(), IMAGE).splitlines()]
    assert ["C1", "Conv2D", "6@28x28", "156", "122,304", "117,600"] in lines
    assert ["F6", "Dense", "84", "10,164", "10,164", "10,080"] in lines
    assert lines[-1][:3] == ["total", "60,000", "340,908"]


def test_the_memory_of_a_network_that_is_never_made() -> None:
    """The second founding document's perceptron on 224x224 pixels of three colours, from its shapes alone."""
    weights, values = memory(models.mlp((1024,)), (224, 3, 224))
    assert weights == 4 * (154_140_672 + 1_024 + 10_250)
    assert values == 4 * (150_528 + 1_024 + 1_024 + 10)
    assert memory(lenet5(), IMAGE)[0] == 240_000


def test_table_1() -> None:
    assert [{k for k, seen in enumerate(TABLE_1) if s2 in seen} for s2 in range(6)] == PRINTED
    assert all(len(row) == 10 for row in PRINTED)
    assert sum(map(len, TABLE_1)) == 60
    W = lenet5().init(IMAGE, np.random.default_rng(0))[0]["C3"]["W"]
    wired = [tuple(np.flatnonzero(kernel.any((0, 2)))) for kernel in W]
    assert wired == list(TABLE_1)


def test_a_random_table_has_as_many_connections_as_table_1() -> None:
    tables = [random_table(seed) for seed in range(50)]
    assert len(set(tables)) == 50 and random_table(3) == tables[3]
    for table in tables:
        assert len(table) == 16 and all(table) and sum(map(len, table)) == 60
        assert set().union(*table) == set(range(6)) and all(len(set(row)) == len(row) for row in table)
    assert modern(connections="random").layers["C3"].connections == tables[0]


def test_f6_may_keep_lenets_tanh_and_starts_for_it() -> None:
    kept, own = (lenet5(Sigmoid(), init=Glorot(), f6=f6).layers for f6 in ("lenet_tanh", None))
    assert [kept[name] for name in ("A1", "A2", "A5", "A6")] == [Sigmoid()] * 3 + [LENET_TANH]
    assert (own["A6"], own["F6"].initializer.gain) == (Sigmoid(), 4)
    assert kept["F6"].initializer.gain == pytest.approx(1 / 1.14393, abs=1e-5)
    assert lenet5(f6="lenet_tanh") == lenet5()


def test_lenet5s_dropout_stands_behind_c5_and_f6() -> None:
    names = list(modern(dropout=0.5).layers)
    assert names == ["C1", "A1", "S2", "C3", "A3", "S4", "C5", "A5", "D5", "F6", "A6", "D6", "OUT"]
    assert modern(dropout=0.0) == MODERN


@pytest.mark.parametrize("model", [lenet5, lenet4, models.zhou, models.keras_convnet])
def test_the_field_around_the_image_may_be_filled_with_a_value(model: Callable[..., Sequential]) -> None:
    first = next(iter(model(fill=0.0).layers.values()))
    assert first.pad_value == 0 and model(fill=0.0, background=0.3) == model(fill=0.0)


@pytest.mark.parametrize("model", [lenet5, lenet1, lenet4, models.zhou, models.keras_convnet, nielsen_cnn, deep])
def test_a_convolution_that_pools_starts_as_others_and_has_an_activation(model: Callable[..., Sequential]) -> None:
    layers = list(model(activation=Sigmoid(), pooling=StridedConv(2), init=Glorot()).layers.values())
    after = [then for layer, then in pairwise(layers) if isinstance(layer, StridedConv)]
    assert set(after) == {Sigmoid()}
    assert {layer.initializer for layer in layers if isinstance(layer, (Conv2D, StridedConv))} == {Glorot(4)}


def test_the_names_and_shapes_of_a_deep_network() -> None:
    assert list(deep(4).layers) == ["C1", "A1", "C2", "A2", "S2", "C3", "A3", "C4", "A4", "S4", "OUT"]
    for depth in range(1, 9):
        shapes = deep(depth).shapes(IMAGE)
        assert shapes[-2:] == [(7, 8, 7) if depth > 1 else (14, 8, 14), (10,)]


# LeCun et al. 1990, Table: a row for each map of H2: the maps of H3 that see it.
PRINTED_1990 = [{0, 1, 2, 4, 5}, {1, 2, 3, 4, 5}, {6, 7, 8, 10, 11}, {7, 8, 9, 10, 11}]


def test_the_table_of_lenet1() -> None:
    assert [{k for k, seen in enumerate(LENET1_TABLE) if h2 in seen} for h2 in range(4)] == PRINTED_1990
    assert lenet1().layers["H3"].connections == LENET1_TABLE


def test_our_tables_of_1989_and_of_lenet4() -> None:
    first, middle, last = range(4), range(4, 8), range(8, 12)
    thirds = (*first, *middle), (*first, *last), (*middle, *last)
    assert sorted(set(LECUN1989_TABLE)) == sorted(thirds)
    assert [LECUN1989_TABLE[h2] for h2 in (0, 3, 4, 7, 8, 11)] == [
        *[(*first, *middle)] * 2, *[(*middle, *last)] * 2, *[(*first, *last)] * 2
    ]  # fmt: skip
    assert LENET4_C3[:8:7] == ((0, 1, 2, 3), (7, 0, 1, 2))
    assert LENET4_C3[8:12:3] == ((0, 1, 4, 5), (3, 4, 7, 0)) and LENET4_C3[12::3] == ((0, 3, 6), (3, 6, 1))
    assert LENET4_C5[:80:79] == ((0, 1, 2, 3, 4), (15, 0, 1, 2, 3))
    assert LENET4_C5[80::39] == ((0, 1, 2, 3), (7, 8, 9, 10))


def test_each_network_has_its_papers_choices_by_default() -> None:
    padded = {lenet5: -0.1, lenet4: -0.1, lecun1989: -1.0, models.zhou: -0.5, models.keras_convnet: 0.0}
    for model, background in padded.items():
        assert next(iter(model().layers.values())).pad_value == background
    assert models.keras_convnet().layers["D4"] == Dropout(0.5)
    assert not any(isinstance(layer, Dropout) for layer in nielsen_cnn().layers.values())
    assert nielsen_cnn(dropout=0.5).layers["D3"] == Dropout(0.5, inverted=False)
    assert [lenet5().layers[name] for name in ("A1", "A5")] == [Tanh(1.7159, 2 / 3)] * 2
    for model in (lenet1, lenet4, lecun1989):
        assert model().layers["OUT_f"] == Tanh(1.7159, 2 / 3)


@pytest.mark.parametrize("model", [models.lenet5, models.lenet1, models.lenet4])
def test_an_activation_follows_trainable_subsampling_alone(model: Callable[..., Sequential]) -> None:
    """That of 1998 squashes its sums; a maximum or a mean is of values that are squashed already."""
    for pooling, after in (Subsample(2), models.LENET_TANH), (MaxPool(2), None), (AvgPool(2), None):
        layers = model(pooling=pooling).layers
        assert [layers.get("A2"), layers.get("A4")] == [after, after]


def test_weights_start_as_in_each_source() -> None:
    starts = {
        lenet5: LeCun1998(),
        lenet1: LeCun1998(),
        lenet4: LeCun1998(),
        lecun1989: LeCun1998(),
        models.zhou: Gaussian(power=1),
        models.keras_convnet: Glorot(1.0),
        models.mlp: He(),
        models.nielsen_mlp: Gaussian(power=0, bias_std=1),
        nielsen_cnn: Gaussian(power=0.5, bias_std=1),
    }
    for model, expected in starts.items():
        weighted = [layer for layer in model().layers.values() if isinstance(layer, (Conv2D, Dense))]
        assert {layer.initializer for layer in weighted} == {expected}


def test_weights_before_a_sigmoid_start_wider_under_glorot() -> None:
    layers = models.mlp((9,), Sigmoid(), Glorot(), DenseOutput(Sigmoid())).layers
    assert [layers[name].initializer.gain for name in ("F1", "OUT")] == [4, 4]
    assert models.mlp((9,), init=Glorot()).layers["OUT"].initializer.gain == 1


def test_the_units_and_multiplications_of_1989() -> None:
    network = lecun1989()
    shapes = dict(zip(["image", *network.layers], network.shapes(SMALL), strict=True))
    assert sum(np.prod(shapes[name]) for name in ("image", "H1", "H2", "H3", "OUT")) == 1_256
    assert network.cost(SMALL).macs == 63_660


def test_the_scheme_of_1989_is_even() -> None:
    assert all(len(row) == len(set(row)) == 8 for row in LECUN1989_TABLE)
    assert (np.bincount(np.ravel(LECUN1989_TABLE)) == 8).all()
    params, _ = lecun1989().init(SMALL, np.random.default_rng(0))
    assert [params[name]["b"].shape for name in ("H1", "H2")] == [(8, 12, 8), (4, 12, 4)]


def test_lenet4_has_the_printed_totals_to_the_digits_that_are_printed() -> None:
    cost = lenet4().cost(IMAGE)
    assert (round(cost.parameters, -3), round(cost.connections, -4)) == (17_000, 260_000)
    assert len(set(map(frozenset, LENET4_C3))) == len(LENET4_C3) == 16
    assert len(LENET4_C5) == 120 and sum(map(len, LENET4_C3)) == 60
    assert {len(set(row)) for row in LENET4_C5} == {4, 5}
    assert np.ptp(np.bincount(np.concatenate(LENET4_C5))) <= 4


def test_lenet4s_subsampling_maps_stand_in_pairs_behind_those_of_c1() -> None:
    network, x = lenet4(), np.random.default_rng(1).normal(size=(*IMAGE, 2)).astype(np.float32)
    params, _ = network.init(IMAGE, np.random.default_rng(0))
    maps = network.outputs(params, x)
    assert (maps["R1"] == maps["A1"][:, [0, 0, 1, 1, 2, 2, 3, 3]]).all()
    assert params["S2"]["W"].shape == (8,)


def test_nielsens_dropout_stands_before_each_fully_connected_layer() -> None:
    names = list(nielsen_cnn(hidden=(1000, 1000), dropout=0.5).layers)
    assert names == ["C1", "A1", "S1", "C2", "A2", "S2", "D3", "F3", "A3", "D4", "F4", "A4", "D5", "OUT"]
    assert list(nielsen_cnn(()).layers) == ["F1", "A1", "OUT"]


def test_the_codes_are_fig_3() -> None:
    codes = digit_codes()
    assert codes.shape == (10, 84)
    assert set(np.unique(codes)) == {-1, 1}
    assert (codes > 0).sum(1).tolist() == [35, 27, 33, 32, 41, 35, 39, 25, 43, 39]
    distance = (codes[:, None] != codes[None]).sum(2)
    pairs = {(a, b): distance[a, b] for a in range(10) for b in range(a)}
    assert [pair for pair, d in pairs.items() if d == min(pairs.values())] == [(8, 6)]
    assert min(pairs.values()) == 12 and max(pairs.values()) == 50
    assert {pair for pair, d in pairs.items() if d == 50} == {(4, 1), (8, 1), (7, 4)}
    assert np.mean(list(pairs.values())) == pytest.approx(31.1, abs=0.05)


def test_the_bars_above_four_codes_can_be_left_out() -> None:
    missing = (digit_codes() != digit_codes(bars=False)).reshape(10, 12, 7)
    assert missing.any((1, 2)).nonzero()[0].tolist() == [0, 2, 4, 5]
    assert missing[[0, 2, 4, 5], 0].sum(1).tolist() == [5, 5, 5, 5] and not missing[:, 1:].any()


def test_the_output_of_lenet5_passes_its_choices_on() -> None:
    rbf = RBFOutput(factor=0.5, bars=False).layers(10, LeCun1998())["OUT"]
    assert isinstance(rbf, RBF) and rbf.factor == 0.5
    assert (rbf.codes == digit_codes(bars=False)).all()


def test_lenets_tanh_maps_plus_minus_1_to_itself() -> None:
    ends = np.array([-1.0, 1.0])
    np.testing.assert_allclose(LENET_TANH.forward({}, ends)[0], ends, atol=3e-6)
    assert LENET_TANH.steepest == pytest.approx(1.14393, abs=1e-5)


def test_the_field_around_the_image_is_background() -> None:
    network = lenet5()
    params, _ = network.init(IMAGE, np.random.default_rng(0))
    corner = {"W": np.zeros_like(params["C1"]["W"]), "b": np.zeros(6, np.float32)}
    corner["W"][:, 0, 0, 0] = 1  # the output is then the padded image, its last rows and columns apart
    y, _ = network.layers["C1"].forward(corner, np.full((*IMAGE, 1), 1.175, np.float32))
    assert y.shape == (28, 6, 28, 1)
    assert (y[:2] == np.float32(-0.1)).all() and (y[:, :, :2] == np.float32(-0.1)).all()
    assert (y[2:, :, 2:] == np.float32(1.175)).all()


@pytest.mark.parametrize("model", [lenet5, lenet4, models.zhou, models.keras_convnet])
def test_the_first_convolution_knows_the_background(model: object) -> None:
    network = model(background=-0.42)
    convolutions = [layer for layer in network.layers.values() if isinstance(layer, Conv2D)]
    assert [layer.pad_value for layer in convolutions] == [-0.42] + [0.0] * (len(convolutions) - 1)


def test_both_planes_of_1989_lie_in_background() -> None:
    network = lecun1989()
    params, _ = network.init(SMALL, np.random.default_rng(0))
    for name, shape in (("H1", SMALL), ("H2", (8, 12, 8))):
        W = np.zeros_like(params[name]["W"])
        W[:, 0, 0, 0] = 1  # the pixel two rows above and two columns before each unit's own
        y, _ = network.layers[name].forward({"W": W, "b": np.zeros_like(params[name]["b"])}, np.ones((*shape, 1)))
        y = y[:, [0, 1, 2, 3, 8, 9, 10, 11]]  # those that see the first map
        assert (y[0] == -1).all() and (y[:, :, 0] == -1).all() and (y[1:, :, 1:] == 1).all()


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (lambda: lenet5(Tanh(), StochasticPool(2)), "pooling: StochasticPool needs .* never negative, which Tanh"),
        (lambda: lenet1(LeakyReLU(), StochasticPool(2)), "choose activation=relu or activation=sigmoid"),
        (lambda: models.zhou(Identity(), StochasticPool(2)), "which Identity"),
        (lambda: lenet1(output=RBFOutput()).out_shape(IMAGE), "OUT: the codes have 84 components"),
        (lambda: lenet4(Tanh(), StochasticPool(2)), "pooling: StochasticPool .* or another pooling"),
        (lambda: lenet4(pooling=GlobalAvgPool()).out_shape(IMAGE), "C5: needs maps"),
        (lambda: nielsen_cnn(dropout=1.0), "rate=1.0: choose a number from 0"),
        (lambda: lecun1989().out_shape((28,)), "H1: needs maps"),
        (lambda: lenet5(classes=26), "there are codes for 10 digits, but the data has 26 classes"),
        (lambda: lenet5(connections="table2"), "connections=table2: choose table1 or full or random"),
        (lambda: lenet5(c3=10), "c3=10: choose 16, for which connections=table1 is, or connections=full"),
        (lambda: modern(table_seed=1), "table_seed=1: choose null, or connections=random"),
        (lambda: lenet5().out_shape((8, 1, 8)), "C3: a 5x5 window does not fit a 4x4 map"),
        (lambda: lenet5(pooling=MaxPool(15)).out_shape(IMAGE), "C3: a 5x5 window does not fit a 1x1 map"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(refused: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        refused()
    assert "\n" not in str(caught.value)


def test_global_averaging_comes_last_only() -> None:
    layers = lenet5(ReLU(), GlobalAvgPool(), output=DenseOutput()).layers
    assert [type(layers[name]).__name__ for name in ("S2", "S4")] == ["AvgPool", "GlobalAvgPool"]


@pytest.mark.parametrize(
    "network",
    [
        *(lenet5(), lenet1(), lenet4(), lecun1989(), models.keras_convnet()),
        nielsen_cnn((3, 4), (9, 8), dropout=0.5),
        modern(pooling=StridedConv(2), connections="random", c5=20, f6="lenet_tanh", dropout=0.5, fill=0.5),
        deep(4, 3, Sigmoid()),
    ],
    ids=["5", "1", "4", "1989", "keras", "nielsen", "options", "deep"],
)
def test_gradients_of_whole_networks(network: Sequential) -> None:
    assert gradcheck(replace(network, input_gradient=True), image(network), batch=2) < 1e-6
