"""The table of parameter groups that a run prints before it starts."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from linsight.optim.slots import find_slots

__all__ = ["GroupRow", "describe", "rows"]


class GroupRow(NamedTuple):
    """One parameter group: its name, its size, and how fast it learns and forgets.

    `lr` is the learning rate at factor 1 of the schedule, `weight_decay` is meant as torch means it. Decay
    makes each weight a running average of its updates, and `ema_steps = 1 / (lr * weight_decay)` is the time
    constant in steps: inf without decay or where it is part of the gradient, and 1 / lambda in
    `wd_mode="paper"`.
    """

    name: str
    tensors: int
    scalars: int
    lr: float
    weight_decay: float
    ema_steps: float


def rows(groups: Sequence[dict[str, Any]]) -> list[GroupRow]:
    """The groups of `param_groups`, or of a built optimiser, as plain numbers."""
    return [_row(group) for group in groups]


def describe(groups: Sequence[dict[str, Any]], model: nn.Module) -> str:
    """The groups as a table, then the tied tensors, then how many of the model's tensors are frozen."""
    cells = [("group", "tensors", "scalars", "lr", "decay", "EMA steps")]
    for row in rows(groups):
        average = "-" if math.isinf(row.ema_steps) else f"{row.ema_steps:,.0f}"
        numbers = (
            f"{row.tensors:,}",
            f"{row.scalars:,}",
            f"{row.lr:.3g}",
            f"{row.weight_decay:.3g}",
            average,
        )
        cells.append((row.name, *numbers))
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
    lines += [f"tied: {pair}" for group in groups for pair in group["tied"]]
    frozen = [slot.parameter for slot in find_slots(model) if not slot.parameter.requires_grad]
    scalars = f" ({sum(p.numel() for p in frozen):,} scalars)" if frozen else ""
    return "\n".join([*lines, f"frozen: {len(frozen):,}{scalars}"])


def _row(group: dict[str, Any]) -> GroupRow:
    # A scheduler moves `lr` at once and keeps the undisturbed value as `initial_lr`.
    lr = float(group.get("initial_lr", group["lr"]))
    # A decay that is part of the gradient is not what shortens a weight.
    coupled = group.get("decoupled_weight_decay") is False or "dampening" in group
    shrink = 0 if coupled else lr * group["weight_decay"]
    return GroupRow(
        name=group["name"],
        tensors=len(group["params"]),
        scalars=sum(parameter.numel() for parameter in group["params"]),
        lr=lr,
        weight_decay=group["weight_decay"],
        ema_steps=1 / shrink if shrink else math.inf,
    )
