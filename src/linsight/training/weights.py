"""A module's tensors by name, each once: collected, named by their SHA-256, put back with every check."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from linsight.training.files import digest_tensors

__all__ = ["collect_weights", "gathered", "identity", "like", "restore_weights", "whole"]


def collect_weights(model: nn.Module, *, keep: bool = True) -> dict[str, Tensor]:
    """Copies on the CPU of every tensor in the module's state; of tied tensors only the first name.

    Tensors of which this rank has a shard are gathered one after another, by a call of all ranks; a rank that
    does not `keep` them takes part and returns none.

    Raises:
        TypeError: The state holds something that is no tensor.
    """
    return gathered(_unique(model), keep=keep)


def gathered(tensors: Mapping[str, Tensor], *, keep: bool = True) -> dict[str, Tensor]:
    """Copies on the CPU of named tensors; shards and `keep` as in `collect_weights`."""
    copies = {}
    for name, tensor in tensors.items():
        all_of_it = whole(tensor)
        if keep:
            copies[name] = all_of_it.to("cpu", copy=True).contiguous()
    return copies


def identity(model: nn.Module) -> str:
    """The model's identity: SHA-256 (hex) of its weights' names, types, shapes and bytes."""
    return digest_tensors(_unique(model))


def restore_weights(model: nn.Module, weights: Mapping[str, Tensor], *, where: str) -> None:
    """Copy tensors into the module, all or none of them; tied tensors stay tied.

    Raises:
        RuntimeError: A tensor is missing, unexpected, of another shape, or of a type that would lose
            precision; the message begins with `where` and names the tensor.
    """
    own = _unique(model)
    missing, unexpected = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing:
        raise RuntimeError(f"{where}: {_some(missing)} missing: the file is of another model")
    if unexpected:
        raise RuntimeError(f"{where}: {_some(unexpected)} not in the model: the file is of another model")
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise RuntimeError(
                f"{where}: tensor '{name}': expected {tuple(own[name].shape)}, got {tuple(tensor.shape)}"
            )
        if torch.promote_types(tensor.dtype, own[name].dtype) != own[name].dtype:
            raise RuntimeError(
                f"{where}: tensor '{name}': {tensor.dtype} loses precision in a model of {own[name].dtype}"
            )
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(like(own[name], tensor))


def is_shard(tensor: Tensor) -> bool:
    """Whether the tensor is one rank's part of it (torch's `DTensor`)."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """The tensor without a graph; where it is a shard, gathered by a call of all ranks."""
    tensor = tensor.detach()
    return cast(Any, tensor).full_tensor() if is_shard(tensor) else tensor


def like(own: Tensor, tensor: Tensor) -> Tensor:
    """Of a whole tensor that all ranks have, what belongs to `own`: its shard, or all of it."""
    if not is_shard(own):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor  # a second to import

    shards = cast(DTensor, own)
    mesh = shards.device_mesh
    # Cut from what the rank has: nothing is sent.
    return distribute_tensor(tensor.to(mesh.device_type), mesh, shards.placements, src_data_rank=None)


def _unique(model: nn.Module) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    places: set[tuple] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"state '{name}': expected a tensor, got {type(tensor).__name__}; use a buffer")
        # An empty tensor has no storage to share; every other view of one place is the same tensor. A shard
        # may be empty on one rank alone, and all have to name the same tensors.
        if is_shard(tensor):
            place = (id(tensor),)
        elif tensor.numel():
            place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        else:
            place = (name,)
        if place not in places:
            places.add(place)
            found[name] = tensor
    return found


def _some(names: list[str]) -> str:
    first = f"tensor '{names[0]}'" if len(names) == 1 else f"tensors '{names[0]}', '{names[1]}'"
    return f"{first} and {len(names) - 2} more" if len(names) > 2 else first
