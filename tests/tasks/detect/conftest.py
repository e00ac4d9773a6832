"""Detectors small enough to evaluate at once, and one that knows the answers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from linsight.data import Scenes
from linsight.losses import centre_targets
from linsight.mixers import config
from linsight.models.sequence import SequenceConfig
from linsight.models.vision import CentreMaps, Detector, DetectorConfig, PyramidConfig
from linsight.tasks.detect import DetectConfig, DetectTask


@pytest.fixture
def task() -> Callable[..., DetectTask]:
    """The task with a detector of two narrow stages."""

    def build(**options) -> DetectTask:
        stage = SequenceConfig(dim=8, layers=1, mlp_dim=8, mixers=(config("linear", heads=2),))
        model = DetectorConfig(backbone=PyramidConfig(stages=(stage, stage)), dim=8, side=24.0)
        return DetectConfig(**{"model": model, "validate_scenes": 6, "test_scenes": 12, **options}).build()

    return build


class Oracle(Detector):
    """Says of every scene of a split what is there, with the changes asked for.

    Args:
        shift: Pixels by which all boxes are moved to the right.
        wrong: Scenes of which every class is called the next one.
        blind: Scenes in which nothing is seen.
    """

    def __init__(self, data: Scenes, split: str, count: int, *, shift=0.0, wrong=(), blind=()) -> None:
        nn.Module.__init__(self)
        self.nothing = nn.Parameter(torch.zeros(1))
        self.stride = 4
        grid = (data.size // 4, data.size // 4)
        self.told = {}
        for number, scene in enumerate(data.scenes(split, np.arange(count))):
            labels = torch.from_numpy(scene.labels)[None]
            labels = (labels + 1) % 10 if number in wrong else labels
            boxes = torch.from_numpy(scene.boxes)[None].float()
            crowd = torch.from_numpy(scene.crowd)[None]
            labels = torch.full_like(labels, -1) if number in blind else labels
            heat, owned, _, _, _ = centre_targets(boxes, labels, classes=10, grid=grid, stride=4, crowd=crowd)
            owned = owned + torch.tensor([shift, 0.0, shift, 0.0])
            sure = 0.9 + 0.09 * number / count  # metrics warn of scores that are all equal
            self.told[scene.image.tobytes()] = (sure * heat[0]).logit(1e-4), owned[0]

    def forward(self, images: torch.Tensor) -> CentreMaps:
        keys = [(image * 255).round().byte().numpy().tobytes() for image in images]
        heat, boxes = zip(*(self.told[key] for key in keys), strict=True)
        return CentreMaps(torch.stack(heat), torch.stack(boxes))


@pytest.fixture
def oracle() -> Callable[..., Oracle]:
    return Oracle
