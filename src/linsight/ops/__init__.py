"""The mathematics: pure functions on tensors, each in its forms."""

from linsight.ops.linear import (
    accumulator_dtype,
    global_linear_attention,
    linear_attention,
    linear_attention_plan,
)

__all__ = ["accumulator_dtype", "global_linear_attention", "linear_attention", "linear_attention_plan"]
