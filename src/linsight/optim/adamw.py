"""AdamW: torch's optimiser with our parameter groups, fused wherever that is legal."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from linsight.config import Config
from linsight.optim.groups import WdMode, check_numbers, param_groups
from linsight.optim.named_state import check_first_step, match_by_name
from linsight.optim.rules import Rule

__all__ = ["AdamWConfig", "implementation"]

_FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")


@dataclass(frozen=True)
class AdamWConfig(Config):
    """AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101), computed by `torch.optim.AdamW`.

    At step t, from 1, for a parameter p with gradient g and moments m, v (0 at first):

        p <- (1 - lr_t weight_decay) p
        m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
        p <- p - lr_t m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

    The defaults are torch's; a task's own are in its preset. State: two tensors per parameter, in its dtype.
    A parameter without a gradient is not decayed; one whose gradient is zero is.

    Args:
        lr: Learning rate at factor 1 of the schedule, >= 0.
        betas: Decay of the first and second moment, each in [0, 1).
        eps: Added outside the root, > 0.
        weight_decay: >= 0; what it means is said by `wd_mode`.
        wd_mode: `torch`: the step's decay is lr_t weight_decay. `paper`: it is eta_t weight_decay with eta_t
            the schedule's factor, so that it does not change when lr does. See `param_groups`.
        fused: `auto`: one fused kernel where legal (3 times as fast on a CPU), else torch's plain form, which
            `implementation` names. True: ValueError where not legal. False: the plain form.
        rules: Own values for parameters by name; see `Rule`.

    Raises:
        ValueError: A value outside its range, or a decay of 1 or more a step.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-2
    wd_mode: WdMode = "torch"
    fused: bool | Literal["auto"] = "auto"
    rules: tuple[Rule, ...] = ()
    kind: Literal["adamw"] = "adamw"

    def __post_init__(self) -> None:
        check_numbers(self.lr, self.weight_decay, self.wd_mode)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: expected two numbers in [0, 1), got {self.betas}")
        if not 0 < self.eps < math.inf:
            raise ValueError(f"eps: expected a finite number > 0, got {self.eps}")
        if self.fused not in (True, False, "auto"):
            raise ValueError(f"fused: expected True, False or 'auto', got {self.fused!r}")

    def build(self, model: nn.Module) -> torch.optim.AdamW:
        """The optimiser of every trainable parameter of `model`, which is on its device and complete by now.

        Loading matches its state by name, with RuntimeError where it does not fit; its first step raises
        RuntimeError if the model has gained a parameter since.

        Raises:
            ValueError: As `param_groups`, or `fused=True` for parameters that allow none.
        """
        groups = param_groups(
            model, lr=self.lr, weight_decay=self.weight_decay, rules=self.rules, wd_mode=self.wd_mode
        )
        parameters = [parameter for group in groups for parameter in group["params"]]
        obstacle = _obstacle(parameters)
        if self.fused is True and obstacle is not None:
            raise ValueError(f"fused: not possible with {obstacle}; use fused='auto'")
        fused = self.fused is not False and obstacle is None
        foreach = not fused and all(parameter.device.type == "cuda" for parameter in parameters)
        optimizer = torch.optim.AdamW(
            groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=fused, foreach=foreach
        )
        match_by_name(optimizer)
        check_first_step(optimizer, model)
        return optimizer


def implementation(optimizer: torch.optim.Optimizer) -> str:
    """How a built AdamW computes its step, for the header of a run: `adamw: fused`, or why it is not.

    >>> implementation(AdamWConfig(fused=False).build(nn.Linear(2, 2)))
    'adamw: loop (fused=False)'
    """
    if optimizer.defaults["fused"]:
        return "adamw: fused"
    obstacle = _obstacle(parameter for group in optimizer.param_groups for parameter in group["params"])
    return f"adamw: {'foreach' if optimizer.defaults['foreach'] else 'loop'} ({obstacle or 'fused=False'})"


def _obstacle(parameters: Iterable[Tensor]) -> str | None:
    for parameter in parameters:
        if parameter.is_complex():
            return "complex parameters"
        if parameter.device.type not in _FUSED_DEVICES:
            return f"parameters on {parameter.device.type}"
    return None
