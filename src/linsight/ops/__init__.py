"""The mathematics: pure functions on tensors, each in its forms."""

from linsight.ops.linear import global_linear_attention, linear_attention, linear_attention_plan

__all__ = ["global_linear_attention", "linear_attention", "linear_attention_plan"]
