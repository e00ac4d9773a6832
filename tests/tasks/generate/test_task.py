"""The task of maximum likelihood: its model, its loss, its look at validation, and what it refuses."""

import numpy as np
import pytest
import torch

from linsight import densities
from linsight.data import images
from linsight.models.sequence import ImageDensityConfig
from linsight.tasks.generate import GenerateConfig


def test_the_default_is_mnist() -> None:
    built = GenerateConfig().build()
    assert built.num_examples == 50_000
    batch = built.batch(np.array([0, 49_999]), seed=0, epoch=0)
    assert batch["x"].shape == (2, 28, 28)


def test_the_prior_is_counted_on_the_training_labels(task, folder) -> None:
    _, labels = images(folder, "train")
    model = task(classes=5).build_model()
    expected = np.bincount(labels, minlength=5) / len(labels)
    assert model.log_prior.exp().numpy() == pytest.approx(expected)
    assert task(label="none").build_model().log_prior.shape == (0,)


@pytest.mark.parametrize("label", ["none", "first", "last", "both"])
def test_the_loss_is_the_mean_of_minus_log_p(task, awake, label: str) -> None:
    """Of p(x, y), each image under its own factorisation; the logged parts sum to it."""
    built = task(label=label)
    model = awake(built.build_model())
    batch = built.batch(np.arange(10), seed=0, epoch=0)
    loss, logs = built.loss(model, batch)
    expected = []
    for x, y, first in zip(batch["x"], batch["y"], batch["label_first"], strict=True):
        place = None if label == "none" else "first" if first else "last"
        expected.append(-model.log_prob(x[None], None if label == "none" else y[None], label=place))
    torch.testing.assert_close(loss, torch.cat(expected).mean())
    assert set(logs) == {"image_nats", "label_nats"}
    torch.testing.assert_close(logs["image_nats"] + logs["label_nats"], loss.detach())
    assert not any(value.requires_grad for value in logs.values())


def test_the_label_weight_scales_the_labels_part_of_the_loss_alone(task, awake) -> None:
    batch = task().batch(np.arange(10), seed=0, epoch=0)
    model = awake(task().build_model())
    for weight in (0.0, 1.0, 7.5):
        loss, logs = task(label_weight=weight).loss(model, batch)
        torch.testing.assert_close(loss.detach(), logs["image_nats"] + weight * logs["label_nats"])
        assert task(label_weight=weight).validate(model) == task().validate(model)


@pytest.mark.parametrize(
    ("label", "place"), [("none", None), ("first", "first"), ("last", "last"), ("both", "last")]
)
def test_validation_is_the_mean_over_the_first_images(task, awake, label: str, place) -> None:
    built = task(label=label, validate_images=7)
    model = awake(built.build_model())
    x, y = built.split("valid")
    with torch.no_grad():
        found = built.validate(model)
        expected = -model.log_prob(x[:7], None if label == "none" else y[:7], label=place).double().mean()
    assert list(found) == ["joint_nats_per_image"]
    assert found["joint_nats_per_image"] == pytest.approx(expected.item(), rel=1e-6)


def test_more_validation_images_than_there_are_means_all(task, awake) -> None:
    model = awake(task().build_model())
    with torch.no_grad():
        assert task(validate_images=1000).validate(model) == task(validate_images=10).validate(model)


def _patch_frequencies(built) -> np.ndarray:
    """Of every patch of 2 x 4 in the training images, each counted once more than it occurs."""
    bits, _ = built.split("train")
    number, height, width = bits.shape
    patches = (
        bits.numpy().reshape(number, height // 2, 2, width // 4, 4).transpose(0, 1, 3, 2, 4).reshape(-1, 8)
    )
    counts = np.bincount(patches @ (1 << np.arange(8)), minlength=256) + 1
    return counts / counts.sum()


def test_a_step_of_training_lowers_the_loss(task) -> None:
    """One batch, taken often: from the counted patches and a third of a label down."""
    built = task()
    model = built.build_model()
    batch = built.batch(np.arange(32), seed=0, epoch=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(12):
        loss, _ = built.loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    counted = _patch_frequencies(built)
    patches = built.config.model.build().patches.to_tokens(batch["x"])
    expected = -np.log(counted)[patches].sum(1).mean() + np.log(3)
    assert losses[0] == pytest.approx(expected, rel=0.01)
    assert losses[-1] < losses[0] - 5


def test_images_of_another_size_than_the_models_are_refused(folder) -> None:
    with pytest.raises(
        ValueError, match=r"model: built for 28 x 28 pixels, but the images of .* are 8 x 8; set"
    ):
        GenerateConfig(data=str(folder)).build()
    with pytest.raises(
        ValueError, match="model: built for 8 x 28 pixels, but the images of 'mnist' are 28 x 28"
    ):
        GenerateConfig(model=ImageDensityConfig(height=8)).build()


def test_a_density_of_pixels_is_trained_by_the_same_task(folder) -> None:
    """One model, the loss of the task at its own factorisations, and 20 steps that lower it."""
    config = densities.config("fvsbn", height=8, width=8, classes=3)
    built = GenerateConfig(data=str(folder), model=config).build()
    assert built.config.num_tokens == 64
    model = built.build_model()
    batch = built.batch(np.arange(32), seed=0, epoch=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(20):
        loss, _ = built.loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 3


def test_labels_beyond_the_models_classes_are_refused(task) -> None:
    with pytest.raises(ValueError, match=r"model.classes: the labels of .* go up to 2, got 2 classes"):
        task(classes=2)
    task(classes=2, label="none")


def test_a_folder_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        FileNotFoundError, match="source: expected 'mnist' or a folder of IDX files, got 'nowhere'"
    ):
        GenerateConfig(data="nowhere").build()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validate_images": 0}, "validate_images: expected at least 1, got 0"),
        ({"evaluate_images": 0}, "evaluate_images: expected at least 1, got 0"),
        ({"bayes_images": 0}, "bayes_images: expected at least 1, got 0"),
        ({"label_weight": -1.0}, "label_weight: expected a finite number >= 0, got -1.0"),
        ({"label_weight": float("inf")}, "label_weight: expected a finite number >= 0, got inf"),
        ({"label_weight": float("nan")}, "label_weight: expected a finite number >= 0, got nan"),
    ],
    ids=str,
)
def test_values_that_no_run_can_have_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GenerateConfig(**options)
