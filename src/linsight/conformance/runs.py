"""Ways to run a module that several laws share: in pieces, alone, padded, with gradients."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from linsight.conformance.adapter import Adapter

__all__ = ["after", "gradients", "in_pieces", "padded", "padding", "solo", "weighted"]


def after(adapter: Adapter, x: Tensor) -> Any:
    """The state after the tokens of x, without gradient."""
    with torch.no_grad():
        return adapter.copied(adapter(x)[1])


def in_pieces(adapter: Adapter, x: Tensor, sizes: Sequence[int], state: Any = None) -> tuple[Tensor, Any]:
    """The module called piece after piece with the state carried."""
    outputs = []
    for piece in x.split(list(sizes), dim=1):
        y, state = adapter(piece, state)
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


def padding(lengths: Tensor, length: int) -> Tensor:
    """True at the padded positions, `(batch, length)`."""
    return torch.arange(length) >= lengths[:, None]


def padded(x: Tensor, lengths: Tensor, filler: float) -> Tensor:
    """x with `filler` in the padded positions."""
    return torch.where(padding(lengths, x.shape[1])[..., None], torch.full_like(x, filler), x)


def solo(adapter: Adapter, x: Tensor, size: int, state: Any, row: int) -> tuple[Tensor, Any]:
    """Row `row` alone, its first `size` tokens; a row of no tokens keeps the state it had."""
    own = None if state is None else adapter.rows(state, [row])
    if size == 0:
        return x[row : row + 1, :0], adapter.initial_state(1) if own is None else own
    return adapter(x[row : row + 1, :size], own)


def weighted(tensors: Sequence[Tensor], seed: int = 11) -> Tensor:
    """A generic linear loss: fixed random weights on every real number of the tensors."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros((), dtype=torch.float64)
    for tensor in tensors:
        if tensor.is_floating_point():
            weight = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            total = total + (tensor.double() * weight).sum()
    return total


def gradients(
    adapter: Adapter, x: Tensor, state: Any, loss_on: str = "outputs", sizes: Sequence[int] | None = None
) -> dict[str, Tensor]:
    """Gradients of a loss on the outputs, the final state or both, by name; 0 where nothing arrives."""
    leaf = x.detach().clone().requires_grad_()
    if state is not None:
        state = adapter.map_state(_leaf, state)
    given = adapter.tensors(state)
    y, final = in_pieces(adapter, leaf, sizes or [x.shape[1]], state)
    carried = list(adapter.tensors(final).values())
    loss = weighted({"outputs": [y], "state": carried, "both": [y, *carried]}[loss_on])
    sources = {"x": leaf, **{name: p for name, p in adapter.named_parameters() if p.requires_grad}}
    sources |= {f"initial state {name}": tensor for name, tensor in given.items() if tensor.requires_grad}
    found = torch.autograd.grad(loss, list(sources.values()), allow_unused=True)
    return {
        name: torch.zeros_like(source) if gradient is None else gradient
        for (name, source), gradient in zip(sources.items(), found, strict=True)
    }


def _leaf(tensor: Tensor) -> Tensor:
    copy = tensor.detach().clone()
    return copy.requires_grad_() if copy.is_floating_point() else copy
