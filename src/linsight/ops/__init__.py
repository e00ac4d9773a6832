"""The mathematics: pure functions on tensors, each in its forms."""

from linsight.ops.blocked import (
    WEIGHTS,
    MixedState,
    OpenBlock,
    block_attention,
    block_plan,
    mixed_chunk_attention,
    toeplitz,
    weighted_attention,
)
from linsight.ops.boxes import (
    NOTATIONS,
    OVERLAPS,
    box_area,
    box_clip,
    box_convert,
    box_overlap,
    nms,
    nms_mask,
    pairwise_overlap,
)
from linsight.ops.delta import delta_rule, delta_rule_piece, delta_rule_plan, dplr_delta_rule
from linsight.ops.diagonal import (
    align_right,
    diagonal_kernel,
    diagonal_recurrence,
    diagonal_space,
    diagonal_space_piece,
    diagonal_space_plan,
    discretise_diagonal,
    fft_convolution,
)
from linsight.ops.hashing import Rings, angular_buckets, bucket_attention, ring_attention
from linsight.ops.linear import (
    accumulator_dtype,
    global_linear_attention,
    linear_attention,
    linear_attention_piece,
    linear_attention_plan,
    peaked_attention,
    without_autocast,
)
from linsight.ops.low_rank import LowRankSystem, low_rank_kernel, low_rank_space, low_rank_space_plan
from linsight.ops.pattern import Fixed, Part, Pattern, Strided, Window, pattern_attention
from linsight.ops.pieces import Piece
from linsight.ops.reassembly import reassemble
from linsight.ops.rows import take
from linsight.ops.scan import selective_scan, selective_scan_piece, selective_scan_plan

__all__ = [
    "NOTATIONS",
    "OVERLAPS",
    "WEIGHTS",
    "Fixed",
    "LowRankSystem",
    "MixedState",
    "OpenBlock",
    "Part",
    "Pattern",
    "Piece",
    "Rings",
    "Strided",
    "Window",
    "accumulator_dtype",
    "align_right",
    "angular_buckets",
    "block_attention",
    "block_plan",
    "box_area",
    "box_clip",
    "box_convert",
    "box_overlap",
    "bucket_attention",
    "delta_rule",
    "delta_rule_piece",
    "delta_rule_plan",
    "diagonal_kernel",
    "diagonal_recurrence",
    "diagonal_space",
    "diagonal_space_piece",
    "diagonal_space_plan",
    "discretise_diagonal",
    "dplr_delta_rule",
    "fft_convolution",
    "global_linear_attention",
    "linear_attention",
    "linear_attention_piece",
    "linear_attention_plan",
    "low_rank_kernel",
    "low_rank_space",
    "low_rank_space_plan",
    "mixed_chunk_attention",
    "nms",
    "nms_mask",
    "pairwise_overlap",
    "pattern_attention",
    "peaked_attention",
    "reassemble",
    "ring_attention",
    "selective_scan",
    "selective_scan_piece",
    "selective_scan_plan",
    "take",
    "toeplitz",
    "weighted_attention",
    "without_autocast",
]
