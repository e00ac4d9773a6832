"""Tasks of gaze that are small, and a network that knows the answers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from linsight.data.gaze import Eyes, EyeSamples, mirror_angles
from linsight.models.vision import GazeNet, GazeNetConfig, ResidualConfig
from linsight.tasks.gaze import GazeConfig, GazeTask, PersonRoles

SIZE = (12, 20)


def network(codec: str = "rle_exact", **options) -> GazeNetConfig:
    backbone = ResidualConfig(in_channels=1, widths=(4, 8))
    return GazeNetConfig(size=SIZE, codec=codec, backbone=backbone, dim=8, narrow=4, **options)


@pytest.fixture
def task() -> Callable[..., GazeTask]:
    """The task on small pictures of one sample a pixel: 3 persons tested with 5 pictures each."""

    def build(codec: str = "rle_exact", roles: dict | None = None, **options) -> GazeTask:
        counts = {"train": 4, "valid": 2, "test": 3, "pictures": 5, "valid_pictures": 3, "test_pictures": 5}
        options = {
            "data": Eyes(size=SIZE, supersample=1),
            "roles": PersonRoles(**{**counts, **(roles or {})}),
            "model": network(codec),
            **options,
        }
        return GazeConfig(**options).build()

    return build


class Oracle(GazeNet):
    """Knows what it has been told of some pictures and, of mirror images, what mirrors do.

    Args:
        eyes: The pictures.
        angles: What it says of each, (pictures, 2) in radians.
        sigma: What it says of its deviations, likewise or a number.
        codec: A density.
    """

    def __init__(self, eyes: EyeSamples, angles: Tensor, sigma: Tensor | float = 0.05, codec="nll_gauss"):
        super().__init__(network(codec))
        sigma = torch.as_tensor(sigma).float().expand(len(angles), 2)
        self.told: dict[bytes, tuple[Tensor, Tensor]] = {}
        for image, angle, spread in zip(eyes.image, angles.float(), sigma, strict=True):
            self.told[image.numpy().tobytes()] = angle, spread
            self.told[image.flip(2).numpy().tobytes()] = mirror_angles(angle), spread

    def forward(self, images: Tensor, head: Tensor | None = None) -> dict[str, Tensor]:
        keys = [image.numpy().tobytes() for image in (images * 255).round().byte()]
        blank = torch.zeros(2), torch.ones(2)
        mean, sigma = zip(*(self.told.get(key, blank) for key in keys), strict=True)
        return {"mean": torch.stack(mean)[:, None], "sigma": torch.stack(sigma)[:, None]}


@pytest.fixture
def oracle() -> Callable[..., Oracle]:
    return Oracle
