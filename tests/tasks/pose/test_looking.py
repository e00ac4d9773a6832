"""A network on a picture of any size: what it finds in the crop, moved to where the crop is."""

import numpy as np
import pytest
import torch

from linsight.data import People
from linsight.models.vision import KeypointNet
from linsight.tasks.pose import found_in_box

SIZE = (32, 24)


@pytest.fixture(scope="module")
def seen(small_network) -> tuple[KeypointNet, np.ndarray]:
    """A fresh network of a density, whose output depends on the crop, and a crop."""
    torch.manual_seed(0)
    net = small_network("nll_gauss").build().eval()
    for weight in net.head.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    image = People(size=SIZE, samples=1).items("test", np.arange(1)).image[0]
    return net, image.transpose(1, 2, 0) / 255


def test_a_picture_of_the_crops_size_is_the_crop(seen) -> None:
    net, image = seen
    found = found_in_box(net, image)
    with torch.no_grad():
        want = net.keypoints(torch.from_numpy(image).float().permute(2, 0, 1)[None])
    torch.testing.assert_close(found.xy, want.xy[0].double())
    torch.testing.assert_close(found.score, want.score[0].double())
    torch.testing.assert_close(found.sigma, want.sigma[0].double())


@pytest.mark.parametrize("scale", [1, 5])  # with 5 the box is of whole pixels
def test_where_the_crop_is_moved_and_enlarged_so_are_the_joints_and_their_sigma(seen, scale: int) -> None:
    """The box whose 1.25-fold is the enlarged crop, 10 and 6 pixels into a picture of noise."""
    net, image = seen
    plain = found_in_box(net, image)
    height, width = (scale * side for side in SIZE)
    canvas = np.random.default_rng(0).random((height + 20, width + 30, 3))
    canvas[6 : 6 + height, 10 : 10 + width] = image.repeat(scale, 0).repeat(scale, 1)
    box = (10 + 0.1 * width, 6 + 0.1 * height, 10 + 0.9 * width, 6 + 0.9 * height)
    found = found_in_box(net, canvas, box)
    moved = scale * (plain.xy + 0.5) - 0.5 + torch.tensor([10, 6])
    # A crop of means over whole enlarged pixels is the image, but for rounding.
    torch.testing.assert_close(found.xy, moved, rtol=0, atol=1e-3)
    torch.testing.assert_close(found.sigma, scale * plain.sigma, rtol=1e-4, atol=0)
    narrow = (box[0] + 0.3 * width, box[1], box[2] - 0.3 * width, box[3])
    torch.testing.assert_close(found_in_box(net, canvas, narrow).xy, moved, rtol=0, atol=1e-3)


def test_a_picture_of_another_shape_is_seen_whole(seen) -> None:
    """The crop of a wide picture is as wide as it, and dark above and below."""
    net, image = seen
    wide = image[8:20]
    padded = np.zeros((*SIZE, 3))
    padded[10:22] = wide
    plain = found_in_box(net, padded)
    torch.testing.assert_close(
        found_in_box(net, wide).xy, plain.xy - torch.tensor([0, 10]), rtol=0, atol=1e-3
    )


def test_a_codec_without_a_sigma_tells_none(small_network) -> None:
    assert found_in_box(small_network("regression_l1").build(), np.zeros((*SIZE, 3))).sigma is None
