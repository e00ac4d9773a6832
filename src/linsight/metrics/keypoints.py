"""Errors of keypoints: the share of correct ones (PCK), and mean distances (EPE, NME, MPJPE, P-MPJPE)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from linsight.metrics.alignment import align_root, align_similarity
from linsight.metrics.base import SumMetric

__all__ = [
    "PCK",
    "DistanceSums",
    "KeypointDistances",
    "KeypointError",
    "PCKSums",
    "ShareCorrect",
    "box_reference",
    "distance_compute",
    "distance_update",
    "head_reference",
    "pair_reference",
    "pck_compute",
    "pck_update",
]


class PCKSums(NamedTuple):
    """Of each joint how often it was labelled, and how often it was near enough, by threshold."""

    num_labelled: Int[Tensor, " joints"]
    num_correct: Int[Tensor, "thresholds joints"]


class ShareCorrect(NamedTuple):
    """Shares of correct keypoints; NaN where nothing is labelled."""

    value: Float[Tensor, " thresholds"]
    """Over all labelled joints: joints that are labelled more often count for more."""
    mean_of_joints: Float[Tensor, " thresholds"]
    """The mean of the joints' shares, of those that were labelled."""
    joints: Float[Tensor, "thresholds joints"]
    num_labelled: Int[Tensor, " joints"]


class DistanceSums(NamedTuple):
    """Of each joint how often it was labelled, and the sum of its distances."""

    num_labelled: Int[Tensor, " joints"]
    distance: Float[Tensor, " joints"]


class KeypointDistances(NamedTuple):
    """Mean distances; NaN where nothing is labelled."""

    value: Float[Tensor, ""]
    """Over all labelled joints."""
    joints: Float[Tensor, " joints"]
    num_labelled: Int[Tensor, " joints"]


def box_reference(boxes: Float[Tensor, "batch 4"]) -> Float[Tensor, " batch"]:
    """The longer side of boxes (x1, y1, x2, y2): what PCK is measured in."""
    return (boxes[:, 2:] - boxes[:, :2]).amax(1)


def head_reference(boxes: Float[Tensor, "batch 4"]) -> Float[Tensor, " batch"]:
    """0.6 of the diagonal of head boxes (x1, y1, x2, y2): PCKh as MPII's evaluation measures the head."""
    return 0.6 * torch.linalg.vector_norm(boxes[:, 2:] - boxes[:, :2], dim=1)


def pair_reference(
    keypoints: Float[Tensor, "batch joints dim"], first: int, second: int
) -> Float[Tensor, " batch"]:
    """The distance of two joints: a torso, or from eye to eye for NME."""
    return torch.linalg.vector_norm(keypoints[:, first] - keypoints[:, second], dim=1)


def pck_update(
    found: Tensor, truth: Tensor, visible: Tensor, reference: Tensor, thresholds: Sequence[float]
) -> PCKSums:
    """The sums over a batch: a joint is correct if its distance <= threshold * reference of its image.

    Args:
        found: `(batch, joints, dim)`.
        truth: The same shape; anything where `visible` is 0.
        visible: `(batch, joints)`, above 0 for labelled joints.
        reference: `(batch,)`, above 0, in the unit of the keypoints.
        thresholds: Shares of the reference.

    Raises:
        TypeError: Keypoints that are not floating point.
        ValueError: Other shapes; NaN in a labelled joint's truth; a reference that is not above 0.
    """
    labelled = _check(found, truth, visible, reference)
    distance = _distance(found, truth, labelled) / reference.double()[:, None]
    near = torch.stack([(distance <= one) & labelled for one in thresholds])
    return PCKSums(labelled.sum(0), near.sum(1))


def pck_compute(sums: PCKSums) -> ShareCorrect:
    """Shares; of no labelled joint, NaN with a count of 0."""
    shares = sums.num_correct.double() / sums.num_labelled
    return ShareCorrect(
        sums.num_correct.sum(1).double() / sums.num_labelled.sum(),
        shares.nanmean(1),
        shares,
        sums.num_labelled,
    )


def distance_update(
    found: Tensor, truth: Tensor, visible: Tensor, reference: Tensor | None = None
) -> DistanceSums:
    """The sums over a batch of Euclidean distances, each over the reference of its image if there is one.

    Arguments and errors as `pck_update`.
    """
    labelled = _check(found, truth, visible, reference)
    distance = _distance(found, truth, labelled)
    if reference is not None:
        distance = distance / reference.double()[:, None]
    return DistanceSums(labelled.sum(0), distance.sum(0))


def distance_compute(sums: DistanceSums) -> KeypointDistances:
    """Means; of no labelled joint, NaN with a count of 0."""
    total = sums.num_labelled.sum()
    return KeypointDistances(
        sums.distance.sum() / total, sums.distance / sums.num_labelled, sums.num_labelled
    )


class PCK(SumMetric[PCKSums]):
    """Share of correct keypoints: those within a share of a reference length of their image.

    The reference makes it PCK (`box_reference`), PCKh (`head_reference`) or another (`pair_reference`). The
    mean over many thresholds is the area under the curve. (Of a single threshold, torchmetrics returns
    `value` and `mean_of_joints` without an axis.)

    >>> metric = PCK(num_keypoints=4)
    >>> found = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]]])
    >>> metric.update(found, torch.zeros(1, 4, 2), torch.ones(1, 4), torch.tensor([10.0]))
    >>> metric.compute().value.item()
    0.5
    """

    higher_is_better = True

    def __init__(self, num_keypoints: int, thresholds: Sequence[float] = (0.2,)) -> None:
        _check_joints(num_keypoints)
        if not thresholds or not all(one > 0 for one in thresholds):
            raise ValueError(f"thresholds: expected numbers above 0, got {tuple(thresholds)}")
        zeros = torch.zeros(num_keypoints, dtype=torch.int64)
        super().__init__(PCKSums(zeros, zeros.repeat(len(thresholds), 1)))
        self.thresholds = tuple(thresholds)

    def update(self, found: Tensor, truth: Tensor, visible: Tensor, reference: Tensor) -> None:
        """Add a batch; see `pck_update`."""
        _check_number(found, self.sums.num_labelled)
        self.add(pck_update(found, truth, visible, reference, self.thresholds))

    def compute(self) -> ShareCorrect:
        """The shares over everything seen; see `pck_compute`."""
        return pck_compute(self.sums)


class KeypointError(SumMetric[DistanceSums]):
    """Mean distance of keypoints: EPE; over a reference, NME; of aligned poses, MPJPE and P-MPJPE.

    Args:
        num_keypoints: Joints.
        align: None; `root`: the pose is moved so that its joint `root` is the truth's; `similarity`: turned,
            scaled and moved to the truth as well as it can be (Procrustes), never mirrored.
        root: The joint of `root`.

    >>> metric = KeypointError(num_keypoints=2)
    >>> metric.update(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]), torch.zeros(1, 2, 2), torch.tensor([[2, 0]]))
    >>> metric.compute().value.item()
    5.0
    """

    higher_is_better = False

    def __init__(
        self, num_keypoints: int, align: Literal["root", "similarity"] | None = None, root: int = 0
    ) -> None:
        _check_joints(num_keypoints)
        if align not in (None, "root", "similarity"):
            raise ValueError(f"align: expected None, 'root' or 'similarity', got {align!r}")
        if not 0 <= root < num_keypoints:
            raise ValueError(f"root: expected 0 to {num_keypoints - 1}, got {root}")
        zeros = torch.zeros(num_keypoints, dtype=torch.int64)
        super().__init__(DistanceSums(zeros, zeros.double()))
        self.align, self.root = align, root

    def update(self, found: Tensor, truth: Tensor, visible: Tensor, reference: Tensor | None = None) -> None:
        """Add a batch; see `distance_update`."""
        _check_number(found, self.sums.num_labelled)
        labelled = _check(found, truth, visible, reference)
        if self.align == "root":
            found = align_root(found, truth, labelled, self.root)
        elif self.align == "similarity":
            found = align_similarity(found, truth, labelled)
        self.add(distance_update(found, truth, visible, reference))

    def compute(self) -> KeypointDistances:
        """The distances over everything seen; see `distance_compute`."""
        return distance_compute(self.sums)


def _distance(found: Tensor, truth: Tensor, labelled: Tensor) -> Tensor:
    """In float64; 0 where nothing is labelled."""
    step = torch.where(labelled[..., None], found.detach().double() - truth.detach().double(), 0.0)
    return torch.linalg.vector_norm(step, dim=-1)


def _check(found: Tensor, truth: Tensor, visible: Tensor, reference: Tensor | None) -> Tensor:
    """Which joints are labelled."""
    for name, one in (("found", found), ("truth", truth)):
        if not one.is_floating_point():
            raise TypeError(f"{name}: expected floating point, got {one.dtype}")
        if one.ndim != 3 or one.shape != found.shape:
            raise ValueError(
                f"{name}: expected (batch, joints, dim), the same of both, got {tuple(one.shape)} "
                f"beside {tuple(found.shape)}"
            )
    if visible.shape != found.shape[:2]:
        raise ValueError(
            f"visible: expected (batch, joints) {tuple(found.shape[:2])}, got {tuple(visible.shape)}"
        )
    if reference is not None:
        if reference.shape != found.shape[:1]:
            raise ValueError(f"reference: expected ({len(found)},), got {tuple(reference.shape)}")
        wrong = ~(reference > 0)
        if wrong.any():
            first = int(wrong.nonzero()[0, 0])
            raise ValueError(
                f"reference: expected lengths above 0, got {reference[first].item()} for image {first}"
            )
    labelled = visible > 0
    for name, one in (("truth", truth), ("found", found)):
        wrong = labelled & ~one.isfinite().all(-1)
        if wrong.any():
            image, joint = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"{name}: expected finite numbers in labelled joints, got NaN or infinity in image {image}, "
                f"joint {joint}"
            )
    return labelled


def _check_number(found: Tensor, labelled: Tensor) -> None:
    if found.ndim == 3 and found.shape[1] != len(labelled):
        raise ValueError(f"found: expected {len(labelled)} joints, got {found.shape[1]}")


def _check_joints(num_keypoints: int) -> None:
    if num_keypoints < 1:
        raise ValueError(f"num_keypoints: expected an integer >= 1, got {num_keypoints}")
