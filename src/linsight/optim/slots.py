"""The distinct parameters of a model, each with all its names."""

from typing import NamedTuple

from torch import nn
from torch.nn.parameter import is_lazy

__all__ = ["Slot", "find_slots", "plain_name"]


class Slot(NamedTuple):
    """One distinct tensor of a model with all its names (several when tied) and the modules that own it."""

    parameter: nn.Parameter
    names: tuple[str, ...]
    owners: tuple[nn.Module, ...]

    @property
    def name(self) -> str:
        """The first name in the model's order, as `model.named_parameters()` gives it."""
        return self.names[0]


def find_slots(model: nn.Module) -> list[Slot]:
    """Every distinct parameter of the model in its order, frozen ones included.

    `torch.compile`'s prefix `_orig_mod.` is left out of the names, so that a run may be resumed without it.

    Raises:
        ValueError: A lazy parameter that has no shape yet.
    """
    found: dict[int, tuple[nn.Parameter, list[str], list[nn.Module]]] = {}
    for path, parameter in model.named_parameters(remove_duplicate=False):
        name = plain_name(path)
        if is_lazy(parameter):
            raise ValueError(
                f"parameter {name!r} is lazy and has no shape yet; run one batch through the model first"
            )
        _, names, owners = found.setdefault(id(parameter), (parameter, [], []))
        names.append(name)
        owners.append(model.get_submodule(path.rpartition(".")[0]))
    return [Slot(parameter, tuple(names), tuple(owners)) for parameter, names, owners in found.values()]


def plain_name(path: str) -> str:
    """The name of a parameter without the prefix of `torch.compile`."""
    return path.replace("_orig_mod.", "")
