"""What a density draws: samples, samples of every class, and lower halves drawn below given upper ones."""

import numpy as np
import torch
from torch import Tensor

from linsight.densities import Autoregressive, Given
from linsight.tasks.exhibits import Grid

__all__ = ["picture_exhibits"]

_SEED = 20_220_222


@torch.inference_mode()
def picture_exhibits(model: Autoregressive, x: Tensor, y: Tensor) -> tuple[Grid, ...]:
    """Grids of samples and in-paintings; x and y are images and labels to complete."""
    generator = torch.Generator(model.log_prior.device).manual_seed(_SEED)
    return (
        _samples(model, generator),
        *([_by_class(model, generator)] if "first" in model.places else []),
        _inpainting(model, x, y, generator),
    )


def _samples(model: Autoregressive, generator: torch.Generator, number: int = 80) -> Grid:
    images = model.sample(number, generator=generator)
    note = "The first samples drawn, none left out."
    return Grid("samples", "Samples of p(x)", _array(images), columns=16, note=note)


def _by_class(model: Autoregressive, generator: torch.Generator, each: int = 12) -> Grid:
    labels = torch.arange(model.classes, device=model.log_prior.device).repeat_interleave(each)
    images = model.sample(len(labels), labels, generator=generator)
    names = tuple(str(label) for label in range(model.classes))
    return Grid("classes", "Samples of p(x | y), one row a label", _array(images), each, row_labels=names)


def _inpainting(
    model: Autoregressive, x: Tensor, y: Tensor, generator: torch.Generator, draws: int = 5
) -> Grid:
    """An image of each class, at most ten: itself, its upper half, and draws of the lower half."""
    chosen = list(range(min(10, len(x))))
    if model.classes:
        chosen = [int((y == label).nonzero()[0, 0]) for label in y.unique().tolist()[:10]]
    originals = x[chosen].to(model.log_prior.device)
    mask = torch.zeros_like(originals[0], dtype=torch.bool)
    mask[: model.height // 2] = True
    given = originals.float().masked_fill(~mask, 0.35)
    completed = model.sample(
        len(originals) * draws, generator=generator, given=Given(originals.repeat(draws, 1, 1), mask)
    )
    images = np.concatenate([_array(originals), _array(given), _array(completed)])
    labels = ("image", "given", *(f"draw {draw + 1}" for draw in range(draws)))
    note = (
        "The upper half is given, the lower half drawn from p(lower | upper): exact, since the given patches "
        "come first in the order, and a label that stands before them is drawn given them."
    )
    return Grid(
        "inpainting", "In-painting the lower half", images, len(originals), row_labels=labels, note=note
    )


def _array(images: Tensor) -> np.ndarray:
    return images.float().cpu().numpy()
