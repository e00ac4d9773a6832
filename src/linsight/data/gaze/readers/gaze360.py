"""Gaze360's metadata and lists: people in all directions, vectors in the eye's frame."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from linsight.data.annotations.files import lines_of, refusal
from linsight.data.gaze.readers.record import (
    UNKNOWN_HEAD,
    GazeRecord,
    check_finite,
    load_image,
    loadmat,
    pitchyaw,
)
from linsight.ops import angular_error, to_vector

__all__ = ["GAZE360_SPLITS", "GAZE360_SUBSETS", "gaze360", "gaze360_list"]

GAZE360_SPLITS = ("train", "val", "test", "unused")
"""In the order of the numbers in the metadata."""

GAZE360_SUBSETS = {"all": 180.0, "front180": 90.0, "front40": 20.0}
"""Gaze within so many degrees of the camera; that front 40 means 20 to every side is unverified."""


def gaze360(folder: str | os.PathLike[str], split: str, *, subset: str = "all") -> Iterator[GazeRecord]:
    """Gaze360 (Kellnhofer, Recasens, Stent, Matusik & Torralba 2019, arXiv 1910.10088).

    Reads `metadata.mat`: `recordings`, and for each sample `recording` (from 0), `person_identity`, `frame`,
    `gaze_dir` (N, 3) in the eye's frame, and `split`. Images are
    `imgs/<recording>/head/<identity>/<frame>.jpg`, with six digits each. Identities are unique within a
    recording alone, so the person is both.

    Args:
        folder: Of the metadata and of `imgs`.
        split: "train", "val", "test" or "unused".
        subset: "all", "front180" or "front40".

    Raises:
        ImportError: scipy or pillow is not installed.
        FileNotFoundError: The metadata or an image is missing.
        ValueError: An unknown split or subset; metadata of other shapes; a gaze that is not finite.
    """
    if split not in GAZE360_SPLITS:
        raise ValueError(f"split: expected one of {', '.join(GAZE360_SPLITS)}, got {split!r}")
    _check_subset(subset)
    return _gaze360(Path(folder), GAZE360_SPLITS.index(split), GAZE360_SUBSETS[subset])


def _gaze360(folder: Path, split: int, widest: float) -> Iterator[GazeRecord]:
    path = folder / "metadata.mat"
    content = loadmat(path)
    names = ("recordings", "recording", "person_identity", "frame", "gaze_dir", "split")
    if missing := [name for name in names if name not in content]:
        raise refusal(path, "", f"expected the variables {', '.join(names)}, got no {', '.join(missing)}")
    # Of a single sample, or a single recording, the axis is squeezed away.
    recordings = [str(name).strip() for name in np.atleast_1d(np.asarray(content["recordings"])).tolist()]
    numbers = {
        name: np.atleast_1d(np.asarray(content[name]))
        for name in ("recording", "person_identity", "frame", "split")
    }
    number = len(numbers["split"])
    gaze = np.asarray(content["gaze_dir"], np.float64)
    if gaze.size != 3 * number or any(values.shape != (number,) for values in numbers.values()):
        shapes = ", ".join(f"{name} {values.shape}" for name, values in numbers.items())
        raise refusal(
            path, "", f"expected (N,) of each and gaze_dir (N, 3), got {shapes}, gaze_dir {gaze.shape}"
        )
    gaze = gaze.reshape(number, 3)
    for row in np.flatnonzero(numbers["split"] == split):
        recording, identity, frame = (
            int(numbers[name][row]) for name in ("recording", "person_identity", "frame")
        )
        if not 0 <= recording < len(recordings):
            raise refusal(
                path, f"row {row}", f"expected a recording below {len(recordings)}, got {recording}"
            )
        angles = _angles(path, f"row {row}", gaze[row])
        if not _within(angles, widest):
            continue
        name = f"{recordings[recording]}/head/{identity:06d}/{frame:06d}.jpg"
        image = load_image(folder / "imgs" / name, f"{path}, row {row},")
        person = f"{recordings[recording]}/{identity:06d}"
        yield GazeRecord(image, angles, UNKNOWN_HEAD.copy(), person, "face", name, False, "camera")


def gaze360_list(
    label: str | os.PathLike[str], images: str | os.PathLike[str], *, subset: str = "all"
) -> Iterator[GazeRecord]:
    """A list of Gaze360's own code: `path x y z` a line, separated by spaces or tabs.

    Args:
        label: The list.
        images: The folder that its paths are relative to.
        subset: "all", "front180" or "front40".

    Returns:
        Records; the person is the recording and the identity of a path `recording/head/identity/frame.jpg`,
        or the image's folder.

    Raises:
        ImportError: pillow is not installed.
        FileNotFoundError: The list or an image is missing.
        ValueError: An unknown subset; a line of other columns; a gaze that is not finite.
    """
    _check_subset(subset)
    return _gaze360_list(Path(label), Path(images), GAZE360_SUBSETS[subset])


def _gaze360_list(path: Path, images: Path, widest: float) -> Iterator[GazeRecord]:
    for number, fields in lines_of(path):
        line = f"line {number}"
        try:
            vector = np.array([float(value) for value in fields[1:]])
        except ValueError:
            vector = np.zeros(0)
        if len(vector) != 3:
            raise refusal(path, line, f"expected a path and three numbers, got {' '.join(fields)!r}")
        angles = _angles(path, line, vector)
        if not _within(angles, widest):
            continue
        image = load_image(images / fields[0], f"{path}, {line},")
        folders = fields[0].split("/")[:-1]
        person = "/".join(part for part in folders if part != "head") or path.stem
        yield GazeRecord(image, angles, UNKNOWN_HEAD.copy(), person, "face", fields[0], False, "camera")


def _angles(path: Path, place: str, vector: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "2"]:
    check_finite(path, place, gaze=vector)
    try:
        return pitchyaw(vector, "gaze360")
    except ValueError as error:
        raise refusal(path, place, str(error)) from None


def _within(angles: Float64[np.ndarray, "2"], widest: float) -> bool:
    ahead = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)
    degrees = math.degrees(angular_error(to_vector(torch.from_numpy(angles)), ahead).item())
    # A quarter turn is not in front; the other edges belong.
    return degrees < widest if widest == 90 else degrees <= widest


def _check_subset(subset: str) -> None:
    if subset not in GAZE360_SUBSETS:
        raise ValueError(f"subset: expected one of {', '.join(GAZE360_SUBSETS)}, got {subset!r}")
