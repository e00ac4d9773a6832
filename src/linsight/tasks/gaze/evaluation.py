"""Everything that a report shows of a network of gaze on a split."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from linsight.data.gaze import NOT_COMPARABLE
from linsight.data.noise_laws import AnyNoiseLaw
from linsight.models.vision import GazeNet
from linsight.models.vision.codecs import ScaledCodec
from linsight.ops import log_map
from linsight.tasks.coverage import coverage_curves
from linsight.tasks.exhibits import Curves, Evaluation, Exhibit, Table
from linsight.tasks.gaze.density import density_exhibits
from linsight.tasks.gaze.found import Found
from linsight.tasks.gaze.measures import Calibrated, calibrated, measures, person_means, sparsified
from linsight.tasks.gaze.pictures import worst_and_first

__all__ = ["gaze_evaluation", "share_curves"]

SHOWN_COUNT, SHOWN_KIND = 9, "ridge"


def gaze_evaluation(net: GazeNet, found: Found, law: AnyNoiseLaw, split: str, protocol: str) -> Evaluation:
    """Numbers; persons and calibration as tables; pictures, worst first; curves; the learnt density."""
    personal = calibrated(found)
    exhibits: list[Exhibit] = [_persons(found, personal, split, protocol)]
    if personal is not None:
        exhibits += [_calibration(personal), _curves(personal)]
    exhibits += [*worst_and_first(found), share_curves({"one look": found.degrees})]
    if found.sigma is not None:
        exhibits.append(_sparsification(found))
    if found.level is not None:
        exhibits.append(coverage_curves({"labels": found.level}))
    if isinstance(net.codec, ScaledCodec):
        exhibits += density_exhibits(net.codec, found, law)
    return Evaluation(split, measures(net, found, law, personal), tuple(exhibits))


def _persons(found: Found, personal: Calibrated | None, split: str, protocol: str) -> Table:
    eyes, persons = found.eyes, found.persons
    means = person_means(found.degrees, found)
    bias = torch.rad2deg(log_map(found.angles, eyes.gaze))
    after = personal.after[SHOWN_KIND].get(SHOWN_COUNT) if personal else None
    rows = []
    for place in range(len(means)):
        mine = persons == place
        up, nose = torch.rad2deg(eyes.kappa[mine][0]).tolist()
        cells = [
            f"{int(eyes.person[mine][0])}",
            int(mine.sum()),
            f"{float(means[place]):.2f}",
            f"{float(torch.quantile(found.degrees[mine], 0.9)):.2f}",
            *(f"{one:+.2f}" for one in bias[mine].mean(0).tolist()),
            f"{up:.1f}",
            f"{nose:.1f}",
        ]
        rows.append((*cells, f"{float(after[place]):.2f}") if after is not None else tuple(cells))
    columns = (
        "person",
        "pictures",
        "mean error (degrees)",
        "90 % of errors below",
        "missing pitch",
        "missing yaw",
        "kappa up",
        "kappa to the nose",
        *((f"after {SHOWN_COUNT} samples",) if after is not None else ()),
    )
    note = (
        f"{len(found.angles):,} {split} pictures, protocol {protocol}, all numbers in degrees. Kappa is "
        "between the optical axis, which the picture shows, and the visual axis, which is the truth; what is "
        f"missing is the mean of truth less found. These are {NOT_COMPARABLE}."
    )
    return Table("persons", "Person by person", columns, tuple(rows), note)


def _calibration(personal: Calibrated) -> Table:
    before = float(personal.before.mean())
    rows: list[tuple[str | int | None, ...]] = [
        ("none", 0, f"{before:.2f}", None, f"{float(personal.before.max()):.2f}")
    ]
    for kind, fits in personal.after.items():
        for count, degrees in fits.items():
            left = float(personal.left_out[kind][count].mean())
            told = f"{left:.2f}" if np.isfinite(left) else None
            rows.append((kind, count, f"{float(degrees.mean()):.2f}", told, f"{float(degrees.max()):.2f}"))
    columns = ("calibration", "samples", "mean error (degrees)", "by leave-one-out", "worst person")
    note = (
        "Means over persons, on pictures that no fit has seen, the same ones in every row. Leave-one-out is "
        "what the samples themselves say of the error: a user's own number. Samples are of the clean truth."
    )
    return Table("calibration", "Calibration to a person", columns, tuple(rows), note)


def _curves(personal: Calibrated) -> Curves:
    before = float(personal.before.mean())
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {
        kind: ([0, *fits], [before, *(float(one.mean()) for one in fits.values())])
        for kind, fits in personal.after.items()
    }
    return Curves(
        "calibration_curve",
        "Error against the samples that calibrate",
        series,
        "samples of a person",
        "mean error (degrees)",
        note=f"Means over persons. These are {NOT_COMPARABLE}.",
    )


def share_curves(degrees: Mapping[str, Float[Tensor, "pictures"]]) -> Curves:
    """Of named networks, the share of pictures whose error is within a number of degrees."""
    widest = max(float(torch.quantile(one, 0.98)) for one in degrees.values())
    line = np.linspace(0, max(10.0, widest), 61)
    series = {}
    for name, one in degrees.items():
        shares = np.searchsorted(one.sort().values.numpy(), line, side="right") / len(one)
        series[name] = (line.tolist(), shares.tolist())
    return Curves(
        "within",
        "Share of pictures within an error",
        series,
        "degrees",
        "share of pictures",
        note=f"Against the clean truth. These are {NOT_COMPARABLE}.",
    )


def _sparsification(found: Found) -> Curves:
    curve = sparsified(found)
    dropped = curve.dropped.tolist()
    return Curves(
        "sparsification",
        "Does sigma know which pictures are wrong?",
        {
            "least sure dropped": (dropped, curve.by_sigma.tolist()),
            "worst dropped": (dropped, curve.by_error.tolist()),
        },
        "share of pictures that is dropped",
        "mean error of the rest (degrees)",
        note="The nearer the two, the better sigma orders the pictures by their error.",
    )
