"""Networks made of the mixers."""

from linsight.models import sequence

__all__ = ["sequence"]
