"""What the tests of single mixers share: inputs, and comparisons that say what differs most."""

import pytest
import torch
from torch import Tensor

from linsight import mixers
from linsight.conformance import Trial
from linsight.profiling import peak_bytes


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


@pytest.fixture
def square_root_growth():
    def growth(kind: str, **options) -> tuple[float, float]:
        """How many times the bytes and the flops of 256 tokens 1,024 take, at strides of the square roots."""
        found = []
        for length, stride in ((256, 16), (1024, 32)):
            mixer = mixers.build(kind, dim=4, heads=2, stride=stride, **options)
            x = torch.randn(1, length, 4)
            with torch.no_grad():
                bytes_ = peak_bytes(lambda mixer=mixer, x=x: mixer(x))
            found.append((bytes_, mixer.cost(length)["chunk"].flops))
        (bytes_, flops), (more_bytes, more_flops) = found
        return more_bytes / bytes_, more_flops / flops

    return growth
