"""MPIIGaze's folder of normalised eyes, and MPIIFaceGaze's files of normalised faces."""

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from linsight.data.annotations.files import lines_of, refusal
from linsight.data.gaze.readers.record import GazeRecord, check_finite, hdf5, loadmat, pitchyaw
from linsight.ops import rotation_matrix, to_pitchyaw

__all__ = ["mpiifacegaze", "mpiigaze"]

_EYES = (36, 60)
_FULL = 3000  # samples of a person in both
_FLIP = np.array([1.0, -1.0])


class _Eyes(NamedTuple):
    """What a day's file has of one side."""

    image: UInt8[np.ndarray, "number 36 60"]
    gaze: Float64[np.ndarray, "number 3"]
    pose: Float64[np.ndarray, "number 3"]


def mpiigaze(
    folder: str | os.PathLike[str], persons: Sequence[str] | None = None, *, evaluation: bool = True
) -> Iterator[GazeRecord]:
    """MPIIGaze (Zhang, Sugano, Fritz & Bulling 2015, arXiv 1504.02863), normalised eyes in grey.

    Reads `Data/Normalized/pXX/dayYY.mat`: structs `data.left` and `data.right` of `image` (N, 36, 60), `gaze`
    (N, 3) and `pose` (N, 3), a rotation vector, and `filenames` (N,). Right eyes are mirrored, with both
    yaws. The labels were made with scaling (`label_rule` "M").

    Args:
        folder: With `Data`, and for `evaluation` with `Evaluation Subset`.
        persons: As in "p00"; None takes all there are.
        evaluation: The 3,000 eyes of each person that the published numbers are of, in the order of
            `Evaluation Subset/sample list for eye image/pXX.txt`; otherwise all eyes, left before right.

    Raises:
        ImportError: scipy is not installed.
        FileNotFoundError: A folder, list or day is missing.
        ValueError: A file that is not as above, a line that names no eye, a label that is not finite; with
            the file and the row or line.

    Warns for a person of fewer than 3,000 eyes.
    """
    root = Path(folder)
    normalised = root / "Data" / "Normalized"
    if not normalised.is_dir():
        raise FileNotFoundError(f"{normalised}: there is no such folder")
    found = sorted(path.name for path in normalised.iterdir() if path.is_dir())
    return _mpiigaze(root, list(persons) if persons is not None else found, evaluation)


def _mpiigaze(root: Path, persons: list[str], evaluation: bool) -> Iterator[GazeRecord]:
    for person in persons:
        number = 0
        days = root / "Data" / "Normalized" / person
        records = _listed(root, person) if evaluation else _all(days, person)
        for record in records:
            number += 1
            yield record
        _warn_if_few(days, number)


def _listed(root: Path, person: str) -> Iterator[GazeRecord]:
    listed = root / "Evaluation Subset" / "sample list for eye image" / f"{person}.txt"
    days: dict[str, tuple[dict[str, int], dict[str, _Eyes]]] = {}
    for line, fields in lines_of(listed):
        day, _, name = fields[0].partition("/")
        if len(fields) != 2 or fields[1] not in ("left", "right") or not name:
            raise refusal(listed, f"line {line}", f"expected 'day/name left|right', got {' '.join(fields)!r}")
        path = root / "Data" / "Normalized" / person / f"{day}.mat"
        if day not in days:
            names, eyes = _day(path)
            days[day] = ({name: row for row, name in enumerate(names)}, eyes)
        rows, eyes = days[day]
        if name not in rows:
            raise refusal(listed, f"line {line}", f"expected an image of {path.name}, got {name!r}")
        yield _eye(path, person, f"{day}/{name}", fields[1], eyes[fields[1]], rows[name])


def _all(folder: Path, person: str) -> Iterator[GazeRecord]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    for path in sorted(folder.glob("*.mat")):
        names, eyes = _day(path)
        for row, name in enumerate(names):
            for side in ("left", "right"):
                yield _eye(path, person, f"{path.stem}/{name}", side, eyes[side], row)


def _day(path: Path) -> tuple[list[str], dict[str, _Eyes]]:
    content = loadmat(path)
    data = content.get("data")
    if data is None or "filenames" not in content:
        raise refusal(path, "", "expected the variables data and filenames, got others")
    # A day of one image comes back without its axis.
    names = [str(name) for name in np.atleast_1d(np.asarray(content["filenames"])).tolist()]
    return names, {
        side: _side(path, getattr(data, side, None), side, len(names)) for side in ("left", "right")
    }


def _side(path: Path, struct: Any, side: str, number: int) -> _Eyes:
    shapes = {"image": (number, *_EYES), "gaze": (number, 3), "pose": (number, 3)}
    fields = []
    for name, shape in shapes.items():
        values = np.asarray(getattr(struct, name, None))
        if (
            values.dtype == object
            or values.size != math.prod(shape)
            or (number > 1 and values.shape != shape)
        ):
            raise refusal(path, "", f"expected data.{side}.{name} of shape {shape}, got {values.shape}")
        fields.append(values.reshape(shape))
    image, gaze, pose = fields
    return _Eyes(image.astype(np.uint8), gaze.astype(np.float64), pose.astype(np.float64))


def _eye(path: Path, person: str, frame: str, side: str, eyes: _Eyes, row: int) -> GazeRecord:
    image, gaze, pose = eyes.image[row], eyes.gaze[row], eyes.pose[row]
    check_finite(path, f"row {row} of data.{side}", gaze=gaze, pose=pose)
    looks = pitchyaw(gaze, "mpiigaze")
    head = _head(pose)
    if side == "right":
        image, looks, head = image[:, ::-1].copy(), looks * _FLIP, head * _FLIP
    return GazeRecord(image, looks, head, person, side, frame, side == "right", "M")


def _head(pose: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "2"]:
    """asin z_y and atan2(z_x, z_z) of the third column z of the head's rotation: of where the face looks."""
    matrix = rotation_matrix(torch.from_numpy(pose))
    return to_pitchyaw(-matrix[:, 2]).numpy()


def mpiifacegaze(
    folder: str | os.PathLike[str], persons: Sequence[str] | None = None
) -> Iterator[GazeRecord]:
    """MPIIFaceGaze (Zhang, Sugano, Fritz & Bulling 2017, arXiv 1611.08860), normalised faces.

    Reads `pXX.mat`, which are HDF5: `Data/data` (N, 3, height, width) in 0 to 255, and `Data/label` (N, 4 or
    more): gaze, then head, both (pitch, yaw) in radians. The labels were turned by R alone.

    Args:
        folder: Of the files.
        persons: As in "p00"; None takes all there are.

    Raises:
        ImportError: h5py is not installed.
        FileNotFoundError: The folder or a file is missing.
        ValueError: Arrays of other shapes, as of a reader that transposes them; a label that is not finite.

    Warns for a person of fewer than 3,000 faces.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: there is no such folder")
    found = sorted(path.stem for path in root.glob("p*.mat"))
    return _mpiifacegaze(root, list(persons) if persons is not None else found)


def _mpiifacegaze(root: Path, persons: list[str]) -> Iterator[GazeRecord]:
    h5py = hdf5()
    for person in persons:
        path = root / f"{person}.mat"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: there is no such file")
        with h5py.File(path, "r") as file:
            if "Data/data" not in file or "Data/label" not in file:
                raise refusal(path, "", "expected Data/data and Data/label, got neither or one")
            data, label = file["Data/data"], np.asarray(file["Data/label"], np.float64)
            check_faces(path, data.shape, label.shape)
            for row in range(len(label)):
                yield face_record(path, person, row, np.asarray(data[row]), label[row])
        _warn_if_few(path, len(label))


def check_faces(path: Path, data: tuple[int, ...], label: tuple[int, ...]) -> None:
    """Refuse arrays that are not (N, 3, height, width) and (N, 4 or more)."""
    right = len(data) == 4 and data[1] == 3 and len(label) == 2 and label[0] == data[0] and label[1] >= 4
    if not right:
        raise refusal(
            path,
            "",
            f"expected Data/data (N, 3, height, width) and Data/label (N, 4 or more), got {data} and "
            f"{label}; are the axes the wrong way round?",
        )


def face_record(path: Path, person: str, row: int, face: np.ndarray, label: np.ndarray) -> GazeRecord:
    """The face (3, height, width) as (height, width, 3), with its labels."""
    check_finite(path, f"row {row} of Data/label", label=label[:4])
    image = np.ascontiguousarray(face.transpose(1, 2, 0)).round().clip(0, 255).astype(np.uint8)
    return GazeRecord(image, label[:2].copy(), label[2:4].copy(), person, "face", str(row), False, "R")


def _warn_if_few(path: Path, number: int) -> None:
    if number < _FULL:
        warnings.warn(f"{path}: {number} samples; published numbers are of {_FULL} a person", stacklevel=2)
