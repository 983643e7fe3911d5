"""How often a classifier is wrong, and how sure we may be of it: counts, intervals, comparisons, effects of words.

Errors and differences are fractions, 0 to 1: times 100 they are points (per cent). A test of what one word changes is
`compare`; of what each of several contributes `shares`. Importing this needs NumPy only.
"""

from cnnlab.statistics.comparisons import Comparison, compare, differences, error_rate, holm
from cnnlab.statistics.counts import accuracy, confusion_matrix
from cnnlab.statistics.estimates import FEWEST_SEEDS, LEVEL, MARGIN, POWER, Effect, MeanSquares, crossed
from cnnlab.statistics.intervals import Interval, binomial_interval, mean_interval, t_interval
from cnnlab.statistics.shares import Share, shares

__all__ = [
    "FEWEST_SEEDS",
    "LEVEL",
    "MARGIN",
    "POWER",
    "Comparison",
    "Effect",
    "Interval",
    "MeanSquares",
    "Share",
    "accuracy",
    "binomial_interval",
    "compare",
    "confusion_matrix",
    "crossed",
    "differences",
    "error_rate",
    "holm",
    "mean_interval",
    "shares",
    "t_interval",
]
