"""Object keypoint similarity, the overlap of poses."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

__all__ = ["extent_area", "similarity"]

Integers = NDArray[np.int64]


def similarity(
    detected: Float[np.ndarray, "detections K two_or_three"],
    truth: Float[np.ndarray, "objects K 3"],
    truth_box: Float[np.ndarray, "objects 4"],
    truth_area: Float[np.ndarray, " objects"],
    rows: tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]],
    sigmas: Sequence[float],
) -> Float[np.ndarray, " pairs"]:
    """OKS = mean over labelled k of exp(-d_k^2 / (8 sigma_k^2 area)), d_k in pixels.

    An object without labelled keypoints (visibility 0 all through) is compared with by its box: d_k is how
    far outside the box of thrice its width and height about it the keypoint lies, and the mean is over all k.
    The operations and their order are COCO's, so that numbers are equal to the last bit (Lin et al. 2014,
    arXiv 1405.0312; the keypoint task of 2016).

    Args:
        truth_box: x, y, w, h.
        truth_area: In square pixels, as annotated.
        rows: Of the detection and the object in each pair.
        sigmas: One for each keypoint.

    Raises:
        ValueError: Another number of sigmas than of keypoints.
    """
    for name, points in (("ground truth", truth), ("detections", detected)):
        if len(points) and points.shape[1] != len(sigmas):
            raise ValueError(
                f"sigmas: expected {points.shape[1]}, one a keypoint of the {name}, got {len(sigmas)}"
            )
    result = np.zeros(len(rows[0]))
    if not len(result):
        return result
    variance = (np.array(sigmas) * 2) ** 2
    scale = truth_area + np.spacing(1)
    labelled = truth[:, :, 2] > 0
    number = labelled.sum(1)
    # Labelled keypoints of an object first, in order: rows of equal length sum as COCO's do.
    order = np.argsort(~labelled, axis=1, kind="stable")
    x, y, x_true, y_true = (np.ascontiguousarray(p[:, :, i]) for p in (detected, truth) for i in (0, 1))
    for count in np.unique(number[rows[1]]):
        pairs = np.flatnonzero(number[rows[1]] == count)
        found, object_ = rows[0][pairs], rows[1][pairs]
        if count:
            chosen = order[object_, :count]
            place = found[:, None] * len(sigmas) + chosen
            among = object_[:, None] * len(sigmas) + chosen
            dx = x.ravel()[place] - x_true.ravel()[among]
            dy = y.ravel()[place] - y_true.ravel()[among]
            spread = variance[chosen]
        else:
            left, top, width, height = (side[:, None] for side in truth_box[object_].T)
            dx = _outside(x[found], left - width, left + width * 2)
            dy = _outside(y[found], top - height, top + height * 2)
            spread = variance
        error = (dx**2 + dy**2) / spread / scale[object_][:, None] / 2
        result[pairs] = np.exp(-error).sum(1) / error.shape[1]
    return result


def extent_area(points: Float[np.ndarray, "detections K two_or_three"]) -> Float[np.ndarray, " detections"]:
    """Width times height of the keypoints' bounding box, the area of a detection by keypoints.

    `Deviation:` where results have a box beside the keypoints, pycocotools' reader takes the area of that.
    """
    if not points.size:
        return np.zeros(len(points))
    x, y = np.ascontiguousarray(points[:, :, 0].T), np.ascontiguousarray(points[:, :, 1].T)
    return (x.max(0) - x.min(0)) * (y.max(0) - y.min(0))


def _outside(
    value: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.maximum(0.0, low - value) + np.maximum(0.0, value - high)
