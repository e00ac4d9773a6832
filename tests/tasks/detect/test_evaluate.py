"""What a detector's evaluation says: of one that knows, one that shifts, one that errs in known scenes."""

import json

import numpy as np
import pytest
import torch

from linsight.data import Scenes
from linsight.metrics import average_precision as ap
from linsight.models.vision import found_boxes
from linsight.tasks.detect import measure_detector
from linsight.tasks.detections import image_errors
from linsight.tasks.exhibits import Pictures

CPU = torch.device("cpu")


def _exhibits(evaluation) -> dict:
    return {exhibit.name: exhibit for exhibit in evaluation.exhibits}


def test_one_that_knows_finds_everything_by_every_protocol(task, oracle) -> None:
    """Scenes of one object each: no two share a cell."""
    built = task(data=Scenes(most=1))
    evaluation = built.evaluate(oracle(built.config.data, "test", 12), "test", device=CPU)
    for name, value in evaluation.metrics.items():
        assert value == pytest.approx(1.0), name
    assert "AP_large" not in evaluation.metrics  # no digit is: not defined, not said
    numbers = _exhibits(evaluation)["numbers"]
    assert numbers.columns == ("", "coco", "voc10", "voc07")
    assert dict(zip(numbers.columns, numbers.rows[0], strict=True))["coco"] == pytest.approx(1.0)


def test_metrics_are_those_of_the_metric_on_what_the_model_found(task) -> None:
    built = task()
    torch.manual_seed(3)
    model = built.build_model()
    torch.nn.init.normal_(model.heat[-1].weight, std=0.5)
    evaluation = built.evaluate(model, "test", device=CPU)
    scenes = Scenes().scenes("test", np.arange(12))
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).float() / 255
    with torch.no_grad():
        found = found_boxes(model(images), (96, 96), most=50, least=0.001, threshold=0.6)
    truth = ap.ground_truth(
        images=range(12),
        categories=range(10),
        image_id=np.repeat(np.arange(12), [len(scene.labels) for scene in scenes]),
        category_id=np.concatenate([scene.labels for scene in scenes]),
        box=np.concatenate([scene.boxes for scene in scenes]),
        box_format="xyxy",
        area=np.concatenate([scene.areas for scene in scenes]),
    )
    image, place = found.kept.nonzero().unbind(1)
    detections = ap.detections(
        image_id=image,
        category_id=found.labels[image, place],
        score=found.scores[image, place],
        box=found.boxes[image, place],
        box_format="xyxy",
    )
    expected = ap.evaluate_detections(truth, detections, "coco").summary()
    assert evaluation.metrics == pytest.approx({k: v for k, v in expected.items() if v == v}, abs=1e-12)
    assert built.validate(model).keys() == {"AP", "AP50"}


def test_validation_is_of_the_first_scenes_of_its_split(task, oracle) -> None:
    built = task(validate_scenes=4, data=Scenes(most=1))
    model = oracle(built.config.data, "valid", 4)  # knows no scene of another split, and no fifth
    assert built.validate(model) == {"AP": pytest.approx(1.0), "AP50": pytest.approx(1.0)}


def test_a_shift_costs_the_high_thresholds_alone(task, oracle) -> None:
    built = task(data=Scenes(most=1))
    evaluation = built.evaluate(oracle(built.config.data, "test", 12, shift=2.5), "test", device=CPU)
    assert evaluation.metrics["AP50"] == pytest.approx(1.0)
    assert evaluation.metrics["AP"] < 0.8


def test_the_scenes_with_errors_come_first_with_their_marks(task, oracle) -> None:
    """Scene 5 is called by other classes, scene 9 is not seen: each object of both is an error."""
    built = task(data=Scenes(most=1))
    model = oracle(built.config.data, "test", 12, wrong=(5,), blind=(9,))
    exhibits = _exhibits(built.evaluate(model, "test", device=CPU))
    worst, first = exhibits["mistakes"], exhibits["pictures"]
    assert isinstance(worst, Pictures)
    assert [picture.caption for picture in worst.pictures[:3]] == [
        "5: 1 missed, 1 false",
        "9: 1 missed, 0 false",
        "0: 0 missed, 0 false",
    ]
    scenes = built.config.data.scenes("test", np.arange(12))
    for picture, number in zip(worst.pictures[:3], (5, 9, 0), strict=True):
        scene = scenes[number]
        np.testing.assert_allclose(picture.image, scene.image.transpose(1, 2, 0) / 255)
        truth = [box for box in picture.boxes if box.role == "truth"]
        assert [box.xyxy for box in truth] == [tuple(box) for box in scene.boxes.tolist()]
        assert [box.text for box in truth] == ["" if number == 0 else str(scene.labels[0])]
        others = [(box.role, box.text.split()[0]) for box in picture.boxes if box.role != "truth"]
        label = int(scene.labels[0])
        assert others == {5: [("wrong", str((label + 1) % 10))], 9: [], 0: [("found", str(label))]}[number]
    assert [picture.caption.split(":")[0] for picture in first.pictures] == [str(i) for i in range(8)]


def test_crowds_are_neither_missed_nor_wrong_to_find(task, oracle) -> None:
    data = Scenes(most=1, crowds=1.0)
    built = task(data=data)
    measured = measure_detector(oracle(data, "test", 12), data, "test", 12)
    assert measured.truth.crowd.sum() >= 10
    errors = image_errors(measured.result("coco").table)
    assert not errors.missed.any()
    assert not errors.wrong.any()
    exhibits = _exhibits(built.evaluate(oracle(data, "test", 12), "test", device=CPU))
    texts = [box.text for picture in exhibits["pictures"].pictures for box in picture.boxes]
    assert any(text.endswith(" crowd") for text in texts)


def test_errors_of_images_by_hand() -> None:
    """Image 1: an object taken, one missed, one false box; image 2: an object under a box of a low score."""
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 10, 10]]
    truth = ap.ground_truth(
        images=[1, 2], categories=[7], image_id=[1, 1, 2], category_id=[7] * 3, box=boxes, box_format="xyxy"
    )
    found = ap.detections(
        image_id=[1, 1, 2],
        category_id=[7] * 3,
        score=[0.9, 0.8, 0.2],
        box=[boxes[0], [50, 50, 60, 60], boxes[2]],
        box_format="xyxy",
    )
    table = ap.evaluate_detections(truth, found, "coco").table
    assert [part.tolist() for part in image_errors(table, 0.25)] == [[1, 0], [1, 1]]
    assert [part.tolist() for part in image_errors(table, 0.1)] == [[1, 0], [1, 0]]


def test_progress_reaches_the_end_and_the_split_is_a_choice(task, oracle) -> None:
    built = task(test_scenes=60, data=Scenes(most=1))
    seen = []
    model = oracle(built.config.data, "valid", 60)
    evaluation = built.evaluate(model, "valid", device=CPU, progress=lambda *call: seen.append(call))
    assert seen == [("valid scenes", 50, 60), ("valid scenes", 60, 60)]
    assert evaluation.split == "valid"
    assert json.dumps(evaluation.metrics)
    for name in ("numbers", "pictures", "mistakes", "classes", "precision_recall", "confusion", "errors"):
        assert name in _exhibits(evaluation)


def test_a_detector_that_finds_nothing_has_an_ap_of_0(task, oracle) -> None:
    built = task(data=Scenes(most=2))
    model = oracle(built.config.data, "test", 12, blind=range(12))
    evaluation = built.evaluate(model, "test", device=CPU)
    assert evaluation.metrics["AP"] == 0
    assert all(
        not picture.caption.endswith(" 0 missed, 0 false")
        for picture in _exhibits(evaluation)["mistakes"].pictures
    )
