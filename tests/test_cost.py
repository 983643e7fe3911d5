"""What a perceptron costs beside a convolutional network: the founding document's figure, and the page's numbers."""

from pathlib import Path

import pytest
from experiments.cost.cost import (
    BATCH,
    CONVOLUTIONAL,
    FOLDER,
    NETWORKS,
    PERCEPTRON,
    SHAPES,
    counted,
    dense_layer,
    measured,
    numbers,
    read,
    write,
)


def test_the_founding_documents_figure_is_that_of_the_first_layer_without_biases() -> None:
    colour = counted(PERCEPTRON, (224, 3, 224))
    assert colour["parameters"] == 154_140_672 + 1024 + 1024 * 10 + 10
    assert "150,528 x 1,024 = 154,140,672 weights" in dense_layer()
    assert f"{150_528 * 6 * 224 * 224:,} weights" in dense_layer() and "has 456 parameters" in dense_layer()


def test_the_convolutional_network_is_lenet5s_and_its_kernels_do_not_grow() -> None:
    found = [counted(CONVOLUTIONAL, shape) for shape in SHAPES]
    assert found[0]["parameters"] == 61_706 and found[0]["macs"] == 416_520
    assert [line["kernel_parameters"] for line in found] == [6 * 26 + 16 * 151] * 4 + [6 * 76 + 16 * 151]
    c5 = [120 * (16 * (side // 4 - 2) ** 2 + 1) for side in (28, 56, 112, 224)]
    assert [line["parameters"] - line["kernel_parameters"] - 11_014 for line in found[:4]] == c5


def test_a_measurement_takes_about_the_memory_that_is_counted() -> None:
    """The engine's own copies come on top; an activation that is applied in place saves its output."""
    for line in measured((28, 1, 28), rounds=1):
        assert 0.95 * line["train_bytes"] < line["train_peak_bytes"] < 2 * line["train_bytes"]
        assert float(line["train_ms"]) > float(line["predict_ms"]) / 2 > 0


def test_the_kept_counts_are_todays_and_make_the_page(tmp_path: Path) -> None:
    lines = read(FOLDER)
    kept = {(line["network"], line["side"], line["channels"]): line for line in lines}
    assert list(kept) == [(name, *shape[:2]) for shape in SHAPES for name in NETWORKS]
    for name in NETWORKS:
        for shape in SHAPES:
            assert kept[name, *shape[:2]].items() >= counted(name, shape).items()
    assert numbers(lines) in (FOLDER / "README.md").read_text(encoding="utf-8")
    (tmp_path / "results.csv").write_bytes((FOLDER / "results.csv").read_bytes())
    write(tmp_path)
    assert numbers(lines) in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")


def test_memory_of_a_training_is_three_times_the_parameters_and_twice_the_values() -> None:
    line = counted(PERCEPTRON, (28, 1, 28))
    values = 784 + 1024 + 1024 + 10
    assert line["train_bytes"] == 4 * (3 * 814_090 + 2 * BATCH * values)
    assert line["predict_bytes"] == 4 * (814_090 + values) == pytest.approx(3.27e6, rel=0.01)
