"""Transposed convolution: sizes, overlaps, and initial values that are interpolation."""

import pytest
import torch
from torch import nn

from linsight.nn.upsampling import (
    TransposedConvolution,
    bilinear_kernel,
    make_upsampler,
    phase_pattern,
    resize,
    transposed_size,
)


def test_the_formula_of_the_size_is_torchs() -> None:
    for size in (1, 2, 5):
        for kernel in (1, 2, 3, 4):
            for stride in (1, 2, 3):
                for padding in (0, 1):
                    for extra in range(min(stride, 2)):
                        for dilation in (1, 2):
                            options = dict(
                                stride=stride, padding=padding, output_padding=extra, dilation=dilation
                            )
                            want = transposed_size(size, kernel, stride, padding, extra, dilation)
                            if want < 1:
                                continue
                            layer = nn.ConvTranspose1d(1, 1, kernel, **options)
                            assert layer(torch.zeros(1, 1, size)).shape[2] == want


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("name", ["deconv2", "deconv3", "deconv4", "deconv_bilinear"])
def test_every_setting_makes_scale_times_the_size(name: str, scale: int) -> None:
    up = make_upsampler(name, 1, scale=scale)
    assert up.grow(torch.zeros(1, 1, 3, 5)).shape == (1, 1, 3 * scale, 5 * scale)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("deconv2", [1] * 10),
        ("deconv3", [1, 2, 1, 2, 1, 2, 1, 2, 1, 1]),
        ("deconv4", [1, 2, 2, 2, 2, 2, 2, 2, 2, 1]),
    ],
)
def test_how_many_inputs_each_output_gets(name: str, counts: list[int]) -> None:
    """A kernel of ones over ones counts them: evenly where the scale divides the kernel, else 1 2 1 2."""
    up = make_upsampler(name, 1)
    nn.init.ones_(up.conv.weight)
    nn.init.zeros_(up.conv.bias)
    y = up(torch.ones(1, 1, 5, 5))[0, 0]
    want = torch.tensor(counts, dtype=torch.float32)
    assert torch.equal(y, torch.outer(want, want))


def test_the_bilinear_kernel_by_hand() -> None:
    assert bilinear_kernel(1).tolist() == [1]
    assert bilinear_kernel(2).tolist() == [0.25, 0.75, 0.75, 0.25]
    torch.testing.assert_close(bilinear_kernel(3), torch.tensor([1, 2, 3, 2, 1]) / 3)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_bilinear_start_is_half_pixel_bilinear_but_for_the_border(scale: int) -> None:
    up = make_upsampler("deconv_bilinear", 3, scale=scale).double()
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    y, want = up(x), resize(x, (5 * scale, 6 * scale))
    border = scale // 2
    inner = (..., slice(border, -border), slice(border, -border))
    torch.testing.assert_close(y[inner], want[inner], rtol=0, atol=1e-6)
    assert not torch.isclose(y[..., border - 1, :], want[..., border - 1, :]).any()


@pytest.mark.parametrize(("kernel", "scale"), [(2, 2), (4, 2), (3, 3)])
def test_equal_phases_begin_without_a_pattern_and_stay_learnable_apart(kernel: int, scale: int) -> None:
    constant = torch.randn(1, 4, 1, 1).double().expand(1, 4, 14, 14)
    up = TransposedConvolution(4, 4, scale, kernel_size=kernel, init="equal_phase").double()
    assert phase_pattern(up(constant), scale) < 1e-9
    assert (
        phase_pattern(TransposedConvolution(4, 4, scale, kernel_size=kernel).double()(constant), scale) > 0.3
    )
    assert up.conv.weight.abs().min() > 0
    with torch.no_grad():
        up.conv.weight[:, :, 0, 0] += 1
    assert phase_pattern(up(constant), scale) > 0.1


def test_equal_phases_of_two_by_two_are_nearest_after_a_convolution() -> None:
    up = make_upsampler("deconv2", 3, 4, init="equal_phase").double()
    x = torch.randn(1, 3, 4, 5, dtype=torch.float64)
    point = nn.functional.conv2d(x, up.conv.weight[:, :, :1, :1].transpose(0, 1), up.conv.bias)
    torch.testing.assert_close(up(x), resize(point, (8, 10), "nearest"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 1}, "kernel_size: expected at least scale 2, got 1"),
        ({"scale": 1, "kernel_size": 2}, "kernel_size: expected an odd number at scale 1, got 2"),
        ({"kernel_size": 3, "init": "equal_phase"}, "kernel_size: expected a multiple of scale 2 .*, got 3"),
        (
            {"init": "bilinear"},
            "init 'bilinear': expected kernel_size 4 and equal channels, got 2 and 4 -> 4",
        ),
        (
            {"kernel_size": 4, "out_channels": 5, "init": "bilinear"},
            "init 'bilinear': expected kernel_size 4 and equal channels, got 4 and 4 -> 5",
        ),
        ({"init": "zeros"}, "init: expected one of default, bilinear, equal_phase, got 'zeros'"),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransposedConvolution(4, **options)
