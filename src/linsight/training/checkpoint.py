"""Checkpoints: one safetensors file each, with a SHA-256 over everything in it; no pickle."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from linsight.training.files import digest_tensors, remove_leftovers, write_atomically

__all__ = [
    "Checkpoint",
    "DamagedCheckpoint",
    "file_of",
    "last_step",
    "latest_checkpoint",
    "read_checkpoint",
    "save_checkpoint",
]

FORMAT = "linsight checkpoint 1"


class DamagedCheckpoint(RuntimeError):
    """A file that is not, or no longer, the checkpoint that was written."""


@dataclass(frozen=True)
class Checkpoint:
    """All that a training needs to go on: named tensors on the CPU, and plain data that fits into JSON."""

    step: int
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint atomically, then delete all but the newest `keep`.

    Raises:
        OSError: The file cannot be written; the older checkpoints are intact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    state = json.dumps({"format": FORMAT, "step": checkpoint.step, **checkpoint.state}, sort_keys=True)
    digest = digest_tensors(checkpoint.tensors, extra=state)
    path = file_of(folder, checkpoint.step)
    write_atomically(
        path, safetensors.torch.save(dict(checkpoint.tensors), {"state": state, "sha256": digest})
    )
    for old in _files(folder)[:-keep]:
        old.unlink()
    return path


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and check every byte of it.

    Raises:
        DamagedCheckpoint: Truncated, damaged, or no checkpoint of linsight.
        RuntimeError: Of another version of linsight. Both messages begin with the path.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copies: a tensor mapped from the file would be aligned, and so computed, differently.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise DamagedCheckpoint(f"{path}: damaged checkpoint ({error})") from None
    state = metadata.get("state", "")
    if digest_tensors(tensors, extra=state) != metadata.get("sha256"):
        raise DamagedCheckpoint(f"{path}: damaged checkpoint (its SHA-256 does not match)")
    content = json.loads(state)
    if content.pop("format") != FORMAT:
        raise RuntimeError(f"{path}: of another version of linsight; this one reads '{FORMAT}'")
    return Checkpoint(content.pop("step"), tensors, content)


def file_of(folder: Path, step: int) -> Path:
    """The file of a step's checkpoint."""
    return folder / f"step-{step:09d}.safetensors"


def last_step(folder: Path) -> int | None:
    """The step of the newest checkpoint by its name, unread; None when there is none."""
    files = _files(folder)
    return int(files[-1].stem.removeprefix("step-")) if files else None


def latest_checkpoint(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None when there is no checkpoint.

    Damaged ones newer than it are set aside, as `NAME.damaged`, and each is reported through `say`.

    Raises:
        RuntimeError: Every checkpoint is damaged, and none is touched; or the newest whole one is of another
            version of linsight.
    """
    damaged: dict[Path, DamagedCheckpoint] = {}
    for path in reversed(_files(folder)):
        try:
            checkpoint = read_checkpoint(path)
        except DamagedCheckpoint as error:
            damaged[path] = error
            continue
        for bad, error in damaged.items():
            aside = bad.with_name(f"{bad.name}.damaged")
            bad.replace(aside)
            say(f"warning: {error}; it is set aside as {aside.name}, and step {checkpoint.step:,} serves")
        return checkpoint
    if damaged:
        error = next(iter(damaged.values()))
        raise RuntimeError(f"{error}; no older one is good: delete the folder of checkpoints to start again")
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"))
