"""What several networks of gaze make of the same eyes: the law, what each has learnt of it, their errors."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Integer

from linsight.data.gaze import Eyes
from linsight.data.noise_laws import AnyNoiseLaw
from linsight.models.vision import GazeNet
from linsight.models.vision.codecs import ScaledCodec
from linsight.tasks.coverage import coverage_curves
from linsight.tasks.exhibits import Exhibit
from linsight.tasks.gaze.density import densities_together
from linsight.tasks.gaze.evaluation import share_curves
from linsight.tasks.gaze.found import find

__all__ = ["side_by_side"]

_MOST = 300  # pictures


def side_by_side(
    models: Mapping[str, GazeNet],
    data: Eyes,
    law: AnyNoiseLaw,
    persons: Integer[np.ndarray, "rows"],
    items: Integer[np.ndarray, "rows"],
    *,
    device: torch.device,
) -> tuple[Exhibit, ...]:
    """Densities beside the law and coverage of the models that have a density; shares within errors of all.

    Args:
        models: By name.
        data: The pictures, the law of their labels included.
        law: Of the labels.
        persons, items: Of the pictures, of which 300 are looked at, of all persons.
        device: Where to compute.
    """
    rows = np.unique(np.linspace(0, len(persons) - 1, min(_MOST, len(persons))).round().astype(int))
    found = {
        name: find(model.to(device).eval(), data, persons[rows], items[rows], mirror=False)
        for name, model in models.items()
    }
    shares = share_curves({name: one.degrees for name, one in found.items()})
    levels = {name: one.level for name, one in found.items() if one.level is not None}
    learnt = {
        name: (model.codec, found[name])
        for name, model in models.items()
        if isinstance(model.codec, ScaledCodec)
    }
    return (
        *(densities_together(learnt, law) if learnt else ()),
        *((coverage_curves(levels),) if levels else ()),
        shares,
    )
