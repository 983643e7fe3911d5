"""One run, or with sweep=NAME a sweep of them: the entry point.

python experiments/train.py activation=relu loss=cross_entropy pooling=max padding=same seed=3
python experiments/train.py sweep=activation seed=0,1,2
"""

import os
import sys
from typing import TYPE_CHECKING

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from cnnlab.config import TrainConfig
from cnnlab.paths import conf_folder, root
from cnnlab.spelling import explain

if TYPE_CHECKING:
    from cnnlab.recording import Outcome

ConfigStore.instance().store(name="schema", node=TrainConfig)


@hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="train")
def main(cfg: DictConfig) -> "Outcome":
    """Make the run that the config describes; in a sweep, one of its arms."""
    from cnnlab import console
    from hydra_plugins.cnnlab_sweeper import build, planned

    context = HydraConfig.get()
    try:
        plan = planned(cfg, context)
    except ValueError as error:
        sys.exit(str(error))
    if context.mode == RunMode.MULTIRUN:
        from cnnlab.runs import execute

        return console.arm(plan, lambda log: execute(plan, lambda: build(plan), log), context.job.num)
    return console.single(plan, build)


if __name__ == "__main__":
    if problem := explain(sys.argv[1:], conf_folder()):
        sys.exit(problem)
    os.environ["CNNLAB_HOME"] = str(root())  # where Hydra's own files of a sweep go, too
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on after the last whole epoch")
