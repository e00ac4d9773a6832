"""Overlaps and suppression as one reads them: plain loops over floats."""

import math


def area(box: list[float]) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def overlap(a: list[float], b: list[float], kind: str) -> float:
    """Of boxes whose corners are not crossed."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    both = width * height
    union = area(a) + area(b) - both
    iou = both / union if union else 0.0
    hull = [min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])]
    if kind == "iou":
        return iou
    if kind == "giou":
        return iou - ((area(hull) - union) / area(hull) if area(hull) else 0.0)
    rho2 = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    c2 = (hull[2] - hull[0]) ** 2 + (hull[3] - hull[1]) ** 2
    diou = iou - (rho2 / c2 if c2 else 0.0)
    if kind == "diou":
        return diou
    v = 4 / math.pi**2 * (_slope(a) - _slope(b)) ** 2
    return diou - (v * v / (1 - iou + v) if v else 0.0)


def _slope(box: list[float]) -> float:
    width, height = box[2] - box[0], box[3] - box[1]
    if not height:
        return math.pi / 2 if width else 0.0
    return math.atan(width / height)


def suppress(boxes: list[list[float]], scores: list[float], labels: list[int], threshold: float) -> list[int]:
    """The boxes that stay, by descending score."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        rivals = [j for j in kept if labels[j] == labels[i]]
        if all(overlap(boxes[i], boxes[j], "iou") <= threshold for j in rivals):
            kept.append(i)
    return kept
