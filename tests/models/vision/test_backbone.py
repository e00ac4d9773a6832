"""The pyramid: sizes of any image, any mixer seeing all pixels, positions in two dimensions, no shift."""

import pytest
import torch
from torch import nn

from linsight import mixers
from linsight.conformance import small_options
from linsight.models.sequence import SequenceConfig, stacks_in, with_stacks
from linsight.models.vision import SIZES, DenseConfig, PyramidConfig, Stage, pyramid
from linsight.models.vision.parts import padded_to_even


def images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64)


@pytest.mark.parametrize("downsample", ["patches", "pool"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 70), (33, 47), (64, 32)], ids=str)
def test_every_map_has_the_size_divided_by_its_stride_and_rounded_up(small, size, downsample: str) -> None:
    backbone = small(downsample=downsample).build()
    maps, indices = backbone(torch.rand(2, 3, *size))
    assert backbone.strides == (4, 8, 16, 32)
    for stride, channels, one in zip(backbone.strides, backbone.channels, maps, strict=True):
        assert one.shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))
        assert one.isfinite().all()
    assert len(indices) == (3 if downsample == "pool" else 0)


@pytest.mark.parametrize("size", [(1, 1), (33, 47)], ids=str)
def test_a_stem_of_stride_2_makes_every_map_twice_as_fine(small, size) -> None:
    backbone = small(stages=2, stem_stride=2).build()
    maps, _ = backbone(torch.rand(1, 3, *size))
    assert backbone.strides == (2, 4)
    for stride, one in zip(backbone.strides, maps, strict=True):
        assert one.shape[2:] == (-(-size[0] // stride), -(-size[1] // stride))
    with pytest.raises(ValueError, match="stem_stride: expected 2 or 4, got 3"):
        small(stem_stride=3)


@pytest.mark.parametrize("kind", mixers.kinds())
def test_any_mixer_of_ours_sees_all_pixels_both_ways(small, awake, kind: str) -> None:
    """A change of the first pixel reaches the last of the map, and one of the last the first."""
    torch.manual_seed(0)
    options = small_options(kind)
    if kind in ("local", "strided", "fixed", "diag_attention", "reformer", "gau"):
        options = {}  # windows and blocks that hold all 20 tokens of the map
    mixer = mixers.config(kind, **options)
    stage = Stage(SequenceConfig(dim=8, layers=2, mlp_dim=8, mixers=(mixer,)), positions="none")
    awake(stage).eval()
    x = torch.randn(2, 8, 4, 5, dtype=torch.float64)
    x.requires_grad_()
    y = stage(x)
    assert y.shape == x.shape
    for here, there in (((0, 0), (3, 4)), ((3, 4), (0, 0))):
        (gradient,) = torch.autograd.grad(y[0, :, *here].square().sum(), x, retain_graph=True)
        assert gradient[0, :, *there].abs().max() > 0
        assert not gradient[1].any()


def test_blocks_read_rows_and_columns_in_turn(awake) -> None:
    """A stage by hand, of a mixer to which the order of tokens matters."""
    config = SequenceConfig(dim=8, layers=3, mlp_dim=8, mixers=(mixers.config("mamba", states=2),))
    stage = awake(Stage(config))
    x = torch.randn(1, 8, 3, 4, dtype=torch.float64)
    h = x + stage.place(x)
    for layer, block in enumerate(stage.stack.blocks):
        grid = h.transpose(2, 3) if layer == 1 else h
        tokens = torch.stack(
            [grid[:, :, i, j] for i in range(grid.shape[2]) for j in range(grid.shape[3])], 1
        )
        tokens, _ = block(tokens)
        grid = tokens.transpose(1, 2).reshape(grid.shape)
        h = grid.transpose(2, 3) if layer == 1 else grid
    want = stage.stack.norm(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(stage(x), want)
    rows = awake(Stage(config, scan="rows"))
    rows.load_state_dict(stage.state_dict())
    assert not torch.allclose(rows(x), want)


def test_only_the_convolution_tells_a_bag_of_pixels_where_they_stand(awake) -> None:
    """Linear attention is blind to order: without positions, permuted pixels give permuted outputs."""
    config = SequenceConfig(dim=8, layers=2, mlp_dim=8, mixers=(mixers.config("linear", heads=2),))
    x = torch.randn(1, 8, 3, 4, dtype=torch.float64)
    order = torch.randperm(12)
    permuted = x.flatten(2)[..., order].view_as(x)
    for positions, blind in (("none", True), ("convolution", False)):
        stage = awake(Stage(config, positions=positions))
        same = torch.allclose(stage(permuted).flatten(2), stage(x).flatten(2)[..., order])
        assert same is blind


def test_convolutions_come_before_the_blocks_each_beside_its_input(awake) -> None:
    """x + GELU(norm(conv(x))), then what the stage does without them."""
    config = SequenceConfig(dim=8, layers=1, mlp_dim=8, mixers=(mixers.config("linear", heads=2),))
    stage = awake(Stage(config, convolutions=2))
    plain = Stage(config).double()
    plain.load_state_dict(stage.state_dict(), strict=False)
    x = torch.randn(2, 8, 5, 6, dtype=torch.float64)
    y = x + stage.place(x)
    for convolution in stage.convolutions:
        told = nn.functional.conv2d(y, convolution[0].weight, padding=1)
        told = (told - told.mean(1, keepdim=True)) / (told.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
        y = y + nn.functional.gelu(told * convolution[1].weight[:, None, None])
    plain.place = None
    torch.testing.assert_close(stage(x), plain(y))


def test_images_of_a_batch_do_not_know_each_other(small, awake) -> None:
    backbone = awake(small(convolutions=1).build())
    x = images(3, 3, 21, 13)
    whole = backbone(x).maps
    for number in range(3):
        for one, alone in zip(whole, backbone(x[number : number + 1]).maps, strict=True):
            torch.testing.assert_close(one[number : number + 1], alone)


def test_the_stem_and_the_merges_keep_half_pixel_centres(small) -> None:
    """On a ramp of the columns, layers that average report the centre of the pixels they stand for.

    A stem of ones over 4 x 4 at stride 2 is centred at 2 j + 1/2 of its input, and so is a merge of 2 x 2.
    """
    backbone = small(in_channels=1).build().double()
    ramp = torch.arange(64.0).double().expand(1, 1, 64, 64)
    stem = backbone.stem[0]
    nn.init.constant_(stem.weight, 1 / 16)
    nn.init.zeros_(stem.bias)
    centres = 2 * torch.arange(32.0).double() + 0.5
    torch.testing.assert_close(stem(ramp)[0, 0, 5, 1:-1], centres[1:-1])
    merge = backbone.merges[0]
    assert (merge.kernel_size, merge.stride, merge.padding) == ((2, 2), (2, 2), (0, 0))
    second = backbone.stem[1][2]
    assert (second.kernel_size, second.stride, second.padding) == ((4, 4), (2, 2), (1, 1))


def test_an_odd_last_row_and_column_stand_twice() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3)
    y = padded_to_even(x)
    assert torch.equal(y[..., :3, :3], x)
    assert torch.equal(y[..., 3, :3], x[..., 2, :])
    assert torch.equal(y[..., :3, 3], x[..., 2])
    even = torch.zeros(1, 1, 2, 4)
    assert padded_to_even(even) is even


def test_pooled_indices_lead_back(small, awake) -> None:
    backbone = awake(small(downsample="pool").build())
    maps, indices = backbone(images(1, 3, 21, 13))
    for fine, where in zip(maps[:-1], indices, strict=True):
        pooled = nn.functional.max_pool2d(fine, 2, ceil_mode=True)
        assert torch.equal(fine.flatten(2).gather(2, where.flatten(2)).view_as(pooled), pooled)


def test_every_weight_is_learnt(small, awake) -> None:
    for downsample in ("patches", "pool"):
        backbone = awake(small(downsample=downsample, layers=2, convolutions=2).build())
        maps = backbone(images(2, 3, 37, 41)).maps
        sum((one * torch.randn_like(one)).sum() for one in maps).backward()
        names = [key for key, one in backbone.named_parameters() if one.grad is None or not one.grad.any()]
        assert names == []


def test_sizes_are_what_they_are_said_to_be() -> None:
    with torch.device("meta"):
        counts = [sum(p.numel() for p in pyramid(size).build().parameters()) for size in SIZES]
    assert [round(count / 1e6, 1) for count in counts] == [1.2, 9.0, 27.6, 84.0]


def test_the_mixer_of_all_stages_is_changed_as_that_of_any_stack() -> None:
    """What `compare` does with a model's configuration reaches the stages."""
    config = DenseConfig(backbone=pyramid("tiny"))
    assert [stack.dim for stack in stacks_in(config)] == [32, 64, 128, 256]
    other = mixers.config("mamba")
    changed = with_stacks(config, lambda stack: SequenceConfig(stack.dim, mixers=(other,)))
    assert all(stack.mixers == (other,) for stack in changed.backbone.stages)
    assert changed.decoder == config.decoder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 0}, "in_channels: expected at least 1, got 0"),
        ({"convolutions": -1}, "convolutions: expected at least 0, got -1"),
        ({"stages": ()}, "stages: expected at least one, got none"),
        ({"stages": (SequenceConfig(dim=9),)}, "stages: expected an even width in the first, got 9"),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PyramidConfig(**options)


def test_images_of_other_channels_are_refused(small) -> None:
    with pytest.raises(ValueError, match=r"images: expected 3 channels on axis 1, got \(1, 1, 8, 8\)"):
        small().build()(torch.rand(1, 1, 8, 8))
