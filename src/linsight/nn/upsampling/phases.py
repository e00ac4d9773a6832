"""The pattern of an upsampler's grid, as a number."""

from jaxtyping import Float
from torch import Tensor

__all__ = ["phase_pattern"]


def phase_pattern(
    y: Float[Tensor, "batch channels height width"], scale: int = 2, *, border: int = 6
) -> float:
    """How much of y, made from a spatially constant map, tells the phases (i mod scale, j mod scale) apart.

    The mean of each phase of each channel is taken; the result is their deviation over the phases, averaged
    over channels, over their deviation as a whole: 0 without a pattern, about 1 where the phases are all that
    differs (a checkerboard). Give the constant a value of its own in every channel: where y is one number
    throughout, there is nothing to compare with, and rounding errors are measured.

    Args:
        y: What the upsampler made of the constant.
        scale: Of the upsampler.
        border: Pixels on each side that are left out, because padding shows there.

    Raises:
        ValueError: Nothing inside the border.

    Example:
        >>> import torch
        >>> y = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(1, 1, 10, 10)
        >>> round(phase_pattern(y), 6), phase_pattern(torch.ones(1, 1, 20, 20))
        (1.0, 0.0)
    """
    start = -(-border // scale) * scale
    rows, columns = ((length - border - start) // scale for length in y.shape[2:])
    if rows < 1 or columns < 1:
        raise ValueError(
            f"y: expected at least {start + border + scale} pixels on each side, got {tuple(y.shape[2:])}"
        )
    inner = y[:, :, start : start + rows * scale, start : start + columns * scale].detach().double()
    means = inner.unflatten(3, (columns, scale)).unflatten(2, (rows, scale)).mean((0, 2, 4)).flatten(1)
    within = means.std(1, correction=0).mean()
    return (within / (means.std(correction=0) + 1e-9)).item()
