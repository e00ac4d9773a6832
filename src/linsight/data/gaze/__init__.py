"""Gaze: rendered eyes of persons, splits and motions; conventions, normalisation, the law of mirrors."""

from linsight.data.gaze.clips import ClipSamples, EyeClips
from linsight.data.gaze.conventions import CONVENTIONS, convert, vectors_of
from linsight.data.gaze.eye import FIELD, EyeParameters, optical_axis, visual_axis
from linsight.data.gaze.eyes import NOT_COMPARABLE, Eyes, EyeSamples
from linsight.data.gaze.mirror import mirror_angles, mirror_image, mirror_rotation, mirror_vectors
from linsight.data.gaze.motion import MOTIONS, Trajectory, blinking, fixations, pursuit, saccades, sequence
from linsight.data.gaze.normalisation import (
    NORMALISED_CAMERAS,
    Normalisation,
    NormalisedCamera,
    normalisation,
)
from linsight.data.gaze.persons import PITCH, YAW, Frames, Persons, eye_of, frames, persons
from linsight.data.gaze.render import GREY, Rendering, iris_centre, pixels, render
from linsight.data.gaze.splits import PersonSplit, cross_person, leave_one_person_out, within_person

__all__ = [
    "CONVENTIONS",
    "FIELD",
    "GREY",
    "MOTIONS",
    "NORMALISED_CAMERAS",
    "NOT_COMPARABLE",
    "PITCH",
    "YAW",
    "ClipSamples",
    "EyeClips",
    "EyeParameters",
    "EyeSamples",
    "Eyes",
    "Frames",
    "Normalisation",
    "NormalisedCamera",
    "PersonSplit",
    "Persons",
    "Rendering",
    "Trajectory",
    "blinking",
    "convert",
    "cross_person",
    "eye_of",
    "fixations",
    "frames",
    "iris_centre",
    "leave_one_person_out",
    "mirror_angles",
    "mirror_image",
    "mirror_rotation",
    "mirror_vectors",
    "normalisation",
    "optical_axis",
    "persons",
    "pixels",
    "pursuit",
    "render",
    "saccades",
    "sequence",
    "vectors_of",
    "visual_axis",
    "within_person",
]
