"""Sub-pixel convolution begins as nearest interpolation of a convolution, bit for bit."""

import pytest
import torch
import torch.nn.functional as F

from linsight.nn.upsampling import SubPixel, phase_pattern, resize


def constant(channels: int) -> torch.Tensor:
    return torch.randn(1, channels, 1, 1).expand(1, channels, 14, 14)


@pytest.mark.parametrize("scale", [2, 3])
def test_with_icnr_it_is_nearest_of_one_convolution_to_the_last_bit(scale: int) -> None:
    up = SubPixel(5, 3, scale)
    x = torch.randn(2, 5, 6, 4)
    one, bias = up.conv.weight[:: scale**2], up.conv.bias[:: scale**2]
    want = resize(F.conv2d(x, one, bias, padding=1), (6 * scale, 4 * scale), "nearest")
    assert (up(x) - want).abs().max().item() == 0.0
    assert one.std().item() == pytest.approx((5 * 9) ** -0.5, rel=0.2)


def test_tiled_copies_would_not_be_equal_phases() -> None:
    """The usual mistake: kernels repeated as a whole, so that a pixel's phases are of different channels."""
    up = SubPixel(5, 3)
    with torch.no_grad():
        up.conv.weight.copy_(up.conv.weight[::4].repeat(4, 1, 1, 1))
    assert phase_pattern(up(constant(5))) > 0.5
    assert phase_pattern(SubPixel(5, 3)(constant(5))) == 0
    assert phase_pattern(SubPixel(5, 3, icnr=False)(constant(5))) > 0.5


def test_the_blur_averages_two_by_two() -> None:
    plain, blurred = SubPixel(2, 3), SubPixel(2, 3, blur=True)
    blurred.load_state_dict(plain.state_dict())
    x = torch.randn(1, 2, 3, 4)
    y = F.pad(plain(x), (1, 0, 1, 0), mode="replicate")
    want = (y[..., 1:, 1:] + y[..., :-1, 1:] + y[..., 1:, :-1] + y[..., :-1, :-1]) / 4
    torch.testing.assert_close(blurred(x), want)
    assert phase_pattern(SubPixel(5, 3, icnr=False, blur=True)(constant(5))) < 1e-5


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel_size: expected an odd number, got 2"):
        SubPixel(2, kernel_size=2)
