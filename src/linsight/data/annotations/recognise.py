"""Which format a file or folder is in, by what only that format has; never a guess."""

import os
from pathlib import Path
from typing import Literal

from linsight.data.annotations.files import files_of, refusal
from linsight.data.annotations.json_text import keys
from linsight.data.annotations.voc_detections import NAME

__all__ = ["Format", "recognise"]

Format = Literal["coco", "coco-results", "voc", "voc-detections"]


def recognise(path: str | os.PathLike[str]) -> Format:
    """The format of annotations.

    "coco": a JSON object with `images`; "coco-results": a JSON list, or an object with `annotations` alone;
    "voc": a folder with XML files, or with a folder `Annotations`; "voc-detections": a folder whose text
    files are all named comp4_det_test_<class>.txt or alike.

    Raises FileNotFoundError for what is not there; ValueError for anything else: text files for each image
    say neither what their numbers are nor how large the images, so that their format must be named.
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"{place}: there is no such file or folder")
    if place.is_dir():
        return _folder(place)
    # The reader looks at all of it; here a large file is looked at until it is clear what it is.
    names = keys(place)
    if names is None:
        return "coco-results"
    annotations = False
    for name in names:
        if name == "images":
            return "coco"
        annotations |= name == "annotations"
    if annotations:
        return "coco-results"
    raise refusal(place, "", "expected COCO's ground truth or results, got other JSON")


def _folder(folder: Path) -> Format:
    xml = (folder / "Annotations").is_dir() or bool(files_of(folder, ".xml"))
    texts = files_of(folder, ".txt")
    named = [path for path in texts if NAME.fullmatch(path.name)]
    if xml and not texts:
        return "voc"
    if not xml and named and len(named) == len(texts):
        return "voc-detections"
    if texts and not xml and not named:
        raise refusal(
            folder, "", "text files for each image may be of several formats; name the one they are in"
        )
    kinds = [kind for kind, there in (("XML", xml), ("VOC detections", named), ("text", texts)) if there]
    raise refusal(
        folder, "", f"expected XML files or VOC detections, got {' and '.join(kinds) if kinds else 'neither'}"
    )
