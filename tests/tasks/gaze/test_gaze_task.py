"""The task of gaze: batches as a function of their numbers, labels of a law, what an evaluation says."""

import math

import numpy as np
import pytest
import torch

from linsight.data.gaze import NOT_COMPARABLE, Eyes, mirror_angles
from linsight.data.geometry import Augmentation
from linsight.data.noise_laws import noise_law
from linsight.models.vision import GazeNetConfig
from linsight.ops import angular_error, exp_map, log_map, to_vector
from linsight.tasks.exhibits import Grid, Pictures, Table
from linsight.tasks.gaze import GazeConfig, calibration_curve, gaze_arrow
from linsight.tasks.gaze.density import density_exhibits
from linsight.tasks.gaze.measures import measures, rank_correlation

INDICES = np.array([3, 11, 0, 7])
CPU = torch.device("cpu")
MOVED = Augmentation(flip=0.5, degrees=20.0, least=0.9, most=1.1, shift=0.02)
FLIP = Augmentation(flip=1.0, degrees=0.0, least=1.0, most=1.0, shift=0.0)


def eyes_of(built, split="test"):
    """The pictures of a split, with their labels."""
    return built.config.labelled.samples(*built.config.roles.rows(split))


@pytest.mark.parametrize("law", ["none", "hetero", "skew"])
def test_a_batch_is_a_pure_function_of_seed_epoch_and_indices(task, law) -> None:
    """Whatever the order, the rest of the batch, the memory of the task and the global random states."""
    options = {"label_noise": noise_law(law), "augmentation": MOVED}
    built = task(**options)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    whole = built.batch(INDICES, seed=4, epoch=2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    order = np.array([2, 0])
    for other in (built, task(**options)):
        part = other.batch(INDICES[order], seed=4, epoch=2)
        assert part.keys() == whole.keys()
        for name in part:
            assert torch.equal(part[name], whole[name][order]), name
    assert not torch.equal(built.batch(INDICES, seed=4, epoch=3)["image"], whole["image"])
    assert not torch.equal(built.batch(INDICES, seed=5, epoch=2)["image"], whole["image"])


def test_pictures_that_are_not_moved_are_the_datas_whatever_the_seed(task) -> None:
    built = task()
    batch = built.batch(INDICES, seed=9, epoch=4)
    persons, items = built.config.roles.rows("train")
    found = built.config.data.samples(persons[INDICES], items[INDICES])
    assert torch.equal((batch["image"] * 255).round().byte(), found.image)
    torch.testing.assert_close(batch["target.mean"][:, 0].double(), found.gaze, rtol=0, atol=1e-6)
    torch.testing.assert_close(batch["head"].double(), found.head, rtol=0, atol=1e-6)


def test_a_flip_mirrors_picture_gaze_and_head_and_leaves_the_residual(task) -> None:
    """Labels are skewed upwards and to the left in mirrored pictures too."""
    law = noise_law("skew", scale=0.05)
    plain, flipped = (task(label_noise=law, augmentation=one) for one in (Augmentation(0, 0, 1, 1, 0), FLIP))
    one, other = (built.batch(INDICES, seed=0, epoch=0) for built in (plain, flipped))
    torch.testing.assert_close(other["image"], one["image"].flip(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(other["head"], mirror_angles(one["head"]), rtol=0, atol=1e-6)
    persons, items = plain.config.roles.rows("train")
    truth = plain.config.data.samples(persons[INDICES], items[INDICES]).gaze
    residual = log_map(truth, one["target.mean"][:, 0].double())
    assert residual.abs().min() > 1e-3
    want = exp_map(mirror_angles(truth), residual)
    torch.testing.assert_close(other["target.mean"][:, 0].double(), want, rtol=0, atol=1e-6)


def test_a_turn_of_the_picture_turns_the_gaze_in_its_plane(task) -> None:
    built = task(augmentation=Augmentation(flip=0, degrees=90, least=1, most=1, shift=0))
    batch, still = built.batch(INDICES, seed=1, epoch=0), task().batch(INDICES, seed=1, epoch=0)
    turned, was = (to_vector(one["target.mean"][:, 0]) for one in (batch, still))
    torch.testing.assert_close(turned[:, 2], was[:, 2])
    torch.testing.assert_close(turned[:, :2].norm(dim=1), was[:, :2].norm(dim=1))
    assert (turned - was).norm(dim=1).min() > 1e-3


def test_the_truth_is_right_and_a_persons_bias_is_measured_and_calibrated_away(task, oracle) -> None:
    """A constant residual of 3 degrees for one of three persons: a mean of 1, which an offset takes away."""
    built = task(roles={"test_pictures": 12})
    eyes = eyes_of(built)
    numbers = built.evaluate(oracle(eyes, eyes.gaze), "test", device=CPU).metrics
    assert numbers["degrees"] == pytest.approx(0, abs=1e-4)
    assert numbers["degrees_mirrored"] == pytest.approx(0, abs=1e-4)
    assert numbers["coverage_50"] == 1
    assert numbers["label_nll_nats"] == pytest.approx(math.log(2 * math.pi * 0.05**2), abs=1e-4)
    bias = torch.zeros(36, 2).double()
    bias[12:24, 0] = math.radians(3)
    biased = oracle(eyes, exp_map(eyes.gaze, bias))
    numbers = built.evaluate(biased, "test", device=CPU).metrics
    assert numbers["degrees"] == pytest.approx(1, abs=1e-3)
    assert numbers["degrees_before_calibration"] == pytest.approx(1, abs=1e-3)
    assert numbers["degrees_worst_person"] == pytest.approx(3, abs=1e-3)
    assert numbers["degrees_offset_1"] < 0.1
    assert numbers["degrees_ridge_9"] < 0.1
    assert {"degrees_affine_9"} == {name for name in numbers if "affine" in name}
    assert not any(name.endswith("_20") for name in numbers)
    assert built.validate(oracle(eyes_of(built, "valid"), eyes_of(built, "valid").gaze)) == {
        "degrees": pytest.approx(0, abs=1e-4),
        "degrees_p90": pytest.approx(0, abs=1.1e-2),
    }


def test_persons_count_once_each_and_one_person_is_enough(task, oracle) -> None:
    built = task(roles={"test": 1, "protocol": "lopo"})
    eyes = eyes_of(built)
    evaluation = built.evaluate(oracle(eyes, eyes.optical), "test", device=CPU)
    assert evaluation.metrics["degrees"] == pytest.approx(evaluation.metrics["degrees_pooled"])
    assert math.isnan(evaluation.metrics["degrees_standard_error"])
    assert len(evaluation.exhibits[0].rows) == 1
    assert "protocol lopo" in evaluation.exhibits[0].note


def test_what_no_picture_shows_is_kappa_and_calibration_removes_it(task, oracle) -> None:
    """Who says the optical axis is wrong by the length of each person's kappa, but for its turn with gaze."""
    built = task(roles={"test_pictures": 12})
    eyes = eyes_of(built)
    numbers = built.evaluate(oracle(eyes, eyes.optical), "test", device=CPU).metrics
    kappa = torch.rad2deg(angular_error(to_vector(eyes.kappa), to_vector(torch.zeros(1, 2).double())))
    assert numbers["degrees"] == pytest.approx(kappa.mean().item(), abs=0.05)
    assert numbers["degrees_offset_9"] < 0.25 * numbers["degrees"]
    wandering = eyes.optical + 0.05 * torch.randn_like(eyes.optical)
    numbers = built.evaluate(oracle(eyes, wandering), "test", device=CPU).metrics
    curve = calibration_curve("offset", wandering, eyes.gaze, eyes.person, (9,))
    after = torch.rad2deg(curve.after.mean()).item()
    assert numbers["degrees_offset_9"] == pytest.approx(after, rel=1e-4)
    assert after > 1


def test_a_wrong_sign_under_the_mirror_is_seen(task, oracle) -> None:
    """A network that says the same yaw of the mirror image has the correlation -1."""
    built = task()
    eyes = eyes_of(built)
    net = oracle(eyes, eyes.gaze)
    numbers = built.evaluate(net, "test", device=CPU).metrics
    assert numbers["mirror_yaw_correlation"] == pytest.approx(1)
    assert numbers["mirror_pitch_correlation"] == pytest.approx(1)
    for image, gaze in zip(eyes.image, eyes.gaze, strict=True):
        net.told[image.flip(2).numpy().tobytes()] = gaze.float(), torch.full((2,), 0.05)
    numbers = built.evaluate(net, "test", device=CPU).metrics
    assert numbers["mirror_yaw_correlation"] == pytest.approx(-1)
    assert numbers["mirror_pitch_correlation"] == pytest.approx(1)
    assert numbers["degrees"] == pytest.approx(0, abs=1e-4)
    assert numbers["degrees_mirror_gap"] > 10


def test_a_density_of_the_laws_own_shape_is_calibrated_and_reaches_the_laws_likelihood(task, oracle) -> None:
    law = noise_law("gauss", scale=0.08)
    built = task(label_noise=law, roles={"test_pictures": 100})
    eyes = eyes_of(built)
    net = oracle(eyes, eyes.gaze, 0.08)
    found = built.find(net, "test")
    numbers = measures(net, found, law, None)
    for nominal in (0.5, 0.8, 0.9):
        spread = math.sqrt(nominal * (1 - nominal) / 300)
        assert numbers[f"coverage_{100 * nominal:.0f}"] == pytest.approx(nominal, abs=4 * spread)
    assert numbers["label_nll_nats"] == pytest.approx(numbers["label_nll_of_law_nats"], abs=1e-3)
    assert numbers["label_degrees"] == pytest.approx(math.degrees(0.08 * math.sqrt(math.pi / 2)), rel=0.1)
    # At the peak 1 / (2 pi s^2) by the square degree, of the law and of what was learnt alike.
    grid, along, _ = density_exhibits(net.codec, found, law)
    assert grid.column_labels == ("the law", "learnt", "labels")
    np.testing.assert_allclose(grid.images[0], grid.images[1], atol=2e-2)
    place, share = along.series["the law"]
    assert along.x_label == "pitch (degrees)"
    assert max(share) == pytest.approx(1 / math.degrees(0.08) / math.sqrt(2 * math.pi), rel=0.03)
    assert sum(share) * (place[1] - place[0]) == pytest.approx(1, abs=0.05)


def test_a_sigma_that_knows_the_errors_orders_them(task, oracle) -> None:
    """Errors as long as sigma: dropping the least sure is dropping the worst, and the area is 0."""
    built = task()
    eyes = eyes_of(built)
    sigma = torch.linspace(0.01, 0.2, 15)[torch.randperm(15)]
    away = torch.stack([sigma, torch.zeros(15)], 1).double()
    numbers = built.evaluate(
        oracle(eyes, exp_map(eyes.gaze, away), sigma[:, None]), "test", device=CPU
    ).metrics
    assert numbers["sparsification_area"] == pytest.approx(0, abs=1e-6)
    assert numbers["sigma_degrees"] == pytest.approx(math.degrees(sigma.mean()), rel=1e-4)
    backwards = oracle(eyes, exp_map(eyes.gaze, away), 0.21 - sigma[:, None])
    assert built.evaluate(backwards, "test", device=CPU).metrics["sparsification_area"] > 0.3


def test_ranks_are_shared_by_equal_values() -> None:
    """By hand: ranks 0, 1.5, 1.5, 3 against 3, 0, 1, 2: sums of products -1.5, and of squares 4.5 and 5."""
    one, other = torch.tensor([1.0, 5.0, 5.0, 9.0]), torch.tensor([8.0, 2.0, 3.0, 4.0])
    assert rank_correlation(one, other) == pytest.approx(-1.5 / math.sqrt(4.5 * 5))
    assert rank_correlation(one, one.exp()) == pytest.approx(1)
    assert math.isnan(rank_correlation(torch.ones(4), other))


def test_an_evaluation_shows_persons_calibration_pictures_and_curves(task, oracle) -> None:
    law = noise_law("laplace")
    built = task(label_noise=law, roles={"test_pictures": 12})
    eyes = eyes_of(built)
    away = torch.linspace(0, 0.3, 36)[torch.randperm(36)]
    net = oracle(eyes, exp_map(eyes.gaze, torch.stack([away, 0 * away], 1).double()), 0.1, "rle_exact")
    evaluation = built.evaluate(net, "test", device=CPU)
    exhibits = {one.name: one for one in evaluation.exhibits}
    assert list(exhibits) == [
        "persons",
        "calibration",
        "calibration_curve",
        "mistakes",
        "pictures",
        "within",
        "sparsification",
        "coverage",
        "densities",
        "densities_0",
        "densities_1",
    ]
    persons = exhibits["persons"]
    assert isinstance(persons, Table)
    assert [row[0] for row in persons.rows] == ["6", "7", "8"]
    assert all(len(row) == len(persons.columns) for row in persons.rows)
    for name in ("persons", "within", "calibration_curve"):
        assert NOT_COMPARABLE in exhibits[name].note
    mistakes = exhibits["mistakes"]
    assert isinstance(mistakes, Pictures)
    worst = [float(one.caption.split(": ")[1].split()[0]) for one in mistakes.pictures]
    assert worst == sorted(worst, reverse=True)
    assert worst[0] == pytest.approx(math.degrees(0.3), abs=0.06)
    assert len(exhibits["pictures"].pictures) == 3
    (kind, count, error, left, _), *rest = exhibits["calibration"].rows
    assert (kind, count, left) == ("none", 0, None)
    assert float(error) == pytest.approx(evaluation.metrics["degrees_before_calibration"], abs=0.006)
    assert [row[:2] for row in rest] == [
        *(("offset", count) for count in (1, 5, 9)),
        *(("ridge", count) for count in (1, 5, 9)),
        ("affine", 9),
    ]
    assert isinstance(exhibits["densities"], Grid)


def test_a_codec_without_a_density_has_none_to_show_and_few_pictures_no_calibration(task) -> None:
    built = task("angular", roles={"test_pictures": 1})
    evaluation = built.evaluate(built.build_model(), "test", device=CPU)
    assert [one.name for one in evaluation.exhibits] == ["persons", "mistakes", "pictures", "within"]
    unwanted = ("coverage", "label_nll", "sigma", "degrees_offset", "degrees_before")
    assert not any(name.startswith(unwanted) for name in evaluation.metrics)


def test_an_arrow_points_where_the_image_sees_the_gaze_go() -> None:
    """30 degrees of yaw go half a length to the left, of pitch half a length up; into the camera: a dot."""
    left = gaze_arrow((10.0, 5.0), torch.tensor([0.0, math.pi / 6]), 8.0)
    assert left.points[0] == (10.0, 5.0)
    assert left.points[1] == pytest.approx((6.0, 5.0))
    up = gaze_arrow((10.0, 5.0), torch.tensor([math.pi / 6, 0.0]), 8.0, "truth")
    assert up.points[1] == pytest.approx((10.0, 1.0))
    assert up.role == "truth"
    # The barbs are behind the tip, one on each side.
    barbs = np.array([up.points[2], up.points[4]])
    assert (barbs[:, 1] > 1.5).all()
    assert barbs[:, 0].sum() == pytest.approx(20)
    assert len(gaze_arrow((10.0, 5.0), torch.zeros(2), 8.0).points) == 1


@pytest.mark.parametrize("codec", ["rle", "vmf", "bins outside=clip"])
def test_one_batch_is_learnt(task, codec) -> None:
    built = task(codec)
    torch.manual_seed(0)
    model = built.build_model()
    batch = built.batch(np.arange(8), seed=0, epoch=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        loss, parts = built.loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1 * abs(losses[0])
    bins = {"pitch_loss", "yaw_loss", "clipped_labels"}
    assert set(parts) == (bins if codec.startswith("bins") else {"nll_nats_per_picture"})


def test_the_head_is_counted_without_backbone_and_flow(task) -> None:
    """angular: a 1 x 1 convolution 8 -> 4 on 3 x 5, linear 60 -> 8 and 8 -> 2; rle adds the flow."""
    built = task("angular", roles={"test_pictures": 1})
    numbers = built.evaluate(built.build_model(), "test", device=CPU).metrics
    assert numbers["head_parameters"] == (8 * 4 + 4) + (60 * 8 + 8) + (8 * 2 + 2)
    assert numbers["head_mega_multiply_adds"] == pytest.approx((8 * 4 * 15 + 60 * 8 + 8 * 2) / 1e6)
    assert numbers["training_only_parameters"] == 0
    flow = task("rle", roles={"test_pictures": 1})
    assert flow.evaluate(flow.build_model(), "test", device=CPU).metrics["training_only_parameters"] == 53_784


def test_the_fingerprint_is_the_datas_the_laws_and_the_persons(task) -> None:
    found = task().fingerprint
    assert task("vmf", roles={"test_pictures": 5}).fingerprint == found
    others = (
        {"roles": {"train": 5}},
        {"roles": {"fold": 1}},
        {"label_noise": noise_law("gauss")},
        {"data": Eyes(size=(12, 20), supersample=1, sensor=0.1)},
    )
    for options in others:
        assert task(**options).fingerprint != found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"data": Eyes(law=noise_law("gauss"))},
            "data.law: expected none, got 'gauss'; set label_noise to it",
        ),
        (
            {"model": GazeNetConfig(size=(36, 64))},
            r"model.size: pictures need \(36, 60\), got \(36, 64\); set it to \(36, 60\)",
        ),
        ({"data": Eyes(channels=3)}, "model.backbone.in_channels: pictures need 3, got 1; set it to 3"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        GazeConfig(**options).build()
