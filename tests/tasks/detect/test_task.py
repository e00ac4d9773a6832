"""The task of detection: batches as a function of their numbers, the loss and its splits, refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from linsight.data import Scenes
from linsight.data.geometry import Augmentation
from linsight.losses import box_loss, centre_class_loss, centre_focal_loss, centre_targets
from linsight.models.vision import DetectorConfig, PyramidConfig, found_boxes
from linsight.ops import pairwise_overlap
from linsight.tasks.detect import DetectConfig
from linsight.tasks.detect.targets import batch_of, moved

INDICES = np.array([3, 49, 0, 17, 8])
ZOOM = Augmentation(flip=0.0, degrees=0.0, least=0.6, most=1.6, shift=0.3)
OPTIONS = [{}, {"augmentation": ZOOM}, {"data": Scenes(crowds=0.5)}]


@pytest.mark.parametrize("options", OPTIONS, ids=["still", "moved", "crowds"])
def test_an_example_is_the_same_in_any_batch_and_order(task, options) -> None:
    whole = task(**options).batch(INDICES, seed=4, epoch=2)
    order = np.array([4, 0, 3])
    part = task(**options).batch(INDICES[order], seed=4, epoch=2)
    assert part.keys() == whole.keys()
    for name in part:
        assert torch.equal(part[name], whole[name][order]), name


@pytest.mark.parametrize("options", OPTIONS, ids=["still", "moved", "crowds"])
def test_no_global_random_state_is_read_or_moved(task, options) -> None:
    built = task(**options)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = built.batch(INDICES, seed=4, epoch=2)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()
    torch.manual_seed(9)
    np.random.seed(9)
    for name, tensor in built.batch(INDICES, seed=4, epoch=2).items():
        assert torch.equal(tensor, first[name])


def test_scenes_never_repeat_and_go_on_where_the_last_epoch_ended(task) -> None:
    built = task(num_scenes=50)
    found = built.batch(np.array([1, 49]), seed=7, epoch=3)
    scenes = Scenes().scenes("train", np.array([151, 199]), seed=7)
    assert found["image"].shape == (2, 3, 96, 96)
    for number, scene in enumerate(scenes):
        count = len(scene.labels)
        assert (found["image"][number] * 255).round().tolist() == scene.image.tolist()
        assert found["boxes"][number, :count].tolist() == scene.boxes.tolist()
        assert found["labels"][number].tolist() == [*scene.labels, *[-1] * (8 - count)]
        assert not found["crowd"][number].any()


def test_crowds_are_flagged_and_have_a_place_of_their_own(task) -> None:
    data = Scenes(crowds=1.0, most=8)
    found = task(data=data).batch(np.arange(6), seed=0, epoch=0)
    assert found["labels"].shape == (6, 9)
    for number, scene in enumerate(data.scenes("train", np.arange(6))):
        assert found["crowd"][number, : len(scene.crowd)].tolist() == scene.crowd.tolist()
    assert found["crowd"].any()


def test_moved_boxes_are_where_the_pixels_went(task) -> None:
    """The ink of each object, moved as a mask, lies within a pixel of its moved box."""
    data = Scenes(most=3)
    scenes = data.scenes("train", np.arange(12))
    still = batch_of(scenes, data)
    batch = moved(still, ZOOM, np.arange(12), 4, seed=1, epoch=2)
    warp = ZOOM.draw(np.arange(12), (96, 96), seed=1, epoch=2)
    checked = 0
    for number, scene in enumerate(scenes):
        for place, ink in enumerate(scene.ink):
            mask = torch.zeros(12, 1, 96, 96, dtype=torch.bool)
            mask[number, 0] = torch.from_numpy(ink)
            rows, columns = warp.mask(mask)[number, 0].nonzero().unbind(1)
            box = batch["boxes"][number, place]
            # Within the frame, a box that was cut holds ink that was there, though perhaps not at its edge.
            if not len(rows) or batch["crowd"][number, place]:
                continue
            assert columns.min() >= box[0] - 1
            assert rows.min() >= box[1] - 1
            assert columns.max() + 1 <= box[2] + 1
            assert rows.max() + 1 <= box[3] + 1
            inside = (box > 0) & (box < 96)
            edges = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            if inside.all():
                torch.testing.assert_close(edges.float(), box, rtol=0, atol=2)
                checked += 1
    assert checked > 5


def test_objects_that_left_are_none_and_those_that_nearly_left_are_not_counted(task) -> None:
    """Moved 60 pixels to the right: of boxes 40 wide, the first keeps 36, the second 6, the third nothing."""
    boxes = torch.tensor([[[0.0, 0.0, 40.0, 40.0], [30.0, 0.0, 70.0, 40.0], [40.0, 0.0, 80.0, 40.0]]])
    batch = {
        "image": torch.rand(1, 3, 96, 96),
        "boxes": boxes,
        "labels": torch.tensor([[1, 2, 3]]),
        "crowd": torch.zeros(1, 3, dtype=torch.bool),
    }

    class Shift(Augmentation):
        def draw(self, items, size, *, seed=0, epoch=0):
            from linsight.data.geometry import Warp

            one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
            return Warp.about_the_centre(zero, one, torch.tensor([[60.0, 0.0]]).double(), size)

    found = moved(batch, Shift(), np.arange(1), 4, seed=0, epoch=0)
    assert found["boxes"][0].tolist() == [[60, 0, 96, 40], [90, 0, 96, 40], [96, 0, 96, 40]]
    assert found["labels"][0].tolist() == [1, 2, -1]
    assert found["crowd"][0].tolist() == [False, True, False]
    # Columns of cells 0 to 14 have their middles, 2 to 58, in what is not the scene.
    assert found["beyond"][0].all(0).tolist() == [True] * 15 + [False] * 9
    assert found["beyond"][0].any(0).tolist() == [True] * 15 + [False] * 9


def test_the_loss_is_the_sum_of_its_parts_and_ignores_what_is_beyond(task) -> None:
    built = task(augmentation=ZOOM, box_weight=3.0, box_loss="ciou", class_weight=2.0)
    model = built.build_model()
    batch = built.batch(INDICES, seed=0, epoch=0)
    loss, logs = built.loss(model, batch)
    maps = model(batch["image"])
    targets = centre_targets(
        batch["boxes"], batch["labels"], classes=10, grid=(24, 24), stride=4, crowd=batch["crowd"]
    )
    assert batch["beyond"].any()
    centres = centre_focal_loss(maps.heat, targets.heat, targets.ignored | batch["beyond"])
    boxes = box_loss(maps.boxes, targets.boxes, targets.weight, "ciou")
    classes = centre_class_loss(maps.heat, targets.labels, targets.weight)
    torch.testing.assert_close(loss, centres + 2 * classes + 3 * boxes)
    torch.testing.assert_close(logs["class_loss_nats"], classes)
    torch.testing.assert_close(logs["centre_loss"], centres)
    torch.testing.assert_close(logs["box_loss"], boxes)


@pytest.mark.parametrize("options", OPTIONS, ids=["still", "moved", "crowds"])
def test_the_mean_over_equal_parts_of_a_batch_is_that_of_the_batch(task, options) -> None:
    """So accumulation and ranks train the same model as one batch."""
    built = task(**options)
    model = built.build_model().double()
    batch = built.batch(np.arange(6), seed=0, epoch=0)
    batch = {name: one.double() if one.is_floating_point() else one for name, one in batch.items()}
    parts = [built.loss(model, {name: one[i : i + 2] for name, one in batch.items()})[0] for i in (0, 2, 4)]
    torch.testing.assert_close(torch.stack(parts).mean(), built.loss(model, batch)[0])


def test_a_few_steps_on_one_batch_find_its_objects(task) -> None:
    """From a guess to most of the objects of three scenes: the whole chain is connected the right way."""
    stages = tuple(replace(stage, dim=dim) for stage, dim in zip(_stages(task), (16, 32), strict=True))
    model = DetectorConfig(backbone=PyramidConfig(stages=stages), dim=16, side=24.0)
    built = task(data=Scenes(most=2), model=model)
    model = built.build_model()
    batch = built.batch(np.arange(3), seed=0, epoch=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(80):
        loss, _ = built.loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    found = found_boxes(model(batch["image"]), (96, 96), least=0.3)
    hits, objects = 0, 0
    for i in range(3):
        there = batch["labels"][i] >= 0
        keep = found.kept[i]
        overlap = pairwise_overlap(batch["boxes"][i][there], found.boxes[i][keep])
        same = batch["labels"][i][there][:, None] == found.labels[i][keep]
        hits += int(((overlap > 0.5) & same).any(1).sum())
        objects += int(there.sum())
    assert hits >= 0.7 * objects


def _stages(task) -> tuple:
    return task().config.model.backbone.stages


def test_the_fingerprint_is_the_datas_alone(task) -> None:
    plain = task().fingerprint
    assert task(box_weight=3.0, validate_scenes=9).fingerprint == plain
    others = [task(num_scenes=70), task(data=Scenes(most=3)), task(data=Scenes(size=128))]
    assert len({plain, *(one.fingerprint for one in others)}) == 4


def test_tokens_are_those_of_the_finest_stride(task) -> None:
    assert task().config.num_tokens == 24 * 24
    assert task(data=Scenes(size=192)).config.num_tokens == 48 * 48


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_scenes": 0}, "num_scenes: expected at least 1, got 0"),
        ({"validate_scenes": 0}, "validate_scenes: expected at least 1, got 0"),
        ({"test_scenes": 0}, "test_scenes: expected at least 1, got 0"),
        ({"detections": 0}, "detections: expected at least 1, got 0"),
        ({"box_loss": "l2"}, "box_loss: expected one of l1, iou, giou, diou, ciou, got 'l2'"),
        ({"box_weight": 0.0}, "box_weight: expected a number above 0, got 0"),
        ({"class_weight": -1.0}, "class_weight: expected a number of at least 0, got -1"),
        ({"suppression": 1.5}, "suppression: expected an IoU from 0 to 1, got 1.5"),
        (
            {"augmentation": Augmentation(degrees=0.0)},
            "augmentation.flip: a mirrored digit is none; expected 0",
        ),
        ({"augmentation": Augmentation(flip=0.0)}, "augmentation.degrees: a turned box is loose; expected 0"),
        ({"model": DetectorConfig(classes=3)}, "model.classes: scenes need 10, got 3; set it to 10"),
        (
            {"model": DetectorConfig(backbone=PyramidConfig(in_channels=1))},
            "model.backbone.in_channels: scenes need 3, got 1; set it to 3",
        ),
    ],
    ids=str,
)
def test_values_that_no_run_can_have_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        DetectConfig(**options).build()
