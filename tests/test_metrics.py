"""Counts and intervals agree with scikit-learn and SciPy, and with what can be reckoned by hand."""

import math

import numpy as np
import pytest

from cnnlab.metrics import accuracy, binomial_interval, confusion_matrix, mean_interval, paired_difference


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
    with pytest.raises(ValueError, match="confusion matrix"):
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


def test_paired_difference_is_the_paired_t_test():
    from scipy import stats

    rng = np.random.default_rng(1)
    b = rng.normal(size=8)
    a = b + 0.3 + 0.1 * rng.normal(size=8)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    found = paired_difference(a, b)
    np.testing.assert_allclose((found.low, found.high), (expected.low, expected.high))
    assert found.excludes_zero and paired_difference(b, a).excludes_zero
    with pytest.raises(ValueError, match="8 values against 7"):
        paired_difference(a, b[:7])


@pytest.mark.parametrize(("errors", "total"), [(0, 10), (1, 10), (10, 10), (95, 10000), (5000, 10000)])
def test_binomial_interval_is_wilsons(errors, total):
    from scipy import stats

    expected = stats.binomtest(errors, total).proportion_ci(0.95, method="wilson")
    found = binomial_interval(errors, total)
    np.testing.assert_allclose((found.low, found.high), (expected.low, expected.high), atol=1e-12)
    assert (found.mean, found.n) == (errors / total, total)


def test_binomial_interval_of_nothing_and_of_nonsense():
    assert math.isnan(binomial_interval(0, 0).mean)
    with pytest.raises(ValueError, match="11 errors out of 10"):
        binomial_interval(11, 10)
