"""The one reduction of losses of keypoints and directions: selection first, arithmetic after."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["selected_mean"]


def selected_mean(
    loss: Callable[..., Tensor],
    weight: Float[Tensor, "batch joints"] | Bool[Tensor, "batch joints"],
    *arguments: Tensor,
    per_image: bool = False,
) -> Float[Tensor, ""]:
    """The sum over selected joints of weight * loss, over the number of selected joints.

    A joint is selected where its weight is above 0. Others do not enter the loss at all, so that NaN or
    infinity there changes neither the value nor a gradient; without a selected joint the loss is 0, and its
    gradients are zeros. The mean is linear in the weights of the selected joints.

    Args:
        loss: Called with the selected rows of the arguments, each `(selected, ...)`, in float32 at least;
            returns `(selected,)`.
        weight: `(batch, joints)`, at least 0; booleans are 0 and 1.
        arguments: Tensors `(batch, joints, ...)`.
        per_image: Divide by the batch size instead, as published code of RLE does.

    Raises:
        ValueError: A weight that is negative or NaN; arguments of another batch or number of joints.

    Example:
        >>> error = torch.tensor([[[3.0], [torch.nan]]])
        >>> selected_mean(lambda row: row.abs().sum(-1), torch.tensor([[1.0, 0.0]]), error)
        tensor(3.)
    """
    for argument in arguments:
        if argument.shape[:2] != weight.shape:
            raise ValueError(
                f"arguments: expected (batch, joints) {tuple(weight.shape)} of weight first, "
                f"got {tuple(argument.shape)}"
            )
    selected = weight > 0
    if not (selected | (weight == 0)).all():
        raise ValueError("weight: expected numbers of at least 0, got a negative one or NaN")
    rows = (argument[selected] for argument in arguments)
    values = loss(*(row.float() if row.dtype in (torch.float16, torch.bfloat16) else row for row in rows))
    number = len(weight) if per_image else len(values)
    return (weight[selected].to(values.dtype) * values).sum() / max(number, 1)
