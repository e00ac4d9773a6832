"""Parameter groups, torch's optimisers with both meanings of decay, and learning-rate schedules."""

from linsight.optim.adam import AdamConfig, AdamWConfig
from linsight.optim.build import OptimizerConfig, implementation
from linsight.optim.demonstrations import Examples, decay_map, decayed_mean
from linsight.optim.groups import param_groups
from linsight.optim.muon import MuonConfig
from linsight.optim.reference import Moments, adam_step
from linsight.optim.rules import Rule
from linsight.optim.schedules import (
    ConstantConfig,
    InverseSqrtConfig,
    Schedule,
    ScheduleConfig,
    WarmupCosineConfig,
    WSDConfig,
)
from linsight.optim.sgd import SGDConfig
from linsight.optim.table import GroupRow, describe, rows

__all__ = [
    "AdamConfig",
    "AdamWConfig",
    "ConstantConfig",
    "Examples",
    "GroupRow",
    "InverseSqrtConfig",
    "Moments",
    "MuonConfig",
    "OptimizerConfig",
    "Rule",
    "SGDConfig",
    "Schedule",
    "ScheduleConfig",
    "WSDConfig",
    "WarmupCosineConfig",
    "adam_step",
    "decay_map",
    "decayed_mean",
    "describe",
    "implementation",
    "param_groups",
    "rows",
]
