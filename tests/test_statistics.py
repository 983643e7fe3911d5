"""Counts and intervals agree with scikit-learn and SciPy, and with what can be reckoned by hand."""

import math

import numpy as np
import pytest

from cnnlab.statistics import (
    Interval,
    accuracy,
    binomial_interval,
    compare,
    confusion_matrix,
    crossed,
    holm,
    mean_interval,
    t_interval,
)


def test_confusion_matrix_is_scikit_learns():
    from sklearn.metrics import accuracy_score
    from sklearn.metrics import confusion_matrix as expected

    rng = np.random.default_rng(0)
    labels, answers = rng.integers(0, 7, (2, 500))
    np.testing.assert_array_equal(confusion_matrix(labels, answers, 7), expected(labels, answers))
    assert accuracy(labels, answers) == accuracy_score(labels, answers)


def test_rows_are_truth_and_absent_classes_keep_their_place():
    assert confusion_matrix([0, 0, 2], [1, 1, 2], 4).tolist() == [[0, 2, 0, 0], [0] * 4, [0, 0, 1, 0], [0] * 4]
    assert confusion_matrix([], [], 2).tolist() == [[0, 0], [0, 0]]
    assert math.isnan(accuracy([], []))


@pytest.mark.parametrize(("labels", "answers"), [([0, 3], [0, 1]), ([0, 1], [-1, 1]), ([0], [0, 1])])
def test_confusion_matrix_refuses_what_it_cannot_count(labels, answers):
    with pytest.raises(ValueError, match=r"^confusion matrix: (1 labels but 2|.* not one of 0 to 2$)"):
        confusion_matrix(labels, answers, 3)


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_mean_interval_is_students_t(confidence):
    from scipy import stats

    values = [0.011, 0.013, 0.0125, 0.0117, 0.014]
    found = mean_interval(values, confidence)
    low, high = stats.t.interval(confidence, 4, np.mean(values), stats.sem(values))
    np.testing.assert_allclose((found.low, found.high, found.sd), (low, high, np.std(values, ddof=1)))
    assert (found.mean, found.n) == (pytest.approx(np.mean(values)), 5)
    assert found.half_width == pytest.approx((high - low) / 2)


def test_mean_interval_of_too_little():
    one, none = mean_interval([0.5]), mean_interval([])
    assert (one.mean, one.n, none.n) == (0.5, 1, 0)
    assert all(map(math.isnan, (one.low, one.high, one.sd, none.mean, none.low)))
    assert not one.excludes_zero
    assert mean_interval([2.0, 2.0]).low == 2.0
    assert mean_interval([1.0, 1.1]).excludes_zero and mean_interval([-1.0, -1.1]).excludes_zero
    assert not mean_interval([-1.0, 1.1]).excludes_zero and not mean_interval([0.0, 0.0]).excludes_zero


@pytest.mark.parametrize(("errors", "total"), [(0, 10), (1, 10), (10, 10), (95, 10000), (5000, 10000)])
def test_binomial_interval_is_wilsons(errors, total):
    from scipy import stats

    expected = stats.binomtest(errors, total).proportion_ci(0.95, method="wilson")
    found = binomial_interval(errors, total)
    np.testing.assert_allclose((found.low, found.high), (expected.low, expected.high), atol=1e-12)
    assert (found.mean, found.n) == (errors / total, total)
    assert found.sd == pytest.approx(stats.bernoulli.std(errors / total))


def test_binomial_interval_of_nothing_and_of_nonsense():
    nothing = binomial_interval(0, 0)
    assert math.isnan(nothing.mean) and nothing.n == 0
    with pytest.raises(ValueError, match="11 errors out of 10"):
        binomial_interval(11, 10)


def test_another_unit_and_a_confidence_that_is_none():
    assert Interval(0.01, 0.008, 0.013, 0.002, 5).times(100) == Interval(1, 0.8, 1.3, 0.2, 5)
    calls = (lambda c: mean_interval([1, 2], c), lambda c: binomial_interval(1, 9, c), lambda c: crossed([1, 2], c))
    for call in (*calls, lambda c: compare([0, 0], [0, 0], c), lambda c: compare([0, 1], [0, 0], c)):
        for confidence in (0, 1, 95, math.nan):
            with pytest.raises(ValueError, match=f"confidence={confidence}: choose a number between 0 and 1"):
                call(confidence)


def wrong(seeds, images, rate=0.2, seed=0, spread=0.0):
    """Answers of some seeds to some images, which are hard or easy; `spread` makes seeds good or bad."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=images) + spread * rng.normal(size=(seeds, 1)) + 0.5 * rng.normal(size=(seeds, images))
    return level < np.quantile(level, rate)


def by_loops(d, confidence=0.95):
    """Interval and p of a table of differences, every sum written out."""
    from scipy import stats

    S, N = len(d), len(d[0])
    grand = sum(d[s][i] for s in range(S) for i in range(N)) / (S * N)
    image = [sum(d[s][i] for s in range(S)) / S for i in range(N)]
    seed = [sum(d[s][i] for i in range(N)) / N for s in range(S)]
    ms_i = S * sum((image[i] - grand) ** 2 for i in range(N)) / (N - 1)
    ms_s = N * sum((seed[s] - grand) ** 2 for s in range(S)) / (S - 1)
    ms_e = 0.0
    for s in range(S):
        for i in range(N):
            ms_e += (d[s][i] - image[i] - seed[s] + grand) ** 2
    ms_e /= (N - 1) * (S - 1)
    top = max(ms_i + ms_s - ms_e, ms_i)
    freedom = top**2 / (ms_i**2 / (N - 1) + ms_s**2 / (S - 1) + ms_e**2 / ((N - 1) * (S - 1)))
    if S >= 5 and ms_s <= ms_e:
        freedom = N - 1
    deviation = math.sqrt(top / (N * S))
    half = stats.t.ppf((1 + confidence) / 2, freedom) * deviation
    return grand, grand - half, grand + half, 2 * stats.t.sf(abs(grand) / deviation, freedom)


@pytest.mark.parametrize(("seeds", "spread"), [(2, 0.0), (3, 0.4), (5, 0.0), (5, 0.5), (8, 0.1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_crossed_interval_is_that_of_literal_loops(seeds, spread, confidence):
    a, b = wrong(seeds, 40, 0.2, 1, spread), wrong(seeds, 40, 0.35, 2, spread)
    d = b.astype(int) - a
    expected = by_loops(d.tolist(), confidence)
    for found in (compare(a, b, confidence), crossed(d, confidence)):
        np.testing.assert_allclose((found.difference, found.low, found.high, found.p), expected, rtol=1e-10)
    real = np.random.default_rng(3).normal(0.3, 1, (seeds, 17))
    found = crossed(real, confidence)
    expected = by_loops(real.tolist(), confidence)
    np.testing.assert_allclose((found.difference, found.low, found.high, found.p), expected, rtol=1e-10)


@pytest.mark.parametrize("seeds", [2, 4, 8])
def test_copies_of_one_seed_give_back_that_seeds_interval(seeds):
    d = wrong(1, 300, 0.3, 1).astype(int) - wrong(1, 300, 0.2, 2)
    one, copies = crossed(d[0]), crossed(np.repeat(d, seeds, axis=0))
    alone = mean_interval(d)
    for found in (one, copies):
        assert (found.difference, found.low, found.high) == pytest.approx((alone.mean, alone.low, alone.high))
    assert copies.p == pytest.approx(one.p)


def test_p_is_below_a_twentieth_exactly_where_0_lies_outside():
    sides = set()
    for seed in range(300):
        rng = np.random.default_rng(seed)
        found = crossed(rng.normal(0.2, 1, (rng.integers(1, 8), 50)))
        outside = found.low > 0 or found.high < 0
        assert (found.p < 0.05) == outside
        sides.add(outside)
    assert sides == {True, False}


@pytest.mark.parametrize("shape", [(100,), (1, 100), (3, 100), (8, 100)])
def test_where_no_answer_differs_nothing_is_certain_either(shape):
    same = np.random.default_rng(0).random(shape) < 0.1
    for found in (compare(same, same), crossed(np.zeros(shape))):
        assert (found.difference, found.p) == (0, 1)
        assert (found.low, found.high) == pytest.approx((-0.037, 0.037))
    assert compare(same, same, 0.99).high > 0.037 > compare(same, same, 0.9).high
    undone = crossed([[1, -1], [-1, 1]])  # no mean square but that of the rest
    assert (undone.difference, undone.p) == (0, 1) and undone.low < 0 < undone.high


def test_one_seed_has_the_interval_of_agresti_and_min_and_mcnemars_p():
    """A table of 5 and 18 discordant among 100 images; half an image goes into each cell."""
    a, b = np.zeros(100), np.zeros(100)
    a[:5], b[5:23], a[23:30], b[23:30] = 1, 1, 1, 1
    found = compare(a, b)
    worse, better, images = 18.5, 5.5, 102
    centre = (worse - better) / images
    half = 1.959963985 * math.sqrt((worse + better) - (worse - better) ** 2 / images) / images
    assert (found.difference, found.low, found.high) == pytest.approx((0.13, centre - half, centre + half))
    exact = 2 * sum(math.comb(23, k) for k in range(6)) / 2**23
    assert found.p == pytest.approx(exact) and compare(a[None], b[None] > 0) == found
    back = compare(b.astype(int), a.astype(bool))
    assert (back.difference, back.low, back.high) == pytest.approx((-0.13, -found.high, -found.low))


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (np.zeros((2, 9)), np.zeros((2, 8)), "shapes"),
        (np.zeros((1, 9)), np.zeros(9), "shapes"),
        (np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), "at least 2 images"),
        (np.zeros(1), np.zeros(1), "at least 2 images"),
        (np.zeros((5, 1)), np.zeros((5, 1)), "at least 2 images"),
        (np.zeros((0, 9)), np.zeros((0, 9)), "at least 2 images"),
        (0, 1, "at least 2 images"),
        ([0, 2], [0, 1], "0 .right. or 1 .wrong."),
        ([0, 1], [0, -1], "0 .right. or 1 .wrong."),
        ([0, 0.5], [0, 1], "0 .right. or 1 .wrong."),
        ([0, math.nan], [0, 1], "0 .right. or 1 .wrong."),
        (["0", "1"], ["0", "1"], "0 .right. or 1 .wrong."),
    ],
)
def test_compare_refuses_what_are_no_answers(a, b, said):
    for pair in ((a, b), (b, a)):
        with pytest.raises(ValueError, match=said):
            compare(*pair)


@pytest.mark.parametrize(
    "d", [[1.0], np.zeros((2, 1)), np.zeros((0, 4)), np.zeros((2, 2, 2)), [1, math.inf], ["a", "b"]]
)
def test_crossed_refuses_what_has_no_interval(d):
    with pytest.raises(ValueError, match="crossed: "):
        crossed(d)


@pytest.mark.parametrize(("seeds", "spread", "least"), [(5, 0.0, 0.94), (5, 0.15, 0.935), (10, 0.15, 0.94)])
def test_the_crossed_interval_covers_new_seeds_and_new_images(seeds, spread, least):
    """Effects of seeds, images and both are normal; 4,000 draws have a standard error of 0.35 points."""
    rng = np.random.default_rng(seeds)
    held = narrow = 0
    for _ in range(4000):
        of_seeds, of_images = spread * rng.normal(size=(seeds, 1)), rng.normal(size=200)
        d = 0.1 + of_seeds + of_images + 0.5 * rng.normal(size=(seeds, 200))
        found, over_seeds = crossed(d), mean_interval(d.mean(1))
        held += found.low <= 0.1 <= found.high
        narrow += over_seeds.low <= 0.1 <= over_seeds.high
    assert least <= held / 4000 <= 0.985 and narrow < held - 100


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9, 0.02]) == pytest.approx([1, 1, 0.06])
    assert holm([0.2, 0.2]) == pytest.approx([0.4, 0.4]) and holm([0.3]) == [0.3] and holm([]) == []
    assert holm(np.array([0.04, 0.01])) == pytest.approx([0.04, 0.02])
    for ps in ([0.1, 1.2], [-0.1], [math.nan]):
        with pytest.raises(ValueError, match="is no p-value"):
            holm(ps)


def test_an_interval_known_by_its_deviation():
    values = [0.9, 1.0, 1.2]
    expected = mean_interval(values, 0.9)
    assert t_interval(np.mean(values), np.std(values, ddof=1), 3, 0.9) == expected
