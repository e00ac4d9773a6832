"""Muon for hidden matrices and AdamW for everything else, as one optimiser."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn

from linsight.config import Config
from linsight.optim.adam import check_moments
from linsight.optim.finish import Fused, check_fused, finished, fusable
from linsight.optim.groups import Decoupled, check_numbers, param_groups
from linsight.optim.orthogonal import OrthogonalSteps
from linsight.optim.rules import Rule

__all__ = ["Hybrid", "MuonConfig"]

Adjustment = Literal["match_rms_adamw", "original"]


@dataclass(frozen=True)
class MuonConfig(Config):
    """Muon (Jordan et al. 2024) for hidden matrices, AdamW for the others.

    A hidden matrix P moves along its momentum M with all singular values made about 1, which five
    Newton-Schulz iterations do without a decomposition:

        M <- momentum M + (1 - momentum) G ,   P <- (1 - lr_t weight_decay) P - lr_t a orthogonal(M)

    with the momentum looked ahead (`nesterov`). The kernel of a convolution is a matrix too, a row
    for each output channel, its inputs and places side by side. The scale a is 0.2 sqrt(max(rows, columns))
    by `match_rms_adamw`, which makes the step as large as AdamW's: one learning rate serves both halves
    (Liu et al. 2025, arXiv 2502.16982); by `original` it is sqrt(max(1, rows / columns)). State: one tensor
    for a matrix, two for the others.

    Args:
        lr: Learning rate of both at factor 1 of the schedule, >= 0.
        weight_decay: >= 0, decoupled in both; what it means is said by `wd_mode`.
        momentum: Of the matrices, in [0, 1).
        nesterov: Whether it is looked ahead.
        iterations: Newton-Schulz iterations, >= 1.
        iterate_in: Their precision. `float32` is fast on every processor; `bfloat16`, which is torch's own
            choice, is faster on GPUs and on processors with instructions for it, and fifteen times slower
            on others.
        adjustment: The scale a.
        betas: AdamW's.
        eps: AdamW's.
        fused: AdamW's.
        rules: Own values for parameters by name, `muon` among them; see `Rule`.
        wd_mode: As in `AdamWConfig`.

    Raises:
        ValueError: A value outside its range, or a decay of 1 or more a step.
    """

    lr: float = 1e-3
    weight_decay: float = 0.1
    momentum: float = 0.95
    nesterov: bool = True
    iterations: int = 5
    iterate_in: Literal["float32", "bfloat16"] = "float32"
    adjustment: Adjustment = "match_rms_adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    fused: Fused = "auto"
    rules: tuple[Rule, ...] = ()
    wd_mode: Decoupled = "torch"
    kind: Literal["muon"] = "muon"

    def __post_init__(self) -> None:
        check_numbers(self.lr, self.weight_decay, self.wd_mode, modes=get_args(Decoupled))
        check_moments(self.betas, self.eps)
        check_fused(self.fused)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: expected a number in [0, 1), got {self.momentum}")
        if self.iterations < 1:
            raise ValueError(f"iterations: expected at least 1, got {self.iterations}")
        if self.iterate_in not in ("float32", "bfloat16"):
            raise ValueError(f"iterate_in: expected 'float32' or 'bfloat16', got {self.iterate_in!r}")
        if self.adjustment not in ("match_rms_adamw", "original"):
            raise ValueError(f"adjustment: expected 'match_rms_adamw' or 'original', got {self.adjustment!r}")

    def build(self, model: nn.Module) -> "Hybrid":
        """The optimiser of every trainable parameter of `model`; as `AdamWConfig.build`.

        Raises:
            ValueError: As `AdamWConfig.build`; a model without a hidden matrix, or of nothing else.
            NotImplementedError: Matrices that FSDP2 has sharded: no rank has a whole momentum.
        """
        groups = param_groups(
            model,
            lr=self.lr,
            weight_decay=self.weight_decay,
            rules=self.rules,
            wd_mode=self.wd_mode,
            muon=True,
        )
        matrices = [group for group in groups if group["use_muon"]]
        others = [group for group in groups if not group["use_muon"]]
        if not matrices or not others:
            missing = "hidden matrix" if not matrices else "parameter beside hidden matrices"
            raise ValueError(
                f"model: {type(model).__name__} has no {missing}, and muon with adamw needs both kinds; "
                "use adamw, or a rule with muon"
            )
        _refuse_sharded(matrices)
        muon = OrthogonalSteps(
            matrices,
            dtype=getattr(torch, self.iterate_in),
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            ns_steps=self.iterations,
            adjust_lr_fn=self.adjustment,
        )
        how = fusable(others, self.fused)
        adamw = torch.optim.AdamW(others, lr=self.lr, betas=self.betas, eps=self.eps, **how)
        return finished(Hybrid(muon, adamw), model)


def _refuse_sharded(groups: list[dict[str, Any]]) -> None:
    if not torch.distributed.is_available():
        return
    from torch.distributed.tensor import DTensor  # a second to import

    for group in groups:
        for name, parameter in zip(group["param_names"], group["params"], strict=True):
            if isinstance(parameter, DTensor):
                raise NotImplementedError(
                    f"optimizer muon: parameter {name!r} is sharded by FSDP2 (fully_shard), and no rank has "
                    "the whole momentum to make orthogonal; use adamw, or DistributedDataParallel"
                )


class Hybrid(torch.optim.Optimizer):
    """Two optimisers of different parameters as one: their groups, their states, one step.

    The halves hold the same groups and states as this, so whatever reads or writes one of them does to both:
    schedules, `state_dict`, torch's distributed checkpoints.
    """

    def __init__(self, *halves: torch.optim.Optimizer) -> None:
        self.halves = halves
        super().__init__([group for half in halves for group in half.param_groups], {})
        self._share()

    def _share(self) -> None:
        groups = iter(self.param_groups)
        for half in self.halves:
            half.param_groups = [next(groups) for _ in half.param_groups]
            half.state = self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of each half."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for half in self.halves:
            half.step()
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Only while it is built: a later group would belong to no half.

        Raises:
            RuntimeError: It is built.
        """
        if len(self.param_groups) == sum(len(half.param_groups) for half in self.halves):
            raise RuntimeError("add_param_group: a hybrid optimiser takes no further group; build it anew")
        super().add_param_group(param_group)
