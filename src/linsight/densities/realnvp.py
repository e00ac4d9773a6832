"""RealNVP: vectors as invertible images of normal noise, by affine couplings."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

__all__ = ["RealNVP"]


class RealNVP(nn.Module):
    """A density of vectors x: noise z from a standard normal, moved by affine couplings.

    A coupling moves one half of the coordinates by what it reads from the other, kept half x_k:

        x_m' = (x_m - t(x_k)) exp(-a(x_k)),   -1 < a < 1,
        log p(x) = log N(z; 0, 1) - sum over couplings and moved coordinates of a(x_k)

    The halves take turns: the last `dim // 2` coordinates are kept by the first layer from the noise, the
    others by the second, and so on. a (bounded by a tanh) and t are networks of two hidden layers; their last
    layers start at 0, so that the density starts as the standard normal.

    A row of x that is not finite gets a log_prob that is not, and changes no other row; its gradients do
    reach the weights, so that a loss has to leave such rows out before they come here.

    It stands by itself: `Density` is of binary images and their labels.

    Args:
        dim: Coordinates of x, at least 2: with one there is nothing to read.
        layers: Couplings, at least 2, so that all coordinates are moved.
        hidden: Width of the networks.

    Cost: O(layers hidden (dim + hidden)) for a vector, both ways.

    Dinh, Sohl-Dickstein, Bengio 2017, "Density estimation using Real NVP", arXiv 1605.08803. Deviation: no
    batch norm and no learned factor on the tanh.

    Example:
        >>> flow = RealNVP(dim=2)
        >>> flow.log_prob(torch.zeros(3, 2)).exp()  # 1 / (2 pi)
        tensor([0.1592, 0.1592, 0.1592], grad_fn=<ExpBackward0>)
    """

    def __init__(self, dim: int, layers: int = 6, hidden: int = 64) -> None:
        super().__init__()
        for name, value, least in (("dim", dim, 2), ("layers", layers, 2), ("hidden", hidden, 1)):
            if value < least:
                raise ValueError(f"{name}: expected at least {least}, got {value}")
        self.dim = dim
        late = torch.arange(dim) >= dim - dim // 2
        self.couplings = nn.ModuleList(
            _Coupling(late if layer % 2 == 0 else ~late, hidden) for layer in range(layers)
        )

    def forward(
        self, x: Float[Tensor, "*batch dim"]
    ) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch"]]:
        """The noise z of x and log |det dz/dx|."""
        self._check(x, "x")
        log_det = x.new_zeros(x.shape[:-1])
        for coupling in reversed(self._couplings):
            x, log_scale = coupling(x)
            log_det = log_det - log_scale
        return x, log_det

    def inverse(self, z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """The x of noise z."""
        self._check(z, "z")
        for coupling in self._couplings:
            z = coupling.inverse(z)
        return z

    def log_prob(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """log p(x) in nats."""
        z, log_det = self(x)
        return log_det - 0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "n dim"]:
        """n vectors drawn from p, in the dtype and on the device of the weights."""
        if n < 1:
            raise ValueError(f"n: expected at least 1, got {n}")
        like = next(self.parameters())
        noise = torch.randn(n, self.dim, generator=generator, dtype=like.dtype, device=like.device)
        return self.inverse(noise)

    @property
    def _couplings(self) -> list["_Coupling"]:
        return list(self.couplings)  # pyright: ignore[reportReturnType]

    def _check(self, x: Tensor, name: str) -> None:
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise ValueError(f"{name}: expected shape (..., dim {self.dim}), got {tuple(x.shape)}")


class _Coupling(nn.Module):
    """Moves the coordinates outside of `kept` by what it reads from those in it."""

    kept: Tensor

    def __init__(self, kept: Bool[Tensor, " dim"], hidden: int) -> None:
        super().__init__()
        self.register_buffer("kept", kept, persistent=False)
        self.scale, self.shift = (_network(len(kept), hidden) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x closer to noise, and the sum of its log scales."""
        log_scale, shift = self._read(x)
        return torch.where(self.kept, x, (x - shift) * (-log_scale).exp()), log_scale.sum(-1)

    def inverse(self, z: Tensor) -> Tensor:
        """z further from noise."""
        log_scale, shift = self._read(z)
        return torch.where(self.kept, z, z * log_scale.exp() + shift)

    def _read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log scale and shift of the moved coordinates; 0 of the kept ones."""
        known = torch.where(self.kept, x, 0)
        log_scale, shift = self.scale(known).tanh(), self.shift(known)
        return log_scale.masked_fill(self.kept, 0), shift.masked_fill(self.kept, 0)


def _network(dim: int, hidden: int) -> nn.Sequential:
    last = nn.Linear(hidden, dim)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.LeakyReLU(), nn.Linear(hidden, hidden), nn.LeakyReLU(), last
    )
