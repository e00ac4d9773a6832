"""Shares of labels within regions that should hold a share of them, as curves."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from torch import Tensor

from linsight.tasks.exhibits import Curves

__all__ = ["coverage_curves"]


def coverage_curves(levels: Mapping[str, Float[Tensor, " labels"]]) -> Curves:
    """Of named densities, the share of labels in the densest regions that should hold each share of them.

    Args:
        levels: Of each label, the probability of the region on whose edge it is; see `ScaledCodec.level`.
    """
    line = np.linspace(0, 1, 51)
    series = {}
    for name, level in levels.items():
        ordered = level.double().sort().values.numpy()
        shares = np.searchsorted(ordered, line, side="right") / len(ordered)
        series[name] = (line.tolist(), shares.tolist())
    series["calibrated"] = ([0.0, 1.0], [0.0, 1.0])
    note = "The share of labels in the region that should hold this share of them, the densest one."
    return Curves("coverage", "Coverage", series, "nominal", "share of labels", note=note)
