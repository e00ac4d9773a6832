"""The task of pose: batches as a function of their numbers, labels of a law, what an evaluation says."""

import math

import numpy as np
import pytest
import torch

from linsight.data import People
from linsight.data.geometry import Augmentation
from linsight.data.keypoint_noise import Swap
from linsight.data.noise_laws import noise_law
from linsight.data.people import JOINTS, PAIRS
from linsight.models.vision import KeypointNetConfig
from linsight.tasks.exhibits import Curves, Grid, Pictures, Table
from linsight.tasks.pose import LIMBS, PoseConfig
from linsight.tasks.pose.density import law_density, learnt_density
from linsight.tasks.pose.found import find
from linsight.tasks.pose.measures import within
from linsight.tasks.pose.samples import PeopleKept, labelled

INDICES = np.array([3, 11, 0, 7])
STILL = Augmentation(flip=0.0, degrees=0.0, least=1.0, most=1.0, shift=0.0)
CPU = torch.device("cpu")
SMALL = People(size=(32, 24), samples=1, stripes=False)
STRIPED = People(size=(32, 24), samples=1)


@pytest.mark.parametrize(
    ("codec", "law"),
    [
        ("rle_exact", noise_law("none")),
        ("heatmap", noise_law("hetero")),
        ("rle_exact", noise_law("skew")),
        ("heatmap", Swap(share=0.5)),
    ],
    ids=str,
)
def test_a_batch_is_a_pure_function_of_seed_epoch_and_indices(task, codec, law) -> None:
    """Whatever the order, the rest of the batch, the memory of the task and the global random states."""
    options = {"codec": codec, "label_noise": law}
    built = task(**options)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    whole = built.batch(INDICES, seed=4, epoch=2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    built.batch(np.array([5, 6]), seed=5, epoch=0)
    order = np.array([2, 0])
    for other in (built, task(**options)):
        part = other.batch(INDICES[order], seed=4, epoch=2)
        assert part.keys() == whole.keys()
        for name in part:
            assert torch.equal(part[name], whole[name][order]), name
    assert not torch.equal(built.batch(INDICES, seed=4, epoch=3)["image"], whole["image"])
    assert not torch.equal(built.batch(INDICES, seed=5, epoch=2)["image"], whole["image"])


def test_people_that_are_not_moved_are_the_datas_and_labels_the_truth(task) -> None:
    built = task(augmentation=STILL)
    batch = built.batch(INDICES, seed=4, epoch=9)
    found = SMALL.items("train", INDICES, seed=4)
    assert (batch["image"] * 255).round().int().tolist() == found.image.tolist()
    inner = (torch.from_numpy(found.keypoints) + 0.5) / torch.tensor([24, 32])
    counted = batch["target.weight"] > 0
    assert counted.tolist() == (found.visibility > 0).tolist()
    torch.testing.assert_close(batch["target.mean"][counted].double(), inner[counted], rtol=0, atol=1e-6)


def test_a_flip_mirrors_the_image_and_exchanges_the_sides() -> None:
    flip = Augmentation(flip=1.0, degrees=0.0, least=1.0, most=1.0, shift=0.0)
    kept = PeopleKept(SMALL, 12)
    plain, mirrored = (kept.moved(INDICES, noise_law("none"), one, seed=0, epoch=0) for one in (None, flip))
    torch.testing.assert_close(mirrored[0], plain[0].flip(3), rtol=0, atol=1e-5)
    order = list(range(17))
    for left, right in PAIRS:
        order[left], order[right] = right, left
    torch.testing.assert_close(
        mirrored[1], plain[1][:, order] * torch.tensor([-1, 1]) + torch.tensor([23, 0])
    )
    assert torch.equal(mirrored[2], plain[2][:, order])


def test_the_noise_of_labels_has_its_law_in_sides_of_the_box_in_moved_crops_too() -> None:
    """A law with a scale of 1 % shifted by its skew: residuals over the moved box's side have its moments."""
    law = noise_law("skew", scale=0.01, shape=8.0)
    half = Augmentation(flip=1.0, degrees=0.0, least=0.5, most=0.5, shift=0.0)
    items = np.arange(60)
    kept = PeopleKept(SMALL, 60)
    clean = kept.moved(items, noise_law("none"), half, seed=0, epoch=0)[1]
    labels = kept.moved(items, law, half, seed=0, epoch=0)[1]
    sides = labelled(SMALL, law, "train", items).reference / 2
    residual = (labels - clean) / sides[:, None, None]
    number = residual.numel()
    assert residual.mean().item() == pytest.approx(0, abs=4 * 0.01 / math.sqrt(number))
    assert residual.std().item() == pytest.approx(0.01, rel=0.1)
    # Skewed to the right though every crop is mirrored.
    third = ((residual / 0.01) ** 3).mean().item()
    delta = 8 / math.hypot(1, 8)
    mean = delta * math.sqrt(2 / math.pi)
    skewness = (4 - math.pi) / 2 * mean**3 / (1 - mean**2) ** 1.5
    assert third == pytest.approx(skewness, abs=0.4)


def test_hidden_joints_are_labelled_less_exactly_under_hetero() -> None:
    law = noise_law("hetero", clear=0.001, hidden=0.1)
    people = labelled(SMALL, law, "valid", np.arange(40))
    off = torch.linalg.vector_norm(people.labels - people.truth, dim=-1) / people.reference[:, None]
    assert off[people.visibility == 2].max() < 0.006
    assert off[people.visibility == 1].mean() > 0.05


def test_share_within_by_hand() -> None:
    """Distances 1, 2, 3, 4 with reference 10 at 0.2: 2 of 4; and NaN of what is never counted."""
    found = torch.tensor([[[1.0, 0]], [[2, 0]], [[0, 3]], [[4, 0]]])
    counted = torch.ones(4, 1, dtype=torch.bool)
    reference = torch.full((4,), 10.0)
    assert within(found, 0 * found, counted, reference, 0.2).tolist() == [0.5]
    assert within(found, 0 * found, ~counted, reference, 0.2).isnan().all()


def test_the_truth_is_all_right_and_a_shift_is_measured(task, oracle) -> None:
    built = task()
    numbers = built.evaluate(oracle(SMALL, "test", 6), "test", device=CPU).metrics
    assert numbers["pck_at_0.2"] == numbers["pck_at_0.1"] == numbers["oks_AP"] == 1
    assert numbers["mean_error_px"] == pytest.approx(0, abs=1e-5)
    # Labels without noise are on the truth: in every region, of density 1 / (2 pi sigma^2).
    assert numbers["coverage_50"] == 1
    assert numbers["label_nll_nats"] == pytest.approx(math.log(2 * math.pi * 0.01**2), abs=1e-3)
    numbers = built.evaluate(oracle(SMALL, "test", 6, shift=3.0), "test", device=CPU).metrics
    assert numbers["mean_error_px"] == pytest.approx(3, abs=1e-4)
    sides = labelled(SMALL, noise_law("none"), "test", np.arange(6))
    seen = sides.visibility > 0
    for threshold in (0.1, 0.2):
        near = (threshold * sides.reference >= 3)[:, None].expand_as(seen)
        assert numbers[f"pck_at_{threshold}"] == pytest.approx(near[seen].double().mean().item())
    area = (sides.box[:, 2:] - sides.box[:, :2]).prod(1).sqrt()[:, None].expand_as(seen)
    assert numbers["nme_of_box"] == pytest.approx((3 / area[seen]).mean().item(), rel=1e-4)
    assert numbers["oks_AP"] < 0.9
    looked_at = built.validate(oracle(SMALL, "valid", 3, shift=3.0))
    assert looked_at["mean_error_px"] == pytest.approx(3, abs=1e-4)
    whole = task(test_people=3).evaluate(oracle(SMALL, "valid", 3, shift=3.0), "valid", device=CPU).metrics
    assert looked_at == {name: whole[name] for name in ("pck_at_0.2", "mean_error_px")}


def test_a_density_of_the_laws_own_shape_is_calibrated_and_reaches_the_laws_likelihood(task, oracle) -> None:
    """Truth, and each label's own sigma: a Gaussian law by nll_gauss; coverage and nll are the law's."""
    law = noise_law("gauss", scale=0.05)
    people = labelled(SMALL, law, "test", np.arange(40))
    sigma = 0.05 * people.reference[:, None] / torch.tensor([24.0, 32.0])

    net = oracle(SMALL, "test", 40)
    net.spreads = dict(zip(net.told, sigma[:, None].expand(-1, 17, -1).float(), strict=True))
    found = find(net, SMALL, law, "test", 40, flip=False)
    numbers = task(label_noise=law, test_people=40).evaluate(net, "test", device=CPU).metrics
    number = int(found.counted.sum())
    for nominal in (0.5, 0.8, 0.9):
        spread = math.sqrt(nominal * (1 - nominal) / number)
        assert numbers[f"coverage_{100 * nominal:.0f}"] == pytest.approx(nominal, abs=4 * spread)
    assert numbers["label_nll_nats"] == pytest.approx(numbers["label_nll_of_law_nats"], abs=1e-3)


def test_the_learnt_density_is_the_laws_in_sides_of_the_box(oracle) -> None:
    """Joints whose sigma is 5 % of the box's side: the density at 0 is 1 / (2 pi 0.05^2), its sum 1."""
    net = oracle(SMALL, "test", 1)
    found = find(net, SMALL, noise_law("none"), "test", 1, flip=False)
    sides = torch.tensor([24.0, 32.0])
    sigma = (0.05 * found.people.reference[:, None] / sides)[:, None].expand(-1, 17, -1).float()
    found = found._replace(outputs={**found.outputs, "sigma": sigma})
    line = torch.linspace(-0.3, 0.3, 61, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)
    chosen = torch.tensor([0, 0]), torch.tensor([2, 5])
    density = learnt_density(net.codec, found, points, chosen)
    assert density.max().item() == pytest.approx(1 / (2 * math.pi * 0.05**2), rel=1e-4)
    assert density.sum().item() * 0.01**2 == pytest.approx(1, abs=1e-4)


def test_left_taken_for_right_is_a_law_with_two_modes() -> None:
    """Half of the pairs exchanged: half of a wrist's labels are at the other one, and so is half the law."""
    law = Swap(share=0.5, scale=0.02)
    people = labelled(SMALL, law, "test", np.arange(60))
    left, right = JOINTS.index("left_wrist"), JOINTS.index("right_wrist")
    offset = (people.truth[:, right] - people.truth[:, left]) / people.reference[:, None]
    residual = (people.labels[:, left] - people.truth[:, left]) / people.reference[:, None]
    told = torch.linalg.vector_norm(offset, dim=1) > 0.3
    exchanged = torch.linalg.vector_norm(residual - offset, dim=1) < 0.1
    assert exchanged[told].double().mean().item() == pytest.approx(0.5, abs=2 / math.sqrt(int(told.sum())))
    who = int(told.nonzero()[0, 0])
    points = torch.stack([torch.zeros(2, dtype=torch.float64), offset[who], offset[who] / 2])
    found = law_density(law, people, points, (torch.tensor([who]), torch.tensor([left])))
    peak = 0.5 / (2 * math.pi * 0.02**2)
    assert found.tolist() == pytest.approx([peak, peak, 0], rel=1e-3, abs=1e-3 * peak)
    nose = law_density(law, people, points[:1], (torch.tensor([who]), torch.tensor([0])))
    assert nose.item() == pytest.approx(2 * peak)


def test_people_with_stripes_have_no_flip_test(task, oracle) -> None:
    """A mirrored crop of them shows nobody who could be there; the page says so."""
    built = task(data=STRIPED, augmentation=STILL)
    evaluation = built.evaluate(oracle(STRIPED, "test", 6), "test", device=CPU)
    assert evaluation.metrics["pck_at_0.2"] == 1
    assert not any("flip_test" in name for name in evaluation.metrics)
    (pck,) = (one for one in evaluation.exhibits if one.name == "pck")
    assert list(pck.series) == ["one look"]
    assert "their stripes change sides in a mirror" in pck.note


def test_an_evaluation_shows_joints_skeletons_curves_and_densities(task, oracle) -> None:
    law = noise_law("laplace")
    net = oracle(SMALL, "test", 6, shift=2.0, sigma=0.05, codec="rle_exact")
    evaluation = task(label_noise=law).evaluate(net, "test", device=CPU)
    joints, mistakes, first, pck, coverage, densities, along_x, along_y = evaluation.exhibits
    assert isinstance(joints, Table)
    assert [row[0] for row in joints.rows] == [name.replace("_", " ") for name in JOINTS]
    assert "not comparable with those of COCO or MPII" in joints.note
    assert isinstance(mistakes, Pictures)
    assert isinstance(first, Pictures)
    people = labelled(SMALL, law, "test", np.arange(6))
    worst = [int(one.caption.split(":")[0]) for one in mistakes.pictures]
    assert sorted(worst) == list(range(6))
    assert people.reference[worst].tolist() == sorted(people.reference.tolist())
    seen = people.visibility[0] > 0
    drawn = sum(bool(seen[one] and seen[other]) for one, other in LIMBS)
    assert len(first.pictures[0].lines) == 2 * drawn
    assert isinstance(pck, Curves)
    assert isinstance(coverage, Curves)
    assert list(pck.series) == ["one look", "flip test"]
    assert {"pck_at_0.2_flip_test", "flip_test_bias_px"} <= evaluation.metrics.keys()
    _, share = pck.series["one look"]
    assert share[0] == 0
    assert share == sorted(share)
    assert isinstance(densities, Grid)
    assert densities.column_labels == ("the law", "learnt", "labels")
    assert {along_x.name, along_y.name} == {"densities_0", "densities_1"}


def test_a_codec_without_a_density_has_none_to_show(task) -> None:
    built = task(codec="regression_l1")
    evaluation = built.evaluate(built.build_model(), "test", device=CPU)
    assert [one.name for one in evaluation.exhibits] == ["joints", "mistakes", "pictures", "pck"]
    assert not any(name.startswith(("coverage", "label_nll")) for name in evaluation.metrics)


@pytest.mark.parametrize("codec", ["heatmap", "rle"])
def test_one_batch_is_learnt(task, codec) -> None:
    built = task(codec=codec, augmentation=STILL)
    torch.manual_seed(0)
    model = built.build_model()
    batch = built.batch(np.arange(2), seed=0, epoch=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        loss, parts = built.loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1 * abs(losses[0])
    assert set(parts) == ({"mse_loss"} if codec == "heatmap" else {"nll_nats_per_joint"})


def test_the_head_is_counted_without_backbone_and_flow(task) -> None:
    """regression_l1: a 1 x 1 convolution 8 -> 4 on 4 x 3, linear 48 -> 8 and 8 -> 34; rle adds the flow."""
    built = task(codec="regression_l1")
    numbers = built.evaluate(built.build_model(), "test", device=CPU).metrics
    assert numbers["head_parameters"] == (8 * 4 + 4) + (48 * 8 + 8) + (8 * 34 + 34)
    assert numbers["head_mega_multiply_adds"] == pytest.approx((8 * 4 * 12 + 48 * 8 + 8 * 34) / 1e6)
    assert numbers["training_only_parameters"] == 0
    flow = task(codec="rle")
    assert flow.evaluate(flow.build_model(), "test", device=CPU).metrics["training_only_parameters"] == 53_784


def test_the_fingerprint_is_the_datas_and_the_laws(task) -> None:
    found = task().fingerprint
    assert task(codec="heatmap", test_people=5).fingerprint == found
    others = (
        {"label_noise": Swap()},
        {"num_people": 13},
        {"label_noise": noise_law("gauss")},
        {"data": People((32, 24), 1, symmetric=True)},
    )
    for options in others:
        assert task(**options).fingerprint != found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_people": 0}, "num_people: expected at least 1, got 0"),
        ({"validate_people": 0}, "validate_people: expected at least 1, got 0"),
        ({"test_people": 0}, "test_people: expected at least 1, got 0"),
        (
            {"data": STRIPED},
            r"augmentation.flip: expected 0 for people with stripes.*, got 0.5; set it to 0, or data.stripes",
        ),
        (
            {"model": KeypointNetConfig(size=(64, 64))},
            r"model.size: people need \(64, 48\), got \(64, 64\); set it to \(64, 48\)",
        ),
        ({"model": KeypointNetConfig(joints=3)}, "model.joints: people need 17, got 3; set it to 17"),
    ],
    ids=str,
)
def test_values_that_no_run_can_have_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        PoseConfig(**options).build()
