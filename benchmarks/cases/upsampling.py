"""Content-aware upsamplers beside what they replace: a resize with a convolution, a deconvolution."""

import copy
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.case import Candidate, Table
from linsight.nn.upsampling import Carafe, make_upsampler

__all__ = ["table", "training"]

SHAPE = (8, 64, 32, 32)


def training() -> Iterator[Table]:
    """Forward and backward of a batch, scale 2.

    DySample's bar is over `deconv4`, whose windows overlap as its own do and whose start can be bilinear;
    `deconv2`, one 2 x 2 block for each input, is there to be seen.
    """
    yield table(SHAPE, "resize_conv", ("carafe",), {"carafe": 1 / 2})
    yield table(SHAPE, "deconv4", ("deconv2", "dysample"), {"dysample": 1 / 1.5})


def table(
    shape: tuple[int, int, int, int], baseline: str, others: tuple[str, ...], bars: dict[str, float]
) -> Table:
    """Named upsamplers on one map; the gradients are those of x and of all parameters."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    x = torch.randn(shape, generator=generator)
    dy = torch.randn(*shape[:2], 2 * shape[2], 2 * shape[3], generator=generator)
    candidates = {name: _candidate(name, x, dy) for name in (baseline, *others)}
    title = f"forward + backward, {' x '.join(map(str, shape))} at scale 2, float32"
    return Table(title, baseline, candidates, bars)


def _candidate(name: str, x: Tensor, dy: Tensor) -> Candidate:
    up = make_upsampler(name, x.shape[1])
    exact = copy.deepcopy(up).double()
    definition = partial(_unfolded, exact) if isinstance(exact, Carafe) else exact
    call = partial(_gradients, up, up, x, dy)
    wanted = partial(_gradients, exact, definition, x.double(), dy.double())
    return Candidate(call, partial(_error, call, wanted), 3 * _products(up, x))


def _gradients(
    module: nn.Module, up: Callable[[Tensor], Tensor], x: Tensor, dy: Tensor
) -> tuple[Tensor, ...]:
    leaves = (x.detach().requires_grad_(), *module.parameters())
    return torch.autograd.grad(up(leaves[0]), leaves, dy)


def _error(call: Callable[[], tuple[Tensor, ...]], wanted: Callable[[], tuple[Tensor, ...]]) -> float:
    """The relative RMS error of the gradient of x, which has passed through everything."""
    found, right = call()[0], wanted()[0]
    return ((found.double() - right).norm() / right.norm()).item()


def _unfolded(up: Carafe, x: Tensor) -> Tensor:
    """CARAFE as it is usually written: 25 copies of x, weighed and summed."""
    kernels = F.pixel_shuffle(up.encode(up.compress(x)), 2).softmax(1)
    window = round(kernels.shape[1] ** 0.5)
    copies = F.unfold(x, window, padding=window // 2).unflatten(1, (x.shape[1], -1)).unflatten(3, x.shape[2:])
    copies = copies.repeat_interleave(2, 3).repeat_interleave(2, 4)
    return (copies * kernels[:, None]).sum(2)


def _products(up: nn.Module, x: Tensor) -> float:
    """Operations of one forward in convolutions, and in CARAFE's sums."""
    total = 0.0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.get_parameter("weight")
        # Each weight meets each pixel of the coarser side of its convolution once.
        pixels = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        nonlocal total
        total += 2 * weight.numel() * pixels.shape[0] * pixels.shape[2] * pixels.shape[3]

    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    hooks = [one.register_forward_hook(count) for one in up.modules() if isinstance(one, kinds)]
    with torch.no_grad():
        y = up(x)
    for hook in hooks:
        hook.remove()
    return total + (2 * 25 * y.numel() if isinstance(up, Carafe) else 0)
