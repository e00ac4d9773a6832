"""Draws text from a run's language model, and measures the speed."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from linsight.models.sequence import SequenceModel, generate, why_eager
from linsight.training.files import write_atomically
from linsight.training.hardware import pick_device
from linsight.training.pretrained import from_pretrained
from linsight.training.run import Run

__all__ = ["TextRequest", "engine", "sample_text"]


@dataclass(frozen=True)
class TextRequest:
    """How many bytes to draw, after what, and where to; the fields are those of the command line."""

    prompt: str | None
    number: int
    temperature: float
    seed: int
    out: Path | None


def sample_text(run: Run, request: TextRequest, *, as_json: bool = False) -> None:
    """Draw the bytes from a run; prints them, or writes them to the file, the speed on standard error."""
    device = pick_device()
    model = from_pretrained(run.model).to(device).eval()
    if not isinstance(model, SequenceModel):
        raise ValueError(f"{run.folder}: expected the model of a text, got {type(model).__name__}")
    prompt = (request.prompt or "\n").encode()
    tokens = torch.tensor([list(prompt)], device=device)
    generator = torch.Generator(device).manual_seed(request.seed)
    begin = time.perf_counter()
    drawn = generate(model, tokens, request.number, temperature=request.temperature, generator=generator)
    seconds = time.perf_counter() - begin
    content = (prompt if request.prompt else b"") + bytes(drawn[0].tolist())
    found = {
        "bytes": request.number,
        "ms_per_byte": 1e3 * seconds / request.number,
        "state_bytes": model.stack.state_size(len(prompt) + request.number),
        "temperature": request.temperature,
        "engine": engine(model),
    }
    text = content.decode("utf-8", errors="replace")
    if request.out is not None:
        write_atomically(request.out, content)
    if as_json:
        print(json.dumps({**found, "text": text, "file": request.out and str(request.out)}, indent=2))
        return
    print(
        f"{request.number} bytes, {found['engine']}, {found['ms_per_byte']:.2f} ms each, the prompt "
        f"included; state {found['state_bytes']:,} bytes",
        file=sys.stderr,
    )
    print(text if request.out is None else request.out)


@torch.no_grad()
def engine(model: nn.Module) -> str:
    """What computes this model's steps, in words: compiled, or eager and why."""
    reason = why_eager(model)
    return "compiled" if reason is None else f"eager ({reason})"
