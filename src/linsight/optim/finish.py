"""What every built optimiser has: the fused kernel where legal, and state that is matched by name."""

from collections.abc import Iterable
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from linsight.optim.named_state import check_first_step, match_by_name

__all__ = ["Fused", "check_fused", "finished", "fusable", "way"]

Fused = bool | Literal["auto"]
Built = TypeVar("Built", bound=torch.optim.Optimizer)

_FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")


def check_fused(fused: Fused) -> None:
    """Refuse what is neither True, False nor 'auto'."""
    if fused not in (True, False, "auto"):
        raise ValueError(f"fused: expected True, False or 'auto', got {fused!r}")


def fusable(groups: Iterable[dict[str, Any]], fused: Fused) -> dict[str, bool]:
    """torch's `fused` and `foreach` for these parameters: fused where legal and not forbidden.

    Raises:
        ValueError: `fused` is True, and some parameter does not allow it.
    """
    parameters = _parameters(groups)
    obstacle = _obstacle(parameters)
    if fused is True and obstacle is not None:
        raise ValueError(f"fused: not possible with {obstacle}; use fused='auto'")
    chosen = fused is not False and obstacle is None
    return {"fused": chosen, "foreach": not chosen and all(p.device.type == "cuda" for p in parameters)}


def finished(optimizer: Built, model: nn.Module) -> Built:
    """The optimiser, its state found by name, its first step refused where it lacks a parameter."""
    match_by_name(optimizer)
    check_first_step(optimizer, model)
    return optimizer


def way(optimizer: torch.optim.Optimizer) -> str:
    """How a step is computed: `fused`, or another way and why."""
    if optimizer.defaults["fused"]:
        return "fused"
    why = _obstacle(_parameters(optimizer.param_groups)) or "fused=False"
    return f"{'foreach' if optimizer.defaults['foreach'] else 'loop'} ({why})"


def _parameters(groups: Iterable[dict[str, Any]]) -> list[Tensor]:
    return [parameter for group in groups for parameter in group["params"]]


def _obstacle(parameters: Iterable[Tensor]) -> str | None:
    for parameter in parameters:
        if parameter.is_complex():
            return "complex parameters"
        if parameter.device.type not in _FUSED_DEVICES:
            return f"parameters on {parameter.device.type}"
    return None
