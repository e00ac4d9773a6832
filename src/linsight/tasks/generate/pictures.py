"""What a density draws: samples, samples of every class, and what is missing of images half known."""

import warnings

import numpy as np
import torch
from torch import Tensor

from linsight.densities import Autoregressive, Given, Inpainted, exact_mode, inpaint
from linsight.tasks.exhibits import Grid

__all__ = ["picture_exhibits"]

_SEED = 20_220_222
_PARTICLES = 32


@torch.inference_mode()
def picture_exhibits(model: Autoregressive, x: Tensor, y: Tensor) -> tuple[Grid, ...]:
    """Grids of samples and in-paintings; x and y are images and labels to complete."""
    generator = torch.Generator(model.log_prior.device).manual_seed(_SEED)
    return (
        _samples(model, generator),
        *([_by_class(model, generator)] if "first" in model.places else []),
        _inpainting(model, x, y, generator),
        _ways(model, x, y, generator),
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
    originals = _chosen(model, x, y)
    mask = torch.zeros_like(originals[0], dtype=torch.bool)
    mask[: model.height // 2] = True
    drawn = _drawn(model, originals, mask, exact_mode(model, mask) or "particles", draws, generator)
    labels = ("image", "given", *(f"draw {draw + 1}" for draw in range(draws)))
    note = f"The upper half is given, the lower half drawn from p(lower | upper): {drawn.truth}."
    images = np.concatenate([_array(originals), _shown(originals, mask), _array(drawn.images)])
    return Grid(
        "inpainting", "In-painting the lower half", images, len(originals), row_labels=labels, note=note
    )


def _ways(model: Autoregressive, x: Tensor, y: Tensor, generator: torch.Generator, draws: int = 2) -> Grid:
    """The left half drawn given the right one, of which every row comes later in the raster: all ways."""
    originals = _chosen(model, x, y)
    mask = torch.zeros_like(originals[0], dtype=torch.bool)
    mask[:, model.width // 2 :] = True
    exact = exact_mode(model, mask)
    ways = [*([exact] if exact else []), "particles", "clamp"]
    drawn = [_drawn(model, originals, mask, way, draws, generator) for way in ways]
    images = [_array(originals), _shown(originals, mask), *(_array(found.images) for found in drawn)]
    labels = ("image", "given", *(f"{way} {draw + 1}" for way in ways for draw in range(draws)))
    note = "The right half is given. " + " ".join(
        f"{way.capitalize()} is {found.truth}." for way, found in zip(ways, drawn, strict=True)
    )
    title = "In-painting the left half: each way beside the others"
    return Grid(
        "inpainting_ways", title, np.concatenate(images), len(originals), row_labels=labels, note=note
    )


def _chosen(model: Autoregressive, x: Tensor, y: Tensor) -> Tensor:
    """The first image of each class, at most ten; of no classes the first ten."""
    chosen = list(range(min(10, len(x))))
    if model.classes:
        chosen = [int((y == label).nonzero()[0, 0]) for label in y.unique().tolist()[:10]]
    return x[chosen].to(model.log_prior.device)


def _drawn(model, originals: Tensor, mask: Tensor, mode: str, draws: int, generator) -> Inpainted:
    with warnings.catch_warnings():  # of few effective particles: the note of the picture says how many
        warnings.simplefilter("ignore")
        given = Given(originals.repeat(draws, 1, 1), mask)
        return inpaint(model, given, mode=mode, particles=_PARTICLES, generator=generator)


def _shown(originals: Tensor, mask: Tensor) -> np.ndarray:
    return _array(originals.float().masked_fill(~mask, 0.35))


def _array(images: Tensor) -> np.ndarray:
    return images.float().cpu().numpy()
