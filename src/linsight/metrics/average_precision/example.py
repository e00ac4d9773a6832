"""A small set of detections on which every protocol has another number."""

from linsight.metrics.average_precision.tables import Detections, GroundTruth, detections, ground_truth

__all__ = ["worked_example"]

OBJECTS = (
    (1, (0, 0, 100, 100)),
    (1, (200, 0, 260, 60)),
    (2, (50, 50, 150, 250)),
    (2, (300, 300, 340, 340)),
    (3, (10, 10, 30, 30)),
)
FOUND = (
    (1, (0, 0, 100, 90), 0.95),
    (1, (205, 0, 265, 60), 0.80),
    (1, (400, 400, 450, 450), 0.90),
    (2, (50, 50, 150, 200), 0.85),
    (2, (50, 60, 150, 250), 0.60),
    (2, (300, 300, 340, 325), 0.30),
    (3, (10, 10, 30, 22), 0.70),
    (3, (100, 100, 120, 120), 0.40),
)


def worked_example() -> tuple[GroundTruth, Detections]:
    """Five objects of one class in three images, and eight detections, of which five are right at IoU 0.5."""
    truth = ground_truth(
        images=[1, 2, 3],
        categories=[1],
        image_id=[image for image, _ in OBJECTS],
        category_id=[1] * len(OBJECTS),
        box=[box for _, box in OBJECTS],
        box_format="xyxy",
    )
    found = detections(
        image_id=[image for image, _, _ in FOUND],
        category_id=[1] * len(FOUND),
        score=[score for _, _, score in FOUND],
        box=[box for _, box, _ in FOUND],
        box_format="xyxy",
    )
    return truth, found
