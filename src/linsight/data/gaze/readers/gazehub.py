"""GazeHub's lists: a line a face, with columns that differ between data sets."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64

from linsight.data.annotations.files import lines_of, refusal
from linsight.data.gaze.conventions import convert
from linsight.data.gaze.readers.record import UNKNOWN_HEAD, GazeRecord, check_finite, load_image, pitchyaw
from linsight.ops import angular_error, to_vector

__all__ = ["GAZEHUB_LAYOUTS", "gazehub"]


class _Layout(NamedTuple):
    """Columns from 0; None where there is none."""

    gaze2d: int
    gaze3d: int | None = None
    head2d: int | None = None
    name: int | None = None
    eyes: bool = False


GAZEHUB_LAYOUTS = {
    "mpiifacegaze": _Layout(gaze2d=7, gaze3d=5, head2d=8, name=3, eyes=True),
    "eyediap": _Layout(gaze2d=6, gaze3d=4, head2d=7, name=3, eyes=True),
    "gaze360": _Layout(gaze2d=5, gaze3d=4, eyes=True),
    "ethxgaze": _Layout(gaze2d=1, head2d=2, name=3),
    "rtgene": _Layout(gaze2d=6, head2d=7, eyes=True),
}
"""The columns of each data set's lists. The face is in column 0, left and right eyes in 1 and 2."""

_SIDES = {"face": 0, "left": 1, "right": 2}


def gazehub(
    label: str | os.PathLike[str],
    images: str | os.PathLike[str],
    layout: str,
    *,
    side: str = "face",
    order: str = "yaw,pitch",
) -> Iterator[GazeRecord]:
    """A list of GazeHub (Cheng, Wang, Bao & Lu 2021, arXiv 2104.12668): a header, then a line for each face.

    Columns are separated by spaces, numbers within one by commas. Gaze and head are two angles in radians;
    where the list has the gaze as a vector too, the two are compared.

    Args:
        label: The list.
        images: The folder that its paths are relative to.
        layout: One of `GAZEHUB_LAYOUTS`.
        side: "face", or the eye "left" or "right" where the list has them.
        order: Of the two angles: "yaw,pitch", as GazeHub says; or "pitch,yaw" (unverified for ETH-XGaze and
            RT-Gene, which have no vectors to tell).

    Returns:
        Records; the person is the first folder of the image's path, or the list's own name.

    Raises:
        ImportError: pillow is not installed.
        FileNotFoundError: The list or an image is missing.
        ValueError: An unknown layout, side or order; a line of other columns; a label that is not finite; a
            vector more than 1 degree from the angles, as of a list in the other order.
    """
    if layout not in GAZEHUB_LAYOUTS:
        raise ValueError(f"layout: expected one of {', '.join(GAZEHUB_LAYOUTS)}, got {layout!r}")
    if side not in _SIDES or (side != "face" and not GAZEHUB_LAYOUTS[layout].eyes):
        allowed = ", ".join(_SIDES) if GAZEHUB_LAYOUTS[layout].eyes else "face"
        raise ValueError(f"side: expected one of {allowed} for {layout!r}, got {side!r}")
    if order not in ("yaw,pitch", "pitch,yaw"):
        raise ValueError(f"order: expected 'yaw,pitch' or 'pitch,yaw', got {order!r}")
    convention = "gazehub" if order == "yaw,pitch" else "linsight"
    return _gazehub(Path(label), Path(images), GAZEHUB_LAYOUTS[layout], side, convention)


def _gazehub(path: Path, images: Path, layout: _Layout, side: str, convention: str) -> Iterator[GazeRecord]:
    needed = 1 + max(column for column in layout[:4] if column is not None)
    for number, fields in lines_of(path)[1:]:
        line = f"line {number}"
        if len(fields) < needed:
            raise refusal(path, line, f"expected at least {needed} columns, got {len(fields)}")
        gaze = _angles(path, line, fields, layout.gaze2d, convention)
        if layout.gaze3d is not None:
            _compare(path, line, gaze, _numbers(path, line, fields, layout.gaze3d, 3))
        head = UNKNOWN_HEAD.copy()
        if layout.head2d is not None:
            head = _angles(path, line, fields, layout.head2d, convention)
        name = fields[_SIDES[side]].replace("\\", "/")
        person = name.split("/")[0] if "/" in name else path.stem
        frame = fields[layout.name] if layout.name is not None else name
        image = load_image(images / name, f"{path}, {line},")
        yield GazeRecord(image, gaze, head, person, side, frame, False, "unknown")


def _angles(
    path: Path, line: str, fields: list[str], column: int, convention: str
) -> Float64[np.ndarray, "2"]:
    angles = torch.from_numpy(_numbers(path, line, fields, column, 2))
    try:
        return convert(angles, convention).numpy()
    except ValueError as error:
        raise refusal(path, f"{line}, column {column}", str(error)) from None


def _numbers(path: Path, line: str, fields: list[str], column: int, count: int) -> np.ndarray:
    try:
        values = np.array([float(number) for number in fields[column].split(",")])
    except ValueError:
        values = np.zeros(0)
    if len(values) != count:
        place = f"{line}, column {column}"
        raise refusal(path, place, f"expected {count} numbers with commas, got {fields[column]!r}")
    check_finite(path, f"{line}, column {column}", label=values)
    return values


def _compare(path: Path, line: str, gaze: np.ndarray, vector: np.ndarray) -> None:
    try:
        angles = pitchyaw(vector, "gazehub")
    except ValueError as error:
        raise refusal(path, line, str(error)) from None
    apart = angular_error(to_vector(torch.from_numpy(gaze)), to_vector(torch.from_numpy(angles))).item()
    if math.degrees(apart) > 1:
        raise refusal(
            path,
            line,
            f"expected the gaze's vector and its angles within 1 degree, got {math.degrees(apart):.4g} "
            "apart; is the order of the angles another?",
        )
