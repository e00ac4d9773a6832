"""Lossless compression by a density: the proof that it is causal, normalised, and the same step by step."""

from linsight.tasks.generate.compression.archive import Archive, Ledger, compress, decompress
from linsight.tasks.generate.compression.rivals import png_bytes, xz_bytes

__all__ = ["Archive", "Ledger", "compress", "decompress", "png_bytes", "xz_bytes"]
