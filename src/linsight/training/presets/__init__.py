"""Complete configurations by task and name."""

from linsight.training.presets.table import PRESETS

__all__ = ["PRESETS"]
