"""Counts and intervals agree with scikit-learn and SciPy, and with what can be reckoned by hand."""

import math

import numpy as np
import pytest

from cnnlab.statistics import (
    Effect,
    Interval,
    MeanSquares,
    accuracy,
    binomial_interval,
    compare,
    confusion_matrix,
    crossed,
    differences,
    error_rate,
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


def test_neither_the_order_of_seeds_and_images_nor_that_of_the_arms_matters():
    rng = np.random.default_rng(0)
    for seeds in (1, 2, 7):
        a, b = wrong(seeds, 60, 0.2, 1, 0.2), wrong(seeds, 60, 0.3, 2, 0.2)
        row, column = rng.permutation(seeds)[:, None], rng.permutation(60)
        found, moved, back = compare(a, b), compare(a[row, column], b[row, column]), compare(b, a)
        numbers = [(x.low, x.high, x.p, x.here.low, x.here.high, x.worse, x.better) for x in (found, moved)]
        assert numbers[1] == pytest.approx(numbers[0], nan_ok=True)
        turned = (-back.high, -back.low, back.p, -back.here.high, -back.here.low, back.better, back.worse)
        assert turned == pytest.approx(numbers[0], nan_ok=True)
        np.testing.assert_array_equal(differences(a, b), -differences(b, a))


def test_on_these_images_the_interval_is_students_over_seeds():
    a, b = wrong(6, 50, 0.2, 1, 0.3), wrong(6, 50, 0.3, 2, 0.3)
    found = compare(a, b, 0.9)
    assert found.here == mean_interval(b.mean(1) - a.mean(1), 0.9)
    assert (found.n, found.sd, found.mean) == (6, found.here.sd, found.difference)
    assert (found.worse, found.better) == (int((b & ~a).sum()), int((a & ~b).sum()))
    one = compare(a[0], b[0])
    assert (one.n, one.here.mean) == (1, one.difference) and math.isnan(one.here.low)


def test_the_error_of_one_arm_has_both_intervals():
    answers = wrong(6, 50, 0.2, 1, 0.3)
    anywhere, here = error_rate(answers, 0.9)
    expected = crossed(answers, 0.9)
    assert (anywhere, here) == (expected, mean_interval(answers.mean(1), 0.9))
    assert anywhere.low < here.low < here.high < anywhere.high
    for one in (answers[0], answers[:1].astype(int)):
        anywhere, here = error_rate(one)
        wilson = binomial_interval(int(one.sum()), 50)
        assert (anywhere.mean, anywhere.low, anywhere.high, anywhere.n) == (one.mean(), wilson.low, wilson.high, 1)
        assert here.mean == one.mean() and math.isnan(here.low)
    for nonsense in ([0, 2], [1], np.zeros((1, 2, 3)), ["0", "1"]):
        with pytest.raises(ValueError, match="answers: "):
            error_rate(nonsense)


def answers(seeds, images, *wrongs):
    """The same answers by every seed, wrong on the images named."""
    found = np.zeros((seeds, images), int)
    found[:, list(wrongs)] = 1
    return found


def test_verdicts_in_words():
    good, bad = answers(5, 1000, 1, 2), answers(5, 1000, *range(2, 33))
    assert (compare(good, bad).verdict(), compare(bad, good).verdict()) == ("more errors", "fewer errors")
    assert compare(good, bad).verdict(p=0.049) == "more errors"
    assert compare(good, bad).verdict(p=0.05) == "no difference detected"  # not among so many comparisons
    assert compare(good[:4], bad[:4]).verdict() == "no verdict below 5 seeds" == compare(good[0], bad[0]).verdict()
    assert compare(good, good).verdict() == "no difference detected"  # 1,000 images leave ± 0.3
    many = answers(5, 10_000, 7), answers(5, 10_000, 8)
    assert compare(*many).verdict() == "no difference above 0.1 points"
    assert not crossed(np.zeros((4, 9))).enough_seeds and crossed(np.zeros((5, 9))).enough_seeds


def test_no_difference_above_a_margin_where_the_90_percent_interval_is_within_it():
    d = np.random.default_rng(0).normal(0.01, 1, (5, 400))
    found, narrow = crossed(d), crossed(d, 0.9)
    largest = max(-narrow.low, narrow.high)
    assert found.within(largest * 1.0001) and not found.within(largest * 0.9999)
    assert largest < max(-found.low, found.high)


def effect(sd, images_sd=0.0, seeds=10, images=10_000, rest=1e-3):
    """An effect by the deviations of its seeds on these images and, on average over all seeds, of its images."""
    squares = MeanSquares(seeds, images, rest + seeds * images_sd**2, images * sd**2, rest)
    return Effect(0.0, -1.0, 1.0, sd, seeds, 1.0, Interval(0.0, -1.0, 1.0, sd, seeds), squares)


def test_seeds_needed_to_see_a_tenth_of_a_point():
    assert effect(sd=0.001).seeds_needed() == 10  # (2.80 · 0.1 / 0.1)² + 1.92 = 9.77
    assert effect(sd=0.001).seeds_needed(comparisons=5) == 15  # (3.42)² + 3.32 = 14.99
    assert effect(sd=0.001).seeds_needed(comparisons=12) == 18  # (3.71)² + 4.10 = 17.84
    assert effect(sd=0.002).seeds_needed() == 34  # 4 · 7.85 + 1.92 = 33.3
    assert effect(sd=0.001).seeds_needed(difference=0.0005) == 34
    assert effect(sd=0.0004).seeds_needed() == 5  # 3.2, and fewer have no verdict
    assert effect(sd=0, rest=0.01).seeds_needed() == 10  # no less than what a seed does with single images
    half = effect(sd=0.001, images_sd=0.0252)  # the images leave 0.0252 points, half of the variance that is allowed
    assert half.seeds_needed() == 18  # 7.85 / (1 - 7.85 · 0.0252²) + 1.92 = 17.6
    assert effect(sd=0.001, images_sd=0.0356).seeds_needed() < math.inf  # 2.80 · 0.0356 = 0.0997
    assert effect(sd=0.001, images_sd=0.0358).seeds_needed() == math.inf  # 2.80 · 0.0358 = 0.1003
    assert math.isnan(crossed([1, 0, 0]).seeds_needed())
    for call in (half.seeds_needed, half.smallest_visible):
        with pytest.raises(ValueError, match="comparisons=0: choose 1 or more"):
            call(comparisons=0)


def test_the_smallest_difference_that_could_have_been_seen():
    from scipy import stats

    d = np.random.default_rng(0).normal(0, 1, (6, 30)) + np.random.default_rng(1).normal(0, 1, (6, 1))
    found = crossed(d)
    deviation = math.sqrt(found.squares.variance)
    freedom = found.squares.freedom
    for comparisons in (1, 12):
        t = stats.t.ppf(1 - 0.025 / comparisons, freedom) + stats.t.ppf(0.8, freedom)
        assert found.smallest_visible(comparisons) == pytest.approx(t * deviation)
    for seeds in (1, 3, 5):
        assert crossed(np.zeros((seeds, 100))).smallest_visible() == pytest.approx(0.037)
    assert crossed(np.zeros((5, 100))).seeds_needed(difference=0) == math.inf
    assert effect(sd=0.001, seeds=10).smallest_visible() == pytest.approx(0.001, rel=0.02)  # 10 seeds are needed for it


def test_two_seeds_without_a_mistake_have_mean_squares_of_0():
    assert MeanSquares.of(np.zeros((2, 9))) == MeanSquares(2, 9, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("shape", [(100,), (1, 100), (3, 100), (8, 100)])
def test_where_no_answer_differs_nothing_is_certain_either(shape):
    same = np.random.default_rng(0).random(shape) < 0.1
    for found in (compare(same, same), crossed(np.zeros(shape))):
        assert (found.difference, found.p) == (0, 1)
        assert (found.low, found.high) == pytest.approx((-0.037, 0.037))
    assert compare(same, same, 0.99).high > 0.037 > compare(same, same, 0.9).high
    assert crossed(np.zeros(shape)).here.high == pytest.approx(0.037 if shape[0] in (3, 8) else math.nan, nan_ok=True)
    for rate in (0.036, 0.038, -0.036, -0.038, 1 / 3):
        certain = crossed(np.full(shape, rate))
        assert (certain.p < 0.05) == certain.excludes_zero == (abs(rate) > 0.037)
        assert certain.p == crossed(np.full(shape, rate), 0.9).p
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
