"""The same work in PyTorch, as its users write it; only workers import this. Of a sweep, see `peer_sweep`."""

import os
from collections.abc import Callable
from functools import partial
from itertools import count

import torch
from torch import nn

import commands
from cases import (
    EPOCH,
    EPOCH_RATE,
    MOMENTUM,
    PREDICT,
    PREDICT_BATCH,
    PREDICTED,
    RACE,
    RACES,
    STEP,
    STEP_RATE,
    SWEEP,
    Case,
    Work,
    rehearsed,
)
from cnnlab.data import Dataset, Images, mnist

Wrap = Callable[[nn.Module], nn.Module]
Labelled = tuple[torch.Tensor, torch.Tensor]


def _lenet5(squash: type[nn.Module], pool: type[nn.Module]) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), squash(), pool(2)),
        *(nn.Conv2d(6, 16, 5), squash(), pool(2)),
        *(nn.Flatten(), nn.Linear(400, 120), squash(), nn.Linear(120, 84), squash(), nn.Linear(84, 10)),
    )


def _zhou() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1352, 10))


def _keras_convnet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.5), nn.Linear(1600, 10)),
    )


def _nielsen_mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid())


TWINS: dict[str, Callable[[], nn.Module]] = {
    "lenet5_tanh": partial(_lenet5, nn.Tanh, nn.AvgPool2d),
    "lenet5_relu": partial(_lenet5, nn.ReLU, nn.MaxPool2d),
    "zhou": _zhou,
    "keras_convnet": _keras_convnet,
    "nielsen_mlp": _nielsen_mlp,
}


def eager(case: Case) -> Work:
    """The case's work in PyTorch's ordinary mode."""
    if case.kind == SWEEP:
        return commands.peer_sweep(case)
    return _work(case, lambda model: model)


def compiled(case: Case) -> Work:
    """The case's work by `torch.compile` in its default mode, with nothing left over from another case.

    A graph for each shape: a general one, made when the last batch of an epoch is smaller, would be slower.
    """
    torch.compiler.reset()
    return _work(case, partial(torch.compile, dynamic=False))


def _work(case: Case, wrap: Wrap) -> Work:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    model = TWINS[case.network]()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    made = {STEP: _step, PREDICT: _predict, EPOCH: _epoch, RACES: _race}[case.kind]
    run, rehearse = made(case, model, wrap(model))
    return Work(run, parameters, rehearse=rehearse)


Runs = tuple[Callable[[], float | None], Callable[[], float | None] | None]


def _step(case: Case, model: nn.Module, fast: nn.Module) -> Runs:
    images, labels = torch.rand(case.batch, 1, 28, 28), torch.randint(10, (case.batch,))
    optimizer = _optimizer(model, STEP_RATE)
    fast.train()

    def run() -> None:
        _train_on(fast, optimizer, images, labels)

    return run, None


def _predict(case: Case, model: nn.Module, fast: nn.Module) -> Runs:
    images = torch.rand(PREDICTED, 1, 28, 28)

    def run() -> None:
        _outputs(fast, images, case.batch)

    return run, None


def _epoch(case: Case, model: nn.Module, fast: nn.Module) -> Runs:
    data = mnist(validation=0)
    train, test = (_tensors(data, images) for images in (data.train, data.test))
    few, optimizer = rehearsed(len(data.train), case.batch), _optimizer(model, EPOCH_RATE)

    def epoch(images: int | None = None) -> float:
        _pass(fast, optimizer, (train[0][:images], train[1][:images]), case.batch)
        return _accuracy(fast, test)

    return epoch, partial(epoch, few)


def _race(case: Case, model: nn.Module, fast: nn.Module) -> Runs:
    data = mnist(validation=0)
    train, test = (_tensors(data, images) for images in (data.train, data.test))
    few, seeds = rehearsed(len(data.train), case.batch), count()

    def run(images: int | None = None) -> float:
        torch.manual_seed(next(seeds))
        model.apply(_glorot)
        optimizer, chosen = _optimizer(model, RACE.rate, RACE.decay), (train[0][:images], train[1][:images])
        steps = RACE.epochs * -(-len(chosen[0]) // case.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, RACE.rate, steps, pct_start=RACE.warmup, cycle_momentum=False
        )
        for _ in range(RACE.epochs):
            _pass(fast, optimizer, chosen, case.batch, schedule.step)
        return _accuracy(fast, test)

    return run, partial(run, few)


def _glorot(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


def _pass(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: Labelled,
    batch: int,
    stepped: Callable[[], object] = lambda: None,
) -> None:
    """One epoch that sums loss and accuracy, as cnnlab's does."""
    (images, labels), loss, right = train, 0.0, 0
    model.train()
    for index in torch.randperm(len(images)).split(batch):
        value, outputs = _train_on(model, optimizer, images[index], labels[index])
        loss += value.item() * len(index)
        right += int((outputs.argmax(1) == labels[index]).sum())
        stepped()


def _accuracy(model: nn.Module, test: Labelled) -> float:
    """The accuracy on the test images; their loss is computed too."""
    outputs = _outputs(model, test[0], PREDICT_BATCH)
    nn.functional.cross_entropy(outputs, test[1]).item()
    return (outputs.argmax(1) == test[1]).float().mean().item()


def _train_on(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor
) -> Labelled:
    """One training step; its loss and outputs."""
    optimizer.zero_grad()
    outputs = model(images)
    loss = nn.functional.cross_entropy(outputs, labels)
    loss.backward()
    optimizer.step()
    return loss, outputs


def _outputs(model: nn.Module, images: torch.Tensor, batch: int) -> torch.Tensor:
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(part) for part in images.split(batch)])


def _optimizer(model: nn.Module, rate: float, decay: float = 0.0) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), rate, MOMENTUM, weight_decay=decay)


def _tensors(data: Dataset, images: Images) -> Labelled:
    """All images as float32 in memory, normalised in place, so that the peak of memory is what they take."""
    rule = data.normalizer
    pixels = torch.tensor(images.pixels, dtype=torch.float32).mul_(rule.scale / rule.levels).add_(rule.shift)
    return pixels[:, None], torch.tensor(images.labels)
