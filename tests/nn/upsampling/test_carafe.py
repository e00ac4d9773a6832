"""CARAFE: its kernels by definition, what it begins as, and constants."""

import pytest
import torch
import torch.nn.functional as F

from linsight.nn.upsampling import Carafe, resize


def awake(**options) -> Carafe:
    up = Carafe(4, 3, compressed=5, **options).double()
    with torch.no_grad():
        for parameter in up.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return up


def definition(up: Carafe, x: torch.Tensor, window: int) -> torch.Tensor:
    """Pixel by pixel, as the paper writes it."""
    kernels = F.pixel_shuffle(up.encode(up.compress(x)), 2).softmax(1)
    x = F.pad(up.project(x), [window // 2] * 4)
    y = torch.zeros(x.shape[0], x.shape[1], *kernels.shape[2:], dtype=x.dtype)
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            around = x[:, :, i // 2 : i // 2 + window, j // 2 : j // 2 + window].flatten(2)
            y[:, :, i, j] = (around * kernels[:, None, :, i, j]).sum(2)
    return y


@pytest.mark.parametrize("window", [3, 5])
def test_each_pixel_has_a_kernel_of_its_own(window: int) -> None:
    up = awake(window=window)
    x = torch.randn(2, 4, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(up(x), definition(up, x, window), rtol=1e-12, atol=1e-12)


def test_it_begins_as_a_box_blur_of_nearest() -> None:
    torch.manual_seed(1)
    up = Carafe(8)
    x = torch.randn(1, 8, 9, 9)
    blurred = F.avg_pool2d(x, 5, stride=1)
    want = resize(blurred, (10, 10), "nearest")
    assert (up(x)[..., 4:-4, 4:-4] - want).abs().max() < 1e-2


def test_constants_stay_inside_and_everywhere_when_renormalised() -> None:
    x = torch.randn(1, 4, 1, 1, dtype=torch.float64).expand(1, 4, 7, 6)
    up = awake()
    want = resize(up.project(x), (14, 12), "nearest")
    torch.testing.assert_close(up(x)[..., 4:-4, 4:-4], want[..., 4:-4, 4:-4])
    assert not torch.isclose(up(x)[..., 0, 0], want[..., 0, 0]).any()
    whole = awake(renormalise=True)
    torch.testing.assert_close(whole(x), resize(whole.project(x), (14, 12), "nearest"))


def test_what_cannot_be_built_is_refused() -> None:
    for name in ("window", "encoder_size"):
        with pytest.raises(ValueError, match=f"{name}: expected an odd number, got 4"):
            Carafe(4, **{name: 4})
    with pytest.raises(ValueError, match="compressed: expected at least 1, got 0"):
        Carafe(4, compressed=0)
