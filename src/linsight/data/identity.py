"""The identity of a data set: a run refuses to resume on other data."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

import numpy as np

__all__ = ["fingerprint", "generated_fingerprint"]


def fingerprint(*parts: np.ndarray | bytes) -> str:
    """SHA-256 (hex) of the parts' types, shapes and contents, in their order; 0.1 s for MNIST.

    The same data have the same fingerprint wherever they were read from. Arrays count as their row-major
    content. Raises TypeError for an array of Python objects, which has no content of its own.
    """
    digest = hashlib.sha256()
    for part in parts:
        array = np.frombuffer(part, np.uint8) if isinstance(part, bytes) else np.ascontiguousarray(part)
        if array.dtype.hasobject:
            raise TypeError(f"parts: expected arrays of numbers or bytes, got an array of {array.dtype}")
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data.cast("B") if array.size else b"")
    return digest.hexdigest()


def generated_fingerprint(description: Any, *first: np.ndarray) -> str:
    """The fingerprint of data without end: of the dataclass that describes them, and of the first items."""
    return fingerprint(json.dumps(asdict(description), sort_keys=True).encode(), *first)
