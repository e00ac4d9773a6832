"""A folder of tiny digits in MNIST's layout, and densities small enough to evaluate at once."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from linsight.mixers import config
from linsight.models.sequence import ImageDensity, ImageDensityConfig, SequenceConfig
from linsight.tasks.generate import GenerateConfig, GenerateTask

CLASSES = 3


def _write(path: Path, array: np.ndarray) -> None:
    """IDX: a magic number that says the number of axes, their sizes, and the bytes."""
    header = struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 training images (50 and 10 of validation) and 24 test images of 8 x 8 pixels, classes 0 to 2."""
    path = tmp_path_factory.mktemp("digits")
    random = np.random.default_rng(5)
    for name, number in (("train", 60), ("t10k", 24)):
        labels = np.arange(number) % CLASSES
        pixels = random.integers(0, 256, (number, 8, 8))
        pixels[np.arange(number), labels] = 255  # a row that tells the class
        pixels[:, 7] = 0
        _write(path / f"{name}-images-idx3-ubyte", pixels)
        _write(path / f"{name}-labels-idx1-ubyte", labels)
    return path


@pytest.fixture
def task(folder: Path) -> Callable[..., GenerateTask]:
    """The task on the folder; `label`, `patch`, `classes` and `mixer` are the model's."""

    def build(
        *,
        label: str = "both",
        patch: tuple[int, int] = (2, 4),
        classes: int = CLASSES,
        mixer: str = "linear",
        **options,
    ) -> GenerateTask:
        sequence = SequenceConfig(dim=8, layers=1, mlp_dim=8, mixers=(config(mixer, heads=2),))
        model = ImageDensityConfig(
            height=8, width=8, patch=patch, classes=classes, label=label, sequence=sequence
        )
        return GenerateConfig(**{"data": str(folder), "model": model, **options}).build()

    return build


@pytest.fixture
def awake() -> Callable[[ImageDensity], ImageDensity]:
    """Gives the head, which is 0 at first, weights."""

    def wake(model: ImageDensity) -> ImageDensity:
        torch.manual_seed(2)
        nn.init.normal_(model.network.head.weight, std=0.5)
        return model.eval()

    return wake
