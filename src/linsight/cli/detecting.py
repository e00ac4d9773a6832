"""Evaluates detections by several protocols, and says why their numbers differ."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from linsight.cli.annotated import Pair, Texts, read_pair
from linsight.cli.tables import columns
from linsight.metrics import average_precision as ap
from linsight.reports.numbers import plain
from linsight.tasks.detections import class_table, number_table

__all__ = ["Request", "evaluate"]


@dataclass(frozen=True)
class Request:
    """Which protocols, of what overlap, and how the numbers are told."""

    protocols: tuple[str, ...]
    overlap: Literal["box", "mask", "keypoints"] = "box"
    sigmas: tuple[float, ...] = ()
    per_class: bool = False
    as_json: bool = False
    page: Path | None = None
    command: str = ""


def evaluate(gt: Path, dt: Path, request: Request, texts: Texts) -> None:
    """Read, match and print; writes the page where one is asked for.

    Raises:
        FileNotFoundError, ValueError, NotImplementedError: What readers, protocols and the metric refuse.
        OSError: The page cannot be written.
    """
    rules = [_rules(name, request) for name in request.protocols]
    pair = read_pair(gt, dt, texts, overlap=request.overlap)
    if pair.inclusive:
        # The pixel that VOC's protocols add is in the boxes already, for all protocols alike.
        rules = [replace(one, plus_one=False) for one in rules]
    results = [ap.evaluate_detections(pair.truth, pair.detections, one) for one in rules]
    reasons = ap.explain_results(pair.truth, pair.detections, results)
    sentences = [_sentence(reason) for reason in reasons]
    if request.page is not None:
        # Torch and matplotlib come with it, which the numbers do without.
        from linsight.reports.detections import write

        write(request.page, results, sentences, command=request.command)
    if request.as_json:
        print(json.dumps(_record(results, reasons, request.page), indent=2, allow_nan=False))
        return
    print(columns(number_table(results)))
    for line in [*_notes(pair, results[0]), *sentences]:
        print(line)
    if request.per_class:
        print()
        print(columns(class_table(results[0])))
    if request.page is not None:
        print(request.page)


def _rules(name: str, request: Request) -> ap.DetectionProtocol:
    rules = ap.detection_protocol(name.strip())
    if request.overlap == "box":
        return rules
    options: dict[str, Any] = {"overlap": request.overlap}
    if request.overlap == "keypoints" and request.sigmas:
        options["sigmas"] = request.sigmas
    if name.strip() != "coco":
        raise ValueError(f"protocol {name}: expected coco for {request.overlap}s, which no other defines")
    return ap.detection_protocol("coco", **options)


def _notes(pair: Pair, result: ap.AveragePrecisionResult) -> list[str]:
    notes = [
        f"{len(pair.truth):,} objects of {len(pair.truth.categories)} classes in {len(pair.truth.images):,} "
        f"images; {len(pair.detections):,} detections"
    ]
    if pair.inclusive:
        notes.append("boxes count the first and the last pixel, as VOC writes them, by every protocol here")
    if result.table.area_source == "box":
        notes.append("the files give no areas: width times height decides which object is small")
    return notes


def _sentence(reason: ap.Explanation) -> str:
    (one, two), (first, second) = reason.names, reason.values
    said = {choice: f"{value:.4f}" for choice, value in reason.changes.items()}
    moved = [f"{choice} {value}" for choice, value in said.items() if value != f"{first:.4f}"]
    still = [choice for choice, value in said.items() if value == f"{first:.4f}"]
    line = f"{two} says {second:.4f} where {one} says {first:.4f}"
    if moved:
        line += f"; with one of {two}'s choices {one} would say: {', '.join(moved)}"
    return f"{line}; no difference here: {', '.join(still)}" if still else line


def _record(
    results: list[ap.AveragePrecisionResult], reasons: list[ap.Explanation], page: Path | None
) -> dict[str, Any]:
    return {
        "protocols": [
            {
                "protocol": _plain(asdict(result.protocol)),
                "numbers": {name: plain(value) for name, value in result.summary().items()},
                "classes": [_plain(row._asdict()) for row in ap.class_rows(result)],
                "area_source": result.table.area_source,
            }
            for result in results
        ],
        "differences": [_plain(reason._asdict()) for reason in reasons],
        "html": page and str(page),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return plain(value)
