"""One run of a classifier that LeNet-5 was compared with, or with -m several of them, one after the other.

python experiments/classics.py classifier=knn
python experiments/classics.py -m classifier=linear,knn,svm_poly4 data=mnist,mnist_deslanted
"""

import os
import sys

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cnnlab.classics.config import ClassicsConfig
from cnnlab.paths import conf_folder, root
from cnnlab.spelling import explain

ConfigStore.instance().store(name="classics_schema", node=ClassicsConfig)


@hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="classics")
def main(cfg: DictConfig) -> None:
    """Make the run that the config describes."""
    from cnnlab import console
    from hydra_plugins.cnnlab_sweeper import build_classic, planned_classic

    try:
        plan = planned_classic(cfg, HydraConfig.get())
        console.classic(plan, build_classic(plan))
    except (ValueError, OSError, ImportError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    if problem := explain(sys.argv[1:], conf_folder(), "classics", ClassicsConfig):
        sys.exit(problem)
    os.environ["CNNLAB_HOME"] = str(root())  # where Hydra's own files of a sweep go, too
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
