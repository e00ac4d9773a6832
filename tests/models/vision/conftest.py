"""Tiny pyramids in float64 whose every weight matters."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from linsight.mixers import config
from linsight.models.sequence import SequenceConfig
from linsight.models.vision import PyramidConfig


@pytest.fixture
def awake() -> Callable[[nn.Module], nn.Module]:
    """In float64, every parameter off its initial value: no law holds by a zero."""

    def wake(module: nn.Module) -> nn.Module:
        module.double()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return module

    return wake


@pytest.fixture
def small() -> Callable[..., PyramidConfig]:
    def build(mixer=None, *, stages: int = 4, layers: int = 1, **options) -> PyramidConfig:
        mixers = (config("linear", heads=2) if mixer is None else mixer,)
        stage = SequenceConfig(dim=8, layers=layers, mlp_dim=8, mixers=mixers)
        widths = (8, 8, 16, 16)[:stages]
        return PyramidConfig(stages=tuple(replace(stage, dim=dim) for dim in widths), **options)

    return build
