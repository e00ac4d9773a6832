"""Compresses images by a run's density and reads them again."""

import json
from dataclasses import asdict
from pathlib import Path

import torch

from linsight.cli.progress import watching
from linsight.data import Bitmaps, bitmap_files, read_bitmaps
from linsight.densities import Autoregressive
from linsight.tasks.generate.compression import Archive, Ledger, compress, decompress, png_bytes, xz_bytes
from linsight.training.files import write_atomically
from linsight.training.pretrained import from_pretrained
from linsight.training.run import load_run
from linsight.training.weights import identity

__all__ = ["compress_images", "decompress_images"]


def compress_images(run: Path, source: Path, out: Path, batch: int, *, as_json: bool) -> None:
    """Write the file `out`, and say what it cost."""
    bitmaps = read_bitmaps(source)
    images = torch.from_numpy(bitmaps.images)
    density = _density(run)
    with watching() as progress:
        content, ledger = compress(
            density, images, model=identity(density), names=bitmaps.names, batch=batch, progress=progress
        )
    write_atomically(out, content)
    rivals = {"xz": xz_bytes(images), "PNG": png_bytes(images)}
    if as_json:
        found = {**asdict(ledger), "overhead": ledger.overhead, "xz_bytes": rivals["xz"]}
        print(json.dumps({**found, "png_bytes": rivals["PNG"], "out": str(out)}, indent=2))
        return
    print(_told(ledger, rivals))
    print(out)


def decompress_images(run: Path, file: Path, out: Path) -> None:
    """Write the images of the file `file` to `out`."""
    archive = Archive.from_bytes(file.read_bytes(), where=str(file))
    density = _density(run)
    with watching() as progress:
        images = decompress(density, archive, model=identity(density), where=str(file), progress=progress)
    for path, content in bitmap_files(Bitmaps(images.numpy(), archive.header.names), out).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    print(out)


def _density(run: Path) -> Autoregressive:
    model = from_pretrained(load_run(run).model)
    if not isinstance(model, Autoregressive):
        raise ValueError(f"{run}: expected the model of a task that draws images, got {type(model).__name__}")
    return model


def _told(ledger: Ledger, rivals: dict[str, int]) -> str:
    """Every size in bytes an image; the file holds a header and checksums beside the code."""
    each = {
        "code": ledger.coded_bits / 8,
        "file": ledger.file_bytes,
        "xz -6, packed bits": rivals["xz"],
        "PNG, one tall picture": rivals["PNG"],
    }
    return "\n".join(
        [
            f"{ledger.images:,} images: {ledger.model_bits:,.0f} bits by the model, {ledger.coded_bits:,} "
            f"coded, {100 * ledger.overhead:.3f} % more",
            *(f"  {name:<22}{size / ledger.images:8.2f} bytes an image" for name, size in each.items()),
        ]
    )
