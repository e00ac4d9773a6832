"""Learning-rate schedules: pure functions of the step, and a thin adapter to torch's LambdaLR."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch.optim.lr_scheduler import LambdaLR

from linsight.config import Config

__all__ = [
    "ConstantConfig",
    "InverseSqrtConfig",
    "Schedule",
    "ScheduleConfig",
    "WSDConfig",
    "WarmupCosineConfig",
]


class Schedule(Config, ABC):
    """A factor on every group's learning rate as a function of the optimiser step s and the number of steps.

    s counts optimiser steps from 1, whatever the gradient accumulation: the first step is not at factor 0.
    `total` is the number of optimiser steps that the configuration plans, never a property of an engine.
    """

    def factor(self, step: int, total: int) -> float:
        """The factor of optimiser step `step`, from 1; past `total` the last one is kept.

        Raises:
            ValueError: step < 1, total < 1, or a warm-up (with a decay) that does not fit into total.
        """
        self.check(total)
        if step < 1:
            raise ValueError(f"step: expected an integer >= 1 (steps count from 1), got {step}")
        return self._factor(min(step, total), total)

    def build(self, optimizer: torch.optim.Optimizer, total: int) -> LambdaLR:
        """The schedule bound to an optimiser: call `.step()` after each `optimizer.step()`.

        Group g's learning rate at step s is lr_g * factor(s, total). To resume, build it anew with the same
        total, then load the states of the optimiser and of the schedule: the curve goes on exactly.

        Raises:
            ValueError: As `factor`.
        """
        self.check(total)
        return LambdaLR(optimizer, lambda done: self.factor(done + 1, total))

    def check(self, total: int) -> None:
        """Raise ValueError if the schedule does not fit into `total` optimiser steps."""
        if total < 1:
            raise ValueError(f"total: expected at least 1 optimiser step, got {total}")

    @abstractmethod
    def _factor(self, step: int, total: int) -> float: ...


@dataclass(frozen=True)
class ConstantConfig(Schedule):
    """Factor 1 throughout."""

    kind: Literal["constant"] = "constant"

    def _factor(self, step: int, total: int) -> float:
        return 1.0


@dataclass(frozen=True)
class WarmupCosineConfig(Schedule):
    """s / w for s in 1..w, then `final + (1 - final) (1 + cos(pi (s - w) / (total - w))) / 2`.

    The last step has factor `final`. One period of Loshchilov & Hutter 2016, arXiv 1608.03983, no restarts.

    Args:
        warmup_steps: w >= 0; None takes 2 % of the total, rounded up.
        final: Factor of the last step, in [0, 1].
    """

    warmup_steps: int | None = None
    final: float = 0.1
    kind: Literal["warmup_cosine"] = "warmup_cosine"

    def __post_init__(self) -> None:
        _check_warmup(self.warmup_steps, 0)
        _check_share("final", self.final)

    def check(self, total: int) -> None:
        """Raise ValueError unless the warm-up fits into `total` optimiser steps."""
        super().check(total)
        _check_fit(_warmup(self.warmup_steps, total), total)

    def _factor(self, step: int, total: int) -> float:
        w = _warmup(self.warmup_steps, total)
        if step <= w:
            return step / w
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * (step - w) / (total - w))) / 2


@dataclass(frozen=True)
class WSDConfig(Schedule):
    """Warm-up, stable, decay: s / w up to w, then 1, then linearly to 0 over the last d steps.

    d is `decay_fraction * total`, rounded; the factor is (total - s) / d there, so 0 at the last step.
    Warmup-stable-decay: Hu et al. 2024, arXiv 2404.06395.

    Args:
        warmup_steps: w >= 0; None takes 2 % of the total, rounded up.
        decay_fraction: Share of the steps spent in the decay, in [0, 1].
    """

    warmup_steps: int | None = None
    decay_fraction: float = 0.2
    kind: Literal["wsd"] = "wsd"

    def __post_init__(self) -> None:
        _check_warmup(self.warmup_steps, 0)
        _check_share("decay_fraction", self.decay_fraction)

    def check(self, total: int) -> None:
        """Raise ValueError unless warm-up and decay fit into `total` optimiser steps."""
        super().check(total)
        _check_fit(_warmup(self.warmup_steps, total), total, self._decay(total))

    def _factor(self, step: int, total: int) -> float:
        w, d = _warmup(self.warmup_steps, total), self._decay(total)
        if step <= w:
            return step / w
        return (total - step) / d if step > total - d else 1.0

    def _decay(self, total: int) -> int:
        return round(self.decay_fraction * total)


@dataclass(frozen=True)
class InverseSqrtConfig(Schedule):
    """min(s / w, sqrt(w / s)), up to a constant that of Vaswani et al. 2017, arXiv 1706.03762, section 5.3.

    Args:
        warmup_steps: w >= 1; None takes 2 % of the total, rounded up.
    """

    warmup_steps: int | None = None
    kind: Literal["inverse_sqrt"] = "inverse_sqrt"

    def __post_init__(self) -> None:
        _check_warmup(self.warmup_steps, 1)

    def check(self, total: int) -> None:
        """Raise ValueError unless the warm-up fits into `total` optimiser steps."""
        super().check(total)
        _check_fit(_warmup(self.warmup_steps, total), total)

    def _factor(self, step: int, total: int) -> float:
        w = _warmup(self.warmup_steps, total)
        return min(step / w, math.sqrt(w / step))


ScheduleConfig = ConstantConfig | WarmupCosineConfig | WSDConfig | InverseSqrtConfig


def _warmup(steps: int | None, total: int) -> int:
    return math.ceil(total / 50) if steps is None else steps


def _check_warmup(steps: int | None, least: int) -> None:
    if steps is not None and steps < least:
        raise ValueError(
            f"warmup_steps: expected an integer >= {least}, or None for 2 % of the total, got {steps}"
        )


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a number in [0, 1], got {value}")


def _check_fit(warmup: int, total: int, decay: int = 0) -> None:
    if warmup + decay > total:
        parts = f"{warmup} warm-up" + (f" and {decay} decay" if decay else "")
        raise ValueError(f"warmup_steps: {parts} steps do not fit into a total of {total} steps; use fewer")
