"""A sweeper for Hydra that makes only what is not finished: a grid, or a list of rows."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore


@dataclass
class SweeperConfig:
    """Options of the sweeper: `params` is a file's grid, `rows` its list, of which `only` some are made."""

    _target_: str = "hydra_plugins.cnnlab_sweeper.CnnlabSweeper"
    params: dict[str, str] | None = None
    rows: dict[str, Any] | None = None
    only: list[str] = field(default_factory=list)


ConfigStore.instance().store(group="hydra/sweeper", name="cnnlab", node=SweeperConfig, provider="cnnlab")


class CnnlabSweeper(BasicSweeper):
    """Hydra's sweeper on whatever launcher is chosen: finished arms are left out, and all are summed up."""

    def __init__(
        self, params: dict[str, str] | None = None, rows: dict[str, Any] | None = None, only: Sequence[str] = ()
    ) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> None:
        """Make what is missing, sum up, and exit with 1 if an arm failed."""
        from cnnlab.composing import sweep
        from cnnlab.sweeps import run_sweep

        assert self.config is not None and self.hydra_context is not None
        asked = sweep(self.hydra_context.config_loader, self.config, arguments)
        arms = [list(plan.overrides) for plan in asked.plans]
        folder = Path(self.config.hydra.sweep.dir)
        if run_sweep(asked, lambda numbers: self._launch([arms[number] for number in numbers]), folder):
            sys.exit(1)

    def _launch(self, arms: Sequence[Sequence[str]]) -> None:
        """Make some arms by the launcher; raises what kept one of them from being begun."""
        assert self.launcher is not None
        for job in self.launcher.launch(arms, initial_job_idx=0):
            if isinstance(error := job.return_value, Exception):
                raise error
