"""Everything that a report shows of a network of keypoints on a split."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from linsight.data.keypoint_noise import AnyKeypointNoise
from linsight.data.people import JOINTS
from linsight.models.vision import KeypointNet
from linsight.models.vision.codecs import ScaledCodec
from linsight.tasks.coverage import coverage_curves
from linsight.tasks.exhibits import Curves, Evaluation, Exhibit, Table
from linsight.tasks.pose.density import density_exhibits
from linsight.tasks.pose.found import Found
from linsight.tasks.pose.measures import measures, within
from linsight.tasks.pose.pictures import worst_and_first
from linsight.tasks.pose.samples import Labelled

__all__ = ["pck_curves", "pose_evaluation"]

SYNTHETIC = "People are synthetic: these numbers are not comparable with those of COCO or MPII."


def pose_evaluation(net: KeypointNet, found: Found, law: AnyKeypointNoise, split: str) -> Evaluation:
    """Numbers, a table of joints, PCK and coverage as curves, skeletons, the learnt density."""
    looks = {"one look": found.xy, **({} if found.flipped is None else {"flip test": found.flipped})}
    mirrored = "" if found.flipped is not None else "No flip test: their stripes change sides in a mirror."
    exhibits: list[Exhibit] = [
        _joints(found, split),
        *worst_and_first(found),
        pck_curves(found.people, looks, mirrored),
    ]
    if found.level is not None and isinstance(net.codec, ScaledCodec):
        exhibits += [
            coverage_curves({"labels": found.level[found.counted]}),
            *density_exhibits(net.codec, found, law),
        ]
    return Evaluation(split, measures(net, found, law), tuple(exhibits))


def _joints(found: Found, split: str) -> Table:
    people = found.people
    seen = people.visibility > 0
    columns = [within(found.xy, people.truth, seen, people.reference, threshold) for threshold in (0.2, 0.1)]
    rows = []
    for joint, name in enumerate(JOINTS):
        mine = seen[:, joint]
        cells = [
            int(mine.sum()),
            f"{100 * float((people.visibility[:, joint] == 1).sum() / mine.sum()):.0f}",
            *(f"{100 * float(column[joint]):.1f}" for column in columns),
            f"{float(found.distance[:, joint][mine].mean()):.2f}",
        ]
        if found.level is not None:
            level = found.level[:, joint][found.counted[:, joint]]
            cells.append(f"{100 * float((level <= 0.9).double().mean()):.1f}")
        rows.append((name.replace("_", " "), *cells))
    density = ("labels in the 90 % region (%)",) if found.level is not None else ()
    height, width = people.image.shape[2:]
    note = (
        f"{len(people.image):,} {split} people in crops of {height} x {width}, against the clean truth, "
        f"hidden joints too; the reference of PCK is the larger side of the box. {SYNTHETIC}"
    )
    names = (
        "joint",
        "in the crop",
        "hidden (%)",
        "PCK at 0.2 (%)",
        "PCK at 0.1 (%)",
        "mean error (px)",
        *density,
    )
    return Table("joints", "Joint by joint", names, tuple(rows), note)


def pck_curves(people: Labelled, places: Mapping[str, Tensor], note: str = "") -> Curves:
    """PCK of named places of these people's joints, (people, joints, 2), against its threshold."""
    seen = people.visibility > 0
    line = np.linspace(0, 0.3, 61)
    series = {}
    for name, xy in places.items():
        relative = torch.linalg.vector_norm(xy - people.truth, dim=-1) / people.reference[:, None]
        ordered = relative[seen].sort().values.numpy()
        shares = np.searchsorted(ordered, line, side="right") / len(ordered)
        series[name] = (line.tolist(), shares.tolist())
    note = " ".join(filter(None, ("All joints within the crop, clean truth.", note, SYNTHETIC)))
    return Curves("pck", "PCK against its threshold", series, "share of the larger side", "PCK", note=note)
