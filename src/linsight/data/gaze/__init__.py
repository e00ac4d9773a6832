"""Gaze: conventions of public data, normalisation, the law of mirrors."""

from linsight.data.gaze.conventions import CONVENTIONS, convert, vectors_of
from linsight.data.gaze.mirror import mirror_angles, mirror_image, mirror_rotation, mirror_vectors
from linsight.data.gaze.normalisation import (
    NORMALISED_CAMERAS,
    Normalisation,
    NormalisedCamera,
    normalisation,
)

__all__ = [
    "CONVENTIONS",
    "NORMALISED_CAMERAS",
    "Normalisation",
    "NormalisedCamera",
    "convert",
    "mirror_angles",
    "mirror_image",
    "mirror_rotation",
    "mirror_vectors",
    "normalisation",
    "vectors_of",
]
