"""Configurations, run folders, the engine, and trained models as folders."""

from linsight.training.codec import from_json, to_json
from linsight.training.config import PublishedConfig, RunConfig, TaskConfig, TrainingConfig
from linsight.training.engine import Outcome, fit
from linsight.training.interrupts import Interrupted
from linsight.training.metrics import read_metrics
from linsight.training.presets import PRESETS
from linsight.training.pretrained import from_pretrained, pretrained_config, push_to_hub, save_pretrained
from linsight.training.published import convert_published
from linsight.training.run import Run, load_run, open_run
from linsight.training.weights import identity

__all__ = [
    "PRESETS",
    "Interrupted",
    "Outcome",
    "PublishedConfig",
    "Run",
    "RunConfig",
    "TaskConfig",
    "TrainingConfig",
    "convert_published",
    "fit",
    "from_json",
    "from_pretrained",
    "identity",
    "load_run",
    "open_run",
    "pretrained_config",
    "push_to_hub",
    "read_metrics",
    "save_pretrained",
    "to_json",
]
