"""Compiled code and its dispatch: which engine computes an op, and why not a faster one."""

from linsight.kernels import cpu
from linsight.kernels.dispatch import OPS, Choice, choose, require

__all__ = ["OPS", "Choice", "choose", "cpu", "require"]
