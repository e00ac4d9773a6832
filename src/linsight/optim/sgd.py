"""SGD: torch's optimiser with our parameter groups."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from linsight.config import Config
from linsight.optim.finish import Fused, check_fused, finished, fusable
from linsight.optim.groups import check_numbers, param_groups
from linsight.optim.rules import Rule

__all__ = ["SGDConfig"]


@dataclass(frozen=True)
class SGDConfig(Config):
    """Stochastic gradient descent with momentum, computed by `torch.optim.SGD`.

    For a parameter p with gradient g and velocity u (the first gradient at first):

        g <- g + weight_decay p ,   u <- momentum u + g
        p <- p - lr_t (g + momentum u  if nesterov else  u)

    Args:
        lr: Learning rate at factor 1 of the schedule, >= 0.
        momentum: In [0, 1); 0 keeps no state.
        nesterov: Needs momentum.
        weight_decay: >= 0, on what `param_groups` decays; part of the gradient.
        fused: As in `AdamWConfig`.
        rules: Own values for parameters by name; see `Rule`.

    Raises:
        ValueError: A value outside its range.
    """

    lr: float = 1e-2
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    fused: Fused = "auto"
    rules: tuple[Rule, ...] = ()
    kind: Literal["sgd"] = "sgd"

    def __post_init__(self) -> None:
        check_numbers(self.lr, self.weight_decay, "l2")
        check_fused(self.fused)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: expected a number in [0, 1), got {self.momentum}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: expected False without momentum, got True")

    def build(self, model: nn.Module) -> torch.optim.SGD:
        """The optimiser of every trainable parameter of `model`; as `AdamWConfig.build`."""
        groups = param_groups(
            model, lr=self.lr, weight_decay=self.weight_decay, rules=self.rules, wd_mode="l2"
        )
        how = fusable(groups, self.fused)
        optimizer = torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, **how)
        return finished(optimizer, model)
