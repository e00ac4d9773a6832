"""lrnnx: discretisations of linear state spaces; its layers need its CUDA extension."""
# pyright: reportMissingImports=false

from functools import partial

import torch
from lrnnx.core.discretization import DISCRETIZE_FNS
from torch import nn

from linsight.conformance import Subject, Whole

CAUSES = {
    "stable-discretisation": "`bilinear` computes (1 + dt A / 2)^-1 (1 - dt A / 2): both signs are "
    "exchanged. The package's selective scans, written in CUDA, have the right ones."
}
LAWS = {"bilinear": ("stable-discretisation",), "zoh": ("stable-discretisation",)}


def bilinear() -> Subject:
    """The bilinear rule."""
    return _rule("bilinear")


def zoh() -> Subject:
    """Zero-order hold."""
    return _rule("zoh")


SUBJECTS = (bilinear, zoh)


def _rule(name: str) -> Subject:
    return Subject(f"lrnnx {name}", lambda: Whole(nn.Identity(), 8), discretise=partial(_a_bar, name))


def _a_bar(name: str, modes: torch.Tensor, step: float) -> torch.Tensor:
    return DISCRETIZE_FNS[name](modes, torch.tensor(step))[0]
