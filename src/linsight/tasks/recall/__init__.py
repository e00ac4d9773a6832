"""Multi-query associative recall: how much a mixer's state can remember."""

from linsight.tasks.recall.task import RecallConfig, RecallTask

__all__ = ["RecallConfig", "RecallTask"]
