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
    """Options of the sweeper: `params` is a file's grid, `rows` its list, of which `only` some are made.

    With `tune`, the name of the sweep, the learning rates of its arms are looked for instead. `yes` confirms that a
    sweep is as large, or a run as long, as it is.
    `contrasts`, `within` and `staircase` are what its report tells (see `cnnlab.report.contrasts.Asked`); with
    `evaluate`, words such as shift=4, its page tells of changed test images, too (see `cnnlab.changes`).
    """

    _target_: str = "hydra_plugins.cnnlab_sweeper.CnnlabSweeper"
    params: dict[str, str] | None = None
    rows: dict[str, Any] | None = None
    only: list[str] = field(default_factory=list)
    tune: str | None = None
    yes: bool = False
    contrasts: list[str] = field(default_factory=list)
    within: str = ""
    staircase: list[str] = field(default_factory=list)
    evaluate: list[str] = field(default_factory=list)


ConfigStore.instance().store(group="hydra/sweeper", name="cnnlab", node=SweeperConfig, provider="cnnlab")


class CnnlabSweeper(BasicSweeper):
    """Hydra's sweeper on whatever launcher is chosen: finished arms are left out, and all are summed up."""

    def __init__(self, params: dict[str, str] | None = None, tune: str | None = None, **read_by_composing: Any) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.tune = tune

    def sweep(self, arguments: list[str]) -> None:
        """Make what is missing, sum up, and exit with 1 if an arm failed."""
        from cnnlab.composing import Arms, sweep
        from cnnlab.sweeps import run_sweep
        from cnnlab.tuning import WORDS, tune

        assert self.config is not None and self.hydra_context is not None
        cfg, loader, folder = self.config, self.hydra_context.config_loader, Path(self.config.hydra.sweep.dir)
        if self.tune:
            asked = sweep(loader, cfg, [*arguments, *WORDS])
            failed = tune(self.tune, asked, Arms(loader, cfg).plan, self._launch, folder)
        else:
            asked = sweep(loader, cfg, arguments)
            arms = [plan.overrides for plan in asked.plans]
            failed = run_sweep(asked, lambda numbers: self._launch([arms[number] for number in numbers]), folder)
        if failed:
            sys.exit(1)

    def _launch(self, arms: Sequence[Sequence[str]]) -> None:
        """Make some arms by the launcher; raises what kept one of them from being begun."""
        assert self.launcher is not None
        for job in self.launcher.launch([list(arm) for arm in arms], initial_job_idx=0):
            if isinstance(error := job.return_value, Exception):
                raise error
