"""The task of classification: batches as a function of their numbers, the loss, validation, and refusals."""

import numpy as np
import pytest
import torch

from linsight.data import ListOps, Pathfinder, classified, permutation
from linsight.models.sequence import ClassifierConfig
from linsight.tasks.classify import ClassifyConfig

INDICES = np.array([3, 49, 0, 17, 8])
DATA = ["smnist", "pmnist", "listops-128", "pathfinder-32-easy"]


@pytest.mark.parametrize("data", DATA)
def test_an_example_is_the_same_in_any_batch_and_order(task, data: str) -> None:
    built = task(data)
    whole = built.batch(INDICES, seed=4, epoch=2)
    order = np.array([4, 0, 3])
    part = task(data).batch(INDICES[order], seed=4, epoch=2)
    width = part["x"].shape[1]
    assert torch.equal(part["x"], whole["x"][order][:, :width])
    assert not whole["x"][order][:, width:].any()
    assert torch.equal(part["y"], whole["y"][order])
    assert ("lengths" in whole) == (data == "listops-128")
    if "lengths" in whole:
        assert torch.equal(part["lengths"], whole["lengths"][order])


@pytest.mark.parametrize("data", DATA)
def test_no_global_random_state_is_read_or_moved(task, data: str) -> None:
    built = task(data)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = built.batch(INDICES, seed=4, epoch=2)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()
    torch.manual_seed(9)
    np.random.seed(9)
    assert torch.equal(built.batch(INDICES, seed=4, epoch=2)["x"], first["x"])


def test_generated_data_never_repeat_and_go_on_where_the_last_epoch_ended(task) -> None:
    built = task("listops-128", num_examples=50)
    found = built.batch(np.array([1, 49]), seed=7, epoch=3)
    tokens, lengths, labels = ListOps.named("listops-128").items("train", np.array([151, 199]), seed=7)
    assert found["x"].tolist() == tokens.tolist()
    assert found["lengths"].tolist() == lengths.tolist()
    assert found["y"].tolist() == labels.tolist()
    images, joined = Pathfinder.named("pathfinder-32-easy").items("train", np.array([101]), seed=7)
    found = task("pathfinder-32-easy").batch(np.array([1]), seed=7, epoch=1)
    assert (found["x"].numpy() * 255).round().tolist() == images.reshape(1, -1).tolist()
    assert found["y"].tolist() == joined.tolist()


@pytest.mark.parametrize("data", ["smnist", "pmnist"])
def test_digits_are_the_files_pixels_in_their_order(task, folder, data: str) -> None:
    pixels, labels = classified("train", folder)
    found = task(data).batch(INDICES, seed=0, epoch=5)
    order = permutation(64) if data == "pmnist" else np.arange(64)
    assert (found["x"].numpy() * 255).round().tolist() == pixels[INDICES].reshape(5, 64)[:, order].tolist()
    assert found["y"].tolist() == labels[INDICES].tolist()


def test_the_default_is_smnist_pixel_by_pixel() -> None:
    built = ClassifyConfig().build()
    assert built.num_examples == 55_000
    assert built.config.model.patch == 1
    assert built.batch(np.array([54_999]), seed=0, epoch=0)["x"].shape == (1, 784)


def test_an_epoch_of_generated_data_is_as_long_as_configured(task) -> None:
    assert task("listops-128", num_examples=70).num_examples == 70
    assert task("smnist", num_examples=70).num_examples == 55


def test_the_fingerprint_is_the_datas_alone(task) -> None:
    found = {data: task(data).fingerprint for data in DATA}
    assert len(set(found.values())) == len(DATA)
    for data in DATA:
        assert task(data, model={"pooling": "last"}, validate_examples=5).fingerprint == found[data]
    assert task("listops-128", num_examples=70).fingerprint != found["listops-128"]


@pytest.mark.parametrize("data", DATA)
def test_the_loss_is_the_mean_cross_entropy(task, awake, data: str) -> None:
    built = task(data)
    model = awake(built.build_model())
    batch = built.batch(INDICES, seed=0, epoch=0)
    loss, logs = built.loss(model, batch)
    log_prob = model(batch["x"], batch.get("lengths")).log_softmax(1)
    expected = -log_prob[torch.arange(5), batch["y"]].mean()
    torch.testing.assert_close(loss, expected)
    assert logs["accuracy"].item() == pytest.approx((log_prob.argmax(1) == batch["y"]).float().mean().item())


@pytest.mark.parametrize("data", ["smnist", "listops-128"])
def test_validation_is_of_the_first_examples_whatever_the_seed(task, awake, data: str) -> None:
    built = task(data, validate_examples=4)
    model = awake(built.build_model())
    batch = built.source.examples("valid", np.arange(4), seed=0).batch()
    log_prob = model(batch["x"], batch.get("lengths")).log_softmax(1)
    assert built.validate(model) == {
        "accuracy": (log_prob.argmax(1) == batch["y"]).double().mean().item(),
        "nll_nats": pytest.approx(-log_prob[torch.arange(4), batch["y"]].mean().item(), rel=1e-5),
    }


def test_more_validation_examples_than_there_are_means_all(task, awake) -> None:
    model = awake(task().build_model())
    assert task(validate_examples=1000).validate(model) == task(validate_examples=5).validate(model)


def test_a_row_of_ink_is_learnt(task) -> None:
    """A few steps on one batch, from the loss of a guess to next to nothing."""
    built = task()
    model = built.build_model()
    batch = built.batch(np.arange(32), seed=0, epoch=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        loss, _ = built.loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(np.log(3), rel=1e-5)
    assert losses[-1] < 0.2


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        ("smnist", {"classes": 10}, "model.classes: the data .* need 3, got 10; set it to 3"),
        ("smnist", {"vocabulary": 16, "patch": 1}, "model.vocabulary: .* need None, got 16; set it to none"),
        ("listops-128", {"vocabulary": None}, "model.vocabulary: .* need 16, got None; set it to 16"),
        ("smnist", {"patch": 3}, "model.patch: 64 pixels of .* are not divisible by 3"),
        (
            "smnist",
            {"max_length": 15},
            "model.max_length: .* up to 16 tokens, got 15; set it to 16, or to none",
        ),
        ("listops-128", {"max_length": 100}, "model.max_length: .* up to 128 tokens, got 100"),
    ],
    ids=str,
)
def test_a_model_that_does_not_fit_the_data_is_refused(task, data: str, model: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task(data, model=model)


def test_positions_may_be_left_out(task) -> None:
    assert task("listops-128", model={"max_length": None}).build_model().embedding.positions is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "mnist"}, "data: expected one of 'smnist', 'pmnist', 'listops-128', .* got 'mnist'"),
        ({"num_examples": 0}, "num_examples: expected at least 1, got 0"),
        ({"validate_examples": 0}, "validate_examples: expected at least 1, got 0"),
        ({"test_examples": 0}, "test_examples: expected at least 1, got 0"),
    ],
    ids=str,
)
def test_values_that_no_run_can_have_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassifyConfig(**options)


def test_a_folder_of_digits_for_generated_data_is_refused(folder) -> None:
    model = ClassifierConfig(vocabulary=16, max_length=None)
    with pytest.raises(ValueError, match="source: 'listops-128' is generated and reads no digits, got"):
        ClassifyConfig(data="listops-128", source=str(folder), model=model).build()
