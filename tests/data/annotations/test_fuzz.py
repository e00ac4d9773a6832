"""Whatever the bytes, a reader gives arrays or refuses on one line: nothing else, and soon.

`LINSIGHT_FUZZ_CASES=10000` tries so many cases a reader in place of a few.
"""

import json
import os
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linsight.data.annotations import (
    YOLO,
    YOLO_DETECTIONS,
    Lines,
    coco_results_quick,
    read_coco,
    read_coco_results,
    read_lines,
    read_lines_detections,
    read_voc,
    read_voc_detections,
    recognise,
)

CASES = int(os.environ.get("LINSIGHT_FUZZ_CASES", "60"))
fuzz = settings(
    max_examples=CASES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

DOCUMENT: dict[str, Any] = {
    "images": [
        {"id": 1, "file_name": "a.png", "height": 8, "width": 9},
        {"id": 2, "file_name": "b/c.png", "height": 6, "width": 6},
    ],
    "annotations": [
        {
            "id": 0,
            "image_id": 1,
            "category_id": 2,
            "bbox": [2, 1, 4, 3],
            "area": 12,
            "iscrowd": 0,
            "segmentation": [[2, 1, 6, 1, 6, 4, 2, 4]],
            "keypoints": [1, 2, 2, 0, 0, 0],
            "num_keypoints": 1,
        },
        {
            "id": 1,
            "image_id": 2,
            "category_id": 2,
            "bbox": [0.25, 0.5, 1.5, 2.125],
            "area": 3.5,
            "iscrowd": 1,
            "segmentation": {"size": [6, 6], "counts": [0, 2, 34]},
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 3,
            "bbox": [0, 0, 0, 0],
            "area": 0,
            "segmentation": {"size": [8, 9], "counts": "X2"},
        },
    ],
    "categories": [{"id": 2, "name": "two", "keypoints": ["left", "right"]}, {"id": 3, "name": "three"}],
}
RESULTS = [
    {
        "image_id": 1,
        "category_id": 2,
        "bbox": [2, 1, 4, 3.5],
        "score": 0.75,
        "segmentation": [[1, 1, 5, 1, 5, 5]],
    },
    {"image_id": 2, "category_id": 3, "bbox": [0, 0, 1, 1], "score": 0.125, "segmentation": {"size": [6, 6]}},
]
XML = b"""<?xml version="1.0"?>
<annotation><filename>a.jpg</filename><size><width>40</width><height>30</height></size>
<object><name>dog</name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object></annotation>"""

odd = st.one_of(
    st.sampled_from(
        [
            *(None, True, False, 0, -1, 1, 2, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**64), 10**400),
            *(0.5, -0.0, 1e-320, 1e19, 1e308, -1e308, float("inf"), float("nan")),
            *("", "x", "1", "\0", "\ud800", "../a", "/", "a\nb", "\u202e", "o" * 30, "0" * 30),
            *([], {}, [[]], [[0, 0, 1e5, 0, 1e5, 1e5]], [[1, 1] * 3], [1e9] * 6, [0] * 7, [2**62] * 4),
            *({"size": [2**31 - 1] * 2, "counts": [(2**31 - 1) ** 2]}, {"size": [0, 0], "counts": ""}),
        ]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=4,
    ),
)


@st.composite
def changed(draw: st.DrawFn, original: Any) -> str:
    """JSON of the original in which up to three values are others, gone, or there twice."""
    value = {"top": deepcopy(original)}
    for _ in range(draw(st.integers(1, 3))):
        places: list[tuple[Any, Any]] = []
        waiting: list[Any] = [value]
        while waiting:
            inner = waiting.pop()
            keys = list(inner) if isinstance(inner, dict) else range(len(inner))
            places += [(inner, key) for key in keys]
            waiting += [inner[key] for key in keys if isinstance(inner[key], (dict, list))]
        if not places:
            break
        inner, key = places[draw(st.integers(0, len(places) - 1))]
        how = draw(st.integers(0, 6))
        if how == 0 and inner is not value:
            del inner[key]
        elif how == 1 and isinstance(inner, list):
            inner.append(inner[key])
        else:
            inner[key] = deepcopy(draw(odd))
    return json.dumps(value["top"])


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """The bytes with up to four cuts, repeats or other bytes."""
    raw = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(raw)))
        stop = draw(st.integers(start, min(len(raw), start + 40)))
        raw[start:stop] = draw(
            st.one_of(
                st.binary(max_size=6),
                st.just(bytes(raw[start:stop]) * 2),
                st.sampled_from(
                    [b"<!DOCTYPE a>", b"&#0;", b"&#55296;", b"]]>", b"<![CDATA[", b"\xff\xfe", b"<a/>", b""]
                ),
            )
        )
    return bytes(raw)


def outcome(read: Callable[[], object]) -> str:
    """The refusal, or nothing; anything but a refusal on one printable line fails, or a long wait."""
    start = time.process_time()
    message, kind = "", ValueError
    try:
        read()
    except (ValueError, FileNotFoundError) as error:
        message, kind = str(error) or "\0", type(error)
    assert kind in (ValueError, FileNotFoundError)  # not a UnicodeDecodeError or a JSONDecodeError
    assert message.isprintable()
    assert len(message) < 1500
    assert time.process_time() - start < 5
    return message


@fuzz
@given(changed(DOCUMENT))
def test_coco_of_odd_values(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    outcome(lambda: read_coco(path, masks=True))
    outcome(lambda: read_coco(path))
    outcome(lambda: recognise(path))


@fuzz
@given(st.one_of(damaged(json.dumps(DOCUMENT).encode()), st.binary(max_size=40)))
def test_coco_of_damaged_bytes(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(raw)
    outcome(lambda: read_coco(path, masks=True))


@fuzz
@given(changed(RESULTS))
def test_results_of_odd_values(tmp_path: Path, text: str) -> None:
    known = tmp_path / "truth.json"
    if not known.exists():
        known.write_text(json.dumps(DOCUMENT))
    path = tmp_path / "a.json"
    path.write_text(text)
    truth = read_coco(known)
    quick = outcome(lambda: read_coco_results(path, truth))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_results_quick, "_decoder", lambda: None)
        assert outcome(lambda: read_coco_results(path, truth)) == quick
    outcome(lambda: read_coco_results(path, truth, masks=True))
    outcome(lambda: read_coco_results(path, masks=True))


@fuzz
@given(st.one_of(damaged(XML), st.binary(max_size=40)))
def test_voc_of_damaged_bytes(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.xml").write_bytes(raw)
    outcome(lambda: read_voc(tmp_path))


texts = st.one_of(
    damaged(b"a 0.5 1 1 20 20\nb 0.25 3 4 5 6\n"),
    damaged(b"0 .5 .5 .25 .25\n1 .1 .1 .05 .05 .9\n"),
    st.binary(max_size=30),
    st.lists(
        st.sampled_from(
            ["a", "0", "1", "-1", "0.5", "nan", "inf", "1e308", "1e-400", "1_0", "\u0663", "9" * 70, "\n"]
        )
    ).map(lambda words: " ".join(words).encode()),
)


@fuzz
@given(texts)
def test_lines_of_damaged_bytes(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(raw)
    sizes = {"a": (30, 40)}
    for lines in (YOLO, Lines("xyxy"), Lines("xywh")):
        outcome(lambda lines=lines: read_lines(tmp_path, lines, categories=["x", "y"], sizes=sizes))
    outcome(lambda: read_lines_detections(tmp_path, YOLO_DETECTIONS, categories=["x", "y"], sizes=sizes))


@fuzz
@given(texts)
def test_voc_detections_of_damaged_bytes(tmp_path: Path, raw: bytes) -> None:
    for name in ("voc", "found"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "voc" / "a.xml").write_bytes(XML)
    (tmp_path / "found" / "comp4_det_test_dog.txt").write_bytes(raw)
    truth = read_voc(tmp_path / "voc")
    outcome(lambda: read_voc_detections(tmp_path / "found", truth))


def test_the_undamaged_originals_are_read(tmp_path: Path) -> None:
    """Otherwise the cases above would all be refused for the same reason."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(DOCUMENT))
    assert len(read_coco(path, masks=True).box) == 3
    truth = read_coco(path)
    path.write_text(json.dumps(RESULTS))
    assert np.isfinite(read_coco_results(path, truth).score).all()
    (tmp_path / "a.xml").write_bytes(XML)
    assert len(read_voc(tmp_path).box) == 1
    with pytest.raises(ValueError, match="expected counts that are a string"):
        read_coco_results(path, truth, masks=True)
