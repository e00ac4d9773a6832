"""Embedded data, readers, binarisation, and the resumable loader; everything here works offline."""

from linsight.data import binarize, noise
from linsight.data.digits import images, mnist
from linsight.data.identity import fingerprint
from linsight.data.loader import Loader
from linsight.data.splits import SPLITS
from linsight.data.texts import shakespeare, shakespeare_works

__all__ = [
    "SPLITS",
    "Loader",
    "binarize",
    "fingerprint",
    "images",
    "mnist",
    "noise",
    "shakespeare",
    "shakespeare_works",
]
