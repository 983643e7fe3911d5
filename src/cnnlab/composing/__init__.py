"""From words to plans and objects: the only room of the library that knows Hydra."""

from cnnlab.composing.configs import complete, composed, composition, is_sweep, launch, show
from cnnlab.composing.grids import Arms, Sweep, asked_of, sweep, sweep_of
from cnnlab.composing.objects import load
from cnnlab.composing.plans import Plan, learner_of, plan, planned, told_apart
from cnnlab.composing.spaces import Numbers, Options, searched

__all__ = [
    "Arms",
    "Numbers",
    "Options",
    "Plan",
    "Sweep",
    "asked_of",
    "complete",
    "composed",
    "composition",
    "is_sweep",
    "launch",
    "learner_of",
    "load",
    "plan",
    "planned",
    "searched",
    "show",
    "sweep",
    "sweep_of",
    "told_apart",
]
