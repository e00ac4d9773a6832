"""What all predictors of pictures share: their options, the run's model, reading and writing pictures."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from linsight.training.run import Run

__all__ = ["PredictOptions", "box_in", "files_in", "png", "read_picture", "seen", "trained", "write_files"]


@dataclass(frozen=True)
class PredictOptions:
    """What every `linsight predict TASK` takes."""

    image: Annotated[Positional[Path], arg(metavar="IMAGE")]
    """The picture: PNG, JPEG, or whatever else pillow reads."""
    run: Path | None = None
    """The run folder; none: runs/TASK, where linsight train TASK puts its run."""
    out: Annotated[Path | None, arg(aliases=["-o"], metavar="FOLDER")] = None
    """Where to, a folder; none: predictions in the run folder."""
    json: bool = False
    """Print what was found as JSON."""


def box_in(text: str, picture: "np.ndarray") -> tuple[float, float, float, float]:
    """The corners (x1, y1, x2, y2) of `--box X,Y,WIDTH,HEIGHT` in pixels, as COCO has boxes.

    Raises:
        ValueError: Other than four numbers, sides that are not above 0, a box beside the picture.
    """
    try:
        left, top, width, height = (float(word) for word in text.split(","))
    except ValueError:
        raise ValueError(f"--box: expected X,Y,WIDTH,HEIGHT in pixels, got {text!r}") from None
    if not (0 < width < float("inf") and 0 < height < float("inf")):
        raise ValueError(f"--box: expected a width and a height above 0, got {text!r}")
    rows, columns = picture.shape[:2]
    if not (-width < left < columns and -height < top < rows):
        raise ValueError(f"--box: expected a part of the picture of {columns} x {rows} pixels, got {text!r}")
    return left, top, left + width, top + height


def trained(task: str, folder: Path | None) -> "tuple[Run, nn.Module]":
    """The run of a task, and its model on the device, in evaluation mode.

    Raises:
        FileNotFoundError: No run is there, or it has no model yet.
        ValueError: A run of another task.
    """
    from linsight.training.hardware import pick_device
    from linsight.training.pretrained import from_pretrained
    from linsight.training.run import load_run

    run = load_run(folder or Path("runs") / task)
    found = run.config.task.kind
    if found != task:
        raise ValueError(f"--run: expected a run of {task}, got one of {found} in {run.folder}")
    return run, from_pretrained(run.model).to(pick_device()).eval()


def read_picture(file: Path) -> "np.ndarray":
    """The picture as (height, width, 3) in [0, 1], turned as its camera says; transparency is left out.

    Raises:
        FileNotFoundError: No file is there.
        ValueError: It cannot be read as a picture.
        ImportError: pillow is not installed.
    """
    import numpy as np

    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; expected a picture")
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise ImportError("pictures are read by pillow, which is missing: pip install pillow") from None
    try:
        with Image.open(file) as picture:
            turned = ImageOps.exif_transpose(picture)
            if turned.mode.startswith("I"):
                # Grey of 16 bits, of which pillow's own conversion would cut all above 255.
                return np.repeat(np.asarray(turned, np.float64)[..., None] / 65535, 3, axis=2)
            return np.asarray(turned.convert("RGB"), np.float64) / 255
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file}: cannot be read as a picture ({error})") from None


def files_in(options: PredictOptions, run: "Run", *suffixes: str) -> list[Path]:
    """The files of a prediction, named after the picture: STEM-SUFFIX in the folder asked for.

    Raises:
        ValueError: The folder is a file.
    """
    folder = options.out or run.folder / "predictions"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out: expected a folder, got the file {folder}")
    return [folder / f"{options.image.stem}-{suffix}" for suffix in suffixes]


def seen(options: PredictOptions, run: "Run", picture: "np.ndarray") -> dict[str, Any]:
    """What was looked at, and by what, for `--json`."""
    height, width = picture.shape[:2]
    return {"image": str(options.image), "run": str(run.folder), "height": height, "width": width}


def png(picture: "np.ndarray", palette: "np.ndarray | None" = None) -> bytes:
    """A PNG of colours (height, width, 3) in [0, 1]; or of numbers (height, width) with a palette (n, 3)."""
    import numpy as np
    from PIL import Image

    if palette is None:
        image = Image.fromarray(np.round(255 * picture).astype(np.uint8))
    else:
        image = Image.fromarray(picture.astype(np.uint8), "P")
        image.putpalette(palette.astype(np.uint8).tobytes())
    content = io.BytesIO()
    image.save(content, "png", optimize=True)
    return content.getvalue()


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write each whole; folders are made."""
    from linsight.training.files import write_atomically

    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
