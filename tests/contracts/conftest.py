"""The mixers under contract: every registered kind, in the variants that matter."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from linsight import mixers
from linsight.conformance import Trial, small_options
from linsight.conformance.ours import VARIANTS

DIM = 8
UNPLACED = (
    "linear",
    "softmax",
    "efficient",
    "performer",
    "norm_attention",
    "diag_attention",
    "bidirectional",
)
"""Kinds in which the order of the earlier tokens, or of a block's, does not matter."""


@dataclass(frozen=True)
class Case:
    """One kind of mixer with its options."""

    kind: str
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.kind, *(str(value) for value in self.options.values())])

    def __call__(self, dtype: torch.dtype = torch.float64, dim: int = DIM, **options: Any) -> mixers.Mixer:
        """A mixer with every parameter moved off its initial value, so that no law holds by a zero."""
        torch.manual_seed(0)
        options = {**small_options(self.kind), "causal": self.directions[0], **self.options, **options}
        mixer = mixers.build(self.kind, dim=dim, **options)
        with torch.no_grad():
            for parameter in mixer.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return mixer.to(dtype)

    def started(self, mixer: mixers.Mixer, batch: int, length: int = 5) -> Any:
        """The state after `length` random tokens."""
        dtype = next(mixer.parameters()).dtype
        with torch.no_grad():
            return mixer(signal(batch, length, mixer.dim, seed=9).to(dtype))[1]

    @property
    def directions(self) -> tuple[bool, ...]:
        """The values of `causal` that the kind can be built with."""
        return mixers.config(self.kind).directions

    @property
    def sees_order(self) -> bool:
        """Whether the order of earlier tokens matters."""
        return "rotary" in self.options.values() or self.kind not in UNPLACED


def signal(batch: int, length: int, dim: int = DIM, seed: int = 0) -> Tensor:
    """Standard normal tokens in float64."""
    return torch.randn(batch, length, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CASES = [Case(kind, options) for kind in mixers.kinds() for options in ({}, *VARIANTS.get(kind, []))]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(params=[case for case in CASES if True in case.directions], ids=str)
def causal_case(request: pytest.FixtureRequest) -> Case:
    """The cases that have a state."""
    return request.param


@pytest.fixture(params=[case for case in CASES if False in case.directions], ids=str)
def bidirectional_case(request: pytest.FixtureRequest) -> Case:
    """The cases that can see all tokens."""
    return request.param


@pytest.fixture(params=[case for case in CASES if case.kind in ("linear", "softmax")], ids=str)
def defined_case(request: pytest.FixtureRequest) -> Case:
    """The cases that test_mixer_definitions.py defines; other kinds are defined in tests/mixers."""
    return request.param


@pytest.fixture(name="signal")
def _signal():
    return signal


@pytest.fixture
def trial() -> Trial:
    """Compares, and says what differs most and where."""
    return Trial(seed=0)
