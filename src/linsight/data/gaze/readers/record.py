"""What every reader of gaze data yields, and what all of them check."""

import zlib
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from linsight.data.annotations.files import refusal
from linsight.data.gaze.conventions import convert
from linsight.ops import to_pitchyaw

__all__ = ["UNKNOWN_HEAD", "GazeRecord", "check_finite", "hdf5", "load_image", "loadmat", "pitchyaw"]

UNKNOWN_HEAD = np.full(2, np.nan)
"""The head pose of data that have none."""


class GazeRecord(NamedTuple):
    """One picture with its labels, in our convention."""

    image: UInt8[np.ndarray, "height width *channels"]
    """(height, width) in grey, (height, width, 3) in colours as the files have them."""
    gaze: Float64[np.ndarray, "2"]
    """Pitch and yaw in radians."""
    head: Float64[np.ndarray, "2"]
    """Pitch and yaw of the head, or NaN."""
    person: str
    side: str
    """"left", "right" or "face"."""
    frame: str
    """What the data call it."""
    mirrored: bool
    """Whether image and labels are those of the mirror image."""
    label_rule: str
    """"R" where labels were turned by the rotation of the normalisation, as they should be; "M" where they
    were scaled too, which is degrees apart; "camera" where they are those of the camera itself; "unknown"."""


def loadmat(path: Path) -> dict[str, object]:
    """A MATLAB file of version 5, structs as objects, axes of length 1 squeezed.

    Raises:
        ImportError: scipy is not installed.
        FileNotFoundError: There is no such file.
        ValueError: It is no such file.
    """
    try:
        from scipy.io import loadmat as load
        from scipy.io.matlab import MatReadError
    except ImportError:
        raise ImportError("files of MATLAB need the package scipy: pip install 'linsight[gaze]'") from None
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        return load(path, struct_as_record=False, squeeze_me=True)
    except (MatReadError, ValueError, NotImplementedError, OSError, TypeError, zlib.error) as error:
        raise refusal(path, "", f"expected a file of MATLAB, version 5: {error}") from None


def hdf5() -> ModuleType:
    """The package h5py. Raises ImportError without it."""
    try:
        return import_module("h5py")
    except ImportError:
        raise ImportError("files of MATLAB 7.3 need the package h5py: pip install 'linsight[gaze]'") from None


def load_image(path: Path, place: str) -> UInt8[np.ndarray, "height width *channels"]:
    """A picture as it is. Raises FileNotFoundError naming the line that asked for it; ImportError."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("pictures need the package pillow: pip install 'linsight[gaze]'") from None
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such image, which {place} names")
    with Image.open(path) as image:
        return np.asarray(image if image.mode == "L" else image.convert("RGB"))


def pitchyaw(vector: np.ndarray, convention: str) -> Float64[np.ndarray, "2"]:
    """The (pitch, yaw) of a vector of a public convention. Raises ValueError as `convert`."""
    return to_pitchyaw(convert(torch.from_numpy(np.asarray(vector, np.float64)), convention)).numpy()


def check_finite(path: Path, place: str, **labels: np.ndarray) -> None:
    """Raise ValueError, with the file and the place in it, for a label that is not finite."""
    for name, values in labels.items():
        if not np.isfinite(values).all():
            raise refusal(path, place, f"expected a finite {name}, got {np.asarray(values).tolist()}")
