"""What the benchmark measures, and its targets. Importing this needs no NumPy."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple


class Race(NamedTuple):
    """How both sides train in a race: one cycle of the rate, which rises for the share `warmup` of the run."""

    epochs: int
    rate: float
    decay: float
    warmup: float


LENETS = ("lenet5_tanh", "lenet5_relu")
BATCHES = (1, 8, 32, 64, 256)
PUBLISHED_BATCHES = {"zhou": 10, "nielsen_mlp": 10, "keras_convnet": 128}  # beside those
NETWORKS = (*LENETS, *PUBLISHED_BATCHES)

PREDICTED = 10_000  # images of one prediction
PREDICT_BATCH = 256  # of predictions, and of PyTorch's evaluation in an epoch: cnnlab's train() has a size of its own
PEAK_SIZE = 1024  # rows of the square matrices whose product is the machine's peak
# A step is repeated thousands of times on one batch. At a higher rate the batch would be learned by heart, and
# its gradients would become subnormal numbers, which processors are slow with: ours flushes them, PyTorch does not.
STEP_RATE = 1e-4
EPOCH_RATE = 0.01
MOMENTUM = 0.9

OURS, PEAK = "ours", "peak"  # sides: cnnlab, and the matrix product that is the machine's peak
PEERS = {"eager": "PyTorch", "compile": "torch.compile", "jax": "JAX"}  # sides that do the same work, and what they are
STEP, PREDICT, EPOCH, RACES, SWEEP, RUN = "step", "predict", "epoch", "race", "sweep", "run"


class Kind(NamedTuple):
    """A kind of work: what it is, how often it is repeated, and which sides do it.

    Where `own` is true each case has processes of its own, whose memory is measured.
    """

    what: str
    rounds: int
    sides: tuple[str, ...]
    own: bool = False


KINDS = {
    STEP: Kind(
        "forward, softmax cross-entropy (Nielsen's too), backward and SGD with momentum; one batch in memory",
        9,
        (OURS, *PEERS, PEAK),
    ),
    PREDICT: Kind(f"the outputs of {PREDICTED:,} images", 5, (OURS, "eager", "compile")),
    EPOCH: Kind(
        "60,000 images of MNIST trained on in a new order, then loss and accuracy of the 10,000 test images",
        3,
        (OURS, "eager", "compile"),
        own=True,
    ),
    RACES: Kind(
        "a whole training on the 60,000 images, a new seed in each round, then the accuracy on the test images",
        10,
        (OURS, "eager"),
        own=True,
    ),
    SWEEP: Kind(
        "the default sweep as a whole command: 24 arms, 15 epochs, one seed, two workers, all kept in MLflow",
        3,
        (OURS, "eager"),
    ),
    RUN: Kind("a run on MNIST as a whole command: 5 epochs, kept in MLflow", 3, (OURS,)),
}
LONG = (RACES, SWEEP, RUN)  # half an hour: measured when asked for
ARMS = 24  # of the sweep
# The race's recipe was chosen on 5,000 validation images: see experiments/speed. The rate is the schedule's peak.
RACE = Race(epochs=4, rate=0.03, decay=5e-4, warmup=0.3)
GOAL = 0.99  # test accuracy that a race is run for


class Case(NamedTuple):
    """A unit of work, in float32; a sweep or a run is named in place of its network."""

    kind: str
    network: str
    batch: int

    @property
    def name(self) -> str:
        """Kind, network and batch, as `--only` knows the case."""
        return "/".join(map(str, self))


CASES = (
    *(
        Case(STEP, network, batch)
        for network in NETWORKS
        for batch in sorted({*BATCHES, PUBLISHED_BATCHES.get(network, 1)})
    ),
    *(Case(PREDICT, network, PREDICT_BATCH) for network in LENETS),
    *(Case(EPOCH, network, 64) for network in LENETS),
    Case(RACES, "lenet5_relu", 32),
    Case(SWEEP, "first_look", 32),
    Case(RUN, "lenet5_modern", 32),
)

# For a case and a quantity, the first row that matches and has it. All at one thread. At least: PyTorch's time over
# ours, eager and compiled, JAX's over ours, and our share of the machine's peak. At most: our peak memory in MB, our
# median seconds to the race's goal, and the share of a run's time that is not its training.
TARGETS: tuple[tuple[str, dict[str, float]], ...] = (
    ("step/lenet5_*/1", {"eager": 4.5, "jax": 1.7}),
    ("step/lenet5_*/32", {"share": 0.30}),
    ("step/lenet5_*/64", {"eager": 2.7}),
    ("step/lenet5_*/256", {"eager": 2.9, "compile": 1.5}),
    ("step/lenet5_*/*", {"eager": 3.4, "compile": 1.8}),
    ("step/zhou/10", {"eager": 3.0, "compile": 2.0}),
    ("step/zhou/32", {"eager": 3.0, "compile": 2.0}),
    ("step/nielsen_mlp/10", {"eager": 3.0, "compile": 2.0}),
    ("step/nielsen_mlp/32", {"eager": 3.0, "compile": 2.0}),
    ("step/keras_convnet/128", {"eager": 1.0, "compile": 0.8}),
    ("predict/lenet5_*/*", {"eager": 2.2, "compile": 1.3}),
    ("epoch/lenet5_*/64", {"eager": 2.7, "compile": 1.5, "memory": 500}),
    ("race/*", {"eager": 2.5, "seconds": 30}),
    ("sweep/*", {"eager": 2.2}),
    ("run/*", {"beyond": 0.15}),
)
AT_MOST = {"memory", "seconds", "beyond"}
QUANTITIES = tuple(dict.fromkeys(quantity for _, row in TARGETS for quantity in row))


def target(case: Case, quantity: str) -> float | None:
    """The target of a case's quantity, where it has one."""
    rows = (row for pattern, row in TARGETS if quantity in row and fnmatchcase(case.name, pattern))
    return next(rows, {}).get(quantity)


def chosen(pattern: str) -> list[Case]:
    """The cases whose name matches; ValueError where none does."""
    found = [case for case in CASES if fnmatchcase(case.name, pattern)]
    if not found:
        sizes = ", ".join(str(size) for size in sorted({case.batch for case in CASES}))
        kinds, networks = ", ".join(KINDS), ", ".join(dict.fromkeys(case.network for case in CASES))
        raise ValueError(f"no case is called {pattern}: names are kind/network/batch of {kinds}; {networks}; {sizes}")
    return found


@dataclass(frozen=True)
class Work:
    """A case ready to be timed: `run` does one unit of it, as often as it is called.

    `flops` are the floating-point operations of a unit, 0 where they are not known. `rehearse` is a short unit that
    warms up all that `run` uses, for units that take too long to be run untimed. A turn of units is done `within` a
    context.
    """

    run: Callable[[], float | None]
    parameters: int = 0
    flops: int = 0
    rehearse: Callable[[], float | None] | None = None
    within: Callable[[], AbstractContextManager[None]] = nullcontext


def rehearsed(images: int, batch: int) -> int:
    """How many images make two whole batches and a last one of the size that the epoch ends with."""
    return 2 * batch + images % batch
