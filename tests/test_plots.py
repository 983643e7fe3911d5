"""What the figures show is what they were given: their lines, pictures and words, not only that they exist."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from cnnlab import plots
from cnnlab.metrics import Interval, mean_interval
from cnnlab.plots import style

LAYERS = ("C1", "C3", "C5", "output")
OPTIONS = {
    "activation": ("sigmoid", "tanh", "relu"),
    "loss": ("mse", "cross_entropy"),
    "pooling": ("average", "max"),
    "padding": ("valid", "same"),
}


def history(epochs, error=0.01, validation=True):
    rows = []
    for epoch in range(1, epochs + 1):
        wrong = error + 0.5 * math.exp(-epoch)
        row = {"epoch": epoch, "train/loss": 2 * wrong, "train/accuracy": 1 - wrong}
        row |= {"val/loss": 3 * wrong, "val/accuracy": 1 - 2 * wrong} if validation else {}
        rows.append(row | {f"grad_norm/{name}": 10.0 ** (i - 4) for i, name in enumerate(LAYERS)})
    return rows


def matrix(wrong=2, classes=10):
    counts = np.full((classes, classes), wrong)
    np.fill_diagonal(counts, 1000 - wrong * (classes - 1))
    return counts


@dataclass
class Arm:
    words: Mapping[str, str]
    errors: Sequence[float] = ()
    histories: Sequence = ()
    confusion: np.ndarray | None = None
    interval: Interval | None = field(default=None)

    @property
    def label(self):
        return " / ".join(self.words.values())

    @property
    def error(self):
        return self.interval or mean_interval(self.errors)


def combinations(options):
    return [dict(zip(options, choice, strict=True)) for choice in itertools.product(*options.values())]


@pytest.fixture
def arms():
    """Of 24 arms one failed and one was never run; the activation decides most."""
    base = {"sigmoid": 0.08, "tanh": 0.03, "relu": 0.01}
    found = []
    for number, words in enumerate(combinations(OPTIONS)):
        error = base[words["activation"]] + 0.0001 * number
        histories = [history(3, error)] * 2
        found.append(Arm(words, [error, error + 0.001], histories, matrix(number % 5 + 1)))
    found[5] = Arm(found[5].words)
    del found[13]
    return found


def texts(axes):
    return [text.get_text() for text in axes.texts]


def data(line):
    return np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()


def drawn(figure):
    """The figure as bytes, and that they are a small PNG."""
    content = plots.png(figure)
    assert content.startswith(b"\x89PNG") and len(content) < 150_000
    return content


def test_learning_curves_show_loss_and_error():
    loss, error = plots.learning_curves(history(30), "LeNet-5").axes
    epochs = list(range(1, 31))
    assert data(loss.lines[0]) == (epochs, [row["train/loss"] for row in history(30)])
    assert data(error.lines[1])[1] == pytest.approx([100 * (1 - row["val/accuracy"]) for row in history(30)])
    assert (loss.get_ylabel(), error.get_ylabel(), error.get_xlabel()) == ("loss", "error (%)", "epoch")
    assert [text.get_text() for text in error.get_legend().get_texts()] == ["training", "validation"]
    assert error.get_yscale() == "log"


def test_learning_curves_of_one_epoch_without_validation():
    figure = plots.learning_curves(history(1, validation=False), "costs $1 or $2")
    drawn(figure)
    for axes in figure.axes:
        (line,) = axes.lines
        assert line.get_marker() == "o" and len(data(line)[0]) == 1
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


@pytest.mark.parametrize("rows", [[], [{"epoch": 1, "train/loss": math.nan}]])
def test_learning_curves_of_nothing_say_so(rows):
    figure = plots.learning_curves(rows, "nothing")
    drawn(figure)
    assert [texts(axes) for axes in figure.axes] == [["no loss was recorded"], ["no error was recorded"]]


def test_gradient_norms_go_from_dark_to_light_in_the_networks_order():
    figure = plots.gradient_norms(history(4), "LeNet-5")
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == list(LAYERS)
    assert data(axes.lines[0])[1] == [1e-4] * 4 and axes.get_yscale() == "log"
    brightness = [np.dot(line.get_color()[:3], (0.3, 0.6, 0.1)) for line in axes.lines]
    assert brightness == sorted(brightness)
    drawn(figure)
    drawn(plots.gradient_norms([], "nothing"))


def test_kernels_lie_in_a_grid_on_one_symmetric_scale():
    W = np.arange(6 * 3 * 1 * 2.0).reshape(6, 3, 1, 2) - 10
    (axes,) = plots.kernels(W, "C1").axes
    grid, (low, high) = np.ma.getdata(axes.images[0].get_array()), axes.images[0].get_clim()
    assert (low, high) == (-25, 25)
    np.testing.assert_array_equal(grid[1:4, 1:3], W[0, :, 0])
    np.testing.assert_array_equal(grid[1:4, 4:6], W[1, :, 0])
    assert np.isnan(grid[:, 3]).all() and np.sum(~np.isnan(grid)) == W.size


def test_kernels_of_many_channels_filters_and_units():
    rng = np.random.default_rng(0)
    W = rng.normal(size=(100, 5, 3, 5))
    (axes,) = plots.kernels(W, "C1").axes
    (bar,) = axes.child_axes
    assert axes.get_title() == "C1 (first 64 of 100)" and "mean over channels" in bar.get_ylabel()
    np.testing.assert_allclose(np.ma.getdata(axes.images[0].get_array())[1:6, 1:6], W[0].mean(axis=1))
    dense = rng.normal(size=(40, 12))
    (axes,) = plots.kernels(dense, "F1", (4, 1, 3)).axes
    assert axes.get_title() == "F1 (first 36 of 40)"
    np.testing.assert_array_equal(np.ma.getdata(axes.images[0].get_array())[1:5, 1:4], dense[0].reshape(4, 3))
    with pytest.raises(ValueError, match="12 weights"):
        plots.kernels(dense, "F1")
    drawn(plots.kernels(np.zeros((2, 3, 1, 3)), "zeros"))


def test_confusion_counts_in_cells_and_colours_only_mistakes():
    counts = matrix(2)
    counts[3, 5] = 0
    figure = plots.confusion(counts, [str(c) for c in range(10)], "test")
    (axes,) = figure.axes
    shares = np.ma.getdata(axes.images[0].get_array())
    assert np.isnan(np.diag(shares)).all() and shares[0, 1] == pytest.approx(0.2)
    assert len(axes.texts) == 99 and axes.texts[0].get_text() == "982"
    assert axes.get_title() == "test\n178 of 9998 wrong, error 1.78 %"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("answer", "true class")
    drawn(figure)
    drawn(plots.confusion(np.zeros((3, 3), int), ["T-shirt/top", "$", "a$b$"], "empty"))


def test_confusion_colours_are_shares_of_the_true_class():
    (axes,) = plots.confusion(np.array([[6, 2], [40, 60]]), ["a", "b"], "test").axes
    shares = np.ma.getdata(axes.images[0].get_array())
    assert (shares[0, 1], shares[1, 0]) == (25, 40)


def test_mistakes_are_the_surest_wrong_answers():
    pixels = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
    labels, answers = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 2, 2, 1, 0, 0])
    sure = np.array([0.99, 0.5, 0.9, 0.7, 0.6, 0.2])
    classes = ["0", "1", "Ankle boot"]
    figure = plots.mistakes(pixels, labels, answers, sure, classes, limit=3)
    (axes,) = figure.axes
    assert texts(axes) == ["0 → 1", "0.7", "1 → 0", "0.6", "1\n→ Ankle boot", "0.5"]
    grid = np.ma.getdata(axes.images[0].get_array())
    for line, index in zip(axes.lines, (3, 4, 1), strict=True):  # the pictures inside their frames
        left, right, upper, lower = (int(f(c) + 0.5) for c in data(line) for f in (min, max))
        np.testing.assert_array_equal(grid[upper:lower, left:right], pixels[index])
    assert np.sum(~np.isnan(grid)) == 3 * 16
    assert figure.get_suptitle() == "the 3 surest of 4 mistakes: truth → answer, and its margin"
    drawn(figure)
    scores = plots.mistakes(pixels, labels, answers, sure - 1, classes)
    assert texts(scores.axes[0])[1] == "-0.3"
    assert "all 4 mistakes" in scores.get_suptitle() and "margin" in scores.get_suptitle()


def test_no_mistakes_say_so():
    labels = np.array([0, 1])
    (axes,) = plots.mistakes(np.zeros((2, 4, 4)), labels, labels, np.ones(2), ["a", "b"]).axes
    assert texts(axes) == ["No mistakes among 2 images."]


def test_distortions_are_beside_their_originals():
    pixels = np.arange(8 * 4 * 3, dtype=np.uint8).reshape(8, 4, 3)
    seen = []

    def distort(images, rng):
        seen.append(rng.random())
        return images + np.arange(len(images), dtype=np.uint8)[:, None, None]

    figures = [plots.distortions(pixels, distort, "$", images=2, draws=5) for _ in range(2)]
    (axes,) = figures[0].axes
    grid = np.ma.getdata(axes.images[0].get_array())
    np.testing.assert_array_equal(grid[1:5, 1:4], pixels[0])
    np.testing.assert_array_equal(grid[6:10, 1:4], pixels[1])
    np.testing.assert_array_equal(grid[6:10, 5:8], pixels[1] + 5)
    assert grid.shape == (11, 25) and seen[0] == seen[1]
    assert drawn(figures[0]) == drawn(figures[1])


def test_error_bars_show_means_intervals_and_seeds(arms):
    figure = plots.error_bars(arms)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [arm.label for arm in arms]
    bar, mean, seeds = axes.lines[:3]
    assert data(bar)[0] == pytest.approx([100 * arms[0].error.low, 100 * arms[0].error.high])
    assert data(mean)[0] == pytest.approx([8.05]) and data(seeds)[0] == pytest.approx([8, 8.1])
    assert texts(axes) == ["no finished run"] and "over seeds" in axes.get_title()
    drawn(figure)


def test_error_bars_of_one_seed_say_that_the_interval_is_the_test_sets():
    single = Arm({"a": "x"}, [0.02], interval=Interval(0.02, 0.018, 0.023, 0.14, 10000))
    (axes,) = plots.error_bars([single]).axes
    assert "one seed, 95% binomial" in axes.get_title() and "over seeds" not in axes.get_title()
    assert axes.lines[1].get_markerfacecolor() == "white" and len(axes.lines) == 2
    assert plots.error_bars([Arm({"a": "x"})]).axes[0].get_title() == "no run has finished"
    both = plots.error_bars([single, Arm({"a": "y"}, [0.01, 0.5])]).axes[0]
    assert both.get_xscale() == "log" and both.get_xlim()[0] > 0


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 3)), (2, (3, 2)), (3, (3, 4)), (4, (6, 4))])
def test_heat_map_splits_the_words_between_rows_and_columns(count, shape):
    words = dict(itertools.islice(OPTIONS.items(), count))
    found = [Arm(choice, [0.01 * (i + 1)] * 2) for i, choice in enumerate(combinations(words))]
    axes, _ = plots.heat_map(found, words).axes
    values = np.ma.getdata(axes.images[0].get_array())
    np.testing.assert_allclose(values, 1 + np.arange(len(found)).reshape(shape))
    assert texts(axes)[:2] == ["1.00\n±0.00", "2.00\n±0.00"]


def test_heat_map_marks_what_is_missing(arms):
    figure = plots.heat_map(arms, OPTIONS)
    axes, _ = figure.axes
    assert (texts(axes)[5], texts(axes)[13]) == ("failed", "not run")
    assert np.isnan(np.ma.filled(axes.images[0].get_array(), np.nan)).sum() == 2
    assert axes.get_yticklabels()[1].get_text() == "sigmoid / cross_entropy"
    assert axes.get_xlabel() == "pooling, padding" and axes.get_ylabel() == "activation / loss"
    drawn(figure)
    only = plots.heat_map(arms, {"loss": OPTIONS["loss"]}).axes[0]
    expected = [np.mean([a.error.mean for a in arms if a.errors and a.words["loss"] == o]) for o in OPTIONS["loss"]]
    np.testing.assert_allclose(np.ma.getdata(only.images[0].get_array())[0], 100 * np.array(expected))
    drawn(plots.heat_map([Arm(arm.words) for arm in arms], OPTIONS))


def test_gradient_norms_side_by_side_share_one_log_scale(arms):
    figure = plots.gradient_norms_side_by_side(arms)
    assert len(figure.axes) == 22 and figure.get_suptitle() == "22 of 23 arms (the others have no result)"
    assert len({axes.get_ylim() for axes in figure.axes}) == 1 and figure.axes[0].get_yscale() == "log"
    assert all([line.get_label() for line in axes.lines] == list(LAYERS) for axes in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(LAYERS)
    drawn(figure)


def test_panels_are_capped_and_may_be_none(arms):
    many = [Arm({"lr": str(i)}, [0.01], [history(1)], matrix()) for i in range(40)]
    assert len(plots.gradient_norms_side_by_side(many).axes) == 30
    assert plots.confusion_grid(many).get_suptitle() == "30 of 40 arms (the first ones)"
    for draw in (plots.gradient_norms_side_by_side, plots.confusion_grid):
        drawn(draw([Arm({"a": "x"})]))


def test_confusion_grid_shows_each_arms_mistakes(arms):
    figure = plots.confusion_grid(arms)
    *places, bar = figure.axes
    assert len(places) == 22 and "%" in bar.get_ylabel()
    shares = np.ma.getdata(places[2].images[0].get_array())
    assert np.isnan(np.diag(shares)).all() and shares[0, 1] == pytest.approx(0.3)
    assert places[2].get_title().endswith("\n2.70 %")
    assert len({axes.images[0].get_clim() for axes in places}) == 1
    drawn(figure)


def test_learning_curves_side_by_side_colour_the_decisive_word_and_name_each_line(arms):
    figure = plots.learning_curves_side_by_side(arms, OPTIONS)
    (axes,) = figure.axes
    finished = [arm for arm in arms if arm.errors]
    colours = dict(zip(OPTIONS["activation"], style.COLOURS, strict=False))
    for line, arm in zip(axes.lines, finished, strict=False):
        assert line.get_color() == colours[arm.words["activation"]]
        assert data(line)[1] == pytest.approx([100 * (1 - row["val/accuracy"]) for row in arm.histories[0]])
    assert axes.get_legend().get_title().get_text() == "activation"
    assert sorted(text.rsplit("  ", 1)[0] for text in texts(axes)) == sorted(arm.label for arm in finished)
    heights = [text.get_position()[1] for text in axes.texts]
    assert min(-np.diff(heights)) > 0.04 and min(heights) >= 0
    assert axes.get_ylabel() == "validation error (%)"
    drawn(figure)


def test_learning_curves_side_by_side_without_validation_or_result():
    lone = Arm({"a": "x"}, [0.01, 0.02], [history(1, validation=False), history(2, validation=False)])
    (axes,) = plots.learning_curves_side_by_side([lone], {}).axes
    assert axes.get_ylabel() == "training error (%)" and len(data(axes.lines[0])[0]) == 1
    assert texts(plots.learning_curves_side_by_side([Arm({})], {}).axes[0]) == ["no run has finished"]


def test_the_same_figure_gives_the_same_bytes():
    assert drawn(plots.gradient_norms(history(3), "a")) == drawn(plots.gradient_norms(history(3), "a"))
