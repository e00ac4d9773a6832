"""Draws images from a run's density in batches, measures the speed, saves picture or array."""

import io
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from linsight import reports
from linsight.models.sequence import ImageDensity
from linsight.tasks.exhibits import Grid
from linsight.tasks.generate import GenerateTask
from linsight.training.files import write_atomically
from linsight.training.hardware import pick_device
from linsight.training.pretrained import from_pretrained
from linsight.training.run import Run

__all__ = ["Request", "sample"]

BATCH = 256


@dataclass(frozen=True)
class Request:
    """How many images to draw, of what, and where to; the fields are those of the command line."""

    number: int
    label: int | None
    temperature: float
    inpaint: float | None
    seed: int
    out: Path | None


@dataclass(frozen=True)
class Prompt:
    """What is given: labels, and images of which the first `count` patches are kept."""

    labels: Tensor | None
    images: Tensor | None
    count: int


@torch.inference_mode()
def sample(run: Run, request: Request, *, as_json: bool = False) -> Path:
    """Draw the images from a run; prints steps, speed and state, and the path last.

    Raises:
        ValueError: The run's model draws no images, or has no such label, or too few images to complete.
    """
    device = pick_device()
    model = _density(run, from_pretrained(run.model).to(device).eval())
    prompt = _prompt(request, run, model, device)
    generator = torch.Generator(device).manual_seed(request.seed)
    begin = time.perf_counter()
    drawn = torch.cat(
        [
            model.sample(
                min(BATCH, request.number - first),
                None if prompt.labels is None else prompt.labels[first : first + BATCH],
                temperature=request.temperature,
                generator=generator,
                known=None if prompt.images is None else prompt.images[first : first + BATCH],
                count=prompt.count,
            )
            for first in range(0, request.number, BATCH)
        ]
    )
    seconds = time.perf_counter() - begin
    out = _save(request.out or run.folder / "samples.png", model, prompt, drawn)
    found = _measured(request, model, model.patches.number - prompt.count, seconds)
    _tell(found, out, as_json=as_json)
    return out


def _density(run: Run, model: nn.Module) -> ImageDensity:
    if not isinstance(model, ImageDensity):
        raise ValueError(
            f"{run.folder}: expected the model of a task that draws images, got {type(model).__name__}"
        )
    return model


def _prompt(request: Request, run: Run, model: ImageDensity, device: torch.device) -> Prompt:
    labels = None
    if request.label is not None:
        if not 0 <= request.label < model.classes:
            raise ValueError(f"--label: expected 0 to {model.classes - 1}, got {request.label}")
        labels = torch.full((request.number,), request.label, device=device)
    if request.inpaint is None:
        return Prompt(labels, None, 0)
    task = run.config.task.build()
    assert isinstance(task, GenerateTask)  # the task of an ImageDensity
    images, found = task.split("test")
    if request.label is not None:
        images = images[found == request.label]
    if len(images) < request.number:
        raise ValueError(
            f"--number: expected at most the {len(images)} test images there are, got {request.number}"
        )
    rows, columns = model.config.patch
    kept = round(request.inpaint * model.height / rows) * (model.width // columns)
    return Prompt(labels, images[: request.number].to(device), kept)


def _save(out: Path, model: ImageDensity, prompt: Prompt, drawn: Tensor) -> Path:
    if out.suffix == ".npz":
        arrays = {"images": drawn, "labels": prompt.labels, "given": prompt.images}
        content = io.BytesIO()
        np.savez_compressed(content, **{name: a.cpu().numpy() for name, a in arrays.items() if a is not None})
        write_atomically(out, content.getvalue())
    else:
        reports.save(_picture(model, prompt, drawn), out)
    return out


def _picture(model: ImageDensity, prompt: Prompt, drawn: Tensor) -> Grid:
    images = drawn.float().cpu().numpy()
    if prompt.images is None:
        return Grid("samples", "Samples", images, columns=min(16, max(1, round(len(images) ** 0.5))))
    columns = -(-len(images) // -(-len(images) // 16))  # at most 16, in rows as equal as can be
    missing = -len(images) % columns
    given = prompt.images.float().cpu().numpy()
    kept_rows = prompt.count // (model.width // model.config.patch[1]) * model.config.patch[0]
    masked = given.copy()
    masked[:, kept_rows:] = 0.35
    stacks = [np.pad(stack, ((0, missing), (0, 0), (0, 0))) for stack in (given, masked, images)]
    # Blocks of three rows: the images, what is kept of them, what was drawn.
    blocks = [
        stack[first : first + columns] for first in range(0, len(stacks[0]), columns) for stack in stacks
    ]
    labels = ("image", "given", "drawn") * (len(blocks) // 3)
    return Grid("samples", "In-painting", np.concatenate(blocks), columns, row_labels=labels)


def _measured(request: Request, model: ImageDensity, steps: int, seconds: float) -> dict[str, float]:
    batches = -(-request.number // BATCH)
    # After a whole image: a cache of keys and values grows up to there, a linear mixer's state does not.
    tokens = torch.zeros(1, model.patches.number, dtype=torch.int64, device=model.log_prior.device)
    tokens[:, 0] = model.patches.vocabulary
    _, state = model.network(tokens)
    return {
        "images": request.number,
        "steps": steps,
        "ms_per_step": 1e3 * seconds / max(1, steps * batches),
        "images_per_second": request.number / seconds,
        "state_bytes_per_image": _bytes(state),
        "temperature": request.temperature,
    }


def _tell(found: dict[str, float], out: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**found, "out": str(out)}, indent=2))
        return
    if found["temperature"] != 1:
        print(
            f"temperature {found['temperature']:g}: these are no samples of the model's law", file=sys.stderr
        )
    at_once = min(BATCH, found["images"])
    print(
        f"{found['images']} images, {found['steps']} steps of {at_once} images at a time, "
        f"{found['ms_per_step']:.2f} ms/step, {found['images_per_second']:.0f} images/s, "
        f"state {found['state_bytes_per_image']:,} bytes per image"
    )
    print(out)


def _bytes(state: object) -> int:
    """The bytes of every tensor in nested tuples."""
    if isinstance(state, Tensor):
        return state.nbytes
    return sum(map(_bytes, state)) if isinstance(state, tuple) else 0
