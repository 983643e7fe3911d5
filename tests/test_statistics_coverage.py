"""The intervals hold what they promise: of studies drawn from a known model, 95% have the truth within them."""

from collections import Counter
from statistics import NormalDist

import numpy as np
import pytest

from cnnlab.statistics import shares

NORMAL = NormalDist()
DRAWS = 400
IMAGES, SCALE = 1000, 10  # errors ten times as large on a tenth of the images stand for 10,000, at a tenth of the cost
ERRORS = {frozenset(): 1.1, frozenset("x"): 0.9, frozenset("y"): 1.0, frozenset("xy"): 0.8}  # per cent
TRUE = {"x": -0.2, "y": -0.1}  # what a step changes, alone or after the other
SHARED = 0.87  # of what makes an answer wrong lies in the image: then two seeds differ in some 70 of 10,000 answers


def study(rng, seeds, deviation, own):
    """Wrong answers of all arms by a probit model.

    An image is hard or easy for all arms, but for the part `own` of its variance that each arm has for itself; the
    error of an arm's seeds has a standard `deviation` in points.
    """
    image = rng.normal(size=IMAGES)
    arms = {}
    for steps, error in ERRORS.items():
        limit = NORMAL.inv_cdf(1 - SCALE * error / 100)
        spread = SCALE * deviation / 100 / NORMAL.pdf(limit)
        level = np.sqrt(1 - own) * image + np.sqrt(own) * rng.normal(size=IMAGES)
        level = np.sqrt(SHARED) * level + np.sqrt(1 - SHARED) * rng.normal(size=(seeds, IMAGES))
        arms[steps] = level + spread * rng.normal(size=(seeds, 1)) > limit * np.sqrt(1 + spread**2)
    return arms


@pytest.mark.slow
@pytest.mark.parametrize("own", [0, 0.15])
@pytest.mark.parametrize("deviation", [0, 0.05, 0.15, 0.5])
@pytest.mark.parametrize("seeds", [5, 10, 20])
def test_of_95_in_100_intervals_the_truth_is_within(seeds, deviation, own):
    rng, held, made = np.random.default_rng(0), Counter(), Counter()
    for _ in range(DRAWS):
        for name, share in shares(study(rng, seeds, deviation, own)).items():
            for kind, found in [("share", share.effect), *(("difference", step) for step in share.after.values())]:
                made[kind] += 1
                held[kind] += found.low <= TRUE[name] * SCALE / 100 <= found.high
    assert made == {"share": 2 * DRAWS, "difference": 4 * DRAWS}
    for kind in made:
        assert 0.92 <= held[kind] / made[kind] <= 0.98, kind
