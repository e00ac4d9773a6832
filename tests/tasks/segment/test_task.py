"""The segmentation task: batches, the loss, what is held out, and what an evaluation says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from linsight.data import Scenes
from linsight.data.geometry import Augmentation
from linsight.losses import coarse_cross_entropy, mask_loss
from linsight.models.sequence import SequenceConfig
from linsight.models.vision import DenseConfig, DenseModel, PyramidConfig, decoder_config
from linsight.nn.upsampling import UPSAMPLERS
from linsight.tasks.exhibits import Heatmap, Pictures, Table
from linsight.tasks.segment import SegmentConfig, SegmentTask
from linsight.tasks.segment.evaluation import decoder_pattern
from linsight.tasks.segment.task import _tensors

EXTRA = {"fcn": {"finest_stride": 4}, "fpn": {"dim": 16}}
CPU = torch.device("cpu")
INDICES = np.array([3, 0, 7])
TURNED = Augmentation(flip=0.0, degrees=10.0, least=0.8, most=1.2, shift=0.1)


def network(decoder="unet", **options) -> DenseConfig:
    stages = tuple(SequenceConfig(dim=dim, layers=1, mlp_dim=dim) for dim in (8, 16))
    return DenseConfig(
        classes=11,
        backbone=PyramidConfig(stages=stages, downsample=options.pop("downsample", "patches")),
        decoder=decoder_config(decoder, **options),
    )


def task(**options) -> SegmentTask:
    options = {"model": network(), "num_scenes": 10, "validate_scenes": 3, "test_scenes": 12, **options}
    return SegmentConfig(**options).build()


class Oracle(DenseModel):
    """Knows the scenes of a split: the logits of their truth, or of some other class at all pixels."""

    def __init__(self, split: str, count: int, called: int | None = None) -> None:
        super().__init__(network())
        self.images, self.target = _tensors(Scenes().scenes(split, np.arange(count)))
        self.called = called

    def forward(self, images):
        rows = [int((self.images == image).flatten(1).all(1).nonzero()) for image in images]
        target = self.target[rows]
        if self.called is not None:
            target = torch.full_like(target, self.called)
        return 50.0 * nn.functional.one_hot(target, 11).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("augmentation", [None, TURNED])
def test_a_batch_is_a_pure_function_of_seed_epoch_and_indices(augmentation):
    """Whatever the global random states, the order, and the rest of the batch; and they are left alone."""
    built = task(**({} if augmentation is None else {"augmentation": augmentation}))
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = built.batch(INDICES, seed=4, epoch=2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    torch.manual_seed(9)
    np.random.seed(9)
    for place, index in enumerate(INDICES):
        alone = built.batch(np.array([index]), seed=4, epoch=2)
        for name in ("image", "target"):
            assert torch.equal(alone[name][0], first[name][place])
    for other in (built.batch(INDICES, seed=5, epoch=2), built.batch(INDICES, seed=4, epoch=3)):
        assert not torch.equal(other["image"], first["image"])


def test_scenes_never_repeat_and_go_on_where_the_last_epoch_ended():
    found = task().batch(INDICES, seed=4, epoch=2)
    scenes = Scenes().scenes("train", INDICES + 20, seed=4)
    assert (found["image"] * 255).round().int().tolist() == [scene.image.tolist() for scene in scenes]
    assert found["target"].tolist() == [scene.semantic.tolist() for scene in scenes]


def test_augmentation_moves_image_and_mask_together_and_ignores_what_was_beyond():
    """A shift by whole pixels: both are moved by it, and what came from outside is reflected and ignored."""
    shift = Augmentation(flip=0.0, degrees=0.0, least=0.5, most=0.5, shift=0.0)
    plain, small = (
        task(**options).batch(INDICES, seed=0, epoch=0) for options in ({}, {"augmentation": shift})
    )
    target = small["target"]
    assert (target[:, 24:72, 24:72] != 255).all()
    for rows in (slice(0, 24), slice(72, 96)):
        assert (target[:, rows] == 255).all()
        assert (target[:, :, rows] == 255).all()
    # At half the size a pixel of the target has its centre on a corner of four pixels: their mean.
    mean = nn.functional.avg_pool2d(plain["image"], 2)
    torch.testing.assert_close(small["image"][:, :, 24:72, 24:72], mean, rtol=0, atol=1e-5)
    assert small["image"].min() >= 0
    assert small["image"].max() <= 1


def test_the_loss_is_that_of_masks_with_the_weight_of_the_background():
    built = task(background_weight=0.25, loss="ce+0.5*dice")
    model, batch = built.build_model(), built.batch(INDICES, seed=0, epoch=0)
    loss, logs = built.loss(model, batch)
    logits = model(batch["image"])
    weights = torch.tensor([0.25, *[1.0] * 10])
    ce = mask_loss("ce", logits, batch["target"], class_weights=weights)
    dice = mask_loss("dice", logits, batch["target"])
    torch.testing.assert_close(loss, ce + 0.5 * dice)
    ink = batch["target"] > 0
    assert logs["ink_accuracy"].item() == pytest.approx(
        (logits.argmax(1) == batch["target"])[ink].double().mean().item()
    )


def test_coarser_maps_add_their_cross_entropy():
    built = task(model=replace(network(), coarse_logits=True), coarse_weight=0.25, loss="ce")
    model, batch = built.build_model(), built.batch(INDICES, seed=0, epoch=0)
    loss, _ = built.loss(model, batch)
    maps, _ = model.backbone(batch["image"])
    coarse = coarse_cross_entropy(model.classifiers[0](maps[1]), batch["target"], stride=8)
    torch.testing.assert_close(loss, mask_loss("ce", model(batch["image"]), batch["target"]) + 0.25 * coarse)


@pytest.mark.parametrize("coarse", [0.0, 0.5])
def test_the_loss_of_a_batch_is_the_mean_of_its_parts(coarse):
    """What data parallel training and accumulation rely on."""
    built = task(model=replace(network(), coarse_logits=coarse > 0), coarse_weight=coarse)
    model, batch = built.build_model(), built.batch(np.arange(4), seed=0, epoch=0)
    whole, _ = built.loss(model, batch)
    parts = [
        built.loss(model, {name: value[first : first + 2] for name, value in batch.items()})[0]
        for first in (0, 2)
    ]
    torch.testing.assert_close(sum(parts) / 2, whole)


def test_the_fingerprint_is_the_datas_alone():
    found = task().fingerprint
    assert task(loss="dice", validate_scenes=7).fingerprint == found
    for other in (task(num_scenes=11), task(data=Scenes(most=3)), task(data=Scenes(border=True))):
        assert other.fingerprint != found


@pytest.mark.parametrize("split", ["valid", "test"])
def test_the_truth_gets_everything_right_and_nothing_gets_nothing(split):
    built = task()
    found = built.evaluate(Oracle(split, 12), split, device=CPU).metrics
    for name in (
        "miou",
        "boundary_f",
        "pixel_accuracy",
        "mean_accuracy",
        "mean_f1",
        "frequency_weighted_iou",
    ):
        assert found[name] == pytest.approx(1)
    found = built.evaluate(Oracle(split, 12, called=0), split, device=CPU)
    truth = Oracle(split, 12).target
    share = (truth == 0).double().mean().item()
    assert found.metrics["miou"] == pytest.approx(share / 11)
    assert found.metrics["pixel_accuracy"] == pytest.approx(share)
    assert found.metrics["mean_accuracy"] == pytest.approx(1 / 11)


def test_validation_is_of_the_first_scenes_of_the_validation_split():
    built = task()
    assert built.validate(Oracle("valid", 3)) == {"miou": 1, "pixel_accuracy": 1}
    wrong = built.validate(Oracle("valid", 3, called=0))
    assert wrong["pixel_accuracy"] == pytest.approx((Oracle("valid", 3).target == 0).double().mean().item())


def test_an_evaluation_shows_classes_confusion_and_mistakes_first():
    evaluation = task().evaluate(Oracle("test", 12, called=0), "test", device=CPU)
    classes, confusion, mistakes, examples = evaluation.exhibits
    assert isinstance(classes, Table)
    assert len(classes.rows) == 11
    assert "12 test scenes of 96 x 96 pixels" in classes.note
    assert isinstance(confusion, Heatmap)
    np.testing.assert_allclose(confusion.matrix[:, 0], 1)
    assert isinstance(mistakes, Pictures)
    ink = (Oracle("test", 12).target > 0).flatten(1).sum(1).tolist()
    worst = sorted(range(12), key=lambda scene: -ink[scene])[:6]
    captions = [picture.caption for picture in mistakes.pictures]
    assert captions[::3] == [f"scene {scene}:\n{ink[scene]} px wrong" for scene in worst]
    assert captions[2::3] == ["none"] * 6
    first = [picture.caption for picture in examples.pictures][::3]
    assert first == [f"scene {scene}:\n{ink[scene]} px wrong" for scene in range(6)]
    truth = [
        " ".join(map(str, sorted(set(s.labels.tolist())))) for s in Scenes().scenes("test", np.arange(6))
    ]
    assert [picture.caption for picture in examples.pictures][1::3] == truth


def test_crops_of_several_models_stand_below_image_and_truth():
    (shown,) = task().shown_together({"a": Oracle("test", 6), "b": Oracle("test", 6, called=0)}, device=CPU)
    assert shown.columns == 6
    assert [picture.caption for picture in shown.pictures][::6] == ["image", "truth", "a", "b"]
    rows = np.stack([picture.image for picture in shown.pictures]).reshape(4, 6, 48, 48, 3)
    np.testing.assert_array_equal(rows[1], rows[2])
    assert (rows[1] != rows[3]).any()
    # The largest digit is in its crop: colour, where the rest is grey.
    assert (np.ptp(rows[1], axis=-1) > 0.1).any((1, 2)).all()


@pytest.mark.parametrize("name", sorted(UPSAMPLERS))
def test_the_pattern_is_measured_for_every_upsampler(name):
    """0 for interpolation, high for a transposed convolution at its start, none for unpooling."""
    downsample = "pool" if name == "unpool" else "patches"
    found = decoder_pattern(network(upsampler=name, downsample=downsample).build().decoder)
    if name == "unpool":
        assert found is None
    elif name in ("deconv2", "deconv3", "deconv4", "pixel_shuffle"):
        assert found > 0.4
    else:
        assert found < 1e-3


@pytest.mark.parametrize("decoder", ["fcn", "unet", "fpn"])
def test_every_decoder_learns_one_batch(decoder):
    built = replace(task().config, model=network(decoder, **EXTRA.get(decoder, {}))).build()
    model = built.build_model()
    assert isinstance(model, DenseModel)
    batch = built.batch(np.arange(2), seed=0, epoch=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(12):
        loss, _ = built.loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_scenes": 0}, "num_scenes: expected at least 1, got 0"),
        ({"validate_scenes": 0}, "validate_scenes: expected at least 1, got 0"),
        ({"test_scenes": 0}, "test_scenes: expected at least 1, got 0"),
        ({"background_weight": 0.0}, "background_weight: expected a number above 0, got 0.0"),
        ({"coarse_weight": -1.0}, "coarse_weight: expected a number of at least 0, got -1.0"),
        ({"coarse_weight": 0.5}, "coarse_weight: expected .* with model.coarse_logits, .* got 0.5 and False"),
        (
            {"model": replace(network(), coarse_logits=True)},
            "coarse_weight: expected .* with model.coarse_logits, .* got 0.0 and True",
        ),
        ({"loss": "ce+dise"}, "^loss: expected a sum of ce, .* got 'dise'"),
        (
            {"augmentation": Augmentation()},
            "augmentation.flip: a mirrored digit is none; expected 0, got 0.5",
        ),
    ],
    ids=str,
)
def test_values_that_no_run_can_have_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SegmentConfig(**options)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (replace(network(), classes=10), "model.classes: scenes need 11, got 10; set it to 11"),
        (
            replace(network(), backbone=replace(network().backbone, in_channels=1)),
            "model.backbone.in_channels: scenes need 3, got 1; set it to 3",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        SegmentConfig(model=model).build()
