"""PCK and distances of keypoints: by hand, aligned, masked, refused."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation
from torch import Tensor

from linsight.metrics import (
    PCK,
    KeypointError,
    align_similarity,
    box_reference,
    head_reference,
    pair_reference,
)

FOUND = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, -4.0]]])
TRUTH = torch.zeros(1, 4, 2)
ALL = torch.full((1, 4), 2)
TEN = torch.tensor([10.0])


def test_pck_by_hand_the_border_included() -> None:
    """Distances 1, 2, 3, 4 of a reference of 10: at 0.2 two of four, 2 <= 2 being one of them."""
    metric = PCK(4, (0.2, 0.1, 0.05, 1.0))
    metric.update(FOUND, TRUTH, ALL, TEN)
    found = metric.compute()
    assert found.value.tolist() == [0.5, 0.25, 0.0, 1.0]
    assert found.joints[0].tolist() == [1, 1, 0, 0]
    metric.update(FOUND, TRUTH, torch.tensor([[2, 0, 0, 1]]), 2 * TEN)
    found = metric.compute()
    assert found.num_labelled.tolist() == [2, 1, 1, 2]
    assert found.value[0].item() == pytest.approx(4 / 6), "1 <= 4 and 4 <= 4"
    assert found.joints[0].tolist() == [1, 1, 0, 0.5]
    assert found.mean_of_joints[0].item() == pytest.approx(2.5 / 4)


def test_distances_by_hand_and_over_a_reference() -> None:
    metric = KeypointError(4)
    metric.update(FOUND, TRUTH, ALL)
    assert metric.compute().value.item() == 2.5
    metric.update(FOUND, TRUTH, torch.tensor([[1, 0, 0, 0]]), torch.tensor([0.5]))
    found = metric.compute()
    assert found.value.item() == pytest.approx((1 + 2 + 3 + 4 + 2) / 5)
    assert found.joints.tolist() == [1.5, 2, 3, 4]
    assert found.num_labelled.tolist() == [2, 1, 1, 1]


def test_references_by_hand() -> None:
    boxes = torch.tensor([[1.0, 2.0, 4.0, 6.0], [0.0, 0.0, 8.0, 6.0]])
    assert box_reference(boxes).tolist() == [4, 8]
    assert head_reference(boxes).tolist() == pytest.approx([3, 6])
    assert pair_reference(FOUND, 2, 3).tolist() == [5]


def test_what_is_not_labelled_is_nan_with_a_count_of_0() -> None:
    """No image at all, and labels that are all 0, whatever stands there."""
    for metric in (PCK(4), KeypointError(4), KeypointError(4, "similarity"), KeypointError(4, "root")):
        rest = (TEN,) if isinstance(metric, PCK) else ()
        for size in (0, 1):
            metric.update(*(one[:size] for one in (FOUND * math.nan, TRUTH, torch.zeros(1, 4), *rest)))
            found = metric.compute()
            assert found.value.isnan().all()
            assert not found.num_labelled.any()


def test_a_masked_joint_counts_for_nothing() -> None:
    poisoned = TRUTH.clone()
    poisoned[0, 2] = math.nan
    visible = torch.tensor([[2, 1, 0, 2]])
    for metric, rest in ((PCK(4), (TEN,)), (KeypointError(4), ()), (KeypointError(4, "similarity"), ())):
        metric.update(FOUND, poisoned, visible, *rest)
        assert metric.compute().num_labelled.tolist() == [1, 1, 0, 1]
        assert metric.compute().value.isfinite().all()


def pose(seed: int = 0) -> Tensor:
    return torch.randn(3, 7, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turned(x: Tensor, scale: float = 1.7) -> Tensor:
    matrix = torch.tensor(Rotation.from_rotvec([0.3, -1.2, 0.5]).as_matrix())
    return scale * x @ matrix.T + torch.tensor([3.0, -2.0, 9.0])


def test_alignment_by_a_root_forgets_a_shift_and_nothing_else() -> None:
    truth, visible = pose(), torch.ones(3, 7)
    for change, same in ((lambda x: x + 5.0, True), (turned, False)):
        metric = KeypointError(7, "root", root=2)
        metric.update(change(truth), truth, visible)
        assert (metric.compute().value.item() < 1e-9) == same
        assert metric.compute().joints[2].item() == pytest.approx(0, abs=1e-12)


def test_alignment_by_a_similarity_forgets_rotation_scale_and_shift_and_never_a_mirror() -> None:
    truth, visible = pose(), torch.ones(3, 7)
    found = truth + 0.1 * pose(1)

    def error(found: Tensor) -> float:
        metric = KeypointError(7, "similarity")
        metric.update(found, truth, visible)
        return metric.compute().value.item()

    assert error(turned(truth)) < 1e-9
    assert error(turned(found)) == pytest.approx(error(found), rel=1e-9)
    assert error(found) > 0.05
    assert error(truth * torch.tensor([-1.0, 1.0, 1.0])) > 0.2
    plane = truth[:, :, :2]
    metric = KeypointError(7, "similarity")
    metric.update(plane * torch.tensor([-1.0, 1.0]), plane, visible)
    assert metric.compute().value.item() > 0.2


def test_alignment_is_scipys_where_no_mirror_is_wanted() -> None:
    truth = pose()
    found = turned(truth + 0.2 * pose(1))
    aligned = align_similarity(found, truth, torch.ones(3, 7, dtype=torch.bool))
    for one, wanted in zip(aligned.numpy(), truth.numpy(), strict=True):
        size = np.linalg.norm(wanted - wanted.mean(0))
        _, _, disparity = procrustes(wanted, one)
        assert ((one - wanted) ** 2).sum() / size**2 == pytest.approx(disparity, rel=1e-6)


def test_alignment_reads_labelled_joints_alone_and_bears_single_points() -> None:
    truth = pose()
    visible = torch.ones(3, 7, dtype=torch.bool)
    visible[:, 3] = False
    found = turned(truth)
    found[:, 3] = 1e6
    metric = KeypointError(7, "similarity")
    metric.update(found, truth, visible)
    assert metric.compute().value.item() < 1e-9
    one = torch.zeros(3, 7, dtype=torch.bool)
    one[:, 1] = True
    metric = KeypointError(7, "similarity")
    metric.update(found, truth, one)
    assert metric.compute().value.item() < 1e-9


@pytest.mark.parametrize(
    ("call", "kind", "match"),
    [
        (lambda: PCK(0), ValueError, "num_keypoints: expected an integer >= 1, got 0"),
        (lambda: PCK(3, ()), ValueError, r"thresholds: expected numbers above 0, got \(\)"),
        (lambda: PCK(3, (0.0,)), ValueError, r"thresholds: expected numbers above 0, got \(0.0,\)"),
        (lambda: KeypointError(3, root=3), ValueError, "root: expected 0 to 2, got 3"),
        (
            lambda: PCK(4).update(FOUND.long(), TRUTH, ALL, TEN),
            TypeError,
            "found: expected floating point, got torch.int64",
        ),
        (
            lambda: PCK(4).update(FOUND, TRUTH[:, :3], ALL, TEN),
            ValueError,
            r"truth: expected \(batch, joints, dim\), the same of both, got \(1, 3, 2\) beside \(1, 4, 2\)",
        ),
        (
            lambda: PCK(5).update(FOUND, TRUTH, ALL, TEN),
            ValueError,
            "found: expected 5 joints, got 4",
        ),
        (
            lambda: KeypointError(4).update(FOUND, TRUTH, ALL[:, :2]),
            ValueError,
            r"visible: expected \(batch, joints\) \(1, 4\), got \(1, 2\)",
        ),
        (
            lambda: PCK(4).update(FOUND, TRUTH, ALL, torch.ones(2)),
            ValueError,
            r"reference: expected \(1,\), got \(2,\)",
        ),
        (
            lambda: KeypointError(4).update(FOUND, TRUTH, ALL, torch.zeros(1)),
            ValueError,
            "reference: expected lengths above 0, got 0.0 for image 0",
        ),
        (
            lambda: KeypointError(4).update(FOUND, TRUTH * math.nan, ALL),
            ValueError,
            "truth: expected finite numbers in labelled joints, got NaN or infinity in image 0, joint 0",
        ),
        (
            lambda: KeypointError(4, "root", 1).update(FOUND, TRUTH, torch.tensor([[1, 0, 1, 1]])),
            ValueError,
            "visible: expected the root, joint 1, to be labelled, got none in image 0",
        ),
    ],
)
def test_refusals(call: Callable[[], object], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        call()
