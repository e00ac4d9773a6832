"""Drawing the unknown pixels of images given the known ones, exactly where the order allows it."""

import math
import warnings
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from linsight.densities.autoregressive import Autoregressive
from linsight.densities.base import check_labels
from linsight.densities.draws import draw
from linsight.densities.given import Given
from linsight.densities.states import take_rows

__all__ = ["InpaintMode", "Inpainted", "exact_mode", "inpaint"]

InpaintMode = Literal["prefix", "reorder", "particles", "clamp"]

LOW = 0.1
"""Effective sample size, as a share of the particles, below which the draws are not to be trusted."""


class Inpainted(NamedTuple):
    """Completed images, and how they were made.

    `effective` is the smallest effective sample size on the way, from 1 to the number of particles;
    `log_evidence` is log of an unbiased estimate of p(known). Both are None where no particles were used.
    """

    images: UInt8[Tensor, "batch height width"]
    mode: InpaintMode
    particles: int
    effective: Float[Tensor, " batch"] | None = None
    log_evidence: Float[Tensor, " batch"] | None = None

    @property
    def truth(self) -> str:
        """What the images are, in words."""
        if self.mode == "clamp":
            return "biased: unknown pixels are drawn without a look at known ones that come later"
        if self.effective is None:
            return "exact"
        return (
            f"approximate: {self.particles} particles, smallest effective sample size "
            f"{self.effective.mean().item():.1f} on average"
        )


@torch.no_grad()
def inpaint(
    density: Autoregressive,
    given: Given,
    y: Tensor | None = None,
    *,
    mode: str | None = None,
    particles: int = 64,
    generator: torch.Generator | None = None,
) -> Inpainted:
    """Images that agree with `given`, their unknown pixels drawn from p(unknown | known).

    `prefix`: the known pixels come first in the order; exact, one pass of sampling. `reorder`: the density
    has an order in which they come first, and is used in that one; exact. `particles`: sequential importance
    sampling for any density: unknown cells are drawn, known ones weight the draw by their probability, and
    where the effective sample size 1 / sum w^2 falls below half of the particles they are resampled; the
    law is right in the limit of many particles, which cost as many passes. `clamp`: what one particle gives,
    whose weight means nothing: known pixels are written over, so that unknown ones before them are drawn as
    if they were not known. Biased, and under this name alone.

    Args:
        density: By the chain rule.
        given: The images, and which pixels of them are known.
        y: Labels to condition on, where y can stand first.
        mode: One of these names; None is `prefix` or `reorder`, whichever is exact here.
        particles: Of each image, in that mode.
        generator: Source of randomness.

    Raises:
        ValueError: The mode is None and no exact one is there, or it cannot be done by this density.

    Gordon, Salmond, Smith 1993, "Novel approach to nonlinear/non-Gaussian Bayesian state estimation".
    """
    n = len(given.images)
    given.check(n, density.height, density.width)
    if n == 0:
        raise ValueError("given.images: expected at least 1 image, got none")
    if mode is not None and mode not in get_args(InpaintMode):
        raise ValueError(f"mode: expected one of {', '.join(get_args(InpaintMode))}, or None, got {mode!r}")
    mode = mode or exact_mode(density, given.mask)
    if mode is None:
        raise ValueError(
            "mode: the known pixels come first in no order of this density, so that none is exact; choose "
            "'particles', which approaches the posterior, or 'clamp', which is biased"
        )
    if mode == "prefix":
        return Inpainted(density.sample(n, y, generator=generator, given=given), mode, 0)
    if mode == "reorder":
        ordered = density.knowing(given.mask)
        return Inpainted(ordered.sample(n, y, generator=generator, given=given), mode, 0)
    if y is not None:
        check_labels(y, n, density.classes)
        density.places_for("first")
    if mode == "clamp":
        members = torch.randint(density.members, (n,), generator=generator, device=given.mask.device)
        images = torch.empty_like(given.images, dtype=torch.uint8)
        for member in members.unique().tolist():
            rows = (members == member).nonzero()[:, 0]
            labels = None if y is None else y[rows]
            images[rows] = _filtered(density, given.rows(rows), labels, member, 1, generator).images
        return Inpainted(images, mode, 0)
    if particles < 2:
        raise ValueError(f"particles: expected at least 2, got {particles}")
    parts = [_filtered(density, given, y, m, particles, generator) for m in range(density.members)]
    return _mixed(parts, particles, generator)


def exact_mode(density: Autoregressive, mask: Bool[Tensor, "height width"]) -> InpaintMode | None:
    """The way to draw exactly where these pixels are known; None where this density has none."""
    if density.knows_first(mask):
        return "prefix"
    try:
        density.knowing(mask)
    except ValueError:
        return None
    return "reorder"


class _Filtered(NamedTuple):
    images: UInt8[Tensor, "batch height width"]
    effective: Float[Tensor, " batch"]
    log_evidence: Float[Tensor, " batch"]


def _filtered(density: Autoregressive, given: Given, y, member: int, count: int, generator) -> _Filtered:
    """One draw an image from `count` particles in the order of one member."""
    n = len(given.images)
    allowed = density.allowed(given, member).repeat_interleave(count, 0)
    if y is None:
        starts, law = density.start_law()
        starts = starts[torch.multinomial(law.exp(), n * count, True, generator=generator)]
    else:
        starts = density.starts(n * count, y.repeat_interleave(count))
    begin, feed = density.one_way(member)
    state = begin(starts)
    cells = starts.new_zeros(n * count, density.num_cells)
    weights = density.log_prior.new_zeros(n, count)
    evidence = density.log_prior.new_zeros(n)
    effective = torch.full_like(evidence, count)
    for cell in range(density.num_cells):
        logits = density.read(state).log_softmax(1)
        if not allowed[:, cell].all():
            logits = logits.masked_fill(~allowed[:, cell], -math.inf)
            weights = weights + logits.logsumexp(1).view(n, count)
            size = 1 / weights.softmax(1).square().sum(1)
            effective = torch.minimum(effective, size)
            poor = size < count / 2
            if count > 1 and poor.any():
                rows = torch.arange(n * count, device=starts.device).view(n, count)
                drawn = torch.multinomial(weights[poor].softmax(1), count, True, generator=generator)
                rows[poor] = rows[poor].gather(1, drawn)
                evidence = evidence + _log_mean(weights).where(poor, 0)
                weights = weights.masked_fill(poor[:, None], 0)
                rows = rows.flatten()
                state, cells, logits = take_rows(state, rows), cells[rows], logits[rows]
        cells[:, cell] = draw(logits, generator)
        if cell + 1 < density.num_cells:
            state = feed(state, cells[:, cell : cell + 1])
    chosen = torch.multinomial(weights.softmax(1), 1, generator=generator)[:, 0]
    cells = cells.view(n, count, -1)[torch.arange(n, device=chosen.device), chosen]
    return _Filtered(density.to_images(cells, member), effective, evidence + _log_mean(weights))


def _log_mean(weights: Float[Tensor, "batch particles"]) -> Float[Tensor, " batch"]:
    return weights.logsumexp(1) - math.log(weights.shape[1])


def _mixed(parts: list[_Filtered], particles: int, generator: torch.Generator | None) -> Inpainted:
    """The draws of all members, each image from one of them by the evidence that it gives to the known."""
    evidence = torch.stack([part.log_evidence for part in parts], dim=1)
    member = torch.multinomial(evidence.softmax(1), 1, generator=generator)[:, 0]
    rows = torch.arange(len(member), device=member.device)
    images = torch.stack([part.images for part in parts], dim=1)[rows, member]
    effective = torch.stack([part.effective for part in parts], dim=1)[rows, member]
    if effective.mean() < LOW * particles:
        warnings.warn(
            f"inpaint: the smallest effective sample size is {effective.mean().item():.1f} of {particles} "
            "particles on average: few of them carry the draw, which may be far from the posterior",
            stacklevel=3,
        )
    return Inpainted(images, "particles", particles, effective, _log_mean(evidence))
