"""Numbers of a network of keypoints on a split."""

import math
import warnings
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from linsight.data.keypoint_noise import AnyKeypointNoise, log_density
from linsight.data.people import PAIRS
from linsight.metrics import average_precision as ap
from linsight.metrics import (
    coverage_compute,
    coverage_update,
    distance_compute,
    distance_update,
    pck_compute,
    pck_update,
)
from linsight.metrics.average_precision.protocols import coco
from linsight.models.vision import KeypointNet
from linsight.tasks.head_size import head_size
from linsight.tasks.pose.found import Found

__all__ = ["NOMINAL", "accuracy", "law_nll", "measures", "similarity_numbers", "within"]

NOMINAL = (0.5, 0.8, 0.9)
AREA = tuple(0.01 * step for step in range(1, 21))
"""Thresholds whose mean share is the area under the curve of PCK."""


def within(
    found: Float[Tensor, "people joints 2"],
    truth: Float[Tensor, "people joints 2"],
    counted: Bool[Tensor, "people joints"],
    reference: Float[Tensor, " people"],
    threshold: float,
) -> Float[Tensor, " joints"]:
    """PCK of each joint at one threshold; NaN for a joint that is never counted. See `pck_update`."""
    return pck_compute(pck_update(found, truth, counted, reference, (threshold,))).joints[0]


def accuracy(found: Found, xy: Tensor | None = None) -> dict[str, float]:
    """PCK at a fifth of the box's larger side, and the mean error, against the clean truth.

    Over all joints of all people that are within the crop; of `xy` instead of what was found at one look.
    """
    people, xy = found.people, found.xy if xy is None else xy
    shares = pck_compute(pck_update(xy, people.truth, people.visibility, people.reference, (0.2,)))
    error = distance_compute(distance_update(xy, people.truth, people.visibility))
    return {"pck_at_0.2": float(shares.value), "mean_error_px": float(error.value)}


def measures(net: KeypointNet, found: Found, law: AnyKeypointNoise) -> dict[str, float]:
    """Shares and means over all joints of all people that are within the crop; names carry units."""
    people, reference = found.people, found.people.reference
    seen = people.visibility > 0

    def shares(xy: Tensor, truth: Tensor, *thresholds: float, counted: Tensor = seen) -> list[float]:
        return pck_compute(pck_update(xy, truth, counted, reference, thresholds)).value.tolist()

    sides = people.box[:, 2:] - people.box[:, :2]
    narrow, *area = shares(found.xy, people.truth, 0.1, *AREA)
    of_box = distance_compute(distance_update(found.xy, people.truth, seen, sides.prod(1).sqrt()))
    numbers = {
        **accuracy(found),
        "pck_at_0.1": narrow,
        "pck_auc_to_0.2": sum(area) / len(AREA),
        "nme_of_box": float(of_box.value),
        **similarity_numbers(found),
    }
    if found.flipped is not None:
        numbers |= {f"{name}_flip_test": one for name, one in accuracy(found, found.flipped).items()}
        numbers["flip_test_bias_px"] = float((found.flipped - people.truth)[..., 0][seen].mean())
    if law.kind != "none":
        of_labels = shares(found.xy, people.labels, 0.2, counted=found.counted)
        numbers["pck_at_0.2_of_labels"] = of_labels[0]
        numbers["label_nll_of_law_nats"] = law_nll(found, law)
    if found.level is not None and found.nll is not None:
        numbers["label_nll_nats"] = float(found.nll[found.counted].mean())
        if law.kind != "none":
            # Of the same labels: what is left is KL(law || learnt), of each joint, in the mean.
            numbers["kl_from_law_nats"] = numbers["label_nll_nats"] - numbers["label_nll_of_law_nats"]
        coverage = coverage_compute(coverage_update(found.level, NOMINAL, found.counted)).coverage
        numbers |= {f"coverage_{100 * p:.0f}": one for p, one in zip(NOMINAL, coverage.tolist(), strict=True)}
    height, width = net.config.size
    channels = net.config.backbone.in_channels
    image = torch.zeros(1, channels, height, width, device=next(net.parameters()).device)
    return {**numbers, **head_size(net, image), "milliseconds_per_crop": 1e3 * found.seconds}


def law_nll(found: Found, law: AnyKeypointNoise) -> float:
    """-log p of the labels under the law itself about the truth, in the codec's unit: no model's is less.

    The mean over counted joints, in nats over fractions of the crop.
    """
    people, (height, width) = found.people, found.people.image.shape[2:]
    unit = people.reference[:, None].expand(-1, 2)
    log = log_density(law, people.labels, people.truth, people.visibility, unit, PAIRS)
    log = log - 2 * unit.log()[:, :1]
    return -float((log + math.log(width * height))[found.counted].mean())


def similarity_numbers(found: Found) -> dict[str, float]:
    """COCO's AP and AR of keypoints by their similarity (OKS), with the person's area, of all sizes.

    COCO leaves people below 32^2 pixels out, which most are in small crops; here all count.
    """
    protocol = coco("keypoints")
    protocol = replace(protocol, area_ranges=protocol.area_ranges[:1])
    metric = ap.AveragePrecision([1], names={1: "person"})
    people = found.people
    seen = people.visibility > 0
    truth = torch.cat(
        [people.truth.where(seen[..., None], torch.zeros(())), people.visibility[..., None]], -1
    )
    detected = torch.cat([found.xy, found.score[..., None].double()], -1)
    metric.update(
        [
            {
                "keypoints": one[None],
                "scores": one[None, :, 2].mean(1),
                "labels": torch.ones(1, dtype=torch.int64),
            }
            for one in detected
        ],
        [
            {
                "boxes": box[None],
                "labels": torch.ones(1, dtype=torch.int64),
                "area": area[None],
                "keypoints": joints[None],
                "num_keypoints": (joints[None, :, 2] > 0).sum(1),
            }
            for box, area, joints in zip(people.box, people.area, truth, strict=True)
        ],
        list(range(len(detected))),
    )
    with warnings.catch_warnings():
        # Codecs without a score of their own give all people one.
        warnings.filterwarnings("ignore", message="score: all")
        summary = metric.compute(protocol).summary()
    return {f"oks_{name}": summary[name] for name in ("AP", "AP50", "AP75", "AR")}
