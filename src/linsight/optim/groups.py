"""The parameter groups of a model: who is decayed, who learns more slowly, each tensor exactly once."""

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch import nn

from linsight.optim.rules import Rule, Wish, decide
from linsight.optim.slots import Slot, find_slots

__all__ = ["Decoupled", "WdMode", "check_numbers", "param_groups"]

Decoupled = Literal["torch", "paper"]
WdMode = Literal["torch", "paper", "l2"]


def param_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    rules: Sequence[Rule] = (),
    wd_mode: WdMode = "torch",
    muon: bool = False,
) -> list[dict[str, Any]]:
    """Every trainable parameter of `model` in exactly one named group, for any `torch.optim` optimiser.

    Matrices are decayed; norms, embeddings, biases, anything with at most one axis, and what a module
    asks to spare (`linsight.nn.Hinted`) are not. `linsight.optim.rules.decide` gives the order of rules.

    The two meanings of decay (Loshchilov & Hutter 2017, arXiv 1711.05101, algorithm 2, against torch): with a
    schedule lr_t = eta_t lr, both do `theta <- theta - lr_t step - decay theta`, where decay is
    `lr_t * weight_decay` in mode `torch` and `eta_t * weight_decay` in mode `paper`. So `paper` is torch's
    AdamW with weight_decay / lr, lr being the group's own, after its scale: every group has the same decay.
    In mode `l2` the decay is part of the gradient, as Adam and SGD take it, and shortens nothing by itself.

    Args:
        model: Its frozen parameters (`requires_grad=False`) are left out. A tied tensor appears once.
        lr: The learning rate at factor 1 of the schedule, >= 0.
        weight_decay: >= 0, in the sense of `wd_mode`.
        rules: The user's own, before all others. See `Rule`.
        wd_mode: `torch`, `paper` or `l2`.
        muon: Whether hidden matrices go to groups of their own, with `use_muon` True: real, the weight of an
            `nn.Linear` or of a convolution in one group, decayed, not declared an output
            (`linsight.nn.Hinted`).

    Returns:
        Groups in a fixed order (Muon's first, then the general learning rate, decayed before not), each with
        `name`, `params`, `param_names`, `lr`, `lr_scale`, `weight_decay` (as torch means it), `use_muon`, and
        `tied`: one line `a = b` for every tensor of several names, which `param_names` gives under the first.

    Raises:
        ValueError: A number out of range; lr 0 in mode `paper`; a decay of 1 or more a step, which turns the
            sign of weights; no trainable parameter, or a lazy one; a rule that matches nothing (with the
            nearest names) or frozen parameters only; two rules, or two declarations, that ask for different
            values; a declared name that does not exist.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8))
    >>> [(g["name"], g["param_names"]) for g in param_groups(model, lr=1e-3, weight_decay=0.1)]
    [('decay', ['0.weight']), ('no_decay', ['0.bias', '1.weight', '1.bias'])]
    """
    check_numbers(lr, weight_decay, wd_mode)
    slots = find_slots(model)
    groups: dict[str, dict[str, Any]] = {}
    for slot, (decay, rate, kind) in zip(slots, decide(model, slots, rules), strict=True):
        if slot.parameter.requires_grad:
            group = _group(decay, rate, lr, weight_decay, wd_mode, use_muon=muon and bool(kind.muon))
            _join(groups.setdefault(group["name"], group), slot)
    if not groups:
        raise ValueError(
            f"model: {type(model).__name__} has no trainable parameter, so there is nothing to optimise"
        )
    return sorted(groups.values(), key=_place)


def check_numbers(
    lr: float, weight_decay: float, wd_mode: str, *, modes: Sequence[str] = get_args(WdMode)
) -> None:
    """Refuse a learning rate and decay that make no sense together, in one of `modes`; see `param_groups`."""
    if wd_mode not in modes:
        raise ValueError(f"wd_mode: expected one of {', '.join(modes)}, got {wd_mode!r}")
    for name, value in (("lr", lr), ("weight_decay", weight_decay)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name}: expected a finite number >= 0, got {value}")
    if wd_mode == "paper" and lr == 0:
        raise ValueError(
            "lr: expected > 0 in wd_mode 'paper', which divides by it, got 0; use wd_mode 'torch'"
        )
    if wd_mode != "l2":
        _check_step(lr, weight_decay if wd_mode == "torch" else weight_decay / lr)


def _check_step(lr: float, weight_decay: float, group: str = "") -> None:
    if lr * weight_decay >= 1:
        where = f" in group {group!r}" if group else ""
        raise ValueError(
            f"weight_decay: expected a decay below 1 a step, got {lr * weight_decay:g} "
            f"(lr {lr:g} x weight_decay {weight_decay:g} as torch means it){where}; use a smaller one"
        )


def _group(
    decay: Wish, rate: Wish, lr: float, weight_decay: float, wd_mode: str, *, use_muon: bool
) -> dict[str, Any]:
    own_lr, scale = _learning_rate(rate, lr)
    asked = weight_decay if decay.weight_decay is None else decay.weight_decay
    passed = asked / own_lr if wd_mode == "paper" else asked
    name = "muon_" if use_muon else ""
    name += "no_decay" if asked == 0 else "decay" if asked == weight_decay else f"decay_{asked:.12g}"
    name += "" if own_lr == lr else f"_lr_x{scale:.12g}"
    if wd_mode != "l2":
        _check_step(own_lr, passed, name)
    return {
        "name": name,
        "params": [],
        "param_names": [],
        "lr": own_lr,
        "lr_scale": scale,
        "weight_decay": passed,
        "use_muon": use_muon,
        "tied": [],
    }


def _learning_rate(rate: Wish, lr: float) -> tuple[float, float]:
    scale = 1.0 if rate.lr_scale is None else rate.lr_scale
    own = lr * scale if rate.lr is None else rate.lr
    if rate.lr_max is not None:
        own = min(own, rate.lr_max)
    if own != lr * scale:
        if lr == 0:
            raise ValueError(
                f"lr: expected > 0, since {rate.source} asks for an absolute learning rate; got 0"
            )
        scale = own / lr
    return own, scale


def _join(group: dict[str, Any], slot: Slot) -> None:
    group["params"].append(slot.parameter)
    group["param_names"].append(slot.name)
    if len(slot.names) > 1:
        group["tied"].append(" = ".join(slot.names))


def _place(group: dict[str, Any]) -> tuple[bool, bool, bool, float, float]:
    scale, decay = group["lr_scale"], group["weight_decay"]
    return not group["use_muon"], scale != 1, decay == 0, -scale, -decay
