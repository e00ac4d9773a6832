"""Pictures of a person with where they looked, as a file that a user writes: what calibrates."""

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from linsight.ops import to_pitchyaw

__all__ = ["LookedAt", "read_looked_at"]

_KNOWN = ("image", "box", "right", "head", "gaze", "eye", "target")


class LookedAt(NamedTuple):
    """A picture of an eye, and where it looked."""

    image: Path
    gaze: Float64[Tensor, "2"]
    """Pitch and yaw in radians."""
    box: tuple[float, float, float, float] | None
    """x, y, width, height in pixels; None for all of the picture."""
    right: bool
    head: tuple[float, float] | None
    """Pitch and yaw of the head in radians."""


def read_looked_at(file: str | os.PathLike[str]) -> tuple[LookedAt, ...]:
    """The samples of a JSON file: a list of objects.

    `image` is a path from the file's folder. `gaze` is [pitch, yaw] in degrees; or, in its place, `eye` and
    `target` are the points [x, y, z] of the camera's frame (x right, y down, z forward, any unit) that it
    looked from and at. `box` is [x, y, width, height] in pixels, of all the picture without one; `right` is
    true for a right eye; `head` is [pitch, yaw] in degrees. All but `image` and the gaze may be left out.

    Raises:
        FileNotFoundError: No file is there.
        ValueError: It holds something else; the message says which sample, from 0, and which key.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; expected samples of a person")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: expected JSON, got something else ({error})") from None
    if not isinstance(found, list) or not found:
        raise ValueError(f"{file}: expected a list of at least one sample, got {type(found).__name__}")
    return tuple(_sample(one, file.parent, f"{file}: sample {number}") for number, one in enumerate(found))


def _sample(found: Any, folder: Path, where: str) -> LookedAt:
    if not isinstance(found, dict) or not isinstance(found.get("image"), str):
        raise ValueError(f"{where}: expected an object with the path of an image, got {found!r}")
    unknown = [name for name in found if name not in _KNOWN]
    if unknown:
        raise ValueError(f"{where}: {unknown[0]}: unknown key; known: {', '.join(_KNOWN)}")
    right = found.get("right", False)
    if not isinstance(right, bool):
        raise ValueError(f"{where}: right: expected true or false, got {right!r}")
    box, head = (_numbers(found, name, count, where) for name, count in (("box", 4), ("head", 2)))
    return LookedAt(
        folder / found["image"],
        _gaze(found, where),
        None if box is None else (box[0], box[1], box[2], box[3]),
        right,
        None if head is None else (math.radians(head[0]), math.radians(head[1])),
    )


def _gaze(found: dict[str, Any], where: str) -> Float64[Tensor, "2"]:
    gaze, eye, target = (
        _numbers(found, name, count, where) for name, count in (("gaze", 2), ("eye", 3), ("target", 3))
    )
    if gaze is not None and eye is None and target is None:
        if not (abs(gaze[0]) <= 90 and abs(gaze[1]) <= 180):
            raise ValueError(
                f"{where}: gaze: expected a pitch within 90 and a yaw within 180 degrees, got {gaze}"
            )
        return torch.deg2rad(torch.tensor(gaze, dtype=torch.float64))
    if gaze is not None or eye is None or target is None:
        given = ", ".join(name for name in ("gaze", "eye", "target") if name in found) or "none of them"
        raise ValueError(f"{where}: expected gaze, or eye and target, got {given}")
    along = torch.tensor(target, dtype=torch.float64) - torch.tensor(eye, dtype=torch.float64)
    if not along.any():
        raise ValueError(f"{where}: target: expected another point than the eye, got {target}")
    return to_pitchyaw(along)


def _numbers(found: dict[str, Any], name: str, count: int, where: str) -> list[float] | None:
    values = found.get(name)
    if values is None:
        return None
    numbers = isinstance(values, list) and all(type(one) in (int, float) for one in values)
    if not (numbers and len(values) == count and all(math.isfinite(one) for one in values)):
        raise ValueError(f"{where}: {name}: expected {count} finite numbers, got {values!r}")
    return [float(one) for one in values]
