"""Optimiser state that finds its parameters by name, and refuses what does not fit."""

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from linsight.optim.slots import find_slots

__all__ = ["check_first_step", "match_by_name"]

# What may differ between the saved and the present group: the present value is kept for the implementation,
# the saved one for the learning rate, which the schedule moves.
_IMPLEMENTATION = ("fused", "foreach", "capturable", "differentiable")
_FREE = {"params", "param_names", "tied", "lr", *_IMPLEMENTATION}
_FIX = "resume with the configuration and model that the run was started with"


def match_by_name(optimizer: torch.optim.Optimizer) -> None:
    """Make `load_state_dict` match groups and parameters by name, whatever their order.

    torch matches by position: after a change of the grouping it mixes the moments of different parameters
    without a word, and it takes over saved options such as weight_decay where the present ones differ.
    The state keeps torch's own format, so that torch's distributed checkpoint helpers read it. Afterwards
    `load_state_dict` raises RuntimeError, naming the first difference, for: a state without names; a
    parameter missing, unknown, in another group, or of another shape; a group whose options (decay, betas,
    the learning rate at factor 1, ...) differ. How steps are computed (fused or not) stays as it was built.
    """
    optimizer.register_load_state_dict_pre_hook(_arrange)


def check_first_step(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Make the first `step()` raise RuntimeError if a trainable parameter of `model` is not optimised.

    It catches parameters added, unfrozen or replaced (as `load_state_dict(assign=True)` does) after the
    optimiser was built, all of which torch leaves untrained without a word.
    """
    reference = weakref.ref(model)
    done = False

    def check(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        nonlocal done
        watched = None if done else reference()
        if watched is None:
            return
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for slot in find_slots(watched):
            if slot.parameter.requires_grad and id(slot.parameter) not in held:
                raise RuntimeError(
                    f"parameter {slot.name!r} requires a gradient, but the optimiser lacks it: it was "
                    "added, unfrozen or replaced after the optimiser was built; build the optimiser later"
                )
        done = True

    optimizer.register_step_pre_hook(check)


def _arrange(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    saved_groups, now_groups = state_dict["param_groups"], optimizer.param_groups
    for group in saved_groups:
        if "name" not in group or len(group.get("param_names", ())) != len(group["params"]):
            raise RuntimeError(
                "optimiser state: it has no parameter names, so it cannot be matched safely; " + _FIX
            )
    _compare_members(_members(saved_groups), _members(now_groups))
    saved_by_name = {group["name"]: group for group in saved_groups}
    arranged = []
    for now in now_groups:
        saved = saved_by_name[now["name"]]
        _compare_options(saved, now)
        keys = dict(zip(saved["param_names"], saved["params"], strict=True))
        for name, parameter in zip(now["param_names"], now["params"], strict=True):
            _compare_shapes(name, parameter, state_dict["state"].get(keys[name], {}))
        kept = {option: now[option] for option in _IMPLEMENTATION if option in now}
        names = list(now["param_names"])
        arranged.append({**saved, **kept, "param_names": names, "params": [keys[name] for name in names]})
    return {**state_dict, "param_groups": arranged}


def _members(groups: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {name: group["name"] for group in groups for name in group["param_names"]}


def _compare_members(saved: dict[str, str], now: dict[str, str]) -> None:
    for name, group in now.items():
        if name not in saved:
            raise RuntimeError(
                f"optimiser state: nothing was saved for parameter {name!r} (group {group!r}); {_FIX}"
            )
        if saved[name] != group:
            raise RuntimeError(
                f"optimiser state: parameter {name!r} is in group {group!r}, "
                f"but was saved in group {saved[name]!r}; {_FIX}"
            )
    for name, group in saved.items():
        if name not in now:
            raise RuntimeError(
                f"optimiser state: saved parameter {name!r} (group {group!r}) is not optimised here; {_FIX}"
            )


def _compare_options(saved: dict[str, Any], now: dict[str, Any]) -> None:
    for option in sorted((saved.keys() & now.keys()) - _FREE):
        before, after = saved[option], now[option]
        if isinstance(before, tuple | list) and isinstance(after, tuple | list):
            before, after = tuple(before), tuple(after)
        if before != after:
            raise RuntimeError(
                f"optimiser state: group {now['name']!r} has {option} {after}, "
                f"but was saved with {before}; {_FIX}"
            )


def _compare_shapes(name: str, parameter: torch.Tensor, state: dict[str, Any]) -> None:
    for key, value in state.items():
        if isinstance(value, torch.Tensor) and value.ndim and value.shape != parameter.shape:
            raise RuntimeError(
                f"optimiser state: {key} of parameter {name!r} was saved with shape {tuple(value.shape)}, "
                f"but the parameter has {tuple(parameter.shape)}; {_FIX}"
            )
