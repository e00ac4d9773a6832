"""One rank's part of the checks, which compare ranks with one process; rank 0 writes the errors down."""

import copy
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from linsight import mixers
from linsight.models.sequence.stack import SequenceConfig, Stack

KINDS = {
    "linear": {},
    "retnet": {},
    "mamba": {"states": 4},
    "mamba2": {"states": 8, "head_dim": 8},
    "gated_delta": {},
    "s4d": {"states": 8},
}
DIM = 16


def main(rank: int, size: int, folder: Path) -> None:
    """Run every check and write what was found."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder / 'store'}", timedelta(seconds=60), world_size=size, rank=rank
    )
    found: dict[str, Any] = {}
    for dtype in (torch.float32, torch.float64):
        for kind in KINDS:
            found[f"{kind} {dtype}"] = mixer_errors(kind, dtype, rank, size)
        found[f"stack {dtype}"] = stack_errors(dtype)
    found["refusals"] = refusals(size)
    found["alone"] = alone(rank, size)
    everyone: list[Any] = [None] * size
    dist.all_gather_object(everyone, found)
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(everyone))
    dist.destroy_process_group()


def mixer_errors(kind: str, dtype: torch.dtype, rank: int, size: int) -> dict[str, float]:
    """Two calls and a state before them; rows that end in any piece, or are empty; pieces below the taps."""
    torch.manual_seed(1)
    mixer = mixers.build(kind, dim=DIM, **KINDS[kind]).to(dtype)
    rows = [torch.randn(3, length, DIM, dtype=dtype) for length in (9, 7)]
    counts = [torch.tensor([9, 4, 0]), None]
    before = mixer(torch.randn(3, 5, DIM, dtype=dtype))[1]
    goals = [torch.randn_like(row) for row in rows]

    def run(cut: Any, share: float) -> tuple[list[Tensor], Any, dict[str, Tensor]]:
        leaves = {name: p for name, p in mixer.named_parameters()}
        xs = [row.clone().requires_grad_() for row in rows]
        start = type(before)(*(t.detach().clone().requires_grad_(t.is_floating_point()) for t in before))
        leaves |= {f"x{i}": x for i, x in enumerate(xs)}
        leaves |= {
            f"state {name}": t for name, t in zip(start._fields, start, strict=True) if t.requires_grad
        }
        state, ys, loss = start, [], torch.zeros((), dtype=dtype)
        for x, count, goal in zip(xs, counts, goals, strict=True):
            a, b = cut(x.shape[1])
            y, state = mixer(x[:, a:b], state, None if count is None else (count - a).clamp(0, b - a))
            loss = loss + (y * goal[:, a:b]).sum()
            ys.append(y)
        loss = loss + share * sum(t.square().sum() for t in state if t.requires_grad)
        grads = torch.autograd.grad(loss, list(leaves.values()))
        # Ranks add up memory as it lies, and `grad` promises no layout, as `backward` does.
        return ys, state, {name: grad.contiguous() for name, grad in zip(leaves, grads, strict=True)}

    def cut(length: int) -> tuple[int, int]:
        return rank * length // size, (rank + 1) * length // size

    ys, state, grads = run(lambda length: (0, length), 1.0)
    mixers.across(mixer, dist.group.WORLD)
    own_ys, own_state, own_grads = run(cut, float(rank == size - 1))
    for grad in own_grads.values():
        dist.all_reduce(grad)
    mixers.across(mixer, None)
    return {
        "y": max(error(own, y[:, slice(*cut(y.shape[1]))], y) for own, y in zip(own_ys, ys, strict=True)),
        "state": max(error(own, whole) for own, whole in zip(own_state, state, strict=True)),
        "gradient": max(error(own_grads[name], grads[name]) for name in grads),
    }


def stack_errors(dtype: torch.dtype) -> dict[str, float]:
    """All kinds in one stack between a first and a last layer; every rank has the loss of the whole rows."""
    torch.manual_seed(2)
    layers = tuple(mixers.config(kind, **options) for kind, options in KINDS.items())
    stack = Stack(SequenceConfig(dim=DIM, layers=len(layers), mlp_dim=8, mixers=layers))
    model = nn.ModuleDict({"first": nn.Linear(3, DIM), "stack": stack, "last": nn.Linear(DIM, 2)}).to(dtype)
    rows = torch.randn(2, 11, 3, dtype=dtype), torch.randn(2, 6, 3, dtype=dtype)
    lengths = torch.tensor([11, 5]), torch.tensor([6, 2])

    def run() -> tuple[list[Tensor], Any, dict[str, Tensor]]:
        model.zero_grad()
        state, outputs = None, []
        for row, count in zip(rows, lengths, strict=True):
            h, state = model["stack"](model["first"](row), state, count)
            valid = torch.arange(row.shape[1]) < count[:, None]
            outputs.append(torch.where(valid[..., None], model["last"](h), 0))
        sum(out.square().mean() for out in outputs).backward()  # pyright: ignore[reportAttributeAccessIssue]
        return outputs, state, {name: p.grad.clone() for name, p in model.named_parameters()}  # pyright: ignore[reportOptionalMemberAccess]

    outputs, state, grads = run()
    mixers.across(model, dist.group.WORLD)
    own_outputs, own_state, own_grads = run()
    for grad in own_grads.values():
        dist.all_reduce(grad)
        grad /= dist.get_world_size()
    tensors = [
        (own, whole) for pair in zip(own_state, state, strict=True) for own, whole in zip(*pair, strict=True)
    ]
    return {
        "y": max(error(own, whole) for own, whole in zip(own_outputs, outputs, strict=True)),
        "state": max(error(own, whole) for own, whole in tensors),
        "gradient": max(error(own_grads[name], grads[name]) for name in grads),
    }


def refusals(size: int) -> dict[str, str]:
    """What is said to mixers that cannot, and to rows that are too short; nobody has been given a group."""
    torch.manual_seed(3)
    said = {}
    for name, causal in (
        ("softmax", True),
        ("lru", True),
        ("rwkv7", True),
        ("linear", False),
        ("bidirectional", False),
    ):
        config = mixers.config(name).at(0, 1)
        both = nn.ModuleList([mixers.build("linear", dim=64), config.build(64, causal=causal)])
        try:
            mixers.across(both, dist.group.WORLD)
        except NotImplementedError as refused:
            said[f"{name} {causal}"] = str(refused)
        assert all(getattr(part, "group", None) is None for part in both.modules()), name
    stack = mixers.across(Stack(SequenceConfig(dim=8, layers=1, mlp_dim=8)), dist.group.WORLD)
    try:
        stack(torch.zeros(1, size - 1, 8))
    except ValueError as refused:
        said["short"] = str(refused)
    assert copy.deepcopy(stack).group is stack.group
    return said


def alone(rank: int, size: int) -> bool:
    """Whether a mixer over a group of one has no group, so that nothing is gathered."""
    solo: Any = [dist.new_group([other]) for other in range(size)][rank]
    return mixers.across(mixers.build("mamba", dim=8), solo).group is None


def error(found: Tensor, expected: Tensor, scale: Tensor | None = None) -> float:
    """Largest difference over the largest value."""
    scale = expected if scale is None else scale
    top = max(scale.detach().abs().max().item(), 1e-12)
    return (found - expected).abs().max().item() / top if found.numel() else 0.0


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
