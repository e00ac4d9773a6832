"""The detector of centres: grids of any size, boxes by hand, what is read off perfect maps, refusals."""

import math

import pytest
import torch

from linsight.losses import centre_targets
from linsight.mixers import config
from linsight.models.vision import CentreMaps, DetectorConfig, decoder_config, found_boxes

CLASSES = 3


def build(small, kind: str = "unet", upsampler: str = "bilinear", **options) -> DetectorConfig:
    decoder = decoder_config(kind, upsampler=upsampler, **({"dim": 8} if kind == "fpn" else {}))
    backbone = small(
        downsample="pool" if upsampler == "unpool" else "patches", mixer=options.pop("mixer", None)
    )
    return DetectorConfig(classes=CLASSES, backbone=backbone, decoder=decoder, dim=8, **options)


@pytest.mark.parametrize(
    ("kind", "upsampler"),
    [("unet", "bilinear"), ("unet", "unpool"), ("unet", "subpixel"), ("fpn", "dysample"), ("fpn", "carafe")],
)
def test_the_grid_has_a_cell_for_every_four_pixels_begun(small, awake, kind: str, upsampler: str) -> None:
    model = awake(build(small, kind, upsampler).build())
    for height, width in ((33, 47), (64, 32), (1, 1)):
        maps = model(torch.rand(2, 3, height, width).double())
        grid = (math.ceil(height / 4), math.ceil(width / 4))
        assert maps.heat.shape == (2, CLASSES, *grid)
        assert maps.boxes.shape == (2, *grid, 4)
        assert (maps.boxes[..., 2:] > maps.boxes[..., :2]).all()


@pytest.mark.parametrize("kind", ["softmax", "gated_delta", "local", "mamba2"])
def test_any_mixer_serves(small, awake, kind: str) -> None:
    """Those that are only causal are run from both ends."""
    options = {"softmax": {"heads": 2}, "gated_delta": {"heads": 2}, "local": {"heads": 2}}.get(kind, {})
    model = awake(build(small, mixer=config(kind, **options)).build())
    assert model(torch.rand(1, 3, 30, 41).double()).heat.shape == (1, CLASSES, 8, 11)


@pytest.mark.parametrize("kind", ["unet", "fpn"])
def test_every_weight_is_learnt(small, awake, kind: str) -> None:
    model = awake(build(small, kind).build())
    maps = model(torch.rand(1, 3, 37, 41).double())
    sum((one * torch.randn_like(one)).sum() for one in maps).backward()
    assert [name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()] == []


def test_images_of_a_batch_do_not_know_each_other(small, awake) -> None:
    model = awake(build(small).build())
    images = torch.rand(2, 3, 21, 13).double()
    whole = model(images)
    for number in range(2):
        alone = model(images[number : number + 1])
        torch.testing.assert_close(whole.heat[number], alone.heat[0])
        torch.testing.assert_close(whole.boxes[number], alone.boxes[0])


def test_boxes_by_hand(small) -> None:
    """dx = 1/4, dy = -1/2, twice as wide, half as high: of 12 pixels, in cells of 4."""
    model = build(small, side=12.0).build()
    torch.nn.init.zeros_(model.box[-1].weight)
    model.box[-1].bias.data = torch.tensor([0.25, -0.5, math.log(2), -math.log(2)])
    boxes = model(torch.rand(1, 3, 8, 20)).boxes
    assert boxes.shape == (1, 2, 5, 4)
    for row in range(2):
        for column in range(5):
            x, y = 4 * (column + 0.75), 4 * row
            expected = [x - 12, y - 3, x + 12, y + 3]
            assert boxes[0, row, column].tolist() == pytest.approx(expected, abs=1e-4)


def test_no_box_is_larger_than_a_thousand_pixels(small) -> None:
    model = build(small).build()
    torch.nn.init.zeros_(model.box[-1].weight)
    model.box[-1].bias.data = torch.tensor([0.0, 0.0, 100.0, -100.0])
    boxes = model(torch.rand(1, 3, 4, 4)).boxes[0, 0, 0]
    assert (boxes[2] - boxes[0]).item() == pytest.approx(1000)
    assert boxes.isfinite().all()


def test_untrained_it_expects_few_centres_and_boxes_of_its_side(small) -> None:
    maps = build(small, side=20.0).build()(torch.rand(2, 3, 48, 48))
    torch.testing.assert_close(maps.heat.sigmoid(), torch.full_like(maps.heat, 0.01), rtol=0.5, atol=0)
    sides = maps.boxes[..., 2:] - maps.boxes[..., :2]
    torch.testing.assert_close(sides, torch.full_like(sides, 20.0), rtol=0.2, atol=0)


TRUTH = torch.tensor(
    [
        [[2.0, 3.0, 14.0, 15.0], [20.0, 5.0, 34.0, 23.0], [1.0, 20.0, 9.0, 27.0]],
        [[10.0, 8.0, 26.0, 20.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]],
    ]
)
LABELS = torch.tensor([[0, 2, 0], [1, -1, -1]])
SIZE = (28, 36)


def perfect() -> CentreMaps:
    """Maps that say what is there: scores 1 at centres, less around."""
    heat, boxes, _, _, _ = centre_targets(TRUTH, LABELS, classes=CLASSES, grid=(7, 9), stride=4)
    return CentreMaps(heat.logit(1e-6), boxes)


def kept(found, image: int) -> list[tuple]:
    keep = found.kept[image]
    return sorted(zip(found.labels[image][keep].tolist(), found.boxes[image][keep].tolist(), strict=True))


def test_perfect_maps_give_exactly_the_objects() -> None:
    found = found_boxes(perfect(), SIZE)
    for image, (boxes, labels) in enumerate(zip(TRUTH, LABELS, strict=True)):
        there = labels >= 0
        expected = sorted(zip(labels[there].tolist(), boxes[there].tolist(), strict=True))
        assert kept(found, image) == expected
        assert found.scores[image][found.kept[image]].tolist() == pytest.approx(
            [1] * int(there.sum()), abs=1e-5
        )


def test_scores_descend_and_places_are_as_many_as_asked() -> None:
    maps = CentreMaps(torch.randn(2, CLASSES, 7, 9), 36 * torch.rand(2, 7, 9, 4))
    found = found_boxes(maps, SIZE, most=20, least=0.0, threshold=1.0)
    assert found.boxes.shape == (2, 20, 4)
    assert (found.scores.diff(dim=1) <= 0).all()
    fewer = found_boxes(maps, SIZE, most=4, least=0.0, threshold=1.0)
    for one, other in zip(found, fewer, strict=True):
        assert torch.equal(one[:, :4], other)


def lone(logits: torch.Tensor, boxes: torch.Tensor | None = None) -> CentreMaps:
    """Of one image and one class."""
    rows, columns = logits.shape
    return CentreMaps(logits[None, None], torch.zeros(1, rows, columns, 4) if boxes is None else boxes[None])


def test_a_cell_below_a_neighbour_is_no_peak_and_equal_ones_are() -> None:
    logits = torch.full((5, 5), -9.0)
    logits[0, 0], logits[1, 1] = 2.0, 3.0  # a corner apart: the lower is no peak
    logits[4, 2], logits[4, 3] = 1.0, 1.0  # both, in the order of their columns
    found = found_boxes(lone(logits), (20, 20), least=0.5)
    assert found.scores[0][found.kept[0]].tolist() == pytest.approx(
        torch.tensor([3.0, 1.0, 1.0]).sigmoid().tolist()
    )
    boxes = torch.arange(25.0).view(5, 5, 1).expand(-1, -1, 4).clone()
    boxes[..., 2:] += 1
    found = found_boxes(lone(logits, boxes), (99, 99), least=0.5)
    assert found.boxes[0][found.kept[0]][:, 0].tolist() == [6, 22, 23]


def test_the_least_score_the_suppression_and_the_edges_of_the_image() -> None:
    logits = torch.full((3, 7), -20.0)
    for column, logit in ((0, 3.0), (2, 2.0), (4, 1.0), (6, -3.0)):
        logits[1, column] = logit
    boxes = torch.zeros(3, 7, 4)
    boxes[1, 0] = torch.tensor([-5.0, -5.0, 10.0, 10.0])
    boxes[1, 2] = torch.tensor([0.0, 0.0, 10.0, 11.0])  # IoU 10 / 11 with the first, which is clipped
    boxes[1, 4] = torch.tensor([20.0, 0.0, 40.0, 40.0])
    boxes[1, 6] = torch.tensor([5.0, 5.0, 7.0, 7.0])
    found = found_boxes(lone(logits, boxes), (12, 28), least=0.1)
    assert [box for _, box in kept(found, 0)] == [[0, 0, 10, 10], [20, 0, 28, 12]]
    assert len(kept(found_boxes(lone(logits, boxes), (12, 28), least=0.01), 0)) == 3
    assert len(kept(found_boxes(lone(logits, boxes), (12, 28), least=0.1, threshold=0.95), 0)) == 3


def test_objects_of_other_classes_at_one_place_are_found() -> None:
    heat = torch.full((1, CLASSES, 3, 3), -9.0)
    heat[0, 0, 1, 1], heat[0, 2, 1, 1] = 2.0, 1.0
    boxes = torch.tensor([0.0, 0.0, 8.0, 8.0]).expand(1, 3, 3, 4)
    assert [label for label, _ in kept(found_boxes(CentreMaps(heat, boxes), (12, 12), least=0.5), 0)] == [
        0,
        2,
    ]


def test_what_cannot_be_built_or_read_is_refused(small) -> None:
    for options, message in (
        ({"classes": 0}, "classes: expected at least 1, got 0"),
        ({"dim": 0}, "dim: expected at least 1, got 0"),
        ({"side": 0.0}, "side: expected more than 0 and at most 1000 pixels, got 0"),
        ({"side": 2000.0}, "side: expected more than 0 and at most 1000 pixels, got 2000"),
        (
            {"decoder": decoder_config("fcn")},
            "decoder: expected 'unet' or 'fpn', got 'fcn', which has scores",
        ),
        (
            {"decoder": decoder_config("unet", upsampler="unpool")},
            "upsampler: 'unpool' needs a backbone with downsample 'pool', got 'patches'",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            DetectorConfig(**options)
    for options, message in (
        ({"most": 0}, "most: expected at least 1, got 0"),
        ({"least": 1.5}, "least: expected a score from 0 to 1, got 1.5"),
        ({"threshold": -1.0}, "threshold: expected a number from 0 to 1, got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            found_boxes(perfect(), SIZE, **options)
    maps = perfect()
    maps.heat[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="maps: expected numbers, got NaN"):
        found_boxes(maps, SIZE)
