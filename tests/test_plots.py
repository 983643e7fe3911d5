"""What the figures show is what they were given: their lines, pictures and words, not only that they exist."""

import itertools
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from cnnlab import plots
from cnnlab.plots import style
from cnnlab.report import curves, effects, figures, panels
from cnnlab.report.arms import RunRecord, swept
from cnnlab.report.arms import arms as group
from cnnlab.report.contrasts import Asked, Contrast
from cnnlab.report.findings import Answer, Finding, answer
from cnnlab.statistics import Interval, crossed, mean_interval

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
    base = {"sigmoid": 8, "tanh": 3, "relu": 1}
    found = []
    for number, words in enumerate(combinations(OPTIONS)):
        error = base[words["activation"]] + 0.01 * number
        histories = [history(3, error / 100)] * 2
        found.append(Arm(words, [error, error + 0.1], histories, matrix(number % 5 + 1)))
    found[5] = Arm(found[5].words)
    del found[13]
    return found


def norms(rows, title):
    """As a run shows them."""
    return plots.by_layer(rows, "grad_norm", title, "gradient norm", log=True)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def data(line):
    return np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()


def words(page):
    """The texts on a page."""
    return [word.text for word in page.words]


def shown(page):
    """The pictures on a page, without lines and frames."""
    return [picture.colours for picture in page.pictures if picture.colours.size > 3]


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
    figure = norms(history(4), "LeNet-5")
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == list(LAYERS)
    assert data(axes.lines[0])[1] == [1e-4] * 4 and axes.get_yscale() == "log"
    brightness = [np.dot(line.get_color()[:3], (0.3, 0.6, 0.1)) for line in axes.lines]
    assert brightness == sorted(brightness)
    drawn(figure)
    nothing = norms([], "nothing")
    drawn(nothing)
    assert texts(nothing.axes[0]) == ["no gradient norm was recorded"]


def test_any_family_of_metrics_by_layer_is_drawn():
    rows = [{"epoch": e, "saturation/A1": 0.1 * e, "saturation/A$2": 0.0} for e in (1, 2)]
    figure = plots.by_layer(rows, "saturation", "LeNet-5")
    (axes,) = figure.axes
    assert axes.get_ylabel() == "saturation" and axes.get_yscale() == "linear" and len(axes.lines) == 2
    assert data(axes.lines[0]) == ([1, 2], pytest.approx([0.1, 0.2]))
    drawn(figure)


def test_epochs_that_measured_different_things():
    """As after an upgrade in the middle of a training: what an epoch does not have is a gap."""
    old = [{"epoch": 1, "train/loss": 2.0, "train/accuracy": 0.5}]
    rows = [*old, *({**row, "epoch": row["epoch"] + 1, "update_ratio/C1": 0.01} for row in history(2))]
    _, error = plots.learning_curves(rows, "").axes
    np.testing.assert_array_equal(np.isnan(data(error.lines[1])[1]), [True, False, False])
    (axes,) = plots.by_layer(rows, "update_ratio", "", log=True).axes
    np.testing.assert_array_equal(data(axes.lines[0])[1], [math.nan, 0.01, 0.01])
    arms = [Arm({"a": "x"}, [1], [rows]), Arm({"a": "y"}, [1], [old]), Arm({"a": "z"}, [1], [rows, history(3)])]
    (axes,) = curves.learning_curves(arms, {"a": ("x", "y", "z")}).axes
    assert axes.get_ylabel() == "validation error (%)" and len(axes.texts) == 2
    for figure in (plots.learning_curves(rows, ""), norms(rows, ""), curves.gradient_ratio(arms, {})):
        drawn(figure)
    drawn(curves.learning_curves(arms[1:2], {}))


def test_watched_test_images_are_called_what_they_are():
    rows = [{"epoch": e, "train/accuracy": 0.9, "watch/loss": 0.1, "watch/error_percent": 3.0 / e} for e in (1, 2)]
    loss, error = plots.learning_curves(rows, "").axes
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["test images, watched"]
    assert [text.get_text() for text in error.get_legend().get_texts()] == ["training", "test images, watched"]
    assert data(error.lines[1])[1] == [3.0, 1.5]
    (axes,) = curves.learning_curves([Arm({"a": "x"}, [1], [rows])], {}).axes
    assert axes.get_ylabel() == "error on the test images, watched (%)" and data(axes.lines[0])[1] == [3.0, 1.5]
    both = [row | {"val/error_percent": 4.0} for row in rows]
    assert [line.get_label() for line in plots.learning_curves(both, "").axes[1].lines] == ["training", "validation"]
    drawn(plots.learning_curves(rows, ""))


def test_kernels_lie_in_a_grid_on_one_symmetric_scale():
    W = np.arange(6 * 3 * 1 * 2.0).reshape(6, 3, 1, 2) - 10
    page = plots.kernels(W, "C1")
    grid, bar = shown(page)
    np.testing.assert_array_equal(grid[1:4, 1:3], style.coloured((W[0, :, 0] / 25 + 1) / 2, "RdBu_r"))
    np.testing.assert_array_equal(grid[1:4, 4:6], style.coloured((W[1, :, 0] / 25 + 1) / 2, "RdBu_r"))
    np.testing.assert_array_equal(grid[3, -2], bar[0, 0])  # the largest weight
    assert words(page) == ["−20", "0", "20", "weight", "C1"]
    blank = (grid == style.paint("0.35")).all(axis=2)
    assert blank[:, 3].all() and np.sum(~blank) == W.size


def test_kernels_of_many_channels_filters_and_units():
    rng = np.random.default_rng(0)
    W = rng.normal(size=(100, 5, 3, 5))
    page = plots.kernels(W, "C1")
    *_, label, title = words(page)
    assert title == "C1 (first 64 of 100)" and "mean over channels" in label
    means = W[:64].mean(axis=2)
    scaled = (means[0] / np.abs(means).max() + 1) / 2
    np.testing.assert_array_equal(shown(page)[0][1:6, 1:6], style.coloured(scaled, "RdBu_r"))
    dense = rng.normal(size=(40, 12))
    page = plots.kernels(dense, "F1", (4, 1, 3))
    assert words(page)[-1] == "F1 (first 36 of 40)"
    scaled = (dense[0].reshape(4, 3) / np.abs(dense[:36]).max() + 1) / 2
    np.testing.assert_array_equal(shown(page)[0][1:5, 1:4], style.coloured(scaled, "RdBu_r"))
    with pytest.raises(ValueError, match="12 weights"):
        plots.kernels(dense, "F1")
    drawn(plots.kernels(np.zeros((2, 3, 1, 3)), "zeros"))


def test_confusion_counts_in_cells_and_colours_only_mistakes():
    counts = matrix(2)
    counts[3, 5] = 0
    page = plots.confusion(counts, [str(c) for c in range(10)], "test")
    cells, bar = shown(page)
    assert (cells[range(10), range(10)] == style.paint(style.GREY)).all()
    np.testing.assert_array_equal(cells[0, 1], bar[0, 0])
    np.testing.assert_array_equal(cells[3, 5], bar[-1, 0])
    assert words(page)[:99] == [str(count) for count in counts.flat if count]
    assert {"answer", "true class", "test\n178 of 9998 wrong, error 1.78 %"} < set(words(page))
    drawn(page)
    drawn(plots.confusion(np.zeros((3, 3), int), ["T-shirt/top", "$", "a$b$"], "empty"))


def test_confusion_colours_are_shares_of_the_true_class():
    page = plots.confusion(np.array([[6, 2], [40, 60]]), ["a", "b"], "test")
    cells, _ = shown(page)
    np.testing.assert_array_equal(cells[[0, 1], [1, 0]], style.coloured(np.array([25, 40]) / 40, "Oranges"))
    assert {"0", "10", "20", "30", "40"} <= set(words(page))
    first, second = (word for word in page.words if word.text in ("2", "40") and word.points == 9)
    assert first.x > second.x and first.y < second.y  # rows are the truth


def test_nothing_on_a_page_is_cut_off():
    rng = np.random.default_rng(0)
    long = ["T-shirt/top", "Ankle boot", "W" * 15]
    images, labels = rng.integers(0, 256, (9, 28, 28)), np.arange(9) % 3
    pages = [plots.confusion(matrix(30, classes), names, "test") for classes, names in ((3, long), (10, "0123456789"))]
    pages += [plots.kernels(rng.normal(size=(6, 5, c, 5)), "first-layer kernels") for c in (1, 3)]
    pages += [plots.mistakes(images, labels, (labels + 1) % 3, np.ones(9), names) for names in (long, "abc")]
    pages += [plots.distortions(images, lambda copies, rng: copies, "training images and distorted copies")]
    title = f"A {'a long name ' * 20}\nB {'W' * 200}"
    pages += [plots.differing(images, labels, labels, (labels + 1) % 3, "abc", title)]
    for page in pages:
        colours = np.asarray(page.image())
        edge = np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]])
        assert (edge == 255).all()


def test_mistakes_are_the_surest_wrong_answers():
    pixels = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
    labels, answers = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 2, 2, 1, 0, 0])
    sure = np.array([0.99, 0.5, 0.9, 0.7, 0.6, 0.2])
    classes = ["0", "1", "Ankle boot"]
    page = plots.mistakes(pixels, labels, answers, sure, classes, limit=3)
    title, *captions = words(page)
    assert captions == ["0 → 1", "0.7", "1 → 0", "0.6", "1\n→ Ankle boot", "0.5"]
    for picture, index in zip(shown(page), (3, 4, 1), strict=True):
        np.testing.assert_array_equal(picture[..., 0], 255 - np.rint(255 * (pixels[index] / 95)))
    assert title == "the 3 surest of 4 mistakes: truth → answer, and its margin"
    drawn(page)
    title, _, first, *_ = words(plots.mistakes(pixels, labels, answers, sure - 1, classes))
    assert first == "−0.3" and "all 4 mistakes" in title and "margin" in title


def test_colour_images_are_shown_in_colour():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 3)).astype(np.uint8)
    pixels[0, 0, 0] = 255
    labels, answers = np.zeros(5, int), np.array([1, 1, 0, 0, 1])
    page = plots.mistakes(pixels, labels, answers, np.arange(5.0), ["a", "b"])
    np.testing.assert_array_equal(shown(page)[0], pixels[4])
    page = plots.distortions(pixels, lambda images, rng: 255 - images, "", images=2, draws=3)
    (grid,) = shown(page)
    np.testing.assert_array_equal(grid[1:5, 5:8], 255 - pixels[0])
    np.testing.assert_array_equal(grid[0, 0], style.paint(style.COLOURS[0]))
    drawn(page)


def test_no_mistakes_say_so():
    labels = np.array([0, 1])
    page = plots.mistakes(np.zeros((2, 4, 4)), labels, labels, np.ones(2), ["a", "b"])
    assert words(page) == ["No mistakes among 2 images."]


def test_distortions_are_beside_their_originals():
    pixels = np.arange(8 * 4 * 3, dtype=np.uint8).reshape(8, 4, 3)
    seen = []

    def distort(images, rng):
        seen.append(rng.random())
        return images + np.arange(len(images), dtype=np.uint8)[:, None, None]

    one, again = (plots.distortions(pixels, distort, "$", images=2, draws=5) for _ in range(2))
    (grid,) = shown(one)
    for place, values in {(1, 1): pixels[0], (6, 1): pixels[1], (6, 5): pixels[1] + 5}.items():
        (row, column), ink = place, 255 - np.rint(255 * (values / 95))
        np.testing.assert_array_equal(grid[row : row + 4, column : column + 3, 0], ink)
    assert grid.shape == (11, 25, 3) and seen[0] == seen[1]
    assert drawn(one) == drawn(again)


def test_errors_on_changed_images_are_lines_on_one_scale():
    curves = {"shift (pixels)": {"up": {2: 30.0, 0: 1.0, 1: 5.0}, "a_b": {0: 1.0}}, "noise (%)": {"x": {0: 1, 10: 80}}}
    left, right = plots.robustness(curves, "$").axes
    assert [data(line) for line in left.lines] == [([0, 1, 2], [1, 5, 30]), ([0], [1])]
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["up", "a b"]
    assert [(axes.get_xlabel(), axes.get_ylim()[0]) for axes in (left, right)] == [(kind, 0) for kind in curves]
    assert left.get_ylim() == right.get_ylim() and right.get_ylim()[1] > 80  # nothing is cut off
    assert drawn(left.figure) == drawn(plots.robustness(curves, "$"))


def legend(figure):
    """What the legend below a figure says."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_error_bars_show_every_seed_and_of_enough_seeds_the_mean_and_its_interval(arms):
    arms[1] = Arm(arms[1].words, [8.1, 8.2, 8.3, 8.4, 8.5])
    figure = figures.error_bars(arms, "a study: 23 arms")
    (axes,) = figure.axes
    ordered = sorted((arm for arm in arms if arm.errors), key=lambda arm: sum(arm.errors) / len(arm.errors))
    assert ordered[-1] is arms[1]
    assert [label.get_text() for label in axes.get_yticklabels()] == [arm.label for arm in (*ordered, arms[5])]
    seeds, (bar, mean, five, _) = axes.lines[0], axes.lines[-4:]
    assert data(seeds) == (pytest.approx(ordered[0].errors), [0, 0])  # two seeds have no interval
    assert data(bar)[0] == pytest.approx([arms[1].error.low, arms[1].error.high])
    assert data(mean)[0] == pytest.approx([8.3]) and data(five)[0] == arms[1].errors
    assert texts(axes) == ["no finished run"] and figure.get_suptitle() == "a study: 23 arms"
    assert legend(figure) == ["one seed", "95% interval for new seeds and new images", "mean of all seeds"]
    assert axes.get_xlabel() == "test error (%)"
    drawn(figure)


def test_error_bars_of_few_seeds_are_dots_only():
    single = Arm({"a": "x"}, [2], interval=Interval(2, 1.8, 2.3, 14, 1))
    figure = figures.error_bars([single])
    assert [data(line) for line in figure.axes[0].lines] == [([2], [0])] and legend(figure) == ["one seed"]
    nothing = figures.error_bars([Arm({"a": "x"})])
    assert legend(nothing) == [] and texts(nothing.axes[0]) == ["no finished run"]
    drawn(nothing)
    both = figures.error_bars([single, Arm({"a": "y"}, [1, 50])]).axes[0]
    assert both.get_xscale() == "log" and both.get_xlim()[0] > 0


@pytest.mark.parametrize(("count", "shape"), [(2, (3, 2)), (3, (3, 4)), (4, (6, 4))])
def test_heat_map_splits_the_words_between_rows_and_columns(count, shape):
    words = dict(itertools.islice(OPTIONS.items(), count))
    found = [Arm(choice, [i + 1] * 5) for i, choice in enumerate(combinations(words))]
    found[1] = Arm(found[1].words, [2, 2])
    axes, _ = figures.heat_map(found, words).axes
    values = np.ma.getdata(axes.images[0].get_array())
    np.testing.assert_allclose(values, 1 + np.arange(len(found)).reshape(shape))
    assert texts(axes)[:2] == ["1.00\n±0.00", "2.00"]  # two seeds have no interval


def test_heat_map_marks_what_is_missing(arms):
    figure = figures.heat_map(arms, OPTIONS)
    axes, _ = figure.axes
    assert (texts(axes)[5], texts(axes)[13]) == ("failed", "not run")
    assert np.isnan(np.ma.filled(axes.images[0].get_array(), np.nan)).sum() == 2
    assert axes.get_yticklabels()[1].get_text() == "sigmoid / cross_entropy"
    assert axes.get_xlabel() == "pooling, padding" and axes.get_ylabel() == "activation / loss"
    drawn(figure)
    drawn(figures.heat_map([Arm(arm.words) for arm in arms], OPTIONS))
    assert figures.heat_map(arms[:11], OPTIONS) is None
    one = {"loss": OPTIONS["loss"]}
    assert figures.heat_map([Arm(choice, [1]) for choice in combinations(one)], one) is None


def tiny(seeds, wrong):
    """The answer of a study of two words, of which the arms get so many of 100 images wrong."""
    records = []
    for words in combinations({"activation": ("sigmoid", "relu"), "loss": ("mse", "ce")}):
        for seed in range(seeds):
            answers = (np.arange(100) < wrong[len(records) // seeds] + seed % 2).astype(int)
            found, known = {**words, "seed": str(seed)}, {"answers": answers, "labels": np.zeros(100, int)}
            records.append(RunRecord("", found, "FINISHED", {"test/error_percent": answers.mean()}, **known))
    words = swept(records)
    return answer(group(records, words), words, Asked(("activation=sigmoid->relu", "loss=mse->ce"), "loss"))


def test_contrasts_are_a_forest_with_the_parts_below_each():
    said = tiny(6, (40, 10, 20, 15))
    figure = effects.contrasts(said, "a study")
    (axes,) = figure.axes
    labels = ["activation=sigmoid → relu", "with loss=mse", "with loss=ce", "loss=mse → ce"]
    assert [label.get_text().strip() for label in axes.get_yticklabels()] == labels
    bars, means = axes.lines[1::2], axes.lines[2::2]
    within = said.interactions[0].within
    found = [said.findings[0], within["mse"], within["ce"], said.findings[1]]
    for place, (bar, mean, one) in enumerate(zip(bars, means, found, strict=True)):
        assert data(bar) == (pytest.approx([100 * one.effect.low, 100 * one.effect.high]), [place, place])
        assert data(mean) == (pytest.approx([100 * one.effect.mean]), [place])
    assert [line.get_marker() for line in means] == ["o", "D", "D", "o"]
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-0.1, 0.1))
    assert "points" in axes.get_xlabel() and figure.get_suptitle() == "a study"
    assert legend(figure) == [
        "less than 0.1 points",
        "change, 95% interval for new seeds and new images",
        "change, with one option of the other word",
    ]
    drawn(figure)
    assert effects.contrasts(Answer()) is None


def test_one_wide_contrast_does_not_squeeze_the_others():
    small, wide = (crossed(np.full((5, 50), size) * np.linspace(0.9, 1.1, 5)[:, None]) for size in (0.002, 0.2))
    found = [Finding(Contrast.parse("lr=1->2"), effect, (), 1, 0, 0, 0, 5) for effect in (small, small, wide)]
    (narrow,) = effects.contrasts(Answer(findings=found[:2])).axes
    assert narrow.get_xscale() == "linear" and "log" not in narrow.get_xlabel()
    figure = effects.contrasts(Answer(findings=found))
    (axes,) = figure.axes
    assert axes.get_xscale() == "symlog" and "beyond 1 on a log scale" in axes.get_xlabel()
    places = axes.transData.transform([(0, 0), (0.2, 0), (20, 0)])[:, 0]
    assert places[2] - places[0] < 20 * (places[1] - places[0])
    drawn(figure)


def test_contrasts_of_few_seeds_are_dots_only():
    figure = effects.contrasts(tiny(2, (40, 10, 20, 15)))
    _, *rows = figure.axes[0].lines
    for place, (row, change) in enumerate(zip(rows, (-7.5, -20, 5, -17.5), strict=True)):
        assert data(row) == (pytest.approx([change] * 2), [place] * 2)
    assert {line.get_linestyle() for line in rows} == {"None"} and "one seed" in legend(figure)
    drawn(figure)


@pytest.mark.parametrize("seeds", [2, 6])
@pytest.mark.parametrize("wrong", [(40, 10, 20, 15), (15, 20, 10, 40)])
def test_shares_are_steps_from_the_first_error_to_the_last(seeds, wrong):
    said = tiny(seeds, wrong)
    figure = effects.shares(said, "a study")
    (axes,) = figure.axes
    first, *steps, last = axes.patches
    assert first.get_width() == pytest.approx(wrong[0] + 0.5) and last.get_width() == pytest.approx(wrong[3] + 0.5)
    ends = [steps[0].get_x(), *(step.get_x() + step.get_width() for step in steps)]
    assert ends[0] == pytest.approx(first.get_width()) and ends[-1] == pytest.approx(last.get_width())
    widths = [step.get_width() for step in steps]
    assert sorted(widths, key=abs, reverse=True) == widths
    order = [label.get_text() for label in axes.get_yticklabels()]
    assert order[0] == "sigmoid / mse" and order[-1] == "relu / ce" and set(order[1:-1]) == {"activation", "loss"}
    for word, step, end in zip(order[1:-1], steps, ends[1:], strict=True):
        effect = said.staircase.shares[word].effect
        assert step.get_width() == pytest.approx(100 * effect.mean)
        bars = [line for line in axes.lines if line.get_marker() == "|" and data(line)[1][0] == order.index(word)]
        assert len(bars) == (seeds >= 5)
        for bar in bars:
            assert np.mean(data(bar)[0]) == pytest.approx(end)
            assert np.ptp(data(bar)[0]) == pytest.approx(100 * (effect.high - effect.low))
    assert "test error" in legend(figure) and axes.get_xlabel() == "test error (%)"
    drawn(figure)
    assert effects.shares(Answer()) is None


def test_the_gradient_ratio_is_that_of_the_first_layer_to_the_last(arms):
    norms = {"grad_norm/C3": 9, "grad_norm/F6": 2}
    rows = [[{"epoch": e, "grad_norm/C1": first * e, **norms} for e in (1, 2)] for first in (2, 8)]
    lone = Arm({"a": "x"}, [1, 1], rows)
    (axes,) = curves.gradient_ratio([lone, Arm({"a": "y"})], {"a": ("x", "y")}, "a study").axes
    assert data(axes.lines[0]) == ([1, 2], pytest.approx([2, 4]))  # the geometric mean of 1 and 4, and of 2 and 8
    assert axes.get_yscale() == "log" and texts(axes) == ["x  4"]
    assert axes.get_ylabel() == "gradient norm, first layer / last layer" and axes.get_xlabel() == "epoch"
    assert axes.figure.get_suptitle() == "a study"
    figure = curves.gradient_ratio(arms, OPTIONS)
    assert len(texts(figure.axes[0])) == 22 and data(figure.axes[0].lines[0])[1] == pytest.approx([1e-3] * 3)
    drawn(figure)
    one_layer = [{"epoch": 1, "grad_norm/C1": 1.0}]
    no_gradient = [{"epoch": 1, "grad_norm/C1": 0.0, "grad_norm/F6": 1.0}]
    for history in ([], one_layer, no_gradient, [{"epoch": 1}]):
        assert curves.gradient_ratio([Arm({"a": "x"}, [1], [history])], {}) is None


def test_gradients_go_back_layer_by_layer_where_networks_differ_in_depth():
    def arm(name: str, norms: list[dict[str, float]]) -> Arm:
        return Arm({"a": name}, [1] * len(norms), [[{"epoch": 1, **of}, {"epoch": 2}] for of in norms])

    norms = {"grad_norm/C1": 1.0, "grad_norm/S2": 9.0, "grad_norm/C3": 10.0, "grad_norm/C5": 100.0, "grad_norm/F6": 1e3}
    deep = arm("deep", [norms, {layer: 3 * norm for layer, norm in norms.items()}])
    shallow, none = arm("shallow", [{"grad_norm/C1": 8.0, "grad_norm/F6": 2.0}]), arm("none", [{"grad_norm/C1": 1.0}])
    figure = curves.layer_gradients([deep, shallow, none, Arm({"a": "not run"})], {"a": ("deep", "shallow")}, "a study")
    (axes,) = figure.axes
    assert data(axes.lines[0]) == ([0, 1, 2, 3], pytest.approx([1, 0.1, 0.01, 0.001]))
    assert data(axes.lines[1]) == ([0, 1], pytest.approx([1, 4])) and texts(axes) == ["shallow  4", "deep  0.001"]
    assert axes.get_yscale() == "log" and axes.get_xlabel() == "layers back from the last one"
    drawn(figure)
    assert (
        curves.layer_gradients([deep, none], {}) is None
        and curves.layer_gradients([Arm({"a": "x"}, [1], [[]]), deep], {}) is None
        and curves.layer_gradients([shallow, arm("S2", [{f"grad_norm/{n}": 1.0 for n in ("C1", "S2", "F6")}])], {})
        is None
    )


def test_panels_are_capped_and_may_be_none():
    many = [Arm({"lr": str(i)}, [1], [history(1)], matrix(9)) for i in range(40)]
    assert panels.confusion_grid(many, "many").get_suptitle() == "many: 30 of 40 arms (the first ones)"
    for rest in (Arm({"a": "x"}), Arm({"a": "x"}, [1], [], matrix(4))):
        assert panels.confusion_grid([rest]) is None


def test_confusion_grid_shows_the_mistakes_that_each_arm_makes_often(arms):
    figure = panels.confusion_grid(arms, "a study")
    *places, bar = figure.axes
    assert len(places) == 22 and "%" in bar.get_ylabel()
    assert figure.get_suptitle() == "a study: 22 of 23 arms (the others have no result)"
    often, seldom = (np.ma.filled(places[n].images[0].get_array(), np.nan) for n in (4, 3))
    assert arms[4].confusion[0, 1] == 5 and arms[3].confusion[0, 1] == 4
    assert np.isnan(np.diag(often)).all() and often[0, 1] == pytest.approx(0.5) and np.isnan(seldom).all()
    assert places[2].get_title().endswith("\n2.70%")
    fewer = panels.confusion_grid([arms[4], Arm({"a": "x"}, [1], [], matrix(5, classes=7))])
    assert {axes.images[0].get_array().shape for axes in fewer.axes[:2]} == {(10, 10)}
    assert len({axes.images[0].get_clim() for axes in places}) == 1
    drawn(figure)


def test_learning_curves_side_by_side_colour_the_decisive_word_and_name_each_line(arms):
    figure = curves.learning_curves(arms, OPTIONS)
    (axes,) = figure.axes
    finished = [arm for arm in arms if arm.errors]
    looks = dict(zip(OPTIONS["activation"], zip(style.COLOURS, ("-", "--", ":"), strict=False), strict=False))
    for line, arm in zip(axes.lines, finished, strict=False):
        assert (line.get_color(), line.get_linestyle()) == looks[arm.words["activation"]]  # one can be read in grey
        assert data(line)[1] == pytest.approx([100 * (1 - row["val/accuracy"]) for row in arm.histories[0]])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"activation={name}" for name in OPTIONS["activation"]]
    figure.draw_without_rendering()
    assert not legend.get_window_extent().overlaps(axes.get_tightbbox())
    assert sorted(text.rsplit("  ", 1)[0] for text in texts(axes)) == sorted(arm.label for arm in finished)
    heights = [text.get_position()[1] for text in axes.texts]
    assert min(-np.diff(heights)) > 0.04 and min(heights) >= 0
    assert axes.get_ylabel() == "validation error (%)"
    drawn(figure)


def test_curves_are_coloured_by_a_word_that_every_arm_has_and_a_narrow_scale_has_ticks():
    rows = [[{"epoch": e, "grad_norm/C1": first, "grad_norm/F6": 1.0} for e in (1, 2)] for first in (0.9, 1.1, 1.15)]
    some = [("valid", "171"), ("same", ""), ("same", "88")]
    arms = [Arm({"padding": p, "model.c5": c5}, [1], [row]) for (p, c5), row in zip(some, rows, strict=True)]
    words = {"padding": ("valid", "same"), "model.c5": ("171", "", "88")}
    figure = curves.gradient_ratio(arms, words)
    (axes,), (legend,) = figure.axes, figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["padding=valid", "padding=same"]
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "log" and sum(low <= tick <= high for tick in axes.get_yticks()) >= 3


def test_learning_curves_side_by_side_without_validation_or_result():
    lone = Arm({"a": "x"}, [1, 2], [history(1, validation=False), history(2, validation=False)])
    (axes,) = curves.learning_curves([lone], {}).axes
    assert axes.get_ylabel() == "training error (%)" and len(data(axes.lines[0])[0]) == 1
    assert curves.learning_curves([Arm({})], {}) is None


def test_the_same_figure_gives_the_same_bytes():
    assert drawn(norms(history(3), "a")) == drawn(norms(history(3), "a"))


PROGRAM = """
import hashlib, sys
from cnnlab import plots
from cnnlab.report import curves, effects, figures, panels
from cnnlab.report.arms import RunRecord, swept
from cnnlab.report.arms import arms as group
from cnnlab.report.contrasts import Asked, Contrast
from cnnlab.report.findings import Answer, Finding, answer
history = [{"epoch": e, "train/loss": 1 / e, "train/accuracy": 0.9, "grad_norm/C1": 0.1 * e, "grad_norm/F6": 1}
    for e in (1, 2)]
arm = type("Arm", (), dict(words={"a": "x", "b": ""}, label="x", errors=[1, 2], histories=[history]))
arm.confusion = [[8, 7], [1, 9]]
arm.error = type("Interval", (), dict(mean=1.5, low=1, high=2, half_width=0.5, n=2))
drawn = [plots.learning_curves(history, "LeNet-5"), plots.by_layer(history, "grad_norm", "LeNet-5"),
    plots.confusion(arm.confusion, "ab", "test"), figures.error_bars([arm]),
    figures.heat_map([arm], {"a": ["x"], "b": [""]}),
    curves.gradient_ratio([arm], {}), panels.confusion_grid([arm]), curves.learning_curves([arm], {"a": ["x"]})]
for figure in drawn:
    print(hashlib.sha256(plots.png(figure)).hexdigest())
assert "matplotlib.pyplot" not in sys.modules
"""
SETTINGS = """
text.usetex: true
font.family: Comic Sans MS, cursive
font.size: 23
mathtext.fontset: stix
figure.figsize: 30, 2
figure.dpi: 31
savefig.dpi: 17
savefig.bbox: tight
savefig.transparent: true
axes.grid: true
axes.facecolor: black
lines.linewidth: 9
image.cmap: jet
backend: TkAgg
"""


def test_figures_are_the_same_whatever_a_users_matplotlib_is_told(tmp_path):
    (tmp_path / "matplotlibrc").write_text(SETTINGS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "MATPLOTLIB"))}
    kept |= {"PYTHONPATH": str(Path(plots.__file__).parents[2])}
    users = {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    found = []
    for environment in (kept, kept | users, kept | {"MPLBACKEND": "nonsense"}):
        command = [sys.executable, "-W", "error", "-c", PROGRAM]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        found.append(ran.stdout.split())
    assert len(set(found[0])) == 8 and found == found[:1] * 3


def test_own_style_leaves_a_users_settings_and_back_end_as_they_were():
    import matplotlib

    with matplotlib.rc_context({"font.size": 23, "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        assert plots.learning_curves(history(2), "").axes[0].lines[0].get_linewidth() == 1.5
        assert dict(matplotlib.rcParams) == before
