"""Gaze over a video: the split law, no look ahead, a fresh network that is the network of single eyes."""

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

from linsight.data.gaze import Eyes, sequence
from linsight.mixers import config
from linsight.models.sequence import SequenceConfig
from linsight.models.vision import GazeNetConfig, GazeVideoNetConfig, ResidualConfig

SIZE, FRAMES = (12, 20), 7


def build(mixer: str = "linear", **options) -> GazeVideoNetConfig:
    backbone = ResidualConfig(in_channels=1, widths=(4, 8))
    eye = GazeNetConfig(size=SIZE, codec="nll_gauss", backbone=backbone, dim=8, narrow=4, **options)
    return GazeVideoNetConfig(
        eye=eye, over_time=SequenceConfig(dim=8, layers=2, mlp_dim=8, mixers=(config(mixer, heads=2),))
    )


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    """Two persons who follow something, (2, 7, 1, 12, 20)."""
    eyes, _ = sequence(Eyes(size=SIZE, supersample=1), np.array([0, 1]), np.array([4, 4]), FRAMES)
    return (eyes.image.double() / 255).unflatten(0, (2, FRAMES))


@pytest.mark.parametrize("mixer", ["linear", "gated_delta", "local"])
@pytest.mark.parametrize("pieces", [[1] * FRAMES, [3, 4], [6, 1]])
def test_a_stream_of_frames_is_the_whole_clip(awake, clips, mixer, pieces) -> None:
    """Angles, sigmas and the last state, for every split, with a mixer of each sort of state."""
    net, head = (
        awake(build(mixer, head_pose=True).build()),
        0.3 * torch.randn(2, FRAMES, 2, dtype=torch.float64),
    )
    whole, last = net(clips, head)
    parts, state = [], None
    for piece, pose in zip(clips.split(pieces, 1), head.split(pieces, 1), strict=True):
        outputs, state = net(piece, pose, state)
        parts.append({name: one.unflatten(0, piece.shape[:2]) for name, one in outputs.items()})
    for name, one in whole.items():
        torch.testing.assert_close(torch.cat([part[name] for part in parts], 1).flatten(0, 1), one)
    for one, other in zip(tree_leaves(state), tree_leaves(last), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_frame_is_told_by_those_before_it_and_none_after(awake, clips) -> None:
    net = awake(build().build())
    plain, _ = net.gaze(clips)
    changed = clips.clone()
    changed[:, 3] = clips[:, 3].flip(-1)
    other, _ = net.gaze(changed)
    torch.testing.assert_close(other[:, :3], plain[:, :3])
    assert ((other - plain)[:, 3:].abs().amax((0, 2)) > 1e-6).all()


def test_a_fresh_network_says_of_each_frame_what_that_of_single_eyes_does(clips) -> None:
    net = build().build().double()
    found, _ = net.gaze(clips)
    torch.testing.assert_close(found.flatten(0, 1), net.eye.gaze(clips.flatten(0, 1)).xy[:, 0])


def test_all_of_it_learns(awake, clips) -> None:
    net = awake(build().build())
    outputs, _ = net(clips)
    truth = torch.zeros(2 * FRAMES, 1, 2, dtype=torch.float64)
    loss, _ = net.codec.loss(outputs, net.codec.encode(truth, torch.ones(2 * FRAMES, 1, dtype=torch.int64)))
    loss.backward()
    assert [name for name, one in net.named_parameters() if one.grad is None or not one.grad.any()] == []
