"""Annotated instances: which are read, what their crops are, and answers that are read back identical."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from linsight.data.annotations import read_coco_results, write_coco_results
from linsight.data.crops import crop_images, top_down
from linsight.data.geometry import Augmentation
from linsight.data.keypoint_set import KeypointSet, read_keypoints, read_picture

image = pytest.importorskip("PIL.Image")

NAMES = ["nose", "left_hand", "right_hand"]
SIZES = {7: (40, 60), 3: (50, 30), 11: (30, 30)}
SIZE = (32, 24)


def _pixels(identity: int) -> np.ndarray:
    height, width = SIZES[identity]
    return np.random.default_rng(identity).integers(0, 256, (height, width, 3)).astype(np.uint8)


def _document() -> dict[str, Any]:
    """Three images: two people, one without a joint; a crowd and a person; a person with a single joint."""

    def person(
        identity: int, place: int, box: list[float], joints: list[float], **more: Any
    ) -> dict[str, Any]:
        seen = sum(value > 0 for value in joints[2::3])
        return {
            "id": identity,
            "image_id": place,
            "category_id": 1,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
            "keypoints": joints,
            "num_keypoints": seen,
            **more,
        }

    return {
        "images": [
            {"id": key, "file_name": f"{key}.png", "height": height, "width": width}
            for key, (height, width) in SIZES.items()
        ],
        "annotations": [
            person(900, 7, [10, 5, 20, 30], [20.5, 10, 2, 28, 20.25, 1, 12, 20, 2]),
            person(5, 7, [30, 5, 20, 30], [0] * 9),
            person(31, 3, [0, 0, 30, 50], [0] * 9, iscrowd=1),
            person(30, 3, [4, 6, 20.5, 30], [14, 9, 2, 17, 300, 2, 99, 98, 0]),
            person(77, 11, [3, 3, 20, 25], [0, 0, 0, 22, 15, 1, 0, 0, 0]),
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}],
    }


def _written(folder: Path, document: dict[str, Any] | None = None) -> Path:
    for key in SIZES:
        image.fromarray(_pixels(key)).save(folder / f"{key}.png")
    path = folder / "people.json"
    path.write_text(json.dumps(_document() if document is None else document))
    return path


def _read(folder: Path, **options: Any) -> KeypointSet:
    return read_keypoints(_written(folder), folder, **options)


def test_training_leaves_out_crowds_and_who_has_no_joint_and_evaluation_crowds_alone(tmp_path: Path) -> None:
    assert _read(tmp_path).annotation_ids.tolist() == [900, 30, 77]
    evaluated = _read(tmp_path, training=False)
    assert evaluated.annotation_ids.tolist() == [900, 5, 30, 77]
    assert len(evaluated) == 4
    assert len(evaluated.truth.annotation_id) == 5


def test_pairs_are_by_name(tmp_path: Path) -> None:
    assert _read(tmp_path).pairs == ((1, 2),)


def test_crops_are_of_the_instances_images_and_boxes(tmp_path: Path) -> None:
    """Of images of different sizes, in any order, one twice."""
    found = _read(tmp_path)
    indices = np.array([2, 0, 1, 2])
    crops = found.crops(indices, SIZE)
    for row, (identity, box) in enumerate(
        [(11, [3, 3, 23, 28]), (7, [10, 5, 30, 35]), (3, [4, 6, 24.5, 36]), (11, [3, 3, 23, 28])]
    ):
        warp = top_down(torch.tensor([box], dtype=torch.float64), SIZES[identity], SIZE)
        pixels = torch.from_numpy(_pixels(identity)).permute(2, 0, 1)
        assert torch.equal(crops.image[row], crop_images([pixels], warp)[0])
        joints = torch.from_numpy(found.keypoints[found.rows[indices[row]]])
        assert torch.equal(crops.keypoints[row], warp.keypoints(joints[None, :, :2])[0])
        back = crops.warp.inverse().keypoints(crops.keypoints)[row]
        assert (back - joints[:, :2]).abs().max() < 1e-9


def test_a_keypoint_is_at_the_centre_of_the_pixel_of_its_numbers(tmp_path: Path) -> None:
    """(20.5, 10) in the crop about the box of 20 x 30, which is 28.125 x 37.5 with the crop's shape.

    The box's middle, the place (20, 20), is the crop's, (12, 16); a pixel is 24 / 28.125 of the crop.
    """
    crops = _read(tmp_path).crops(np.array([0]), SIZE)
    expected = torch.tensor([12 + 1.0 * 24 / 28.125 - 0.5, 16 - 9.5 * 24 / 28.125 - 0.5], dtype=torch.float64)
    assert (crops.keypoints[0, 0] - expected).abs().max() < 1e-9


def test_what_is_not_labelled_or_beyond_the_crop_has_visibility_0(tmp_path: Path) -> None:
    """(99, 98, 0) is not labelled whatever its place is, and (17, 300) far below the crop."""
    crops = _read(tmp_path).crops(np.arange(3), SIZE)
    assert crops.visibility.tolist() == [[2, 1, 2], [2, 0, 0], [0, 1, 0]]


def test_a_flip_exchanges_left_and_right(tmp_path: Path) -> None:
    found = _read(tmp_path)
    indices = np.arange(3)
    plain = found.crops(indices, SIZE)
    flipped = found.crops(indices, SIZE, augmentation=Augmentation(1, 0, 1, 1, 0))
    assert torch.equal(flipped.image, plain.image.flip(-1))
    assert torch.equal(flipped.visibility, plain.visibility[:, [0, 2, 1]])
    exchanged = plain.keypoints[:, [0, 2, 1]]
    assert (flipped.keypoints[..., 0] - (SIZE[1] - 1 - exchanged[..., 0])).abs().max() < 1e-9
    back = flipped.warp.inverse().keypoints(flipped.keypoints, found.pairs)
    assert (back - torch.from_numpy(found.keypoints[found.rows][..., :2])).abs().max() < 1e-9


def test_an_augmented_crop_is_a_function_of_seed_epoch_and_index(tmp_path: Path) -> None:
    found = _read(tmp_path)
    drawn = Augmentation()
    whole = found.crops(np.arange(3), SIZE, augmentation=drawn, seed=4, epoch=2)
    alone = found.crops(np.array([1]), SIZE, augmentation=drawn, seed=4, epoch=2)
    assert torch.equal(alone.image[0], whole.image[1])
    assert torch.equal(alone.keypoints[0], whole.keypoints[1])
    for other in (dict(seed=5, epoch=2), dict(seed=4, epoch=3)):
        assert not torch.equal(
            found.crops(np.array([1]), SIZE, augmentation=drawn, **other).image, alone.image
        )


def test_answers_are_read_back_identical(tmp_path: Path) -> None:
    """Image, category, box, score and keypoints, of instances in any order, to the last bit."""
    found = _read(tmp_path, training=False)
    indices = np.array([3, 0, 2])
    crops = found.crops(indices, SIZE)
    places = crops.warp.inverse().keypoints(crops.keypoints)
    shares, scores = torch.rand(3, 3), torch.rand(3)
    detections = found.results(indices, places, shares, scores)
    write_coco_results(detections, tmp_path / "results.json")
    again = read_coco_results(tmp_path / "results.json", found.truth)
    assert again.image_id.tolist() == [11, 7, 3]
    assert again.category_id.tolist() == [1, 1, 1]
    assert np.array_equal(again.box, [[3, 3, 20, 25], [10, 5, 20, 30], [4, 6, 20.5, 30]])
    assert np.array_equal(again.score, scores.double().numpy())
    assert again.keypoints is not None
    assert np.array_equal(again.keypoints[..., :2], places.numpy())
    assert np.array_equal(again.keypoints[..., 2], shares.double().numpy())
    with pytest.raises(ValueError, match="keypoints: expected 3 of each instance, got 4"):
        found.results(indices, torch.zeros(3, 4, 2), torch.zeros(3, 4), scores)


def test_a_picture_is_read_as_red_green_and_blue(tmp_path: Path) -> None:
    pixels = _pixels(7)
    image.fromarray(pixels).save(tmp_path / "colour.png")
    image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    assert np.array_equal(read_picture(tmp_path / "colour.png").permute(1, 2, 0), pixels)
    grey = read_picture(tmp_path / "grey.png")
    assert np.array_equal(grey, np.broadcast_to(pixels[None, ..., 0], (3, 40, 60)))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png: cannot be read as a picture"):
        read_picture(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError, match=r"none\.png: there is no such picture"):
        read_picture(tmp_path / "none.png")


def test_a_missing_picture_is_named_with_the_id_of_its_image(tmp_path: Path) -> None:
    found = _read(tmp_path)
    (tmp_path / "3.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"3\.png: there is no picture of image 3"):
        read_keypoints(tmp_path / "people.json", tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no picture of image 3"):
        found.crops(np.array([1]), SIZE)


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    found = _read(tmp_path)
    image.fromarray(_pixels(7)).save(tmp_path / "3.png")
    with pytest.raises(ValueError, match=r"3\.png: expected \(50, 30\) pixels, .*, got \(40, 60\)"):
        found.crops(np.array([1]), SIZE)


def _changed(tmp_path: Path, **options: Any) -> Any:
    return lambda document: read_keypoints(_written(tmp_path, document), tmp_path, **options)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"people\.json: annotations: keypoints: expected 17, as the head has, got 3"
    ):
        _read(tmp_path, joints=17)
    assert len(_read(tmp_path, joints=3)) == 3
    read = _changed(tmp_path)
    document = _document()
    for row in document["annotations"]:
        del row["keypoints"]
    with pytest.raises(ValueError, match="annotations: expected keypoints, got none"):
        read(document)
    document = _document()
    document["annotations"][3]["bbox"][2] = 0
    with pytest.raises(
        ValueError, match=r"annotations\[3\]: id 30: bbox: expected a width and a height above 0"
    ):
        read(document)
    document = _document()
    del document["images"][1]["file_name"]
    with pytest.raises(ValueError, match=r"images\[1\]: id 3: expected a file_name, got none"):
        read(document)
    document = _document()
    document["categories"][0]["keypoints"] = ["nose", "left_hand", "tail"]
    with pytest.raises(ValueError, match="names: expected 'right_hand' beside 'left_hand', got none"):
        read(document)
    document = _document()
    del document["categories"][0]["keypoints"]
    nameless = read(document)
    assert nameless.pairs == ()
    with pytest.raises(ValueError, match=r"augmentation: expected no flips \(flip=0\), since .* no names"):
        nameless.crops(np.array([0]), SIZE, augmentation=Augmentation())
    assert nameless.crops(np.array([0]), SIZE, augmentation=Augmentation(flip=0)).image.shape == (1, 3, *SIZE)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_keypoints(tmp_path / "none.json", tmp_path)
