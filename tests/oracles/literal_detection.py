"""The rules of COCO, VOC and Ultralytics as plain loops over images, detections and objects.

Written from the published rules, one detection after another; nothing is shared with the library but the
columns of a set. Slow on purpose.
"""

from typing import Any

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RANGES = ((0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10))


def overlap(a: Any, b: Any, *, crowd: bool = False, plus: float = 0.0) -> float:
    """Of x, y, w, h."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]) + plus
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]) + plus
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    first, second = (a[2] + plus) * (a[3] + plus), (b[2] + plus) * (b[3] + plus)
    return shared / (first if crowd else first + second - shared)


def voc(truth: dict[str, Any], found: dict[str, Any], *, points: int | None, plus: float) -> np.ndarray:
    """AP of each class at IoU 0.5: 11 points, or the whole area for None."""
    values = []
    for category in truth["categories"]:
        objects = [i for i, c in enumerate(truth["category_id"]) if c == category]
        positives = sum(not truth["difficult"][i] for i in objects)
        if not positives:
            values.append(np.nan)
            continue
        rows = [d for d, c in enumerate(found["category_id"]) if c == category]
        rows.sort(key=lambda d: (-found["score"][d], found["image_id"][d], d))
        taken, right, wrong, curve = set(), 0, 0, []
        for d in rows:
            best, most = None, -1.0
            for i in objects:
                if truth["image_id"][i] == found["image_id"][d]:
                    iou = overlap(found["box"][d], truth["box"][i], plus=plus)
                    if iou > most:
                        best, most = i, iou
            if most >= 0.5:
                if not truth["difficult"][best]:
                    if best in taken:
                        wrong += 1
                    else:
                        taken.add(best)
                        right += 1
            else:
                wrong += 1
            curve.append((right, wrong))
        values.append(_eleven(curve, positives) if points == 11 else _area(curve, positives))
    return np.array(values)


def _eleven(curve: list[tuple[int, int]], positives: int) -> float:
    best = [
        max((r / (r + w) for r, w in curve if r and 10 * r >= i * positives), default=0.0) for i in range(11)
    ]
    return sum(best) / 11


def _area(curve: list[tuple[int, int]], positives: int) -> float:
    recall = [0.0] + [r / positives for r, _ in curve] + [1.0]
    precision = [0.0] + [r / (r + w) if r + w else 0.0 for r, w in curve] + [0.0]
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def coco(truth: dict[str, Any], found: dict[str, Any], *, most: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """AP and the last recall, (thresholds, classes, ranges); NaN for a class without objects."""
    shape = (len(THRESHOLDS), len(truth["categories"]), len(RANGES))
    ap, recall = np.full(shape, np.nan), np.full(shape, np.nan)
    for c, category in enumerate(truth["categories"]):
        for a, (low, high) in enumerate(RANGES):
            uncounted = truth["crowd"] | (truth["area"] < low) | (truth["area"] > high)
            of_class = truth["category_id"] == category
            positives = int((of_class & ~uncounted).sum())
            for t, threshold in enumerate(THRESHOLDS if positives else []):
                verdicts = []
                for image in sorted(truth["images"]):
                    verdicts += _coco_image(
                        truth, found, image, category, threshold, uncounted, (low, high), most
                    )
                verdicts.sort(key=lambda verdict: -verdict[0])
                ap[t, c, a], recall[t, c, a] = _coco_curve([v for _, v in verdicts], positives)
    return ap, recall


def _coco_image(truth, found, image, category, threshold, uncounted, bounds, most):
    rows = np.flatnonzero((found["image_id"] == image) & (found["category_id"] == category))
    rows = sorted(rows, key=lambda d: -found["score"][d])[:most]
    objects = np.flatnonzero((truth["image_id"] == image) & (truth["category_id"] == category))
    taken, verdicts = set(), []
    for d in rows:
        best, key = None, None
        for i in objects:
            crowd = bool(truth["crowd"][i])
            iou = overlap(found["box"][d], truth["box"][i], crowd=crowd)
            if iou < min(threshold, 1 - 1e-10) or (i in taken and not crowd):
                continue
            rank = (not uncounted[i], iou, i)
            if key is None or rank > key:
                best, key = i, rank
        if best is None:
            area = found["box"][d][2] * found["box"][d][3]
            verdict = "none" if area < bounds[0] or area > bounds[1] else "wrong"
        else:
            taken.add(best)
            verdict = "none" if uncounted[best] else "right"
        verdicts.append((found["score"][d], verdict))
    return verdicts


def _coco_curve(verdicts: list[str], positives: int) -> tuple[float, float]:
    right = wrong = 0
    points = []
    for verdict in verdicts:
        right += verdict == "right"
        wrong += verdict == "wrong"
        points.append((right / positives, right / (right + wrong + np.spacing(1))))
    levels = [max((p for r, p in points if r >= level), default=0.0) for level in np.linspace(0, 1, 101)]
    return sum(levels) / 101, right / positives


def ultralytics(truth: dict[str, Any], found: dict[str, Any]) -> np.ndarray:
    """AP (thresholds, classes), for data without ties."""
    ap = np.full((len(THRESHOLDS), len(truth["categories"])), np.nan)
    for t, threshold in enumerate(THRESHOLDS):
        right = set()
        for image in truth["images"]:
            rows = [d for d in range(len(found["score"])) if found["image_id"][d] == image]
            rows = sorted(rows, key=lambda d: -found["score"][d])[:300]
            objects = [i for i in range(len(truth["image_id"])) if truth["image_id"][i] == image]
            pairs = [
                (overlap(found["box"][d], truth["box"][i]), place, d, i)
                for place, d in enumerate(rows)
                for i in objects
                if found["category_id"][d] == truth["category_id"][i]
            ]
            pairs = sorted((p for p in pairs if p[0] >= threshold), key=lambda p: -p[0])
            best = {}
            for _, place, d, i in pairs:
                best.setdefault(d, (place, i))
            first = {}
            for d, (_, i) in sorted(best.items(), key=lambda item: item[1][0]):
                first.setdefault(i, d)
            right |= set(first.values())
        for c, category in enumerate(truth["categories"]):
            positives = sum(k == category for k in truth["category_id"])
            rows = [d for d in range(len(found["score"])) if found["category_id"][d] == category]
            rows.sort(key=lambda d: -found["score"][d])
            if positives:
                ap[t, c] = 0.0
            if positives and rows:
                hits = np.cumsum([d in right for d in rows])
                recall = np.concatenate([[0.0], hits / (positives + 1e-16), [1.0]])
                precision = np.concatenate([[1.0], hits / np.arange(1, len(rows) + 1), [0.0]])
                precision = np.maximum.accumulate(precision[::-1])[::-1]
                grid = np.linspace(0, 1, 101)
                ap[t, c] = np.trapezoid(np.interp(grid, recall, precision), grid)
    return ap
