"""Networks made of the mixers."""

from linsight.models import sequence, vision

__all__ = ["sequence", "vision"]
