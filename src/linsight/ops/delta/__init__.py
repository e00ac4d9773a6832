"""The delta rule: a memory that is corrected by what it got wrong, and its generalisation."""

from linsight.ops.delta.dplr import dplr_delta_rule
from linsight.ops.delta.piece import delta_rule_piece
from linsight.ops.delta.plan import delta_rule_plan
from linsight.ops.delta.rule import delta_rule

__all__ = ["delta_rule", "delta_rule_piece", "delta_rule_plan", "dplr_delta_rule"]
