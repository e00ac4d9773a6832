"""Attention over a few keys a query, computed on the blocks that hold them."""

from linsight.ops.pattern.attention import pattern_attention
from linsight.ops.pattern.patterns import Fixed, Part, Pattern, Strided, Window

__all__ = ["Fixed", "Part", "Pattern", "Strided", "Window", "pattern_attention"]
