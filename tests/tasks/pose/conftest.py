"""Networks of keypoints that are small, and one that knows the answers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from linsight.data import People
from linsight.mixers import config
from linsight.models.sequence import SequenceConfig
from linsight.models.vision import KeypointNet, KeypointNetConfig, PyramidConfig
from linsight.tasks.pose import PoseConfig, PoseTask


def network(codec: str = "rle_exact", size: tuple[int, int] = (32, 24)) -> KeypointNetConfig:
    stage = SequenceConfig(dim=8, layers=1, mlp_dim=8, mixers=(config("linear", heads=2),))
    backbone = PyramidConfig(stages=(stage, stage))
    return KeypointNetConfig(size=size, codec=codec, backbone=backbone, dim=8, narrow=4)


@pytest.fixture(scope="session")
def small_network() -> Callable[..., KeypointNetConfig]:
    """Configurations of small networks, by codec and size of the crop."""
    return network


@pytest.fixture
def task() -> Callable[..., PoseTask]:
    """The task on small crops of one ray a pixel."""

    def build(**options) -> PoseTask:
        options = {
            "data": People(size=(32, 24), samples=1, stripes=False),
            "model": network(options.pop("codec", "rle_exact")),
            "num_people": 12,
            "validate_people": 3,
            "test_people": 6,
            **options,
        }
        return PoseConfig(**options).build()

    return build


class Oracle(KeypointNet):
    """Knows the truth of a split's first people, and says it with a shift and a sigma.

    Args:
        shift: Pixels by which all joints are moved to the right.
        sigma: In crops.
        codec: A density.
    """

    def __init__(self, data: People, split: str, count: int, *, shift=0.0, sigma=0.01, codec="nll_gauss"):
        super().__init__(network(codec))
        found = data.items(split, np.arange(count))
        sides = torch.tensor([data.size[1], data.size[0]])
        moved = torch.from_numpy(found.keypoints) + torch.tensor([shift, 0.0])
        self.told = dict(
            zip((one.tobytes() for one in found.image), (moved.float() + 0.5) / sides, strict=True)
        )
        self.spreads = dict.fromkeys(self.told, torch.full((17, 2), sigma))

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        keys = [(image * 255).round().byte().numpy().tobytes() for image in images]
        # Of mirror images it knows nothing.
        middle = torch.full((17, 2), 0.5)
        mean = torch.stack([self.told.get(key, middle) for key in keys])
        return {"mean": mean, "sigma": torch.stack([self.spreads.get(key, middle) for key in keys])}


@pytest.fixture
def oracle() -> Callable[..., Oracle]:
    return Oracle
