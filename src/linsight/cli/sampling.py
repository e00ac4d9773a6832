"""Draws images from a run's density in batches, measures the speed, saves picture or array."""

import io
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from linsight import reports
from linsight.cli.sampling_text import engine
from linsight.densities import Autoregressive, Given, state_bytes
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
    """What is given: labels, and the upper rows of images."""

    labels: Tensor | None
    given: Given | None

    def part(self, first: int) -> tuple[Tensor | None, Given | None]:
        """Of the batch of images that begins at `first`."""
        rows = slice(first, first + BATCH)
        return (
            None if self.labels is None else self.labels[rows],
            None if self.given is None else self.given.rows(rows),
        )


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
    drawn = []
    for first in range(0, request.number, BATCH):
        labels, given = prompt.part(first)
        number = min(BATCH, request.number - first)
        drawn.append(
            model.sample(number, labels, temperature=request.temperature, generator=generator, given=given)
        )
    seconds = time.perf_counter() - begin
    out = _save(request.out or run.folder / "samples.png", prompt, torch.cat(drawn))
    found = _measured(request, model, prompt, seconds)
    _tell(found, out, as_json=as_json)
    return out


def _density(run: Run, model: nn.Module) -> Autoregressive:
    if not isinstance(model, Autoregressive):
        raise ValueError(
            f"{run.folder}: expected the model of a task that draws images, got {type(model).__name__}"
        )
    return model


def _prompt(request: Request, run: Run, model: Autoregressive, device: torch.device) -> Prompt:
    labels = None
    if request.label is not None:
        if not 0 <= request.label < model.classes:
            raise ValueError(f"--label: expected 0 to {model.classes - 1}, got {request.label}")
        labels = torch.full((request.number,), request.label, device=device)
    if request.inpaint is None:
        return Prompt(labels, None)
    task = run.config.task.build()
    assert isinstance(task, GenerateTask)  # the task of such a density
    images, found = task.split("test")
    if request.label is not None:
        images = images[found == request.label]
    if len(images) < request.number:
        raise ValueError(
            f"--number: expected at most the {len(images)} test images there are, got {request.number}"
        )
    mask = torch.zeros(model.height, model.width, dtype=torch.bool, device=device)
    mask[: round(request.inpaint * model.height)] = True
    return Prompt(labels, Given(images[: request.number].to(device), mask))


def _save(out: Path, prompt: Prompt, drawn: Tensor) -> Path:
    if out.suffix == ".npz":
        arrays = {"images": drawn, "labels": prompt.labels, "given": prompt.given and prompt.given.images}
        content = io.BytesIO()
        np.savez_compressed(content, **{name: a.cpu().numpy() for name, a in arrays.items() if a is not None})
        write_atomically(out, content.getvalue())
    else:
        reports.save(_picture(prompt, drawn), out)
    return out


def _picture(prompt: Prompt, drawn: Tensor) -> Grid:
    images = drawn.float().cpu().numpy()
    if prompt.given is None:
        return Grid("samples", "Samples", images, columns=min(16, max(1, round(len(images) ** 0.5))))
    columns = -(-len(images) // -(-len(images) // 16))  # at most 16, in rows as equal as can be
    missing = -len(images) % columns
    given = prompt.given.images.float().cpu().numpy()
    masked = np.where(prompt.given.mask.cpu().numpy(), given, 0.35)
    stacks = [np.pad(stack, ((0, missing), (0, 0), (0, 0))) for stack in (given, masked, images)]
    # Blocks of three rows: the images, what is kept of them, what was drawn.
    blocks = [
        stack[first : first + columns] for first in range(0, len(stacks[0]), columns) for stack in stacks
    ]
    labels = ("image", "given", "drawn") * (len(blocks) // 3)
    return Grid("samples", "In-painting", np.concatenate(blocks), columns, row_labels=labels)


def _measured(request: Request, model: Autoregressive, prompt: Prompt, seconds: float) -> dict[str, Any]:
    batches = -(-request.number // BATCH)
    steps = model.num_cells
    if prompt.given is not None:
        known = prompt.given.mask.flatten()[model.order].view(model.num_cells, -1).all(1)
        steps -= int(known.sum())
    # After a whole image: a cache of keys and values grows up to there, a linear mixer's state does not.
    start, cells = model.starts(1), model.to_cells(model.log_prior.new_zeros(1, model.height, model.width))
    state = model.feed(model.begin(start), cells)
    return {
        "images": request.number,
        "steps": steps,
        "ms_per_step": 1e3 * seconds / max(1, steps * batches),
        "images_per_second": request.number / seconds,
        "state_bytes_per_image": state_bytes(state),
        "temperature": request.temperature,
        "engine": engine(model.network if isinstance(model, ImageDensity) else model),
    }


def _tell(found: dict[str, Any], out: Path, *, as_json: bool) -> None:
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
        f"{found['engine']}, {found['ms_per_step']:.2f} ms/step, {found['images_per_second']:.0f} images/s, "
        f"state {found['state_bytes_per_image']:,} bytes per image"
    )
    print(out)
