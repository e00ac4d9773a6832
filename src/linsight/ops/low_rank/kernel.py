"""S4's kernel: the generating function of a low-rank system at the roots of unity."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from linsight.ops.diagonal.convolution import fast_size
from linsight.ops.low_rank.system import LowRankSystem, dense_steps, real_parts, steps

__all__ = ["low_rank_kernel"]


def low_rank_kernel(system: LowRankSystem, length: int) -> Float[Tensor, "D {length}"]:
    """K_l = C A_bar^l B_bar for l = 0..length - 1, float64, by Cauchy sums and Woodbury's identity.

    At the M-th roots of unity z, M >= length, with C' = C (1 - A_bar^M) and s = 1 + z,

        sum_l K_l z^l = 2 (C' r B) - 2 s (C' r P) (P^* r B) / (1 + s P^* r P),
        (a r b) = sum_n a_n b_n / (2 (1 - z) / dt - values_n s)

    and an inverse transform gives K. Gu, Goel, Re 2022, arXiv 2111.00396, theorem 3 and algorithm 1. The
    paper divides by 1 + z, which is 0 at z = -1; the sums are written so that it cancels. Pairs of conjugates
    are summed together, with real weights.

    Cost a channel: O(N length) for the sums, O(N^3 log length) for A_bar^M.
    """
    places = fast_size(max(length, 2))
    values, P, B, C, dt = system
    found = dense_steps(steps(system))
    row = real_parts(2 * C.conj())[:, None]
    row = row - row @ torch.linalg.matrix_power(found, places)
    C = torch.complex(row[:, 0, 0::2], -row[:, 0, 1::2]) / 2
    z = torch.exp(
        -2j * math.pi / places * torch.arange(places // 2 + 1, dtype=torch.float64, device=dt.device)
    )
    s, w = 1 + z, 2 * (1 - z) / dt[:, None, None]
    bottom = (w - values[..., None] * s) * (w - values.conj()[..., None] * s)
    weights = torch.stack([C * B, C * P, P.conj() * B, P.conj() * P], 1)
    straight, turned = weights.real, (weights * values.conj()[:, None]).real
    inverse = 1 / bottom
    sums = 2 * (w * ((straight + 0j) @ inverse) - s * ((turned + 0j) @ inverse))
    CB, CP, PB, PP = sums.unbind(1)
    transform = 2 * (CB - s * CP * PB / (1 + s * PP))
    return torch.fft.irfft(transform, n=places)[..., :length]
