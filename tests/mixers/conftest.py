"""What the tests of single mixers share: inputs, and comparisons that say what differs most."""

import pytest
import torch
from torch import Tensor

from linsight.conformance import Trial


@pytest.fixture
def trial() -> Trial:
    return Trial(seed=0)


@pytest.fixture
def signal():
    def draw(batch: int, length: int, dim: int, seed: int = 0) -> Tensor:
        """Standard normal tokens in float64."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(batch, length, dim, generator=generator, dtype=torch.float64)

    return draw
