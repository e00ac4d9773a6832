"""Interpolation in numbers known by hand, and the rule for labels."""

from fractions import Fraction
from math import floor

import pytest
import torch
import torch.nn.functional as F

from linsight.nn.upsampling import make_upsampler, resize

RAMP = torch.arange(4.0, dtype=torch.float64)


def row(name: str, size: int = 8, x: torch.Tensor = RAMP, **options) -> list[float]:
    """The upsampled ramp 0 1 2 3 along the width, the same in each of its rows."""
    up = make_upsampler(name, 1, allow_down=True, **options)
    y = up(x.expand(1, 1, 3, -1), (6, size))
    assert torch.equal(y, y[:, :, :1].expand_as(y))
    return y[0, 0, 0].tolist()


def test_bilinear_samples_half_pixel_centres_and_repeats_the_border() -> None:
    assert row("bilinear") == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]


@pytest.mark.parametrize(
    ("size", "exact", "legacy"),
    [(6, [0, 1, 1, 2, 3, 3], [0, 0, 1, 2, 2, 3]), (8, [0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 1, 1, 2, 2, 3, 3])],
)
def test_nearest_takes_the_nearest_centre_and_the_legacy_rule_does_not(size, exact, legacy) -> None:
    assert row("nearest", size) == exact
    assert row("nearest2d_legacy", size) == legacy


def test_downwards_the_two_rules_take_different_pixels() -> None:
    six = torch.arange(6.0, dtype=torch.float64)
    assert row("nearest", 4, six) == [0, 2, 3, 5]
    assert row("nearest2d_legacy", 4, six) == [0, 1, 3, 4]


def test_nearest_is_its_definition_in_exact_arithmetic_for_maps_and_labels() -> None:
    """torch's rounded factor takes a neighbour here and there, as at 6 -> 37, never at integer factors."""
    for length in range(1, 20):
        x = torch.arange(float(length)).expand(1, 1, 1, length)
        for wanted in range(1, 41):
            found = resize(x, (1, wanted), "nearest")
            want = [floor(Fraction(2 * i + 1, 2) * length / wanted) for i in range(wanted)]
            assert found.flatten().tolist() == want
            assert resize(x.long(), (1, wanted), "nearest").flatten().tolist() == want
            if wanted % length == 0:
                assert torch.equal(found, F.interpolate(x, (1, wanted), mode="nearest-exact"))


def test_labels_keep_their_dtype_and_values() -> None:
    labels = torch.randint(256, (2, 1, 5, 7))
    y = make_upsampler("nearest", 1)(labels, (9, 13))
    assert y.dtype == torch.int64
    assert set(y.unique().tolist()) <= set(labels.unique().tolist())


def test_bicubic_overshoots_symmetrically() -> None:
    """A step from 0 to 1: below 0 before it and above 1 behind it, by the same; a ramp is 3 / 64 off."""
    step = torch.tensor([0.0, 0, 0, 1, 1, 1], dtype=torch.float64)
    y = torch.tensor(row("bicubic", 12, step))
    assert y.min() < -0.05
    torch.testing.assert_close(y + y.flip(0), torch.ones(12))
    ramp = torch.tensor(row("bicubic", 24, torch.arange(12.0, dtype=torch.float64)))[6:-6]
    want = (torch.arange(24.0)[6:-6] + 0.5) / 2 - 0.5
    torch.testing.assert_close((ramp - want).abs(), torch.full((12,), 3 / 64))


def test_a_projection_before_the_resize_is_one_after_it() -> None:
    """For what interpolates linearly, with weights that sum to 1, the order is a matter of cost alone."""
    up = make_upsampler("bilinear", 3, 5).double()
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(up(x, (9, 7)), up.project(resize(x, (9, 7))))


def test_resize_conv_is_an_interpolation_and_a_convolution() -> None:
    for mode in ("nearest", "bilinear"):
        up = make_upsampler("resize_conv", 3, 5, kernel_size=5, mode=mode, padding_mode="replicate").double()
        x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
        fine = F.pad(resize(x, (7, 9), mode), (2, 2, 2, 2), mode="replicate")
        torch.testing.assert_close(up(x, (7, 9)), F.conv2d(fine, up.conv.weight, up.conv.bias))


def test_replicated_borders_leave_a_constant_as_it_is_everywhere() -> None:
    up = make_upsampler("resize_conv", 3, padding_mode="replicate").double()
    y = up(torch.ones(1, 3, 4, 4, dtype=torch.float64))
    torch.testing.assert_close(y, y[..., :1, :1].expand_as(y))


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="mode: expected one of nearest, bilinear, bicubic, got 'area'"):
        make_upsampler("resize_conv", 3, mode="area")
    with pytest.raises(ValueError, match="kernel_size: expected an odd number, got 2"):
        make_upsampler("resize_conv", 3, kernel_size=2)
