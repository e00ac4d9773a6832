"""Parameter groups, AdamW with both meanings of its decay, and learning-rate schedules."""

from linsight.optim.adamw import AdamWConfig, implementation
from linsight.optim.groups import param_groups
from linsight.optim.rules import Rule
from linsight.optim.schedules import (
    ConstantConfig,
    InverseSqrtConfig,
    Schedule,
    ScheduleConfig,
    WarmupCosineConfig,
    WSDConfig,
)
from linsight.optim.table import GroupRow, describe, rows

__all__ = [
    "AdamWConfig",
    "ConstantConfig",
    "GroupRow",
    "InverseSqrtConfig",
    "Rule",
    "Schedule",
    "ScheduleConfig",
    "WSDConfig",
    "WarmupCosineConfig",
    "describe",
    "implementation",
    "param_groups",
    "rows",
]
