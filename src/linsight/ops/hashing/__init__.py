"""Locality-sensitive hashing, and attention inside the buckets."""

from linsight.ops.hashing.buckets import angular_buckets
from linsight.ops.hashing.chunks import bucket_attention
from linsight.ops.hashing.rings import Rings, ring_attention

__all__ = ["Rings", "angular_buckets", "bucket_attention", "ring_attention"]
