"""What a parameter asks of the optimiser, as attributes that travel with it."""

from typing import Any

from torch import Tensor, nn

__all__ = ["output_weight", "undecayed"]


def undecayed(
    parameter: nn.Parameter, *, lr_scale: float | None = None, lr_max: float | None = None
) -> nn.Parameter:
    """The parameter itself, without weight decay: `linsight.optim.rules` reads what is written here.

    Args:
        parameter: Of a dynamics, a bias, anything that decay towards 0 would bend.
        lr_scale: Factor of the learning rate.
        lr_max: The most that its learning rate may be.

    Example:
        >>> import torch
        >>> undecayed(nn.Parameter(torch.ones(2)), lr_scale=2.0)._lr_scale
        2.0
    """
    hinted: Any = parameter
    hinted._no_weight_decay = True
    if lr_scale is not None:
        hinted._lr_scale = lr_scale
    if lr_max is not None:
        hinted._lr_max_absolute = lr_max
    return parameter


def output_weight(parameter: Tensor) -> Tensor:
    """The parameter itself, declared the matrix of a model's outputs, whose rows are of their own each.

    Muon, which makes hidden matrices orthogonal, leaves it to AdamW.
    """
    hinted: Any = parameter
    hinted._output = True
    return parameter
