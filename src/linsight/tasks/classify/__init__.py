"""The class of a sequence: digits pixel by pixel, ListOps, Pathfinder."""

from linsight.tasks.classify.task import ClassifyConfig, ClassifyTask

__all__ = ["ClassifyConfig", "ClassifyTask"]
