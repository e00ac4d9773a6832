"""The guided upsampler: bilinear at first, its residual by definition, linear in pixels."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from linsight.nn.upsampling import LinearAttentionUpsampler, resize


def awake(**options) -> LinearAttentionUpsampler:
    up = LinearAttentionUpsampler(3, 4, dim=8, heads=1, **options).double()
    with torch.no_grad():
        for parameter in up.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return up


def turned(x: Tensor, place: Tensor) -> Tensor:
    """By 2 x 2 rotations written out: features (0, 2) ... of each half by its own axis."""
    out = x.clone()
    for axis in range(2):
        for i in range(2):
            angle = place[axis] * 100 ** (-i / 2)
            a, b = x[4 * axis + i], x[4 * axis + i + 2]
            out[4 * axis + i] = a * angle.cos() - b * angle.sin()
            out[4 * axis + i + 2] = a * angle.sin() + b * angle.cos()
    return out


def definition(up: LinearAttentionUpsampler, x: Tensor, skip: Tensor) -> Tensor:
    """Every pair of a fine and a coarse pixel, one by one."""
    q, k, v = up.qkv(x).chunk(3, dim=1)
    q = resize(q, skip.shape[2:]) + up.guide(skip)
    o = torch.zeros_like(q)
    (rows, columns), (fine_rows, fine_columns) = x.shape[2:], skip.shape[2:]
    for i in range(fine_rows):
        for j in range(fine_columns):
            at = torch.tensor(
                [(i + 0.5) * rows / fine_rows, (j + 0.5) * columns / fine_columns], dtype=x.dtype
            )
            query, num, den = F.elu(q[0, :, i, j]) + 1, 0, 0
            for m in range(rows):
                for n in range(columns):
                    key = F.elu(k[0, :, m, n]) + 1
                    there = torch.tensor([m + 0.5, n + 0.5], dtype=x.dtype)
                    num = num + turned(query, at) @ turned(key, there) * v[0, :, m, n]
                    den = den + query @ key
            o[0, :, i, j] = num / den
    return resize(up.project(x), skip.shape[2:]) + up.out(o)


def test_it_is_bilinear_exactly_at_first() -> None:
    up = LinearAttentionUpsampler(3, skip_channels=2)
    x, skip = torch.randn(2, 3, 5, 4), torch.randn(2, 2, 9, 8)
    assert torch.equal(up(x, skip=skip), resize(x, (9, 8)))


def test_the_residual_is_attention_over_all_coarse_pixels() -> None:
    up = awake(skip_channels=2)
    x, skip = torch.randn(1, 3, 3, 2, dtype=torch.float64), torch.randn(1, 2, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(up(x, skip=skip), definition(up, x, skip), rtol=1e-10, atol=1e-10)


def test_the_skip_guides_where_its_channels_are_named() -> None:
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    one, other = torch.randn(2, 1, 2, 8, 8, dtype=torch.float64)
    up = awake(skip_channels=2)
    assert up.uses_skip
    assert not torch.allclose(up(x, skip=one), up(x, skip=other))
    blind = awake()
    assert not blind.uses_skip
    assert torch.equal(blind(x, skip=one), blind(x, skip=other))
    torch.testing.assert_close(up(x, skip=0 * one), up(x))
    with pytest.raises(ValueError, match="skip: expected 2 channels, got 5"):
        up(x, skip=torch.randn(1, 5, 8, 8).double())


def test_nothing_has_the_size_of_all_pairs() -> None:
    """64 x 64 from 32 x 32: 4 million pairs, of which no tensor is made."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            self.numbers = max(self.numbers, out.numel() if isinstance(out, Tensor) else 0)
            return out

    up = LinearAttentionUpsampler(4, dim=8, heads=1)
    with Largest() as watch:
        up(torch.randn(1, 4, 32, 32)).sum().backward()
    assert watch.numbers <= 64 * 64 * 8


def test_widths_that_do_not_fit_are_refused() -> None:
    for options in ({"dim": 12, "heads": 2}, {"dim": 0}, {"heads": 0}):
        with pytest.raises(ValueError, match="dim: expected a multiple of 4 heads"):
            LinearAttentionUpsampler(4, **options)
