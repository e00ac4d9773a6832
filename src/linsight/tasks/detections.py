"""What is shown of detections: numbers by protocol, classes, curves, confusion, errors, worst images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from linsight.metrics import average_precision as ap
from linsight.tasks.exhibits import Curves, Exhibit, Heatmap, Table

__all__ = ["SCORE", "ImageErrors", "class_table", "detection_exhibits", "image_errors", "number_table"]

MOST_CLASSES = 20
"""Rows of a confusion matrix, and curves, that can be read."""
MOST_CURVES = 8
WORST = 20
SCORE = 0.25
"""Of the confusion matrix and of the worst images."""


def number_table(results: Sequence[ap.AveragePrecisionResult]) -> Table:
    """Every number of every protocol, a column for each."""
    summaries = [result.summary() for result in results]
    names = list(dict.fromkeys(name for summary in summaries for name in summary))
    rows = tuple((name, *(_cell(summary.get(name)) for summary in summaries)) for name in names)
    return Table("numbers", "Average precision and recall", ("", *(r.protocol.name for r in results)), rows)


def class_table(result: ap.AveragePrecisionResult) -> Table:
    """A row for each class."""
    rows = tuple(
        (row.name, row.num_gt, row.num_det, *map(_cell, (row.ap, row.ap50, row.ap75, row.ar, row.best_f1)))
        for row in ap.class_rows(result)
    )
    names = ("class", "objects", "detections", "AP", "AP50", "AP75", "AR", "best F1")
    return Table("classes", f"Class by class, {result.protocol.name}", names, rows)


def detection_exhibits(result: ap.AveragePrecisionResult) -> list[Exhibit]:
    """What a page shows of one protocol: classes, curves and, of boxes, confusion, errors, worst images."""
    found: list[Exhibit] = [class_table(result), _precision_recall(result)]
    if result.protocol.overlap == "box":
        found += [_confusion(result), _errors(result)]
    return [*found, _worst_images(result)]


class ImageErrors(NamedTuple):
    """Of each image, in the order of the table's."""

    wrong: Int[np.ndarray, " images"]
    """Detections that take no object."""
    missed: Int[np.ndarray, " images"]
    """Objects that none takes."""


def image_errors(table: ap.MatchTable, score: float = SCORE) -> ImageErrors:
    """Errors at the first threshold, of detections of `score` or more; what is not counted is no error."""
    images = len(table.images)
    taken = table.det_gt()
    counted = (table.det_score >= score) & ~table.det_ignore()
    wrong = np.bincount(table.det_image[counted & (taken < 0)], minlength=images)
    found = np.zeros(len(table.gt_row), bool)
    found[taken[counted & (taken >= 0)]] = True
    missed = np.bincount(table.gt_image[~found & ~table.gt_ignore[0]], minlength=images)
    return ImageErrors(wrong, missed)


def _precision_recall(result: ap.AveragePrecisionResult) -> Curves:
    table, threshold = result.table, result.protocol.thresholds[0]
    order = np.argsort(-result.positives[:, 0], kind="stable")[:MOST_CURVES]
    series = {}
    for number in order[result.positives[order, 0] > 0]:
        category = int(table.categories[number])
        envelope = ap.precision_recall(table, category).envelope
        series[table.names.get(category, str(category))] = (
            np.linspace(0, 1, 101).tolist(),
            envelope.tolist(),
        )
    note = f"The greatest precision at this recall or above, at IoU {threshold:g}."
    left_out = int((result.positives[:, 0] > 0).sum()) - len(series)
    if left_out:
        note += f" The {len(series)} classes with most objects; {left_out} more have curves."
    return Curves("precision_recall", "Precision against recall", series, "recall", "precision", note=note)


def _confusion(result: ap.AveragePrecisionResult) -> Heatmap | Table:
    table = result.table
    matrix = ap.confusion(table, SCORE)
    called = (*(table.names.get(int(c), str(c)) for c in table.categories), "background")
    note = f"Scores of {SCORE:g} or more, IoU 0.5 or more."
    if len(called) <= MOST_CLASSES:
        return Heatmap(
            "confusion",
            "Confusion",
            matrix,
            called,
            called,
            "there is",
            "was found",
            note=f"Rows are what is there, columns what was said. {note}",
        )
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    wrong[-1], wrong[:, -1] = 0, 0
    rows = [
        (called[place // len(called)], called[place % len(called)], int(wrong.flat[place]))
        for place in np.argsort(-wrong.ravel(), kind="stable")[:WORST]
        if wrong.flat[place]
    ]
    return Table(
        "confusion", "Classes most often confused", ("there is", "was found", "times"), tuple(rows), note
    )


def _errors(result: ap.AveragePrecisionResult) -> Table:
    errors = ap.tide(result.table)
    words = {
        "Loc": "the right class, badly placed",
        "Cls": "well placed, the wrong class",
        "Dupe": "an object found already",
        "Bkg": "nothing there",
        "Both": "badly placed and the wrong class",
        "Miss": "an object not found",
    }
    rows = tuple((name, word, errors.counts[name], errors.costs[name]) for name, word in words.items())
    note = (
        f"By TIDE (Bolya et al. 2020, arXiv 2008.08115): of an image {errors.limit} detections at most, of "
        "all classes together, where COCO takes as many of each; and a class with detections and no objects "
        f"counts as 0. AP at IoU 0.5 is {errors.ap:.4f} by these rules, and the last column what it would "
        "gain without errors of this kind."
    )
    return Table("errors", "Kinds of error", ("", "", "number", "AP to gain"), rows, note)


def _worst_images(result: ap.AveragePrecisionResult) -> Table:
    table = result.table
    wrong, missed = image_errors(table)
    errors = wrong + missed
    order = [i for i in np.argsort(-errors, kind="stable")[:WORST] if errors[i]]
    rows = tuple((str(table.images[i]), int(missed[i]), int(wrong[i])) for i in order)
    note = f"At IoU {result.protocol.thresholds[0]:g}, scores of {SCORE:g} or more."
    return Table("worst", "Images with most errors", ("image", "missed", "false"), rows, note)


def _cell(value: float | None) -> float | None:
    return None if value is None or value != value else value
