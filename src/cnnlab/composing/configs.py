"""From words to a composed config: Hydra, which imports nothing because of a name that is not trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from cnnlab.composing.sizes import check_size
from cnnlab.config import RunConfig
from cnnlab.paths import conf_folder
from cnnlab.spelling import as_text, local_folder
from cnnlab.texts import values
from cnnlab.trust import check_targets

SCHEMA = OmegaConf.structured(RunConfig)
SCHEMA.tags = {}
OmegaConf.set_struct(SCHEMA.tags, False)  # they may have any names
ConfigStore.instance().store(name="schema", node=SCHEMA)  # the name that conf/train.yaml calls the types by


class Known(dict[str, tuple[ConfigResult, Any]]):
    """What files of configs say, and the same as plain values; shared by a repository's copies, which Hydra makes."""

    def __deepcopy__(self, memo: Any) -> Known:
        return self


class Repository(ConfigRepository):
    """Hydra's access to the files of configs, which refuses those that are damaged or made to do harm.

    Each is read once, since Hydra asks for most of them again with each arm of a sweep.
    """

    def __init__(self, places: ConfigSearchPath) -> None:
        super().__init__(places)
        self._known = Known()

    def load_config(self, config_path: str) -> ConfigResult | None:
        """What a file says; ValueError, in one line that names it, where that cannot be read."""
        if config_path not in self._known:
            found = self._read(config_path)
            if found is None or OmegaConf.get_type(found.config) is not dict:
                return found
            self._known[config_path] = found, OmegaConf.to_container(found.config)
        found, plain = self._known[config_path]
        return replace(found, config=OmegaConf.create(plain))  # Hydra makes its nodes parts of what it composes

    def _read(self, config_path: str) -> ConfigResult | None:
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source and source.scheme() == "file":
            file = Path(source.path, f"{config_path.removesuffix('.yaml')}.yaml")
            if not isinstance(values(file), dict | list | None):  # of text, OmegaConf would read the YAML in it
                raise ValueError(f"{file}: says no options: write NAME: VALUE")
        return super().load_config(config_path)


class Loader(ConfigLoaderImpl):
    """Hydra's loader of configs, which refuses names of code that are not trusted before anything is imported."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = Repository(config_search_path)

    def load_configuration(self, *arguments: Any, **options: Any) -> DictConfig:
        """The composed config, also of each arm of a sweep; ValueError, in one line, for what it may not name."""
        try:
            cfg = super().load_configuration(*arguments, **options)
        except KeyError as error:
            raise ValueError(f"hydra.job.env_copy: there is no variable {error} in the environment") from None
        check_targets(plain := OmegaConf.to_container(cfg))
        check_size(plain)
        return cfg

    def _process_config_searchpath(self, config_name: Any, parsed_overrides: list[Override], repo: Any) -> None:
        """Only folders may be searched: for other places Hydra imports packages."""
        asked: Any = [word.value() for word in parsed_overrides if word.get_key_element() == "hydra.searchpath"]
        if not asked and config_name:
            loaded = repo.load_config(config_name)
            asked = [OmegaConf.select(loaded.config, "hydra.searchpath")] if loaded else []
        for place in asked[0] or () if asked else ():
            local_folder(str(place))
        super()._process_config_searchpath(config_name, parsed_overrides, repo)


@contextmanager
def composition(own: Path | None = None) -> Iterator[Hydra]:
    """Hydra, ready to compose the project's configs, and those of a folder of one's `own`; inside another, that one.

    So what is done inside reads each file once.
    """
    known = GlobalHydra.instance().hydra
    if known and isinstance(known.config_loader, Loader):
        yield known
        return
    with initialize_config_dir(str(conf_folder()), job_name="train", version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra
        places = hydra.config_loader.get_search_path()
        if own:
            places.prepend("command-line", f"file://{own.absolute()}", SearchPathQuery("schema", None))
        hydra.config_loader = Loader(places)
        yield hydra


def composed(words: Sequence[str]) -> DictConfig:
    """The config of a run's command line, with its `hydra` node."""
    with composition():
        overrides = [*as_text(words), f"hydra.mode={RunMode.RUN.name}"]
        cfg = compose("train", overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)  # what ${hydra:...} in an option means
    return cfg


def is_sweep(words: Sequence[str]) -> bool:
    """Whether these words make a sweep without `-m`: sweep=NAME does, and hydra.mode=MULTIRUN."""
    with composition() as hydra:
        return hydra.get_mode("train", as_text(words)) == RunMode.MULTIRUN


def launch(task: Callable[[DictConfig], Any], words: Sequence[str]) -> None:
    """Make a sweep: Hydra composes the config of each arm, and its launcher gives it to the task in a worker."""
    with composition() as hydra:
        overrides = [*as_text(words), f"hydra.mode={RunMode.MULTIRUN.name}"]
        hydra.multirun(config_name="train", task_function=task, overrides=overrides)


def show(words: Sequence[str], part: str, resolve: bool) -> None:
    """Print the composed config, or its part for the `job` or for `hydra`."""
    with composition() as hydra:
        hydra.show_cfg("train", as_text(words), part, None, resolve)


def complete(words: Sequence[str]) -> None:
    """Complete a command line for a shell, or tell the shell how to ask for that."""
    with composition() as hydra:
        hydra.shell_completion("train", list(words))
