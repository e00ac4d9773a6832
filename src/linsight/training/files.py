"""Files that are whole or absent: atomic writes, and SHA-256 over named tensors."""

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["digest_tensors", "read_text", "remove_leftovers", "write_atomically"]

LEFTOVER = ".partial"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old content or the new, never a part.

    The content goes to a neighbour `.NAME.PID.partial`, is synced to the disk, and takes the name.

    Raises:
        OSError: Disk full, unwritable, quota; the old file is intact and the neighbour is removed.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{LEFTOVER}")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # a failed write does not say of which file
        raise
    _sync_folder(path.parent)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8; ValueError, naming it, if it is none."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text in UTF-8: it is damaged") from None


def remove_leftovers(folder: Path) -> None:
    """Delete the partial files that killed writers left in a folder."""
    for partial in folder.glob(f".*{LEFTOVER}"):
        partial.unlink(missing_ok=True)


def digest_tensors(tensors: Mapping[str, Tensor], *, extra: str = "") -> str:
    """SHA-256 (hex) of names, types, shapes and bytes of tensors, whatever their order, and of a text."""
    sha = hashlib.sha256(extra.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
