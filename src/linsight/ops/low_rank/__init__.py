"""State spaces of a diagonal matrix less one of rank 1."""

from linsight.ops.low_rank.kernel import low_rank_kernel
from linsight.ops.low_rank.space import low_rank_space, low_rank_space_plan
from linsight.ops.low_rank.system import LowRankSystem

__all__ = ["LowRankSystem", "low_rank_kernel", "low_rank_space", "low_rank_space_plan"]
