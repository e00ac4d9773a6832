"""TIDE: what kind of error costs how much average precision."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from linsight.metrics.average_precision.across import pairs_of_images
from linsight.metrics.average_precision.curves import Curves
from linsight.metrics.average_precision.integrators import interpolated
from linsight.metrics.average_precision.match_table import MatchTable
from linsight.metrics.average_precision.matching import best_free, preferences
from linsight.metrics.average_precision.ordering import descending, stable_order
from linsight.metrics.average_precision.pairing import Pairs

__all__ = ["TideErrors", "tide"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

KINDS = ("Loc", "Cls", "Dupe", "Bkg", "Both")


class TideErrors(NamedTuple):
    """Errors by kind: how many, and by how much AP rises where they alone are mended.

    Args:
        ap: At the one threshold, at most `limit` detections of an image (not of an image and class as in
        COCO).
        counts: Of "Loc", "Cls", "Dupe", "Bkg", "Both" and "Miss".
        costs: Of the same, and of "FalsePos" and "FalseNeg", all errors of that side.
        kind: Of each row of the match table: the number of its kind in this order, -1 for none.
        limit: Detections of an image.
    """

    ap: float
    counts: Mapping[str, int]
    costs: Mapping[str, float]
    kind: Int[np.ndarray, " D"]
    limit: int


def tide(table: MatchTable, positive: float = 0.5, background: float = 0.1, limit: int = 100) -> TideErrors:
    """The errors behind a missing AP (Bolya et al. 2020, arXiv 2008.08115).

    A detection that takes no object of its class at IoU `positive`, and does not lie on an uncounted one, is
    of the first kind that applies:

    1. Loc: its best object of its class overlaps by `background` to `positive`.
    2. Cls: an object of another class overlaps by `positive`.
    3. Dupe: an object of its class that is taken overlaps by `positive`.
    4. Bkg: no object overlaps by more than `background`.
    5. Both: the rest.

    Miss is an object that is not taken and that no Loc or Cls could take. Mending Loc or Cls makes the
    highest scored one of each free object right, and drops the others; Dupe, Bkg, Both are dropped; a Miss is
    an object less. Costs are not less than 0, and do not add up. AP is at 101 points; `Deviation:` from
    COCO's, TIDE counts a class with detections and no objects as 0. `Deviation:` from its own code,
    detections on uncounted regions are dropped before they get a kind.
    """
    found = pairs_of_images(table, background, limit=limit)
    category, real = table.det_category[found.detection], table.gt_category[found.truth]
    ignored = table.gt_ignore[0, found.truth]
    state = _State(found.pairs, category, real, ignored, positive, table.protocol.tie)
    kinds = state.kinds(background)
    target, fixable = state.targets(kinds)
    usable = np.zeros(len(real), bool)
    usable[target[fixable]] = True
    missed = ~ignored & ~state.used & ~usable
    score, classes = table.det_score[found.detection], len(table.categories)
    objects = np.bincount(real[~ignored], minlength=classes)
    kept = state.right | (kinds >= 0)

    def ap(of: Integers, score: Floats, right: Flags, kept: Flags, objects: Integers) -> float:
        return _mean_ap(of[kept], score[kept], right[kept], objects)

    base = ap(category, score, state.right, kept, objects)
    cost = {}
    for number, name in enumerate(KINDS):
        mine = kinds == number
        mended = np.flatnonzero(mine & fixable)
        # Rows come by score within an image, where all that share an object lie.
        _, first = np.unique(target[mended], return_index=True)
        mended = mended[first]
        right, of, left = state.right.copy(), category.copy(), kept & ~mine
        right[mended] = left[mended] = True
        of[mended] = real[target[mended]]
        cost[name] = ap(of, score, right, left, objects) - base
    fewer = objects - np.bincount(real[missed], minlength=classes)
    cost["Miss"] = ap(category, score, state.right, kept, fewer) - base
    cost["FalsePos"] = ap(category, state.right.astype(float), state.right, kept, objects) - base
    hit = np.bincount(category[state.right], minlength=classes)
    cost["FalseNeg"] = ap(category, score, state.right, kept, hit) - base
    count = {name: int((kinds == number).sum()) for number, name in enumerate(KINDS)}
    kind = np.full(len(table.det_row), -1)
    kind[found.detection] = kinds
    # Where nothing is left to find or found, AP is NaN, and the error was not what it lacked.
    cost = {name: value if value > 0 else 0.0 for name, value in cost.items()}
    return TideErrors(base, count | {"Miss": int(missed.sum())}, cost, kind, limit)


class _State:
    """Who is right, which objects are taken, and the greatest overlaps of every detection."""

    def __init__(
        self, pairs: Pairs, category: Integers, real: Integers, ignored: Flags, positive: float, tie: str
    ) -> None:
        same = category[pairs.detection] == real[pairs.truth]
        own, self.positive, self.number = pairs.take(same), positive, len(category)
        regions = own.take(ignored[own.truth])
        self.regular = pairs.take(~ignored[pairs.truth])
        self.own = own.take(~ignored[own.truth])
        self.other = pairs.take(~same & ~ignored[pairs.truth])
        matchable = preferences(
            self.own.take(self.own.overlap >= positive), "last" if tie == "last" else "first"
        )
        detection, truth = best_free(matchable, np.zeros(len(real), bool))
        self.right, self.used = np.zeros(len(category), bool), np.zeros(len(real), bool)
        self.right[detection] = True
        self.used[truth] = True
        self.dropped = ~self.right & (self._greatest(regions) > positive)

    def kinds(self, background: float) -> Integers:
        """The kind of each detection, -1 for those that are right or dropped."""
        best = self._greatest(self.own)
        tests = (
            (best >= background) & (best <= self.positive),
            self._greatest(self.other) >= self.positive,
            self._greatest(self.own.take(self.used[self.own.truth])) >= self.positive,
            self._greatest(self.regular) <= background,
        )
        kinds = np.full(self.number, len(tests))
        for number in reversed(range(len(tests))):
            kinds[tests[number]] = number
        kinds[self.right | self.dropped] = -1
        return kinds

    def targets(self, kinds: Integers) -> tuple[Integers, Flags]:
        """The object that a Loc or Cls was meant for, and whether it is still free."""
        target = np.zeros(self.number, np.int64)
        meant = np.zeros(self.number, bool)
        for kind, pairs in ((0, self.own), (1, self.other)):
            lists = preferences(pairs.take(kinds[pairs.detection] == kind), "first")
            first = np.flatnonzero(np.diff(lists.detection, prepend=-1))
            target[lists.detection[first]] = lists.truth[first]
            meant[lists.detection[first]] = True
        return target, meant & ~self.used[target] if len(self.used) else meant

    def _greatest(self, pairs: Pairs) -> Floats:
        greatest = np.zeros(self.number)
        np.maximum.at(greatest, pairs.detection, pairs.overlap)
        return greatest


def _mean_ap(category: Integers, score: Floats, right: Flags, objects: Integers) -> float:
    """The mean over classes with data; 0 for those with detections and no objects; NaN without any class."""
    classes = len(objects)
    order = stable_order(category, descending(score))
    category, right = category[order], right[order]
    bounds = np.searchsorted(category, np.arange(classes + 1))
    hits = np.flatnonzero(right)
    of = category[hits]
    rights = np.concatenate([[0], np.cumsum(right)])
    curves = Curves(
        right=rights[hits + 1] - rights[bounds[of]],
        counted=hits + 1 - bounds[of],
        offsets=np.searchsorted(of, np.arange(classes + 1)),
        total=np.diff(bounds),
        positives=objects,
        row=hits,
    )
    values = np.where(objects > 0, interpolated(curves).mean(1), 0.0)
    data = (objects > 0) | (np.diff(bounds) > 0)
    return float(values[data].mean()) if data.any() else float("nan")
