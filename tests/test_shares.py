"""What each of several steps contributes to a whole change: no arm or order is counted as if it were new data."""

import itertools
import math

import numpy as np
import pytest

from cnnlab.statistics import compare, crossed, shares


def wrong(seeds=6, images=80, rate=0.3, seed=0):
    return np.random.default_rng(seed).random((seeds, images)) < rate


def staircase(names, seed=0, **form):
    sets = [frozenset(steps) for size in range(len(names) + 1) for steps in itertools.combinations(names, size)]
    return {steps: wrong(rate=0.5 / (1 + len(steps)), seed=seed + number, **form) for number, steps in enumerate(sets)}


@pytest.mark.parametrize("names", ["x", "xy", "xyz", "wxyz"])
def test_a_share_is_the_mean_over_all_orders_of_the_steps(names):
    """Every order is walked; the steps are taken one by one."""
    arms = staircase(names)
    walked = {name: [] for name in names}
    for order in itertools.permutations(names):
        before = frozenset()
        for name in order:
            walked[name].append(arms[before | {name}].astype(float) - arms[before])
            before |= {name}
    found = shares(arms, 0.9)
    assert "".join(found) == names
    for name, tables in walked.items():
        share, expected = found[name], crossed(np.mean(tables, axis=0), 0.9)
        assert (share.effect.low, share.effect.high) == pytest.approx((expected.low, expected.high))
        assert share.effect.p == pytest.approx(expected.p)
        assert len(share.after) == 2 ** (len(names) - 1)
        for before, step in share.after.items():
            assert step == compare(arms[before], arms[before | {name}], 0.9)
        means = [table.mean() for table in tables]
        assert share.after[share.smallest].mean == pytest.approx(min(means))
        assert share.after[share.largest].mean == pytest.approx(max(means))
    whole = compare(arms[frozenset()], arms[frozenset(names)])
    assert sum(share.effect.mean for share in found.values()) == pytest.approx(whole.mean)


def test_a_step_that_changes_nothing_has_no_share_and_takes_none():
    pair = {"": wrong(rate=0.4, seed=1), "x": wrong(rate=0.2, seed=2)}
    arms = {frozenset(x + idle): pair[x] for x in pair for idle in ("", "y", "z", "yz")}
    found, alone = shares(arms), compare(pair[""], pair["x"])
    share = found["x"].effect
    assert (share.low, share.high, share.p) == pytest.approx((alone.low, alone.high, alone.p))
    for name in "yz":
        idle = found[name].effect
        assert (idle.mean, idle.p) == (0, 1) and (idle.low, idle.high) == pytest.approx((-3.7 / 80, 3.7 / 80))


def test_copies_of_a_seed_give_every_share_that_seeds_interval():
    arms = staircase("xyz", seeds=1, images=200)
    one, eight = shares(arms), shares({steps: np.repeat(table, 8, axis=0) for steps, table in arms.items()})
    for name in "xyz":
        first, second = one[name].effect, eight[name].effect
        assert (second.low, second.high, second.p) == pytest.approx((first.low, first.high, first.p), rel=1e-3)
    assert math.isnan(one["x"].effect.here.low)


def test_shares_refuse_a_staircase_that_is_not_whole():
    arms = staircase("xy")
    for missing, said in [("", "without any step"), ("x", "with x too"), ("xy", "")]:
        rest = {steps: table for steps, table in arms.items() if steps != frozenset(missing)}
        with pytest.raises(ValueError, match=f"shares: 2 steps have 4 arms: give the one .*{said}"):
            shares(rest)
    for none in ({}, {frozenset(): wrong()}):
        with pytest.raises(ValueError, match="shares: there are no steps"):
            shares(none)
    with pytest.raises(ValueError, match=r"shares: shapes \(5, 80\), \(6, 80\) differ"):
        shares(arms | {frozenset("x"): wrong(5)})
    with pytest.raises(ValueError, match=r"answers: every value must be 0 .right. or 1 .wrong."):
        shares(arms | {frozenset("x"): wrong() * 2})
