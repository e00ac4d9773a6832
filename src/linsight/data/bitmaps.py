"""Binary images as files: an array in .npz, one picture in .png, or a folder of pictures."""

import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["Bitmaps", "bitmap_files", "read_bitmaps"]


class Bitmaps(NamedTuple):
    """Images `(number, height, width)` of 0 and 1 in uint8, and the names of the files that they were."""

    images: np.ndarray
    names: tuple[str, ...]
    """Empty where all were one array."""


def read_bitmaps(source: Path) -> Bitmaps:
    """Read images of two values: 0 and 1, or in a picture 0 and 255, black and white.

    Args:
        source: An .npz with one array, or with one called `images`; a .png; or a folder, of which every .png
            is an image, in the order of their names.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: No images, of several sizes, or with values between.
    """
    if source.is_dir():
        files = sorted(source.glob("*.png"))
        if not files:
            raise ValueError(f"{source}: expected a folder with .png files, found none in it")
        images = [_read_png(file) for file in files]
        for file, image in zip(files, images, strict=True):
            if image.shape != images[0].shape:
                raise ValueError(
                    f"{file}: expected {_size(images[0])} pixels, as {files[0].name} has, got {_size(image)}"
                )
        return Bitmaps(np.stack(images), tuple(file.name for file in files))
    if not source.exists():
        raise FileNotFoundError(f"{source}: there are no images")
    if source.suffix == ".npz":
        return Bitmaps(_read_npz(source), ())
    if source.suffix == ".png":
        return Bitmaps(_read_png(source)[None], (source.name,))
    raise ValueError(f"{source}: expected a .npz, a .png, or a folder of .png files")


def bitmap_files(bitmaps: Bitmaps, out: Path) -> dict[Path, bytes]:
    """What to write where, so that `read_bitmaps(out)` gives the images again.

    Args:
        bitmaps: The images; those that had no names get numbers, where they need some.
        out: An .npz; a .png, of one image; or else a folder.
    """
    if out.suffix == ".npz":
        content = io.BytesIO()
        np.savez_compressed(content, images=bitmaps.images)
        return {out: content.getvalue()}
    if out.suffix == ".png":
        if len(bitmaps.images) != 1:
            raise ValueError(
                f"{out}: expected a .npz or a folder for {len(bitmaps.images)} images; a .png holds one"
            )
        return {out: _png(bitmaps.images[0])}
    digits = len(str(len(bitmaps.images) - 1))
    names = bitmaps.names or [f"{index:0{digits}}.png" for index in range(len(bitmaps.images))]
    for name in names:
        if Path(name).name != name or not name.endswith(".png"):
            raise ValueError(f"{out}: expected names of pictures in this folder, got {name!r}")
    return {out / name: _png(image) for name, image in zip(names, bitmaps.images, strict=True)}


def _read_npz(file: Path) -> np.ndarray:
    try:
        with np.load(file) as arrays:
            found = dict(arrays)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file}: cannot be read as .npz ({error})") from None
    if "images" not in found and len(found) != 1:
        raise ValueError(f"{file}: expected an array called images, got {', '.join(found) or 'none'}")
    images = found["images"] if "images" in found else next(iter(found.values()))
    if images.ndim != 3:
        raise ValueError(f"{file}: expected images (number, height, width), got shape {images.shape}")
    if not np.isin(images, (0, 1)).all():
        raise ValueError(
            f"{file}: expected pixels 0 and 1, got values from {images.min():g} to {images.max():g}; "
            "binarise grey images first"
        )
    return images.astype(np.uint8)


def _read_png(file: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as picture:
            image = np.asarray(picture.convert("L"))
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{file}: cannot be read as a picture ({error})") from None
    if not np.isin(image, (0, 255)).all():
        raise ValueError(f"{file}: expected black and white pixels alone, got grey; binarise it first")
    return (image == 255).astype(np.uint8)


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(image.astype(bool)).save(content, "png", optimize=True)
    return content.getvalue()


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"
