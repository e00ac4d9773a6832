"""Every registered upsampler under one contract: sizes, gradients, layouts, dtypes, refusals."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import Tensor, nn

from linsight.nn.upsampling import (
    UPSAMPLERS,
    FixedScale,
    IndexedMaxPool,
    Upsampler,
    make_upsampler,
    phase_pattern,
    resize,
)

CHANNELS = 4
SMALL = {"carafe": {"compressed": 2, "window": 3}, "linear_attention": {"dim": 8, "heads": 1}}
GRIDS = ((1, 1), (1, 7), (5, 5), (8, 13))
NEEDS_INDICES = "unpool"
FREE = [name for name in UPSAMPLERS if name != NEEDS_INDICES]

SMOOTH = (
    "nearest",
    "bilinear",
    "bicubic",
    "upsample",
    "nearest2d_legacy",
    "bilinear2d_aligned",
    "resize_conv",
)
SMOOTH += ("subpixel", "carafe", "dysample", "deconv_bilinear", "linear_attention")
PATTERNED = ("deconv2", "deconv3", "deconv4", "pixel_shuffle")
BILINEAR = ("bilinear", "dysample", "deconv_bilinear", "linear_attention")


def make(
    name: str, scale: int = 2, *, out_channels: int = CHANNELS, awake: bool = True, **options
) -> Upsampler:
    """In float64; awake, with parameters off their initial values, so that no law holds by a zero."""
    options = {**SMALL.get(name, {}), **options}
    up = make_upsampler(name, CHANNELS, out_channels, scale, **options).double()
    if awake:
        with torch.no_grad():
            for parameter in up.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return up


def call(up: Upsampler, x: Tensor, size: tuple[int, int] | None = None, **rest) -> Tensor:
    """With the indices of some pooling, where they are needed."""
    if up.uses_indices:
        rows, columns = size or (up.scale * x.shape[2], up.scale * x.shape[3])
        before = torch.rand(
            x.shape[0], up.out_channels, rows, columns, generator=torch.Generator().manual_seed(1)
        )
        rest["indices"] = IndexedMaxPool(up.scale, ceil_mode=True)(before).indices
    return up(x, size, **rest)


def maps(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("name", UPSAMPLERS)
def test_the_size_is_the_one_asked_for(name: str, scale: int) -> None:
    up = make(name, scale, out_channels=3)
    for height, width in GRIDS:
        x = maps(2, CHANNELS, height, width)
        assert call(up, x).shape == (2, 3, scale * height, scale * width)
        less = (scale * height - 1, scale * width - 1)
        assert call(up, x, less).shape == (2, 3, *less)
        assert call(up, x, less, skip=maps(2, 9, *less)).shape == (2, 3, *less)
    assert (up.in_channels, up.out_channels, up.scale) == (CHANNELS, 3, scale)


@pytest.mark.parametrize("name", FREE)
def test_any_larger_size_is_reached_and_a_skip_stands_for_its_size(name: str) -> None:
    up = make(name)
    x = maps(1, CHANNELS, 5, 4)
    for size in ((9, 7), (5, 4), (17, 13), (10, 31)):
        y = up(x, size)
        assert y.shape == (1, CHANNELS, *size)
        assert y.isfinite().all()
        assert torch.equal(up(x, skip=maps(1, 3, *size)), y)


@pytest.mark.parametrize("name", FREE)
def test_what_can_only_double_is_cut_at_the_end_or_resized(name: str) -> None:
    up = make(name, awake=False)
    if isinstance(up, FixedScale):
        x = maps(1, CHANNELS, 4, 5)
        whole = up(x)
        assert torch.equal(up(x, (7, 9)), whole[:, :, :7, :9])
        assert torch.equal(up(x, (8, 9)), whole[:, :, :, :9])
        for size in ((9, 10), (6, 10), (7, 8)):
            assert torch.equal(up(x, size), resize(whole, size))


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    up = make(name)
    x = maps(2, CHANNELS, 3, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: call(up, x), x)
    parameters = dict(up.named_parameters())
    if parameters:

        def with_parameters(*values: Tensor) -> Tensor:
            state = dict(zip(parameters, values, strict=True))
            rest = {}
            if up.uses_indices:
                rest["indices"] = IndexedMaxPool(2)(torch.rand(2, CHANNELS, 6, 10)).indices
            return torch.func.functional_call(up, state, (x.detach(),), rest)

        values = tuple(one.detach().clone().requires_grad_() for one in parameters.values())
        assert torch.autograd.gradcheck(with_parameters, values, fast_mode=True)


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_every_parameter_is_learnt(name: str) -> None:
    up = make(name, out_channels=8)
    y = call(up, maps(2, CHANNELS, 5, 4))
    (y * torch.randn_like(y)).sum().backward() if y.requires_grad else None
    assert [key for key, one in up.named_parameters() if one.grad is None or not one.grad.any()] == []


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_images_of_a_batch_do_not_know_each_other(name: str) -> None:
    up = make(name)
    x = maps(3, CHANNELS, 4, 5)
    indices = IndexedMaxPool(2)(torch.rand(3, CHANNELS, 8, 10)).indices
    whole = up(x, indices=indices)
    alone = torch.cat([up(x[i : i + 1], indices=indices[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(whole, alone)
    broken = x.clone()
    broken[1] = torch.nan
    torch.testing.assert_close(up(broken, indices=indices)[[0, 2]], whole[[0, 2]])


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_the_layout_in_memory_does_not_matter(name: str) -> None:
    up = make(name)
    x = maps(2, CHANNELS, 4, 6)
    want = call(up, x)
    for same in (x.to(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3)):
        assert same.stride() != x.stride()
        torch.testing.assert_close(call(up, same), want)
    assert call(up, x[:0]).shape == (0, *want.shape[1:])


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_bfloat16_is_taken_and_near(name: str) -> None:
    up = make(name)
    x = maps(1, CHANNELS, 6, 5).bfloat16()
    want = call(up, x.double())
    found = call(up.bfloat16(), x)
    assert found.dtype == torch.bfloat16
    assert ((found.double() - want).norm() / want.norm()).item() < 0.03


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_a_state_dict_is_all_there_is(name: str) -> None:
    up, other = make(name), make(name, awake=False)
    other.load_state_dict(up.state_dict())
    x = maps(1, CHANNELS, 3, 4)
    assert torch.equal(call(up, x), call(other, x))


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("name", SMOOTH)
def test_a_constant_begins_without_a_pattern(name: str, scale: int) -> None:
    constant = maps(1, CHANNELS, 1, 1).expand(1, CHANNELS, 14, 14)
    assert phase_pattern(make(name, scale, awake=False)(constant), scale) < 1e-6


@pytest.mark.parametrize("name", PATTERNED)
def test_default_initial_values_begin_as_a_pattern(name: str) -> None:
    constant = maps(1, CHANNELS, 1, 1).expand(1, CHANNELS, 14, 14)
    patterns = [phase_pattern(make(name, awake=False)(constant)) for _ in range(8)]
    assert sum(patterns) / 8 > 0.5


def test_every_upsampler_but_unpooling_is_in_one_of_the_two_lists() -> None:
    assert sorted((*SMOOTH, *PATTERNED, NEEDS_INDICES)) == sorted(UPSAMPLERS)


@pytest.mark.parametrize("name", FREE)
def test_a_shift_of_the_input_is_scale_times_that_of_the_output(name: str) -> None:
    """In the interior, as begun; corner-aligned interpolation has no such law."""
    up = make(name, awake=False)
    x = maps(1, CHANNELS, 14, 14)
    y, moved = up(x), up(x.roll((1, 1), (2, 3)))
    same = torch.allclose(moved[..., 8:-6, 8:-6], y[..., 6:-8, 6:-8], atol=1e-9)
    assert same is (name != "bilinear2d_aligned")


@pytest.mark.parametrize("name", FREE)
def test_ramps_keep_their_place_where_they_are_promised(name: str) -> None:
    """u + v at half-pixel centres; a shift of half a fine pixel would be 0.25 off."""
    up = make(name, awake=False)
    if name == "dysample":
        nn.init.zeros_(up.offset.weight)
    coarse, fine = torch.arange(12.0).double(), (torch.arange(24.0).double() + 0.5) / 2 - 0.5
    x = (coarse[:, None] + 3 * coarse).expand(1, CHANNELS, 12, 12)
    error = (up(x)[0, :, 4:-4, 4:-4] - (fine[:, None] + 3 * fine)[4:-4, 4:-4]).abs().max().item()
    assert error < 1e-12 if name in BILINEAR else error > 0.05


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_what_does_not_fit_is_refused(name: str) -> None:
    up = make(name)
    x = maps(2, CHANNELS, 4, 6)
    for size, message in (
        ((0, 12), "size: expected at least 1 x 1, got 0 x 12"),
        ((8, -1), "size: expected at least 1 x 1, got 8 x -1"),
        ((3, 12), "size: expected at least x's 4 x 6, got 3 x 12; allow_down=True takes smaller ones"),
        ((8,), r"size: expected two integers \(height, width\), got \(8,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            up(x, size)
    for size in ((8.0, 12), (True, 12), 8.5, ("8", 12)):
        with pytest.raises(TypeError, match="size: expected two integers"):
            up(x, size)
    with pytest.raises(ValueError, match=r"skip: expected \(batch 2, .*\), got \(1, 3, 8, 12"):
        up(x, skip=maps(1, 3, 8, 12))
    with pytest.raises(ValueError, match=r"size: expected that of skip \(8, 12\) .*, got \(8, 11"):
        up(x, (8, 11), skip=maps(2, 3, 8, 12))
    for wrong in (maps(2, 5, 4, 6), maps(CHANNELS, 4, 6), maps(2, CHANNELS, 0, 6)):
        with pytest.raises(ValueError, match="x: expected"):
            up(wrong)
    if name != "nearest":
        with pytest.raises(
            TypeError, match=r"x: expected floating point, got torch\.int64; only 'nearest' takes"
        ):
            up(torch.ones(2, CHANNELS, 4, 6, dtype=torch.int64))


@pytest.mark.parametrize("name", FREE)
def test_smaller_sizes_are_taken_where_they_are_meant(name: str) -> None:
    assert make(name, allow_down=True)(maps(1, CHANNELS, 5, 5), (3, 7)).shape == (1, CHANNELS, 3, 7)


def test_names_options_and_numbers_are_checked() -> None:
    with pytest.raises(ValueError, match="'bilnear' is not known; choose one of nearest, bilinear, "):
        make_upsampler("bilnear", 4)
    with pytest.raises(ValueError, match="'carafe' has no option 'kernel'; it has window, compressed, "):
        make_upsampler("carafe", 4, kernel=3)
    with pytest.raises(ValueError, match="'deconv2' has no option 'taps'; it has init, allow_down"):
        make_upsampler("deconv2", 4, taps=lambda scale: scale)
    for options in (
        {"in_channels": 0},
        {"in_channels": 4, "out_channels": 0},
        {"in_channels": 4, "scale": 0},
    ):
        with pytest.raises(ValueError, match="expected at least 1, got 0"):
            make_upsampler("bilinear", **{"in_channels": 4, **options})
    assert "4 -> 8, scale=2" in repr(make_upsampler("dysample", 4, 8))


PROGRAM = """
    import torch
    from linsight.nn.upsampling import UPSAMPLERS, IndexedMaxPool, make_upsampler

    for wrong in (2.0, True, "2"):
        try:
            make_upsampler("bilinear", 4, scale=wrong)
        except TypeError as error:
            assert str(error) == f"scale: expected an integer, got {wrong!r}", error
        else:
            raise SystemExit(f"scale {wrong!r} was taken")

    class All(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = IndexedMaxPool(2, ceil_mode=True)
            self.ups = torch.nn.ModuleList(make_upsampler(name, 4, 4, skip_channels=4) for name in UPSAMPLERS)

        def forward(self, skip):
            x, indices, size = self.pool(skip)
            return [up(x, size, skip=skip, indices=indices) for up in self.ups]

    torch.manual_seed(0)
    model = All().eval()
    for size in ((8, 6), (5, 7)):
        skip = torch.rand(2, 4, *size)
        graph = torch.export.export(model, (skip,)).module()
        torch.testing.assert_close(graph(skip), model(skip))
"""


@pytest.mark.slow
def test_export_takes_every_upsampler_at_even_and_odd_sizes() -> None:
    """In a process of its own: shape checks, which the suite installs, cannot be traced."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
