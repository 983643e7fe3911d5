"""The default sweep in plain PyTorch, joblib and MLflow, as their users write it; the store is `mlflow.db` here.

python experiments/speed/peer_sweep.py --epochs 15
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import mlflow
import numpy as np
import torch
from joblib import Parallel, delayed
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from cnnlab import rates
from cnnlab.data import mnist5k

Labelled = tuple[torch.Tensor, torch.Tensor]
Pixels = tuple[NDArray[np.float32], NDArray[np.int64]]
Words = dict[str, str]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

WORKERS, EPOCHS, BATCH, MOMENTUM = 2, 15, 32, 0.9
MEASURED = 20  # updates of an epoch whose gradients are looked at
WORDS = ("activation", "loss", "pooling", "padding")
ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
POOLINGS = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}


def mse(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Half the squared error, summed over the classes."""
    wanted = nn.functional.one_hot(labels, 10).to(outputs.dtype)
    return (outputs - wanted).square().sum(1).mean() / 2


LOSSES: dict[str, Loss] = {"mse": mse, "cross_entropy": nn.functional.cross_entropy}
PADDINGS = {"valid": 0, "same": 2}


def arms() -> list[tuple[Words, float]]:
    """The words of each arm, and its learning rate."""
    tuned = rates.table()["tuned"][f"mnist5k epochs={EPOCHS} batch_size={BATCH} cosine"]
    chosen = product(ACTIVATIONS, LOSSES, POOLINGS, PADDINGS)
    rate = {arm: tuned[f"{' '.join(arm)} lenet5 glorot momentum"]["rate"] for arm in chosen}
    return [(dict(zip(WORDS, arm, strict=True)), found) for arm, found in rate.items()]


def lenet5(words: Words) -> nn.Sequential:
    """LeNet-5's sizes with these parts, for images that have their padding; Glorot's start."""
    squash, pool = ACTIVATIONS[words["activation"]], POOLINGS[words["pooling"]]
    side = 4 + PADDINGS[words["padding"]] // 2
    layers = {
        **{"C1": nn.Conv2d(1, 6, 5), "A1": squash(), "S2": pool(2)},
        **{"C3": nn.Conv2d(6, 16, 5), "A3": squash(), "S4": pool(2), "flat": nn.Flatten()},
        **{"C5": nn.Linear(16 * side * side, 120), "A5": squash(), "F6": nn.Linear(120, 84), "A6": squash()},
        "OUT": nn.Linear(84, 10),
    }
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            steep = words["activation"] == "sigmoid" and name != "OUT"
            nn.init.xavier_uniform_(layer.weight, gain=4 if steep else 1)  # a sigmoid's slope is 1/4
            nn.init.zeros_(layer.bias)
    return model


def digits() -> tuple[list[Pixels], float]:
    """Training, validation and test images, normalised, with their labels, and the value of an empty pixel."""
    data = mnist5k()
    sets = [(data.normalizer.table[images.pixels], images.labels) for images in (data.train, data.val, data.test)]
    return sets, data.normalizer.background


def padded(sets: list[Pixels], background: float, margin: int) -> list[Labelled]:
    """Those images as tensors, with a border of empty pixels."""
    tensors = [(torch.tensor(pixels)[:, None], torch.tensor(labels)) for pixels, labels in sets]
    return [(nn.functional.pad(images, (margin,) * 4, value=background), labels) for images, labels in tensors]


def run(experiment: str, store: str, data: tuple[list[Pixels], float], words: Words, rate: float, epochs: int) -> None:
    """One arm: train it, test it, and keep what was found in MLflow."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    mlflow.set_tracking_uri(store)
    train, val, test = padded(*data, PADDINGS[words["padding"]])
    model, loss = lenet5(words), LOSSES[words["loss"]]
    optimizer = torch.optim.SGD(model.parameters(), rate, MOMENTUM)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * math.ceil(len(train[0]) / BATCH))
    with mlflow.start_run(experiment_id=experiment, run_name=" ".join(words.values())):
        mlflow.log_params(words | {"lr": rate, "epochs": epochs, "batch_size": BATCH, "seed": 0})
        for epoch in range(1, epochs + 1):
            began = time.perf_counter()
            metrics = one_epoch(model, loss, optimizer, schedule, train) | scores("val", loss, outputs(model, val), val)
            mlflow.log_metrics(metrics | {"time/epoch_s": time.perf_counter() - began}, epoch)
        answers = outputs(model, test)
        mlflow.log_metrics(scores("test", loss, answers, test))
        mlflow.log_figure(confusion(answers.argmax(1), test[1]), "confusion/test.png")
        with tempfile.TemporaryDirectory() as folder:
            torch.save(model.state_dict(), Path(folder) / "model.pt")
            mlflow.log_artifact(str(Path(folder) / "model.pt"))


def one_epoch(
    model: nn.Sequential,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    train: Labelled,
) -> dict[str, float]:
    """One pass over the training images: running loss and accuracy, and the mean norm of each layer's gradient."""
    model.train()
    (images, labels), total, right = train, 0.0, 0
    norms: dict[str, list[float]] = {}
    batches = torch.randperm(len(images)).split(BATCH)
    for step, index in enumerate(batches):
        optimizer.zero_grad()
        found = model(images[index])
        value = loss(found, labels[index])
        value.backward()
        if step % max(1, len(batches) // MEASURED) == 0:
            for name, layer in model.named_children():
                if gradients := [parameter.grad for parameter in layer.parameters()]:
                    norms.setdefault(name, []).append(nn.utils.get_total_norm(gradients).item())
        optimizer.step()
        schedule.step()
        total += value.item() * len(index)
        right += int((found.argmax(1) == labels[index]).sum())
    means = {f"grad_norm/{name}": sum(values) / len(values) for name, values in norms.items()}
    return {"train/loss": total / len(images), "train/accuracy": right / len(images)} | means


def outputs(model: nn.Sequential, data: Labelled) -> torch.Tensor:
    """The network's outputs for these images."""
    model.eval()
    with torch.inference_mode():
        return model(data[0])


def scores(split: str, loss: Loss, answers: torch.Tensor, data: Labelled) -> dict[str, float]:
    """Loss, accuracy and error of some outputs."""
    right = (answers.argmax(1) == data[1]).double().mean().item()
    value = loss(answers, data[1]).item()
    return {f"{split}/loss": value, f"{split}/accuracy": right, f"{split}/error_percent": 100 * (1 - right)}


def confusion(answers: torch.Tensor, labels: torch.Tensor) -> Figure:
    """The confusion matrix as a picture."""
    matrix = torch.bincount(10 * labels + answers, minlength=100).reshape(10, 10)
    figure = Figure(figsize=(5, 4.5))
    axes = figure.subplots()
    axes.imshow(matrix, cmap="Blues")
    for truth, row in enumerate(matrix.tolist()):
        for answer, count in enumerate(row):
            if count:
                axes.text(answer, truth, count, ha="center", va="center", color="w" if truth == answer else "k")
    axes.set(xlabel="answer", ylabel="truth", xticks=range(10), yticks=range(10))
    return figure


def main() -> None:
    """Make the arms with two workers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--images", type=int, help="train on only the first that many")
    parser.add_argument("--last", type=int, default=0, help="make only the last that many arms (0: all)")
    said = parser.parse_args()
    store = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    mlflow.set_tracking_uri(store)
    experiment = mlflow.create_experiment("first_look", str(Path.cwd() / "mlartifacts"))
    (train, *others), background = digits()
    data = [(train[0][: said.images], train[1][: said.images]), *others], background
    chosen = arms()[-said.last :]
    Parallel(WORKERS)(delayed(run)(experiment, store, data, words, rate, said.epochs) for words, rate in chosen)


if __name__ == "__main__":
    main()
