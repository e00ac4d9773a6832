"""A diagonal matrix less a product P P^*, in continuous time and in steps."""

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

__all__ = ["LowRankSystem", "Steps", "dense_steps", "real_parts", "steps"]


class LowRankSystem(NamedTuple):
    """x' = (diag(values) - P P^*) x + B u, y = C x, by channel, in steps of dt; complex128 and float64.

    Of every pair of conjugate states one is kept, n = N / 2 of them: sums over all states are twice the real
    part of sums over these. So the map is linear in real and imaginary parts, and not in complex numbers,
    since P^* x has both halves in it.
    """

    values: Complex[Tensor, "D n"]
    P: Complex[Tensor, "D n"]
    B: Complex[Tensor, "D n"]
    C: Complex[Tensor, "D n"]
    dt: Float[Tensor, "D"]


class Steps(NamedTuple):
    """x_t = decay * x - left * Re sum(right * x) + B * u_t: the bilinear step, of n numbers."""

    decay: Complex[Tensor, "D n"]
    left: Complex[Tensor, "D n"]
    right: Complex[Tensor, "D n"]
    B: Complex[Tensor, "D n"]


def steps(system: LowRankSystem) -> Steps:
    """The bilinear discretisation, inverted by Woodbury's identity: no matrix, no solve.

    With E = (1 - dt values / 2)^-1 and q = Re P^* E P over the kept half,

        (1 - dt A / 2)^-1 = E - dt E P (Re P^* E .) / (1 + dt q),    A_bar = 2 (1 - dt A / 2)^-1 - 1

    q > 0 wherever Re values < 0, so nothing is ever divided by 0.
    """
    values, P, B, _, dt = system
    dt = dt[:, None]
    E = 1 / (1 - dt / 2 * values)
    right = P.conj() * E
    left = dt * E * P / (1 + dt * (right * P).real.sum(-1, keepdim=True))
    taken = E * B - left * (right * B).real.sum(-1, keepdim=True)
    return Steps(2 * E - 1, 2 * left, right, dt * taken)


def real_parts(x: Complex[Tensor, "*axes n"]) -> Float[Tensor, "*axes N"]:
    """Real and imaginary parts in turn, N = 2 n: the real vector that a state is."""
    return torch.view_as_real(x.resolve_conj()).flatten(-2)


def dense_steps(found: Steps) -> Float[Tensor, "D N N"]:
    """A_bar as a real matrix on real and imaginary parts in turn."""
    decay = found.decay
    blocks = torch.stack([decay.real, -decay.imag, decay.imag, decay.real], -1).unflatten(-1, (2, 2))
    channels, pairs = decay.shape
    eye = torch.eye(pairs, dtype=blocks.dtype, device=blocks.device)
    diagonal = torch.einsum("dnab,nm->dnamb", blocks, eye).reshape(channels, 2 * pairs, 2 * pairs)
    return diagonal - real_parts(found.left)[..., None] * real_parts(found.right.conj())[:, None]
