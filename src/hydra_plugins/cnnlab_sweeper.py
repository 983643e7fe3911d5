"""How Hydra's configs become plans and objects, and a sweeper that makes only what is not finished."""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from cnnlab.classics.run import Parts as ClassicParts
    from cnnlab.config import Plan
    from cnnlab.data import Dataset
    from cnnlab.training import Parts


@dataclass
class SweeperConfig:
    """Options of the sweeper: ``params`` is what a sweep's file sweeps over."""

    _target_: str = "hydra_plugins.cnnlab_sweeper.CnnlabSweeper"
    params: dict[str, str] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="cnnlab", node=SweeperConfig, provider="cnnlab")


class CnnlabSweeper(BasicSweeper):
    """Hydra's grid on whatever launcher is chosen: finished arms are left out, and all are summed up."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> None:
        """Make what is missing, sum up, and exit with 1 if an arm failed."""
        from cnnlab.sweeps import Sweep, run_sweep

        assert self.config is not None
        said = self.config.hydra.overrides
        words = ["-m" if word == "hydra.mode=MULTIRUN" else word for word in (*said.hydra, *said.task)]
        command = shlex.join(["python", "experiments/train.py", *words])
        workers = self.config.hydra.launcher.get("n_jobs", 1)
        try:
            arms = self._arms(arguments)
            for plan in {str(plan.config["data"]): plan for plan, _ in arms}.values():
                load_data(plan)  # data that are not there are better missed once than by every arm
            sweep = Sweep([plan for plan, _ in arms], command, workers)
            failed = run_sweep(sweep, lambda numbers: self._launch([arms[number][1] for number in numbers]))
        except (ValueError, OSError, ImportError) as error:
            sys.exit(str(error))
        if failed:
            sys.exit(1)

    def _arms(self, arguments: list[str]) -> "list[tuple[Plan, Sequence[str]]]":
        """Each different plan of the grid, with the overrides that make it."""
        assert self.hydra_context is not None
        assert self.config is not None
        arms = {}
        for overrides in self._grid(arguments):
            cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            plan = planned(cfg, cfg.hydra)
            arms[plan.fingerprint] = (plan, overrides)
        return list(arms.values())

    def _grid(self, arguments: list[str]) -> Sequence[Sequence[str]]:
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        return self.split_arguments(overrides, None)[0]

    def _launch(self, batch: Sequence[Sequence[str]]) -> list[Any]:
        """The outcomes of some arms, made by the launcher."""
        assert self.launcher is not None
        return [job.return_value for job in self.launcher.launch(batch, initial_job_idx=0)]


def arms_of(sweep: str) -> "list[Plan]":
    """The plans of a sweep's file."""
    from hydra import compose, initialize_config_dir

    from cnnlab.paths import conf_folder

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        params = compose("train", [f"sweep={sweep}"], return_hydra_config=True).hydra.sweeper.params
        overrides = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
        arms: Sequence[Sequence[str]] = CnnlabSweeper.split_arguments(overrides, None)[0]
        configs = [compose("train", [f"sweep={sweep}", *arm], return_hydra_config=True) for arm in arms]
        return [planned(cfg, cfg.hydra) for cfg in configs]


def planned(cfg: DictConfig, context: Any) -> "Plan":
    """The plan of a composed config; ``context`` is its ``hydra`` node."""
    from cnnlab.config import TrainConfig, plan
    from cnnlab.paths import conf_folder

    rates = yaml.safe_load((conf_folder() / "rates.yaml").read_text(encoding="utf-8"))
    return plan(_plain(cfg, TrainConfig), context.runtime.choices, rates, context.overrides.task)


def planned_classic(cfg: DictConfig, context: Any) -> "Plan":
    """The plan of a composed config of one of the classifiers that LeNet-5 was compared with."""
    from cnnlab.classics.config import ClassicsConfig, plan

    return plan(_plain(cfg, ClassicsConfig), context.runtime.choices, context.overrides.task)


def _plain(cfg: DictConfig, schema: type) -> dict[str, Any]:
    """What a schema names of a config, resolved."""
    config: Any = OmegaConf.to_container(OmegaConf.masked_copy(cfg, list(schema.__annotations__)), resolve=True)
    return config


def build(plan: "Plan") -> "Parts":
    """The data and the recipe that a plan describes; what cannot be built raises its own one-line error."""
    from cnnlab.training import Parts, Recipe

    config, data = plan.config, load_data(plan)
    parts = instantiated({name: config[name] for name in ("model", "loss", "optimizer", "schedule", "augment")})
    try:
        network = parts["model"](background=data.normalizer.background, classes=len(data.classes))
        network.out_shape(data.shape)
    except ValueError as error:
        words = ("model", "activation", "loss", "pooling", "padding", "data")
        together = " ".join(f"{word}={plan.words[word]}" for word in words)
        raise ValueError(f"{together} do not go together: {error}") from None
    if config["boost"] and parts["augment"].idle:
        raise ValueError("boost=true: needs distorted images to find hard ones among; choose another augment than none")
    numbers = (config["lr"], config["epochs"], config["batch_size"], config["reshuffle"])
    recipe = Recipe(
        network, parts["loss"]["criterion"], parts["optimizer"], parts["schedule"], *numbers, parts["augment"]
    )
    return Parts(data, recipe)


def build_classic(plan: "Plan") -> "ClassicParts":
    """The data and the classifier that a plan describes."""
    from cnnlab.classics.run import Parts

    return Parts(load_data(plan), instantiated({"classifier": plan.config["classifier"]})["classifier"])


def load_data(plan: "Plan") -> "Dataset":
    """The data of a plan."""
    return instantiated({"data": plan.config["data"]})["data"]


def instantiated(node: dict[str, Any]) -> Any:
    """The objects of a node; an error inside comes out as itself, without Hydra's frame.

    One that begins with an option and its value names the option as it is typed: ``optimizer.mu=-1: choose ...``.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        cause, group = error.__cause__, re.search(r"full_key: (\S+)", str(error))
        if isinstance(cause, ValueError) and group and re.match(r"\w+=", str(cause)):
            raise ValueError(f"{group[1]}.{cause}") from None
        raise cause or error from None
