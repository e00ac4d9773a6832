"""Tiny models in float64 whose every weight matters."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from linsight.mixers import config
from linsight.models.sequence import (
    ImageDensity,
    ImageDensityConfig,
    SequenceConfig,
    SequenceModel,
    TokenEmbedding,
)

PATTERNS = {
    "linear": (config("linear", heads=2),),
    "softmax": (config("softmax", heads=2, positions="rotary"),),
    "mixed": (config("linear", heads=2), config("softmax", heads=2)),
}


def _awake(module: nn.Module) -> None:
    """Weights large enough that outputs differ; the heads are 0 at the start of training."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
        else:
            nn.init.normal_(parameter, mean=0.5, std=0.2)


@pytest.fixture(params=PATTERNS)
def pattern(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def sequence_config() -> Callable[..., SequenceConfig]:
    def build(pattern: str = "linear", layers: int = 2) -> SequenceConfig:
        return SequenceConfig(dim=8, layers=layers, mlp_dim=12, mixers=PATTERNS[pattern])

    return build


@pytest.fixture
def token_model(sequence_config) -> Callable[..., SequenceModel]:
    def build(
        pattern: str = "linear", *, layers: int = 2, vocabulary: int = 7, max_length: int | None = None
    ) -> SequenceModel:
        embedding = TokenEmbedding(vocabulary, 8, max_length=max_length)
        model = SequenceModel(embedding, sequence_config(pattern, layers), vocabulary).double().eval()
        _awake(model)
        return model

    return build


@pytest.fixture
def image_density(sequence_config) -> Callable[..., ImageDensity]:
    """Of 4 x 4 images in 2 x 2 patches with three labels, where nothing else is said."""

    def build(pattern: str = "linear", *, layers: int = 1, **options) -> ImageDensity:
        options = {"height": 4, "width": 4, "patch": (2, 2), "classes": 3, **options}
        config = ImageDensityConfig(sequence=sequence_config(pattern, layers), **options)
        model = config.build().double().eval()
        _awake(model)
        if model.classes:
            model.fit_prior(torch.arange(1, model.classes + 1))
        return model

    return build
