"""p(x, y) of binarised digits: learn it, sample it, in-paint with it, classify with it."""

from linsight.tasks.generate.task import GenerateConfig, GenerateTask

__all__ = ["GenerateConfig", "GenerateTask"]
