"""Networks of gaze: every codec of directions, mirrors, exposure, head pose, export, refusals."""

from typing import Any

import pytest
import torch

from linsight.models.vision import GazeNetConfig, ResidualConfig
from linsight.models.vision.codecs import Directions, codec_names
from linsight.ops import angular_error, to_vector

SIZE = (12, 20)
NAMES = codec_names(Directions())


def build(codec: str = "rle", **options: Any) -> GazeNetConfig:
    options = {"backbone": ResidualConfig(in_channels=1, widths=(4, 8)), "dim": 8, "narrow": 4, **options}
    return GazeNetConfig(size=SIZE, codec=codec, **options)


def eyes(number: int = 2) -> torch.Tensor:
    return torch.rand(number, 1, *SIZE, dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_every_codec_of_directions_gets_outputs_that_it_can_read_and_learn_from(awake, name) -> None:
    net = awake(build(name).build())
    outputs = net(eyes())
    truth = 0.6 * torch.rand(2, 1, 2, dtype=torch.float64)
    loss, _ = net.codec.loss(outputs, net.codec.encode(truth, torch.ones(2, 1, dtype=torch.int64)))
    loss.backward()
    assert [name for name, one in net.named_parameters() if one.grad is None] == []
    found = net.codec.decode(outputs)
    assert found.xy.shape == (2, 1, 2)
    assert torch.equal(net.gaze(eyes() * 0 + 0.5).xy, net.codec.decode(net(eyes() * 0 + 0.5)).xy)


@pytest.mark.parametrize("backbone", ["residual", "pyramid"])
def test_the_flip_test_of_an_eye_and_of_its_mirror_image_are_mirror_images(awake, small, backbone) -> None:
    """Yaw changes its sign and pitch does not, of eye and head; a single look has no such law."""
    parts = {"pyramid": {"backbone": small(stages=2, in_channels=1)}, "residual": {}}[backbone]
    net, images = awake(build("nll_gauss", head_pose=True, **parts).build()), eyes()
    mirror, head = torch.tensor([1.0, -1.0]), torch.tensor([[0.1, 0.4], [-0.2, 0.3]], dtype=torch.float64)
    here = net.gaze(images, head, flip=True)
    there = net.gaze(images.flip(3), head * mirror, flip=True)
    torch.testing.assert_close(there.xy * mirror, here.xy)
    torch.testing.assert_close(there.sigma, here.sigma)
    alone, turned = net.gaze(images, head).xy, net.gaze(images.flip(3), head * mirror).xy
    assert angular_error(to_vector(alone), to_vector(turned * mirror)).min() > 1e-3
    back = net.codec.decode(net.mirrored(images, head)).xy
    torch.testing.assert_close(back, turned * mirror)


def test_exposure_and_the_other_pictures_of_a_batch_change_nothing(awake) -> None:
    """(a x + b) is x once mean and deviation are taken off, up to the floor under the deviation."""
    net, images = awake(build("regression_l1").build()), eyes(3)
    whole = net.gaze(images).xy
    torch.testing.assert_close(net.gaze(images[1:2]).xy[0], whole[1])
    torch.testing.assert_close(net.gaze(0.8 * images + 0.1).xy, whole, rtol=0, atol=2e-3)
    assert not torch.allclose(net.gaze(images**2).xy, whole, atol=1e-2)
    assert net.gaze(torch.zeros_like(images)).xy.isfinite().all()


def test_the_head_stands_beside_the_features_of_the_eye(awake) -> None:
    """The last layer alone sees it: what it adds to a linear output is the same for every picture."""
    net = awake(build("nll_gauss", head_pose=True).build())
    head = torch.tensor([[0.2, -0.1]], dtype=torch.float64)
    features = net.features(eyes(), head.expand(2, 2))
    assert torch.equal(features[:, -2:], head.expand(2, 2))
    assert not torch.allclose(net.gaze(eyes(1), head).xy, net.gaze(eyes(1), 2 * head).xy)
    plain = awake(build("nll_gauss").build())
    images = eyes()
    assert torch.equal(plain(images, head.expand(2, 2))["mean"], plain(images)["mean"])


def test_the_exported_graph_has_the_decoder_and_no_flow() -> None:
    class Whole(torch.nn.Module):
        def __init__(self, net) -> None:
            super().__init__()
            self.backbone, self.narrow, self.read, self.head = net.backbone, net.narrow, net.read, net.head
            self.net = [net]  # in a list: its parameters are not ours

        def forward(self, images):
            return self.net[0].gaze(images)[:3]

    net = build("rle_exact").build().eval()
    images = eyes().float()
    exported = torch.export.export(Whole(net), (images,))
    torch.testing.assert_close(exported.module()(images), net.gaze(images)[:3])
    assert not any("flow" in key for key in exported.state_dict)


@pytest.mark.parametrize(("stem", "size"), [(1, (7, 9)), (2, (7, 9)), (2, (36, 60))])
def test_the_maps_of_a_residual_network_have_its_strides(stem, size) -> None:
    config = ResidualConfig(in_channels=2, widths=(4, 6, 8), stem_stride=stem)
    assert config.strides == (stem, 2 * stem, 4 * stem)
    maps = config.build()(torch.rand(1, 2, *size)).maps
    assert [tuple(one.shape[1:]) for one in maps] == [
        (width, -(-size[0] // stride), -(-size[1] // stride))
        for width, stride in zip(config.widths, config.strides, strict=True)
    ]


def test_fresh_blocks_are_the_identity_and_learn() -> None:
    net = ResidualConfig(widths=(4,), blocks=3).build()
    images = torch.rand(2, 3, 8, 8)
    (found,) = net(images).maps
    torch.testing.assert_close(found, net.stem(images))
    found.square().sum().backward()
    last = [one.layers[-1].weight.grad for one in net.stages[0]]
    assert all(one.abs().max() > 0 for one in last)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build(dim=0), "dim: expected at least 1, got 0"),
        (lambda: build(narrow=0), "narrow: expected at least 1, got 0"),
        (lambda: build("heatmap"), "codec 'heatmap': space: expected Pixels for Heatmap, got Directions"),
        (lambda: build("l7"), "codec 'l7' is not known; choose one of "),
        (lambda: build(unit=0.0), "unit: expected a number of radians above 0, got 0.0"),
        (lambda: ResidualConfig(widths=()), r"widths: expected at least one, each at least 1, got \(\)"),
        (lambda: ResidualConfig(blocks=0), "blocks: expected at least 1, got 0"),
        (lambda: ResidualConfig(stem_stride=4), "stem_stride: expected 1 or 2, got 4"),
        (
            lambda: build().build()(torch.rand(1, 1, 20, 12)),
            r"images: expected height and width \(12, 20\), got \(20, 12\)",
        ),
        (lambda: build().build()(torch.rand(1, 3, 12, 20)), r"images: expected 1 channels on axis 1"),
        (
            lambda: build(head_pose=True).build()(torch.rand(1, 1, 12, 20)),
            r"head: expected pitch and yaw \(batch, 2\) for a network with head_pose, got none",
        ),
    ],
)
def test_what_cannot_be_is_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
