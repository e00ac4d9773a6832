"""Our own: bilinear, and what each fine pixel reads from the coarse map by linear attention."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linsight import ops
from linsight.nn.positions import rotary
from linsight.nn.upsampling.base import zero_bias
from linsight.nn.upsampling.interpolation import Projected, resize

__all__ = ["LinearAttentionUpsampler"]


class LinearAttentionUpsampler(Projected):
    """y = bilinear(x) + W_o o, where fine pixels t are queries and coarse pixels s keys and values.

        o_t = phi(q_t)^T R_t^T (sum_s R_s phi(k_s) v_s^T) / (phi(q_t) . sum_s phi(k_s)),   phi = elu + 1

    R turns features by the pixel's place in both axes, in units of x's pixels (rotary, half of a head's
    features each; the denominator goes without, as in Su et al. 2021, arXiv 2104.09864, equation 19), so that
    a similarity knows content and distance. q_t is made of x interpolated at t and, where there is one, of
    `skip` at t, so edges of the fine map can decide what is read. Katharopoulos et al. 2020, arXiv
    2006.16236, for the attention; as an upsampler it is linsight's own. W_o is 0 at first: bilinear exactly.

    Args:
        skip_channels: Of `skip`, whose values then guide; None: its values are not looked at. A call without
            skip is guided by x alone.
        dim: Width of queries, keys and values.
        heads: Dividing dim, dim / heads being a multiple of 4.

    Cost: O((H' W' + H W) dim (dim / heads + channels)): linear in pixels.

    Raises:
        ValueError: Heads that do not divide dim so; a skip of other channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        scale: int = 2,
        *,
        skip_channels: int | None = None,
        dim: int = 32,
        heads: int = 2,
        allow_down: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, scale, allow_down=allow_down)
        if heads < 1 or dim < 1 or dim % (4 * heads):
            raise ValueError(f"dim: expected a multiple of 4 heads = {4 * heads}, got {dim}")
        self.heads, self.skip_channels = heads, skip_channels
        self.uses_skip = skip_channels is not None
        self.qkv = nn.Conv2d(in_channels, 3 * dim, 1)
        self.guide = None if skip_channels is None else nn.Conv2d(skip_channels, dim, 1, bias=False)
        self.out = nn.Conv2d(dim, self.out_channels, 1)
        nn.init.zeros_(self.out.weight)
        zero_bias(self.out)

    def upsample(self, x, size, skip, indices):
        """The bilinear map and the residual."""
        # A 1 x 1 convolution commutes with interpolation: here it has fewer pixels to do.
        q, k, v = self.qkv(x).chunk(3, dim=1)
        q = resize(q, size)
        if self.guide is not None and skip is not None:
            if skip.shape[1] != self.skip_channels:
                raise ValueError(f"skip: expected {self.skip_channels} channels, got {skip.shape[1]}")
            q = q + self.guide(skip)
        return resize(self.project(x), size) + self.out(self._read(q, k, v))

    def _read(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """o as a map, of maps."""
        coarse, fine = k.shape[2:], q.shape[2:]
        exact = ops.accumulator_dtype(q.dtype)
        with ops.without_autocast(q.device):
            queries, keys, values = (self._tokens(one).to(exact) for one in (q, k, v))
            queries, keys = F.elu(queries) + 1, F.elu(keys) + 1
            memory = torch.einsum("bshk,bshv->bhkv", self._turn(keys, coarse, coarse), values)
            numerator = torch.einsum("bthk,bhkv->bthv", self._turn(queries, fine, coarse), memory)
            denominator = torch.einsum("bthk,bhk->bth", queries, keys.sum(1))
            o = (numerator / denominator.clamp(min=1e-6)[..., None]).to(q.dtype)
        return o.flatten(2).transpose(1, 2).unflatten(2, fine)

    def _tokens(self, x: Tensor) -> Tensor:
        """A map as `(batch, pixels, heads, features)`."""
        return x.flatten(2).transpose(1, 2).unflatten(2, (self.heads, -1))

    def _turn(self, x: Tensor, grid: torch.Size, coarse: torch.Size) -> Tensor:
        """Turn half of the features by rows, half by columns, at places in units of coarse pixels."""
        rows, columns = (
            (torch.arange(wanted, device=x.device, dtype=x.dtype) + 0.5) * (length / wanted)
            for wanted, length in zip(grid, coarse, strict=True)
        )
        rows = rows[:, None].expand(*grid).reshape(1, -1)
        columns = columns[None].expand(*grid).reshape(1, -1)
        half = x.shape[-1] // 2
        # 100 in place of 10,000: wavelengths of 6 pixels to a few hundred, which is what maps have.
        parts = rotary(x[..., :half], rows, base=100.0), rotary(x[..., half:], columns, base=100.0)
        return torch.cat(parts, dim=-1)
