"""Eyes of which everything is known: a white ball with a black iris, no glint, and lids that are far away."""

from typing import Any

import torch
from torch import Tensor

from linsight.data.gaze import EyeParameters


def plain(optical: Tensor, **changes: Any) -> EyeParameters:
    """Wide open eyes that look along `optical` (batch, 2), with some fields changed."""
    batch = len(optical)
    fields: dict[str, Any] = {
        "optical": optical,
        "head": [0.0, 0.0],
        "centre": [0.0, 0.0],
        "eyeball": 12.0,
        "iris": 6.0,
        "pupil": 0.3,
        "nasal": -1.0,
        "lid": [0.0, 0.0],
        "half_width": 400.0,
        "upper": 300.0,
        "lower": 300.0,
        "openness": 1.0,
        "tilt": 0.0,
        "skew": 0.0,
        "crease": 2.0,
        "lash": 0.0,
        "light": [0.0, 0.0, -1.0],
        "ambient": 1.0,
        "glint": 300.0,
        "glint_strength": 0.0,
        "sclera": [1.0, 1.0, 1.0],
        "iris_colour": [0.0, 0.0, 0.0],
        "skin": [0.5, 0.5, 0.5],
        "orders": [9.0, 17.0],
        "phases": [0.3, 1.1],
        "contrast": 0.2,
        "waves": [[0.0, 0.0]],
        "wave_phases": [0.0],
    } | changes
    tensors = {}
    for name, value in fields.items():
        tensor = torch.as_tensor(value, dtype=torch.float64)
        rank = {"waves": 3, "wave_phases": 2}.get(name, 2 if tensor.ndim and name in _PAIRS else 1)
        tensors[name] = tensor if tensor.ndim == rank else tensor.expand(batch, *tensor.shape)
    return EyeParameters(**tensors)


_PAIRS = {"optical", "head", "centre", "lid", "light", "sclera", "iris_colour", "skin", "orders", "phases"}
