"""p(x, y) of binarised digits: learn it, sample it, in-paint with it, classify with it."""

from linsight.tasks.generate.task import AnyDensityConfig, GenerateConfig, GenerateTask

__all__ = ["AnyDensityConfig", "GenerateConfig", "GenerateTask"]
