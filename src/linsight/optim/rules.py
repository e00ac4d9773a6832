"""Which weight decay and learning rate each parameter gets: the first rule that speaks wins."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from torch import nn

from linsight.config import Config
from linsight.optim.slots import Slot, plain_name

__all__ = ["Rule", "Wish", "decide"]


@dataclass(frozen=True)
class Rule(Config):
    """A user's wish for every parameter whose full name matches an fnmatch pattern.

    Args:
        pattern: As `*.mixer.A_log`; `*` crosses dots, and case counts.
        weight_decay: Instead of the general one, with the same meaning; None leaves it to the later rules.
        lr_scale: Factor on the learning rate, > 0; None leaves it to the later rules.
        lr_max_absolute: Cap on the learning rate at factor 1 of the schedule, > 0.
        muon: Whether Muon takes the parameter, where there is one; True needs a real matrix.

    Raises:
        ValueError: A value outside its range, or a rule that sets nothing.
    """

    pattern: str
    weight_decay: float | None = None
    lr_scale: float | None = None
    lr_max_absolute: float | None = None
    muon: bool | None = None

    def __post_init__(self) -> None:
        wish = self.wish()
        if wish == Wish(wish.source):
            raise ValueError(
                f"rule {self.pattern!r} sets nothing; give weight_decay, lr_scale, lr_max_absolute or muon"
            )
        _check(wish)

    def wish(self) -> "Wish":
        """The same as a wish, the form in which all sources are compared."""
        return Wish(
            f"rule {self.pattern!r}", self.weight_decay, self.lr_scale, self.lr_max_absolute, muon=self.muon
        )


class Wish(NamedTuple):
    """What one source asks for a parameter; None says nothing. `lr` is absolute, `lr_max` a cap."""

    source: str
    weight_decay: float | None = None
    lr_scale: float | None = None
    lr_max: float | None = None
    lr: float | None = None
    muon: bool | None = None

    @property
    def speaks_of_lr(self) -> bool:
        """Whether anything is said about the learning rate."""
        return (self.lr_scale, self.lr_max, self.lr) != (None, None, None)


def decide(model: nn.Module, slots: Sequence[Slot], rules: Sequence[Rule]) -> list[tuple[Wish, Wish, Wish]]:
    """For each slot the wishes that decide its decay, its learning rate, and whether it is Muon's.

    In this order, where the first that speaks of the decay (of the learning rate, of Muon) wins:

    1. the user's rules;
    2. attributes of the parameter: `_no_weight_decay = True`, `_lr_scale`, `_lr_max_absolute`, and
       `_optim = dict(lr=..., weight_decay=...)` with an absolute learning rate (as state-spaces' S4 sets it),
       and `_output = True`, which is nothing for Muon;
    3. declarations of a module that contains it, as `linsight.nn.Hinted` makes them: `no_weight_decay()`, a
       set of names relative to the module, `lr_scales()` and `lr_caps()`, dicts of such names, and
       `output_weights()`, a set of what is nothing for Muon;
    4. the type of its module: norms and embeddings are not decayed;
    5. biases by name, and anything with at most one axis: not decayed;
    6. Muon takes what is decayed by none of these, a real matrix and the weight of an `nn.Linear`.

    What no rule decides gets an empty wish: the general weight decay, the general learning rate. A tied
    tensor is judged under all its names: the earliest rule that any of them meets.

    Raises:
        ValueError: See `linsight.optim.param_groups`.
    """
    for rule in rules:
        _refuse_idle(rule, slots)
    declared = _declared(model, slots)
    chosen = []
    for slot in slots:
        asked = [rule.wish() for rule in rules if _matches(rule, slot)]
        wishes = (
            _merged(slot, asked),
            _from_attributes(slot),
            _merged(slot, declared.get(id(slot.parameter), [])),
            _from_kind(slot),
        )
        silent = Wish("no rule")
        decay = next((wish for wish in wishes if wish.weight_decay is not None), silent)
        rate = next((wish for wish in wishes if wish.speaks_of_lr), silent)
        hidden = Wish("matrix", muon=decay.weight_decay != 0 and _is_hidden(slot))
        kind = next(wish for wish in (*wishes, hidden) if wish.muon is not None)
        if kind.muon and not (_is_matrix(slot) or _is_kernel(slot)):
            raise ValueError(
                f"{kind.source}: muon: expected real matrices and kernels of convolutions in one group, got "
                f"parameter {slot.name!r} of shape "
                f"{tuple(slot.parameter.shape)} and {slot.parameter.dtype}"
            )
        chosen.append((decay, rate, kind))
    return chosen


def _refuse_idle(rule: Rule, slots: Sequence[Slot]) -> None:
    hits = [slot for slot in slots if _matches(rule, slot)]
    if not hits:
        names = [name for slot in slots for name in slot.names]
        near = get_close_matches(rule.pattern, names, n=3, cutoff=0.0)
        raise ValueError(
            f"rule {rule.pattern!r} matches no parameter; the nearest names are {', '.join(near) or '(none)'}"
        )
    if not any(slot.parameter.requires_grad for slot in hits):
        raise ValueError(
            f"rule {rule.pattern!r} matches frozen parameters only (as {hits[0].name}); "
            "drop the rule or unfreeze them"
        )


def _matches(rule: Rule, slot: Slot) -> bool:
    return any(fnmatchcase(name, rule.pattern) for name in slot.names)


def _from_attributes(slot: Slot) -> Wish:
    parameter = slot.parameter
    options = getattr(parameter, "_optim", None) or {}
    unknown = set(options) - {"lr", "weight_decay"}
    if unknown:
        raise ValueError(
            f"parameter {slot.name!r}: _optim has {sorted(unknown)}; only lr and weight_decay are known"
        )
    wish = Wish(
        f"attributes of parameter {slot.name!r}",
        0.0 if getattr(parameter, "_no_weight_decay", False) else options.get("weight_decay"),
        getattr(parameter, "_lr_scale", None),
        getattr(parameter, "_lr_max_absolute", None),
        options.get("lr"),
        False if getattr(parameter, "_output", False) else None,
    )
    if wish.lr is not None and wish.lr_scale is not None:
        raise ValueError(f"{wish.source}: both _lr_scale and _optim['lr'] are set; keep one")
    return _check(wish)


def _declared(model: nn.Module, slots: Sequence[Slot]) -> dict[int, list[Wish]]:
    by_name = {name: slot for slot in slots for name in slot.names}
    found: dict[int, list[Wish]] = {}
    for path, module in model.named_modules():
        for method, read in _DECLARATIONS.items():
            # Looked up on the class: some wrappers pass the attributes of the module inside on.
            if not callable(getattr(type(module), method, None)):
                continue
            for name, wish in read(getattr(module, method)(), f"{type(module).__name__}.{method}()"):
                slot = by_name.get(plain_name(f"{path}.{name}" if path else name))
                if slot is None:
                    own = ", ".join(n for n, _ in module.named_parameters()) or "none"
                    raise ValueError(
                        f"{wish.source} of module {path!r} names {name!r}, which is no parameter of it; "
                        f"it has {own}"
                    )
                found.setdefault(id(slot.parameter), []).append(_check(wish))
    return found


def _read_no_weight_decay(names: Iterable[str], source: str) -> list[tuple[str, Wish]]:
    return [(name, Wish(source, weight_decay=0.0)) for name in sorted(names)]


def _read_lr_scales(scales: dict[str, float], source: str) -> list[tuple[str, Wish]]:
    return [(name, Wish(source, lr_scale=scale)) for name, scale in sorted(scales.items())]


def _read_lr_caps(caps: dict[str, float], source: str) -> list[tuple[str, Wish]]:
    return [(name, Wish(source, lr_max=cap)) for name, cap in sorted(caps.items())]


def _read_output_weights(names: Iterable[str], source: str) -> list[tuple[str, Wish]]:
    return [(name, Wish(source, muon=False)) for name in sorted(names)]


_NEVER_DECAYED = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.Embedding,
    nn.EmbeddingBag,
)

_DECLARATIONS: dict[str, Callable[[Any, str], list[tuple[str, Wish]]]] = {
    "no_weight_decay": _read_no_weight_decay,
    "lr_scales": _read_lr_scales,
    "lr_caps": _read_lr_caps,
    "output_weights": _read_output_weights,
}


def _is_matrix(slot: Slot) -> bool:
    return slot.parameter.ndim == 2 and slot.parameter.is_floating_point()


def _is_kernel(slot: Slot) -> bool:
    """A matrix from patches to channels: every output sees every input. Transposed ones have other axes."""
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return slot.parameter.ndim > 2 and any(
        isinstance(owner, convolutions) and owner.groups == 1 for owner in slot.owners
    )


def _is_hidden(slot: Slot) -> bool:
    linear = _is_matrix(slot) and any(isinstance(owner, nn.Linear) for owner in slot.owners)
    return linear or _is_kernel(slot)


def _from_kind(slot: Slot) -> Wish:
    if any(isinstance(owner, _NEVER_DECAYED) for owner in slot.owners):
        return Wish("module type", 0.0)
    # `bias`, but also `in_proj_bias`, `bias_k`, `dt_bias` and `relative_position_bias_table`.
    if any("bias" in name.rpartition(".")[2].split("_") for name in slot.names):
        return Wish("name", 0.0)
    return Wish("axes", 0.0 if slot.parameter.ndim <= 1 else None)


def _merged(slot: Slot, wishes: Sequence[Wish]) -> Wish:
    values: dict[str, Any] = {}
    for field in ("weight_decay", "lr_scale", "lr_max", "muon"):
        said = {getattr(wish, field): wish.source for wish in wishes if getattr(wish, field) is not None}
        if len(said) > 1:
            parts = " and ".join(f"{source} for {value:g}" for value, source in said.items())
            raise ValueError(f"parameter {slot.name!r}: {field} is asked for twice, by {parts}; keep one")
        if said:
            values[field] = next(iter(said))
    return Wish(" and ".join(wish.source for wish in wishes), **values)


def _check(wish: Wish) -> Wish:
    if wish.weight_decay is not None and not 0 <= wish.weight_decay < math.inf:
        raise ValueError(
            f"{wish.source}: weight_decay: expected a finite number >= 0, got {wish.weight_decay}"
        )
    for name, value in (("lr_scale", wish.lr_scale), ("lr_max_absolute", wish.lr_max), ("lr", wish.lr)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{wish.source}: {name}: expected a finite number > 0, got {value}")
    return wish
