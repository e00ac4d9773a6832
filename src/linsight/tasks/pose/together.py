"""What several networks of keypoints make of the same people: the law, and what each has learnt of it."""

from collections.abc import Mapping

import torch

from linsight.data import People
from linsight.data.keypoint_noise import AnyKeypointNoise
from linsight.models.vision import KeypointNet
from linsight.models.vision.codecs import ScaledCodec
from linsight.tasks.coverage import coverage_curves
from linsight.tasks.exhibits import Exhibit
from linsight.tasks.pose.density import densities_together
from linsight.tasks.pose.evaluation import pck_curves
from linsight.tasks.pose.found import find

__all__ = ["side_by_side"]

MOST = 200  # people


def side_by_side(
    models: Mapping[str, KeypointNet],
    data: People,
    law: AnyKeypointNoise,
    *,
    count: int,
    device: torch.device,
) -> tuple[Exhibit, ...]:
    """Densities beside the law and coverage of the models that have a density; PCK of all.

    Args:
        models: By name.
        data: The people, of whom the first of the test split are looked at.
        law: Of the labels.
        count: How many people there are to look at; more than 200 are not needed.
        device: Where to compute.
    """
    found = {
        name: find(model.to(device).eval(), data, law, "test", min(count, MOST), flip=False)
        for name, model in models.items()
    }
    pck = pck_curves(next(iter(found.values())).people, {name: one.xy for name, one in found.items()})
    learnt = {
        name: (model.codec, found[name])
        for name, model in models.items()
        if isinstance(model.codec, ScaledCodec)
    }
    if not learnt:
        return (pck,)
    levels = {name: one.level[one.counted] for name, one in found.items() if one.level is not None}
    return *densities_together(learnt, law), coverage_curves(levels), pck
