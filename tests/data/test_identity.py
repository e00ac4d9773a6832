"""A fingerprint depends on content, shape and type, and on nothing else."""

import numpy as np
import pytest

from linsight.data import fingerprint

ARRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)


def test_same_content_same_fingerprint():
    """Memory layout and origin do not count."""
    assert fingerprint(ARRAY) == fingerprint(np.asfortranarray(ARRAY)) == fingerprint(ARRAY.copy()[::1])
    assert fingerprint(b"abc") == fingerprint(b"abc")
    assert len(fingerprint()) == 64


@pytest.mark.parametrize(
    "other",
    [
        (ARRAY + np.uint8(1),),
        (ARRAY.reshape(4, 3),),
        (ARRAY.astype(np.int8),),
        (ARRAY[:2], ARRAY[2:]),
        (ARRAY, np.zeros((0, 4), np.uint8)),
        (),
    ],
)
def test_other_data_other_fingerprint(other):
    assert fingerprint(*other) != fingerprint(ARRAY)


def test_objects_are_refused():
    with pytest.raises(TypeError, match="parts: expected arrays of numbers or bytes, got an array of object"):
        fingerprint(np.array([None]))
