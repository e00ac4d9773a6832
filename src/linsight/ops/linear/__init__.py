"""Linear attention: one recurrence, its forms, and the choice among them."""

from linsight.ops.linear.attention import linear_attention
from linsight.ops.linear.auto import linear_attention_plan
from linsight.ops.linear.bidirectional import global_linear_attention
from linsight.ops.linear.favor import favor_attention, global_favor_attention
from linsight.ops.linear.features import elu1
from linsight.ops.linear.piece import linear_attention_piece
from linsight.ops.linear.precision import accumulator_dtype, without_autocast

__all__ = [
    "accumulator_dtype",
    "elu1",
    "favor_attention",
    "global_favor_attention",
    "global_linear_attention",
    "linear_attention",
    "linear_attention_piece",
    "linear_attention_plan",
    "without_autocast",
]
