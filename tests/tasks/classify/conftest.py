"""A folder of tiny digits in MNIST's layout, and classifiers small enough to evaluate at once."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from linsight.mixers import config
from linsight.models.sequence import ClassifierConfig, SequenceClassifier, SequenceConfig
from linsight.tasks.classify import ClassifyConfig, ClassifyTask

SHAPES = {
    "smnist": {"patch": 4, "max_length": 16, "classes": 3},
    "pmnist": {"patch": 4, "max_length": 16, "classes": 3},
    "listops-128": {"vocabulary": 16, "max_length": 128},
    "pathfinder-32-easy": {"patch": 32, "max_length": 32, "classes": 2},
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 training images (55 and 5 of validation) and 24 test images of 8 x 8 pixels, classes 0 to 2."""
    path = tmp_path_factory.mktemp("digits")
    random = np.random.default_rng(5)
    for name, number in (("train", 60), ("t10k", 24)):
        labels = np.arange(number) % 3
        pixels = random.integers(0, 256, (number, 8, 8))
        pixels[np.arange(number), labels] = 255  # a row that tells the class
        for kind, array in (("images", pixels), ("labels", labels)):
            header = struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape)
            file = path / f"{name}-{kind}-idx{array.ndim}-ubyte"
            file.write_bytes(header + array.astype(np.uint8).tobytes())
    return path


@pytest.fixture
def task(folder: Path) -> Callable[..., ClassifyTask]:
    """The task on one of the data sets, digits being the folder's; `model` are options of the classifier."""

    def build(data: str = "smnist", model: dict | None = None, **options) -> ClassifyTask:
        sequence = SequenceConfig(dim=8, layers=1, mlp_dim=8, mixers=(config("linear", heads=2),))
        classifier = ClassifierConfig(**{"sequence": sequence, **SHAPES[data], **(model or {})})
        if data in ("smnist", "pmnist"):
            options = {"source": str(folder), **options}
        options = {"num_examples": 100, "test_examples": 30, **options}
        return ClassifyConfig(data=data, model=classifier, **options).build()

    return build


@pytest.fixture
def awake() -> Callable[[SequenceClassifier], SequenceClassifier]:
    """Gives the head, which is 0 at first, weights."""

    def wake(model: SequenceClassifier) -> SequenceClassifier:
        torch.manual_seed(2)
        nn.init.normal_(model.head.weight, std=0.5)
        return model.eval()

    return wake
