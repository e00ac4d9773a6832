"""Adam and AdamW: torch's optimisers with our parameter groups, fused wherever that is legal."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from linsight.config import Config
from linsight.optim.finish import Fused, check_fused, finished, fusable
from linsight.optim.groups import Decoupled, check_numbers, param_groups
from linsight.optim.rules import Rule

__all__ = ["AdamConfig", "AdamWConfig"]


@dataclass(frozen=True)
class _Moments(Config):
    """What both have: two moments of the gradient."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False
    fused: Fused = "auto"
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        check_moments(self.betas, self.eps)
        check_fused(self.fused)


@dataclass(frozen=True)
class AdamConfig(_Moments):
    """Adam (Kingma & Ba 2014, arXiv 1412.6980), computed by `torch.optim.Adam`.

    At step t, from 1, for a parameter p with gradient g and moments m, v (0 at first):

        g <- g + weight_decay p
        m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
        p <- p - lr_t m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

    The decay is the gradient of weight_decay |p|^2 / 2, and is divided by sqrt(v) like the rest of it: large
    gradients leave hardly any of it, small ones are drowned by it (`linsight explain adamw`). Without decay
    this is AdamW, bit for bit.

    Args:
        lr: Learning rate at factor 1 of the schedule, >= 0.
        betas: Decay of the first and second moment, each in [0, 1).
        eps: Added outside the root, > 0.
        weight_decay: >= 0, on what `param_groups` decays.
        amsgrad: Divide by the largest v so far, uncorrected (Reddi, Kale, Kumar 2018, arXiv 1904.09237), at
            one more tensor per parameter.
        fused: As in `AdamWConfig`.
        rules: Own values for parameters by name; see `Rule`.

    Raises:
        ValueError: A value outside its range.
    """

    kind: Literal["adam"] = "adam"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self.lr, self.weight_decay, "l2")

    def build(self, model: nn.Module) -> torch.optim.Adam:
        """The optimiser of every trainable parameter of `model`; as `AdamWConfig.build`."""
        groups = param_groups(
            model, lr=self.lr, weight_decay=self.weight_decay, rules=self.rules, wd_mode="l2"
        )
        how = fusable(groups, self.fused)
        optimizer = torch.optim.Adam(
            groups, lr=self.lr, betas=self.betas, eps=self.eps, amsgrad=self.amsgrad, **how
        )
        return finished(optimizer, model)


@dataclass(frozen=True)
class AdamWConfig(_Moments):
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
        amsgrad: As in `AdamConfig`.
        fused: `auto`: one fused kernel where legal (3 times as fast on a CPU), else torch's plain form, which
            `implementation` names. True: ValueError where not legal. False: the plain form.
        rules: Own values for parameters by name; see `Rule`.
        wd_mode: `torch`: the step's decay is lr_t weight_decay. `paper`: it is eta_t weight_decay with eta_t
            the schedule's factor, so that it does not change when lr does. See `param_groups`.

    Raises:
        ValueError: A value outside its range, or a decay of 1 or more a step.
    """

    weight_decay: float = 1e-2
    wd_mode: Decoupled = "torch"
    kind: Literal["adamw"] = "adamw"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self.lr, self.weight_decay, self.wd_mode, modes=get_args(Decoupled))

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
        how = fusable(groups, self.fused)
        optimizer = torch.optim.AdamW(
            groups, lr=self.lr, betas=self.betas, eps=self.eps, amsgrad=self.amsgrad, **how
        )
        return finished(optimizer, model)


def check_moments(betas: tuple[float, float], eps: float) -> None:
    """Refuse decays of moments outside [0, 1), and an eps that is not positive."""
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas: expected two numbers in [0, 1), got {betas}")
    if not 0 < eps < math.inf:
        raise ValueError(f"eps: expected a finite number > 0, got {eps}")
