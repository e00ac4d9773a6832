"""What is known of the people in a picture: keypoints, what is seen of them, boxes."""

import numpy as np
from jaxtyping import Bool, Float64, Int64

from linsight.data.people.camera import Camera
from linsight.data.people.capsules import Surface

__all__ = ["boxes_of", "visibility"]

_DEEP = 0.13  # metres


def visibility(
    joints: Float64[np.ndarray, "bodies joints 3"],
    camera: Camera,
    surface: Surface,
    samples: int,
    image: Int64[np.ndarray, "bodies"] | None = None,
) -> Int64[np.ndarray, "bodies joints"]:
    """COCO's visibility: 2 seen, 1 hidden, 0 beyond the image.

    A joint is hidden when what is first on its ray is 0.13 m or more before it. Joints are inside the body,
    at most 0.12 m below its surface.

    Args:
        joints: In metres and the camera's axes.
        camera: Of each body.
        surface: Of each image.
        samples: Along each side of a pixel.
        image: Which image each body is in. Default: one each.
    """
    rows, columns = surface.depth.shape[1:]
    column, row = np.floor(camera.places(joints) * samples).transpose(2, 0, 1).astype(np.int64)
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    which = np.arange(len(joints)) if image is None else image
    before = surface.depth[which[:, None], row.clip(0, rows - 1), column.clip(0, columns - 1)]
    seen = before > joints[..., 2] - _DEEP
    return np.where(inside, np.where(seen, 2, 1), 0)


def boxes_of(masks: Bool[np.ndarray, "bodies height width"]) -> Float64[np.ndarray, "bodies 4"]:
    """x1, y1, x2, y2 around what is true, half-open in pixels; zeros where nothing is."""
    height, width = masks.shape[1:]
    rows, columns = np.logical_or.reduce(masks, 2), np.logical_or.reduce(masks, 1)
    boxes = np.stack(
        [
            columns.argmax(1),
            rows.argmax(1),
            width - columns[:, ::-1].argmax(1),
            height - rows[:, ::-1].argmax(1),
        ],
        1,
    )
    return np.where(np.logical_or.reduce(rows, 1)[:, None], boxes, 0).astype(np.float64)
