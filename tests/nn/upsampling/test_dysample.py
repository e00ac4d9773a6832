"""DySample: bilinear where nothing moves, and points that go where the offsets say."""

import pytest
import torch
from torch import nn

from linsight.nn.upsampling import DySample, resize


def still(*args, **options) -> DySample:
    """Without offsets."""
    up = DySample(*args, **options).double()
    nn.init.zeros_(up.offset.weight)
    return up


@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (5, 8)], ids=str)
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("dynamic", [False, True])
def test_without_offsets_it_is_half_pixel_bilinear(grid, scale: int, dynamic: bool) -> None:
    up = still(8, scale=scale, dynamic=dynamic)
    x = torch.randn(2, 8, *grid, dtype=torch.float64)
    want = resize(x, (scale * grid[0], scale * grid[1]))
    torch.testing.assert_close(up(x), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("axis", "step"), [(0, (0.0, 1.0)), (1, (1.0, 0.0))])
def test_an_offset_moves_the_point_of_its_own_axis_phase_and_group(axis: int, step: tuple) -> None:
    """On x = column and x = row: a bias of 1 moves a point by a quarter of a pixel, along one axis."""
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    for group in range(2):
        for phase in range(4):
            up = still(4, groups=2)
            with torch.no_grad():
                up.offset.bias[(axis * 2 + group) * 4 + phase] = 1
            maps = torch.stack([rows, columns, rows, columns])[None].double()
            moved = (up(maps) - resize(maps, (16, 16)))[0, :, 4:-4, 4:-4]
            for g in range(2):
                for p in range(4):
                    here = moved[2 * g : 2 * g + 2, p // 2 :: 2, p % 2 :: 2]
                    want = 0.25 * torch.tensor(step) if (g, p) == (group, phase) else torch.zeros(2)
                    torch.testing.assert_close(here, want.double()[:, None, None].expand_as(here))


def test_the_dynamic_scope_is_half_a_sigmoid() -> None:
    up = still(4, groups=1, dynamic=True)
    with torch.no_grad():
        up.offset.bias[:4] = 1
        up.scope.weight[:, 0] = torch.log(torch.tensor(3.0))  # sigmoid = 3 / 4 where the channel is 1
    columns = torch.arange(8.0).double().expand(1, 1, 8, 8)
    x = torch.cat([torch.ones_like(columns), columns, columns, columns], dim=1)
    moved = (up(x) - resize(x, (16, 16)))[0, 1, 4:-4, 4:-4]
    torch.testing.assert_close(moved, torch.full_like(moved, 0.375))


def test_points_beyond_the_border_see_the_border() -> None:
    up = still(4)
    with torch.no_grad():
        up.offset.bias.fill_(1e3)
    x = torch.randn(1, 4, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(up(x), x[..., -1:, -1:].expand(1, 4, 10, 12))


def test_points_are_exact_in_bfloat16_beyond_256_pixels() -> None:
    x = torch.randn(1, 4, 1, 400).bfloat16()
    y = still(4).bfloat16()(x)
    want = resize(x.float(), (2, 800))
    assert (y.float() - want).abs().max() < 0.02 * want.abs().max()


def test_it_is_as_small_as_published_and_begins_near_bilinear() -> None:
    up = DySample(64)
    assert sum(one.numel() for one in up.parameters()) == 65 * 32
    x = torch.randn(1, 64, 6, 6)
    assert (up(x) - resize(x, (12, 12))).abs().max() < 0.05


def test_groups_divide_the_channels() -> None:
    assert [DySample(c).groups for c in (1, 2, 6, 12)] == [1, 2, 2, 4]
    with pytest.raises(ValueError, match="groups: expected a divisor of 6 channels, got 4"):
        DySample(6, groups=4)
    with pytest.raises(ValueError, match="groups: expected a divisor of 6 channels, got 0"):
        DySample(6, groups=0)
