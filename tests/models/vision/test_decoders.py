"""Every decoder with every upsampler: exact sizes, no pixel moved, every level and weight of use."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch

from linsight.models.vision import DECODERS, DenseConfig, climb, decoder_config
from linsight.nn.upsampling import UPSAMPLERS, IndexedMaxPool, make_upsampler

CHANNELS, STRIDES, CLASSES = (4, 4, 8, 8), (4, 8, 16, 32), 3
SMALL = {"fpn": {"dim": 4}, "fcn": {}, "unet": {}}
PAIRS = [(kind, name) for kind in DECODERS for name in UPSAMPLERS if name != "unpool" or kind == "unet"]
LEARNT = ("bilinear", "deconv2", "subpixel", "dysample", "linear_attention", "unpool")


def build(kind: str, upsampler: str = "bilinear", **options):
    config = decoder_config(kind, upsampler=upsampler, **SMALL[kind], **options)
    return config.build(CHANNELS, STRIDES, CLASSES)


def levels(height: int, width: int, batch: int = 1) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Maps at the sizes that a backbone gives, and indices of poolings between them."""
    maps = [
        torch.randn(batch, channels, -(-height // stride), -(-width // stride), dtype=torch.float64)
        for channels, stride in zip(CHANNELS, STRIDES, strict=True)
    ]
    pool = IndexedMaxPool(2, ceil_mode=True)
    return maps, [pool(torch.rand_like(one)).indices for one in maps[:-1]]


@pytest.mark.parametrize(("kind", "upsampler"), PAIRS)
def test_logits_have_exactly_the_size_of_the_image(awake, kind: str, upsampler: str) -> None:
    decoder = awake(build(kind, upsampler))
    for size in ((33, 47), (64, 32), (1, 1)):
        maps, indices = levels(*size, batch=2)
        logits = decoder(maps, size, indices)
        assert logits.shape == (2, CLASSES, *size)
        assert logits.isfinite().all()


@pytest.mark.parametrize("upsampler", LEARNT)
@pytest.mark.parametrize("kind", DECODERS)
def test_every_weight_is_learnt_and_every_level_is_used(awake, kind: str, upsampler: str) -> None:
    if (kind, upsampler) not in PAIRS:
        return
    decoder = awake(build(kind, upsampler))
    maps, indices = levels(37, 41)
    maps = [one.requires_grad_() for one in maps]
    logits = decoder(maps, (37, 41), indices)
    (logits * torch.randn_like(logits)).sum().backward()
    assert [key for key, one in decoder.named_parameters() if one.grad is None or not one.grad.any()] == []
    used = [one.grad is not None and bool(one.grad.any()) for one in maps]
    assert used == [kind != "fcn", True, True, True]


@pytest.mark.parametrize("kind", DECODERS)
def test_images_of_a_batch_do_not_know_each_other(awake, kind: str) -> None:
    decoder = awake(build(kind, "dysample"))
    maps, _ = levels(21, 13, batch=2)
    whole = decoder(maps, (21, 13))
    for number in range(2):
        alone = decoder([one[number : number + 1] for one in maps], (21, 13))
        torch.testing.assert_close(whole[number : number + 1], alone)


@pytest.mark.parametrize("size", [(20, 24), (17, 23), (19, 21)], ids=str)
@pytest.mark.parametrize("upsampler", ["bilinear", "dysample", "deconv_bilinear", "linear_attention"])
def test_growing_moves_no_pixel_even_of_odd_maps(upsampler: str, size: tuple[int, int]) -> None:
    """The coarse map holds the places of its pixels; grown, each pixel finds its own place in it."""
    up = make_upsampler(upsampler, 1, scale=4, skip_channels=2).double()
    if upsampler == "dysample":
        torch.nn.init.zeros_(up.offset.weight)
    rows, columns = (torch.arange(-(-n // 4), dtype=torch.float64) * 4 + 1.5 for n in size)
    grown = climb(
        up, (rows[:, None] + 100 * columns).expand(1, 1, -1, -1), size, skip=torch.rand(1, 2, *size).double()
    )
    want = torch.arange(size[0]).double()[:, None] + 100 * torch.arange(size[1]).double()
    assert grown.shape[2:] == size
    torch.testing.assert_close(grown[0, 0, 2:-4, 2:-4], want[2:-4, 2:-4], rtol=1e-6, atol=1e-6)


def test_a_size_that_is_no_rounded_multiple_is_stretched_to() -> None:
    up = make_upsampler("bilinear", 1)
    x = torch.rand(1, 1, 4, 4)
    assert torch.equal(climb(up, x, (9, 6)), up(x, (9, 6)))


def test_fcn_begins_as_its_coarsest_score_alone() -> None:
    decoder = build("fcn").double()
    maps, _ = levels(40, 56)
    first = decoder(maps, (40, 56))
    others = [torch.rand_like(one) for one in maps[:-1]]
    torch.testing.assert_close(decoder([*others, maps[-1]], (40, 56)), first)
    half, last = make_upsampler("bilinear", CLASSES), make_upsampler("bilinear", CLASSES, scale=8)
    score = climb(half, decoder.scores[-1](maps[-1]), (3, 4))
    want = climb(last, climb(half, score, (5, 7)), (40, 56))
    torch.testing.assert_close(first, want)


@pytest.mark.parametrize(("finest", "number"), [(32, 1), (16, 2), (8, 3), (4, 4)])
def test_fcn_scores_down_to_its_finest_stride(awake, finest: int, number: int) -> None:
    decoder = awake(build("fcn", finest_stride=finest))
    assert (len(decoder.scores), decoder.last.scale) == (number, finest)
    maps, _ = levels(33, 47)
    assert decoder(maps, (33, 47)).shape == (1, CLASSES, 33, 47)
    with pytest.raises(ValueError, match="finest_stride: expected one of 4, 8, 16, 32, got 2"):
        build("fcn", finest_stride=2)


@pytest.mark.parametrize("join", ["concat", "add"])
def test_unet_joins_the_grown_map_with_the_encoders(awake, join: str) -> None:
    """By hand for two levels."""
    decoder = awake(decoder_config("unet", upsampler="deconv2", join=join).build((4, 8), (4, 8), CLASSES))
    fine, coarse = torch.randn(1, 4, 5, 4).double(), torch.randn(1, 8, 3, 2).double()
    grown = decoder.ups[0].conv(coarse)[:, :, :5, :4]
    h = decoder.blocks[0](torch.cat([grown, fine], dim=1) if join == "concat" else grown + fine)
    scores = torch.nn.functional.conv2d(h, decoder.last.project.weight, decoder.last.project.bias)
    logits = torch.nn.functional.interpolate(scores, scale_factor=4.0, mode="bilinear")
    torch.testing.assert_close(decoder([fine, coarse], (18, 16)), logits[:, :, :18, :16])


@pytest.mark.parametrize("last", [name for name in UPSAMPLERS if name != "unpool"])
def test_unet_ends_with_any_upsampler_at_any_size(awake, last: str) -> None:
    """Of the finest map's channels, at its stride: every size is exact, every weight is learnt."""
    decoder = awake(build("unet", last=last))
    assert (decoder.last.in_channels, decoder.last.out_channels, decoder.last.scale) == (4, CLASSES, 4)
    for size in ((33, 47), (1, 1)):
        maps, _ = levels(*size)
        logits = decoder(maps, size)
        assert logits.shape == (1, CLASSES, *size)
        logits.square().sum().backward()
    unused = [key for key, one in decoder.last.named_parameters() if one.grad is None or not one.grad.any()]
    assert unused == []


def test_unet_joins_in_no_third_way() -> None:
    """In another process: here the shape checks would catch it before the code a user runs does."""
    program = "from linsight.models.vision import UNetConfig; UNetConfig(join='multiply')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ValueError: join: expected 'concat' or 'add', got 'multiply'" in done.stderr


@pytest.mark.parametrize("name", ["unpool", "subpixels"])
def test_unet_ends_with_nothing_else(name: str) -> None:
    with pytest.raises(ValueError, match=f"last: expected one of nearest, .*, got '{name}'"):
        build("unet", last=name)


def test_unet_unpools_to_where_the_maxima_were(awake) -> None:
    decoder = awake(decoder_config("unet", upsampler="unpool").build((4, 8), (4, 8), CLASSES))
    maps, indices = [torch.randn(1, 4, 5, 4).double(), torch.randn(1, 8, 3, 2).double()], []
    with pytest.raises(
        ValueError, match="indices: expected those of 1 poolings for upsampler 'unpool', got 0"
    ):
        decoder(maps, (18, 16), indices)
    seen = []
    decoder.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    where = IndexedMaxPool(2, ceil_mode=True)(maps[0]).indices
    decoder(maps, (18, 16), [where])
    grown = seen[0][:, :4]
    found = grown.flatten(2).gather(2, where.flatten(2)).view(1, 4, 3, 2)
    assert torch.equal(found, decoder.ups[0].project(maps[1]))
    assert (grown != 0).sum() == 4 * 6


def test_the_pyramid_of_an_fpn_is_the_sum_of_laterals_from_above(awake) -> None:
    decoder = awake(build("fpn"))
    maps, _ = levels(33, 47)
    up = make_upsampler("bilinear", 4)
    above = decoder.laterals[3](maps[3])
    for level in (2, 1, 0):
        here = decoder.laterals[level](maps[level])
        above = here + climb(up, above, here.shape[2:])
    found = decoder.pyramid(maps)
    torch.testing.assert_close(found[0], decoder.smooth[0](above))
    assert [one.shape[2:] for one in found] == [one.shape[2:] for one in maps]


def test_a_whole_network_takes_images_of_any_size(small, awake) -> None:
    for kind in DECODERS:
        decoder = decoder_config(kind, **SMALL[kind])
        model = awake(DenseConfig(classes=5, backbone=small(), decoder=decoder).build())
        for size in ((33, 47), (64, 64), (1, 1)):
            assert model(torch.rand(1, 3, *size).double()).shape == (1, 5, *size)
    pooled = DenseConfig(
        backbone=small(downsample="pool"), decoder=decoder_config("unet", upsampler="unpool")
    )
    assert pooled.build()(torch.rand(2, 3, 33, 47)).shape == (2, 2, 33, 47)


def test_coarser_maps_have_logits_where_they_are_asked_for(small, awake) -> None:
    config = DenseConfig(classes=5, backbone=small(), coarse_logits=True)
    model, images = awake(config.build()), torch.rand(2, 3, 33, 47).double()
    finest, *coarse = model.all_logits(images)
    torch.testing.assert_close(finest, model(images))
    assert [one.shape for one in coarse] == [
        (2, 5, *one.shape[2:]) for one in model.backbone(images).maps[1:]
    ]
    plain = awake(DenseConfig(classes=5, backbone=small()).build())
    assert len(plain.all_logits(images)) == 1
    assert not list(plain.classifiers.parameters())


def test_what_cannot_be_built_is_refused(small) -> None:
    for kind in ("fcn", "fpn"):
        with pytest.raises(
            ValueError, match=r"upsampler: 'unpool' puts each channel .* decoder 'unet' takes it"
        ):
            decoder_config(kind, upsampler="unpool")
    with pytest.raises(ValueError, match=r"upsampler: expected one of nearest, .*, got 'magic'"):
        decoder_config("unet", upsampler="magic")
    with pytest.raises(ValueError, match="upsampler: 'unpool' needs a backbone with downsample 'pool'"):
        DenseConfig(backbone=small(), decoder=decoder_config("unet", upsampler="unpool"))
    with pytest.raises(ValueError, match="decoder 'segnet' is not known; choose one of fcn, unet, fpn"):
        decoder_config("segnet")
    with pytest.raises(ValueError, match="decoder 'unet' has no option 'dim'; it has upsampler"):
        decoder_config("unet", dim=3)
    with pytest.raises(ValueError, match="dim: expected at least 1, got 0"):
        decoder_config("fpn", dim=0)
    config = decoder_config("unet")
    for channels, strides, classes, message in (
        ((4, 8), (4,), 2, r"strides: expected one for each of 2 channels, got \(4,\)"),
        ((4, 8), (4, 16), 2, r"strides: expected each to be twice the one before, got \(4, 16\)"),
        ((4, 8), (4, 8), 0, "classes: expected at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            config.build(channels, strides, classes)
    with pytest.raises(ValueError, match=r"maps: expected maps of \(4, 8\) channels, got \(4,\)"):
        config.build((4, 8), (4, 8), 2)([torch.rand(1, 4, 2, 2)], (8, 8))
    with pytest.raises(ValueError, match="classes: expected at least 1, got 0"):
        DenseConfig(classes=0)


PROGRAM = """
    import torch
    from linsight.mixers import config
    from linsight.models.sequence import SequenceConfig
    from linsight.models.vision import DenseConfig, PyramidConfig, decoder_config, pyramid

    for name, wrong in (("positions", "sine"), ("scan", "snake"), ("downsample", "conv")):
        try:
            PyramidConfig(**{name: wrong})
        except ValueError as error:
            assert str(error).startswith(f"{name}: expected "), error
            assert str(error).endswith(f"got {wrong!r}"), error
        else:
            raise SystemExit(f"{name} {wrong!r} was taken")
    try:
        pyramid("huge")
    except ValueError as error:
        assert str(error) == "size: expected one of tiny, small, base, large, got 'huge'", error
    else:
        raise SystemExit("a size that is not there was taken")

    torch.manual_seed(0)
    mixers = (config("linear", heads=2),)
    stages = tuple(SequenceConfig(dim=8, layers=1, mlp_dim=8, mixers=mixers) for _ in range(2))
    for kind, options in (("unet", {"upsampler": "carafe"}), ("fcn", {}), ("fpn", {"dim": 8})):
        decoder = decoder_config(kind, **options)
        model = DenseConfig(backbone=PyramidConfig(stages=stages), decoder=decoder).build().eval()
        for size in ((13, 21), (32, 16))[: 2 if kind == "unet" else 1]:
            images = torch.rand(1, 3, *size)
            graph = torch.export.export(model, (images,)).module()
            torch.testing.assert_close(graph(images), model(images))
"""


@pytest.mark.slow
def test_export_takes_whole_networks_at_even_and_odd_sizes() -> None:
    """In a process of its own: shape checks, which the suite installs, cannot be traced."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
