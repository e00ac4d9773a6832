"""Networks of keypoints: every codec on the features it asks for, mirror images, export, refusals."""

import pytest
import torch

from linsight.models.vision import KeypointNetConfig, UNetConfig, decoder_config
from linsight.models.vision.codecs import Pixels, codec_from_words, codec_names

SIZE = (32, 24)
PAIRS = ((1, 2), (3, 4))
NAMES = codec_names(Pixels(24, 32))


def build(small, codec: str, **options) -> KeypointNetConfig:
    options = {"dim": 8, "narrow": 4, "backbone": small(stages=3), **options}
    return KeypointNetConfig(size=SIZE, joints=5, codec=codec, **options)


def crops(number: int = 2) -> torch.Tensor:
    return torch.rand(number, 3, *SIZE, dtype=torch.float64)


@pytest.mark.parametrize(("name", "pool"), [*((name, "places") for name in NAMES), ("rle", "mean")])
def test_every_codec_gets_outputs_that_it_can_read_and_learn_from(small, awake, name, pool) -> None:
    net = awake(build(small, name, pool=pool).build())
    outputs = net(crops())
    xy = 24 * torch.rand(2, 5, 2, dtype=torch.float64)
    targets = net.codec.encode(xy, torch.full((2, 5), 2))
    loss, _ = net.codec.loss(outputs, targets)
    loss.backward()
    assert [name for name, one in net.named_parameters() if one.grad is None] == []
    assert net.codec.decode(outputs).xy.shape == (2, 5, 2)


def test_the_flow_is_among_the_weights_that_are_trained(small) -> None:
    """53,784 parameters of the codec reach the optimiser, which moves them."""
    net = build(small, "rle").build()
    flow = list(net.codec.parameters())
    assert sum(one.numel() for one in flow) == 53_784
    assert {id(one) for one in flow} <= {id(one) for one in net.parameters()}
    assert {f"codec.{name}" for name in net.codec.state_dict()} <= net.state_dict().keys()


@pytest.mark.parametrize("codec", ["heatmap stride=8 decoder=argmax", "heatmap stride=4 upsamplings=1"])
def test_maps_may_be_coarser_or_upsampled_by_the_head(small, codec) -> None:
    """The features have the stride of the maps times two for each upsampling."""
    net = build(small, codec).build()
    stride = 8 if "stride=8" in codec else 4
    assert net(crops().float())["maps"].shape == (2, 5, 32 // stride, 24 // stride)
    assert net.level == 1


def test_strides_that_are_not_given_are_the_backbones(small) -> None:
    assert build(small, "heatmap").build_codec().grid.stride == 4
    assert build(small, "heatmap upsamplings=1").build_codec().grid.stride == 2
    assert build(small, "simcc").build_codec().stride == 16


def test_the_mirror_image_of_a_pair_gives_the_mirrored_pair(small, awake) -> None:
    """The flip test of an image and of its mirror image are mirror images: x -> 23 - x, pairs exchanged."""
    net, images = awake(build(small, "regression_l1").build()), crops()
    order = [0, 2, 1, 4, 3]
    here = net.keypoints(images, pairs=PAIRS).xy
    there = net.keypoints(images.flip(3), pairs=PAIRS).xy
    torch.testing.assert_close(there[:, order] * torch.tensor([-1.0, 1.0]) + torch.tensor([23.0, 0.0]), here)
    alone = net.keypoints(images).xy
    assert not torch.allclose(alone, here)


def test_the_exported_graph_has_the_decoder_and_no_flow(small) -> None:
    class Whole(torch.nn.Module):
        def __init__(self, net) -> None:
            super().__init__()
            self.backbone, self.narrow, self.read = net.backbone, net.narrow, net.read
            self.decoder, self.head = net.decoder, net.head
            self.net = [net]  # in a list: its parameters are not ours

        def forward(self, images):
            return self.net[0].keypoints(images)[:2]

    net = build(small, "rle_exact", backbone=small(stages=1)).build().eval()
    images = crops().float()
    exported = torch.export.export(Whole(net), (images,))
    torch.testing.assert_close(exported.module()(images), net.keypoints(images)[:2])
    assert not any("flow" in key for key in exported.state_dict)


def test_images_of_a_batch_do_not_know_each_other(small, awake) -> None:
    net, images = awake(build(small, "rle").build()), crops(3)
    whole = net.keypoints(images)
    alone = net.keypoints(images[1:2])
    torch.testing.assert_close(whole.xy[1], alone.xy[0])
    torch.testing.assert_close(whole.sigma[1], alone.sigma[0])


def test_words_give_values_of_their_type() -> None:
    space = Pixels(24, 32)
    codec = codec_from_words("rle variant=exact normalizer=None isotropic=True draws=7", space, stride=3)
    assert (codec.variant, codec.normalizer, codec.isotropic, codec.draws) == ("exact", None, True, 7)
    assert codec_from_words("heatmap sigma=1.5 stride=8", space, stride=2).grid.stride == 8
    assert codec_from_words("heatmap", space, stride=2).grid.stride == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("heatmp", "codec 'heatmp' is not known; choose one of heatmap_msra, heatmap, "),
        ("", "codec '' is not known"),
        ("rle variant", "codec 'rle': expected OPTION=VALUE after the name, got 'variant'"),
        ("rle sigma=2", "codec 'rle' has no option 'sigma'; it has variant, base, "),
        ("rle draws=many", "codec 'rle draws=many': "),
        ("heatmap stride=5", "stride: expected a divisor of 24 and 32, got 5"),
    ],
)
def test_words_that_mean_no_codec_are_refused(words, message) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        codec_from_words(words, Pixels(24, 32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"joints": 0}, "joints: expected at least 1, got 0"),
        ({"dim": 0}, "dim: expected at least 1, got 0"),
        ({"narrow": 0}, "narrow: expected at least 1, got 0"),
        ({"size": (0, 3)}, r"size: expected height and width of at least 1, got \(0, 3\)"),
        ({"decoder": decoder_config("fcn")}, "decoder: expected 'unet' or 'fpn', got 'fcn'"),
        (
            {"decoder": UNetConfig(upsampler="unpool")},
            "upsampler: 'unpool' needs a backbone with downsample 'pool', got 'patches'",
        ),
        (
            {"codec": "simcc stride=2"},
            "codec 'simcc stride=2': expected features of a stride that the backbone has, 4, 8, 16, 32",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        KeypointNetConfig(**options)


def test_crops_of_another_size_are_refused(small) -> None:
    net = build(small, "heatmap").build()
    with pytest.raises(ValueError, match=r"images: expected height and width \(32, 24\), got \(24, 32\)"):
        net(torch.rand(1, 3, 24, 32))
