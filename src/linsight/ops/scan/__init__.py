"""Selective scans: states that decay by element, at a rate that every token chooses."""

from linsight.ops.scan.piece import selective_scan_piece
from linsight.ops.scan.plan import selective_scan_plan
from linsight.ops.scan.selective import selective_scan

__all__ = ["selective_scan", "selective_scan_piece", "selective_scan_plan"]
