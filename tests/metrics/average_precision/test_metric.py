"""Splits, orders, overlaps and merges of the images give the numbers of one pass, on every rank."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detection_cases import Case, random_case
from posed_cases import random_masks, random_people

from linsight.metrics import AveragePrecision, Masks, evaluate_detections
from linsight.metrics.average_precision import coco

COLUMNS = {"box": "boxes", "score": "scores", "category_id": "labels"}
Images = dict[object, tuple[dict, dict]]


def by_image(case: Case) -> Images:
    """Predictions and targets of each image, as a training loop has them."""
    images = {}
    for image in np.asarray(case.truth["images"]).tolist():
        sides = []
        for columns in (case.found, case.truth):
            rows = np.flatnonzero(columns["image_id"] == image)
            sides.append(
                {
                    COLUMNS.get(name, name): torch.as_tensor(np.asarray(values)[rows])
                    for name, values in columns.items()
                    if name not in ("images", "categories", "image_id", "box_format")
                }
            )
        images[image] = tuple(sides)
    return images


def metric(images: Images, ids: list, batch: int = 2, classes: int = 3) -> AveragePrecision:
    built = AveragePrecision(range(1, classes + 1), box_format="xywh")
    for start in range(0, len(ids), batch):
        part = ids[start : start + batch]
        built.update([images[i][0] for i in part], [images[i][1] for i in part], part)
    return built


def numbers(built: AveragePrecision) -> list[float]:
    return list(built.compute().summary().values())


@pytest.mark.parametrize("seed", range(8))
def test_splits_orders_overlaps_and_merges_give_one_number(seed):
    rng = np.random.default_rng(seed)
    case = random_case(seed, images=7, classes=3)
    images, ids = by_image(case), list(range(1, 8))
    whole = list(evaluate_detections(*case.tables()).summary().values())
    np.testing.assert_array_equal(numbers(metric(images, ids)), whole)
    np.testing.assert_array_equal(numbers(metric(images, rng.permutation(ids).tolist(), batch=3)), whole)
    shards = [sorted(set(rng.choice(ids, size=4).tolist())) for _ in range(3)] + [ids[::2], ids[1::2]]
    one, two, three, *rest = (metric(images, shard) for shard in shards)
    left, right = (
        AveragePrecision([1, 2, 3], box_format="xywh"),
        AveragePrecision([1, 2, 3], box_format="xywh"),
    )
    for part in (one, two, three, *rest):
        left.merge(part)
    three.merge(rest[1])
    two.merge(three)
    for part in (rest[0], two, one, one):
        right.merge(part)
    np.testing.assert_array_equal(numbers(left), whole)
    np.testing.assert_array_equal(numbers(right), whole)


def test_an_image_that_comes_again_is_counted_once_and_told():
    images = by_image(random_case(5))
    built = metric(images, [1, 2, 3, 1, 1])
    assert (len(built), built.duplicates) == (3, 2)
    np.testing.assert_array_equal(numbers(built), numbers(metric(images, [1, 2, 3])))


def test_an_image_that_comes_again_with_another_content_is_refused():
    images = by_image(random_case(5))
    built = metric(images, [1, 2])
    with pytest.raises(ValueError, match="image_ids: expected one content for an image, got two for 1"):
        built.update([images[2][0]], [images[2][1]], [1])


def test_reset_forgets():
    images = by_image(random_case(5))
    built = metric(images, [1, 2, 3])
    built.reset()
    assert (len(built), built.duplicates) == (0, 0)
    assert np.isnan(built.compute().value)


def test_tensors_of_any_precision_with_gradients_are_taken():
    images = by_image(random_case(5))
    exact = numbers(metric(images, [1, 2, 3]))
    found = {i: (dict(p, boxes=p["boxes"].float().requires_grad_()), t) for i, (p, t) in images.items()}
    np.testing.assert_array_equal(numbers(metric(found, [1, 2, 3])), exact)
    assert metric(
        {1: (dict(images[1][0], scores=images[1][0]["scores"].bfloat16()), images[1][1])}, [1]
    ).compute()


def test_ids_that_are_words_sort_as_words():
    images = {str(i): image for i, image in by_image(random_case(5)).items()}
    np.testing.assert_array_equal(
        numbers(metric(images, ["3", "1", "2"])), numbers(metric(images, ["1", "2", "3"]))
    )


def test_masks_and_keypoints_accumulate_too():
    case = random_masks(4, encode=lambda dense: dense)
    dense = {side: np.array(getattr(case, side).pop("segmentation")) for side in ("truth", "found")}
    whole = case.changed(*({"masks": Masks.from_dense(dense[side])} for side in ("truth", "found")))
    case.truth.pop("box")
    expected = evaluate_detections(*whole.tables(), coco("mask")).summary()
    case.truth["masks"], case.found["masks"] = dense["truth"], dense["found"]
    built = metric(by_image(case), [2, 1])
    assert built.compute(coco("mask")).summary()["AP"] == pytest.approx(
        expected["AP"], abs=1e-12, nan_ok=True
    )
    people = random_people(3)
    expected = evaluate_detections(*people.tables(), coco("keypoints")).summary()
    found = metric(by_image(people), [2, 1], classes=1).compute(coco("keypoints")).summary()
    assert found == pytest.approx(expected, nan_ok=True)


def test_wrong_calls_name_what_is_wrong():
    images = by_image(random_case(5))
    (found, truth), built = images[1], AveragePrecision([1, 2, 3], box_format="xywh")
    with pytest.raises(ValueError, match="expected as many of each, got 1, 1 and 2"):
        built.update([found], [truth], [1, 2])
    with pytest.raises(ValueError, match="predictions: expected labels, scores, got no scores"):
        built.update([{"labels": found["labels"]}], [truth], [1])
    with pytest.raises(TypeError, match="labels: expected integers, got float64"):
        built.update([dict(found, labels=found["labels"] + 0.5)], [truth], [1])
    with pytest.raises(ValueError, match=r"predictions: expected \d+ of score, one for each label, got 1"):
        built.update([dict(found, scores=found["scores"][:1])], [truth], [1])
    with pytest.raises(TypeError, match="image_ids: expected integers or strings, got both"):
        built.update([found, found], [truth, truth], [1, "a"])
    with pytest.raises(TypeError, match="other: expected AveragePrecision, got dict"):
        built.merge({})
    with pytest.raises(ValueError, match="other: expected the categories and box_format of this one"):
        built.merge(AveragePrecision([1, 2], box_format="xywh"))
    built.update([found], [truth], [1])
    built.update([images[2][0]], [{k: v for k, v in images[2][1].items() if k != "area"}], [2])
    with pytest.raises(ValueError, match="targets: expected area of all images or of none, got none of 2"):
        built.compute()


WORKER = """
import json, sys
from datetime import timedelta
import torch.distributed as dist
rank, folder, paths = int(sys.argv[1]), sys.argv[2], sys.argv[3].split(":")
sys.path[:0] = paths
from detection_cases import random_case
from test_metric import by_image, metric, numbers
dist.init_process_group("gloo", f"file://{folder}/store", timedelta(seconds=60), world_size=2, rank=rank)
images = by_image(random_case(11, images=5, classes=3))
# A sampler that pads five images to six: each rank has three, the first one twice in all.
built = metric(images, [1, 3, 5] if rank == 0 else [2, 4, 1])
built.sync()
open(f"{folder}/{rank}.json", "w").write(json.dumps([numbers(built), len(built), built.duplicates]))
dist.destroy_process_group()
"""


def test_two_processes_and_a_padded_sampler_give_the_number_of_one(tmp_path):
    here = Path(__file__)
    paths = ":".join(str(path) for path in (here.parent, here.parents[2]))
    for attempt in range(2):  # gloo sometimes fails to connect
        folder = tmp_path / str(attempt)
        folder.mkdir()
        command = [sys.executable, "-c", WORKER]
        ranks = [
            subprocess.Popen([*command, str(rank), str(folder), paths], stderr=subprocess.PIPE)
            for rank in (0, 1)
        ]
        told = [rank.communicate(timeout=120)[1].decode() for rank in ranks]
        if not any("connectFullMesh" in text for text in told):
            break
    assert all(rank.returncode == 0 for rank in ranks), "\n".join(told)
    expected = numbers(metric(by_image(random_case(11, images=5, classes=3)), [1, 2, 3, 4, 5]))
    for rank in (0, 1):
        values, images, duplicates = json.loads((folder / f"{rank}.json").read_text())
        assert (images, duplicates) == (5, 1)
        np.testing.assert_array_equal(values, expected)


def test_one_process_has_nothing_to_gather():
    built = metric(by_image(random_case(5)), [1, 2])
    built.sync()
    assert (len(built), built.duplicates) == (2, 0)
