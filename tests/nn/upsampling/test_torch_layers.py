"""torch's four layers by name are torch's four layers, bit for bit, and differ as torch's do."""

import pytest
import torch
from torch import nn

from linsight.nn.upsampling import make_upsampler

GRIDS = ((1, 1), (1, 7), (5, 5), (8, 13))


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_each_is_bit_equal_to_the_layer_of_torch(grid, scale) -> None:
    x = torch.randn(2, 2 * scale**2, *grid)
    channels = x.shape[1]
    size = (scale * grid[0], scale * grid[1])
    pairs = {
        "pixel_shuffle": ({}, nn.PixelShuffle(scale)),
        "nearest2d_legacy": ({}, nn.UpsamplingNearest2d(size)),
        "bilinear2d_aligned": ({}, nn.UpsamplingBilinear2d(size)),
        "upsample": ({}, nn.Upsample(size)),
    }
    for name, (options, layer) in pairs.items():
        assert torch.equal(make_upsampler(name, channels, scale=scale, **options)(x), layer(x))
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic"):
        assert torch.equal(
            make_upsampler("upsample", channels, scale=scale, mode=mode)(x), nn.Upsample(size, mode=mode)(x)
        )


def test_the_two_bilinear_layers_of_torch_are_two_functions() -> None:
    """On 0 1 2 3: half-pixel centres repeat the border, aligned corners stretch the steps to 3 / 7."""
    ramp = torch.arange(4.0, dtype=torch.float64).expand(1, 1, 4, 4)
    rows = {
        name: make_upsampler(name, 1, **options)(ramp)[0, 0, 0]
        for name, options in {
            "bilinear": {},
            "upsample": {"mode": "bilinear"},
            "bilinear2d_aligned": {},
        }.items()
    }
    aligned = torch.arange(8, dtype=torch.float64) * 3 / 7
    torch.testing.assert_close(rows["bilinear2d_aligned"], aligned)
    assert torch.equal(rows["upsample"], rows["bilinear"])
    assert not torch.allclose(rows["bilinear"], rows["bilinear2d_aligned"], atol=0.1)


def test_the_channels_of_a_shuffle_are_its_phases() -> None:
    """y[c, r h + i, r w + j] = x[c r^2 + i r + j, h, w], read off one by one."""
    x = torch.randn(1, 18, 2, 3)
    y = make_upsampler("pixel_shuffle", 18, scale=3)(x)
    for c in range(2):
        for i in range(3):
            for j in range(3):
                assert torch.equal(y[:, c, i::3, j::3], x[:, c * 9 + i * 3 + j])


def test_a_shuffle_makes_its_channels_or_says_that_it_cannot() -> None:
    up = make_upsampler("pixel_shuffle", 6, 5)
    x = torch.randn(2, 6, 3, 4)
    assert torch.equal(up(x), nn.PixelShuffle(2)(up.project(x)))
    assert not list(make_upsampler("pixel_shuffle", 8, 2, project=False).parameters())
    with pytest.raises(ValueError, match=r"expected out_channels scale\^2 = 20 with project=False, got 6"):
        make_upsampler("pixel_shuffle", 6, 5, project=False)
    with pytest.raises(ValueError, match=r"in_channels: expected a multiple of scale\^2 = 4, got 6"):
        make_upsampler("pixel_shuffle", 6)


def test_modes_that_torch_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mode: expected one of nearest, nearest-exact, .*, got 'x'"):
        make_upsampler("upsample", 1, mode="x")
    with pytest.raises(ValueError, match="align_corners: expected None with mode 'nearest', got True"):
        make_upsampler("upsample", 1, align_corners=True)
