"""Stacks of published models that have several kinds of mixers, by name."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from linsight.mixers import config
from linsight.models.sequence.stack import SequenceConfig

__all__ = ["PATTERNS", "transnormer"]


def transnormer(stack: SequenceConfig, variant: Literal["t1", "t2"] = "t2") -> SequenceConfig:
    """The stack with DiagAttention in the first half of its layers and NormAttention in the second.

    Qin et al. 2022, arXiv 2210.10340: local attention where linear attention is diluted, then linear
    attention without a denominator. t1 activates with relu and elu, t2 with softmax and 1 + elu. With an odd
    number of layers the first half is the larger.

    Deviation: the blocks keep their layer norms, where the paper has a norm without weights everywhere.
    """
    mixers = (config("diag_attention", variant=variant), config("norm_attention", variant=variant))
    return replace(stack, mixers=mixers, arrangement="runs")


PATTERNS: dict[str, Callable[[SequenceConfig], SequenceConfig]] = {
    "transnormer": transnormer,
    "transnormer-t1": lambda stack: transnormer(stack, "t1"),
}
"""Name -> what it makes of a stack."""
