"""Image densities by enumeration of every image (spec/densities.md, section 11)."""

import copy
import dataclasses
import math

import pytest
import torch
from toys import CLASSES, PIXEL_TOYS, PRIOR, Toy, logits_in_order

from linsight import densities

TOYS = [
    *(Toy(2, 4, (1, 1), label) for label in ("none", "first", "last", "both")),
    Toy(2, 4, (1, 2), "first"),
    Toy(2, 4, (2, 1), "both"),
    Toy(2, 4, (2, 2), "last"),
    Toy(2, 4, (2, 4), "both"),
    Toy(2, 4, (1, 1), "both", "softmax"),
    Toy(2, 4, (2, 2), "none", "softmax"),
    Toy(3, 3, (1, 1), "both"),
    Toy(3, 4, (3, 2), "first"),
    Toy(3, 4, (1, 2), "none"),
    Toy(3, 4, (1, 4), "last", "softmax"),
    *PIXEL_TOYS,
]


def test_no_kind_is_left_out():
    assert {toy.kind for toy in PIXEL_TOYS} == set(densities.kinds())


@pytest.fixture(params=TOYS, ids=str)
def toy(request) -> Toy:
    return request.param


@pytest.fixture
def density(toy):
    return toy.trained()


def labelled(toy):
    """Every image with every label."""
    images = toy.images
    return images.repeat(CLASSES, 1, 1), torch.arange(CLASSES).repeat_interleave(len(images))


@pytest.mark.parametrize("steps", [0, 50], ids=["fresh", "trained"])
def test_probabilities_of_all_images_sum_to_one(toy, steps):
    """Fails when the first variable is not modelled, a patch is counted twice, or the future leaks."""
    density = toy.trained(steps)
    for place in toy.places:
        total = density.log_prob(toy.images, label=place).exp().sum().item()
        assert total == pytest.approx(1, abs=1e-9), place


def test_the_joint_sums_to_one_and_its_marginal_is_p_of_x(toy, density):
    if not toy.joint:
        pytest.skip("no labels")
    images, labels = labelled(toy)
    for place in toy.places:
        joint = density.log_prob(images, labels, label=place).reshape(CLASSES, -1)
        assert joint.exp().sum().item() == pytest.approx(1, abs=1e-9)
        marginal = density.log_prob(toy.images, label=place)
        assert (joint.logsumexp(0) - marginal).abs().max() < 1e-9


def test_label_probabilities_are_bayes_of_the_joint(toy, density):
    if not toy.joint:
        pytest.skip("no labels")
    images, labels = labelled(toy)
    for place in toy.places:
        given = density.class_log_prob(toy.images, label=place)
        assert given.shape == (len(toy.images), CLASSES)
        assert given.logsumexp(1).abs().max() < 1e-9
        joint = density.log_prob(images, labels, label=place).reshape(CLASSES, -1)
        assert (given - joint.log_softmax(0).T).abs().max() < 1e-9


def test_conditionals_of_a_label_first_sum_to_one_and_meet_the_prior(toy, density):
    if toy.label not in ("first", "both"):
        pytest.skip("y does not stand first")
    prior = (PRIOR.double() / PRIOR.sum()).log()
    for y in range(CLASSES):
        labels = torch.full((len(toy.images),), y)
        given = density.log_prob_given(toy.images, labels)
        assert given.exp().sum().item() == pytest.approx(1, abs=1e-9)
        place = "first" if toy.label == "both" else None
        joint = density.log_prob(toy.images, labels, label=place)
        assert (joint - given - prior[y]).abs().max() < 1e-6


def test_a_density_of_both_places_is_its_coin(toy, density):
    """log p = log((p_first + p_last) / 2): averaging log-probabilities would not sum to 1."""
    if toy.label != "both":
        pytest.skip("one place only")
    images, labels = labelled(toy)
    first, last = (density.log_prob(images, labels, label=place) for place in ("first", "last"))
    mixed = torch.logaddexp(first, last) - math.log(2)
    assert (density.log_prob(images, labels) - mixed).abs().max() < 1e-9
    assert (first - last).abs().max() > 1e-3, "the two factorisations are one and the same: nothing is tested"


def test_steps_of_one_token_give_the_same_probabilities(toy, density):
    some = slice(None, None, max(1, len(toy.images) // 64))
    x = toy.images[some]
    y = torch.arange(len(x)) % CLASSES
    for place in toy.places:
        for labels in (None, y) if toy.joint else (None,):
            whole = density.log_prob(x, labels, label=place)
            steps = density.log_prob(x, labels, label=place, stepwise=True)
            assert (whole - steps).abs().max() < 1e-9
    if toy.label in ("first", "both"):
        assert (density.log_prob_given(x, y) - density.log_prob_given(x, y, stepwise=True)).abs().max() < 1e-9


def test_a_pixel_changes_no_bit_of_earlier_logits_and_all_later_ones(toy, density):
    """The jacobian in generation order: zero on and above the diagonal, for some image not zero below it."""
    x = toy.images[::37]
    y = torch.arange(len(x)) % CLASSES if toy.label == "first" else None
    before = logits_in_order(density, x, y)
    pixels, patches = density.order.tolist(), before.shape[1]
    assert sorted(pixels) == list(range(toy.height * toy.width))
    size = len(pixels) // patches
    for i, pixel in enumerate(pixels):
        other = x.flatten(1).clone()
        other[:, pixel] ^= 1
        after = logits_in_order(density, other.reshape(x.shape), y)
        own = i // size
        assert torch.equal(after[:, : own + 1], before[:, : own + 1]), f"pixel {pixel} is seen too early"
        changed = (after - before)[:, own + 1 :].abs().amax((0, -1))
        assert (changed > 1e-9).all(), f"pixel {pixel} is not seen by every later patch"


def test_the_order_is_the_raster_within_the_raster_of_patches(toy):
    rows, columns = toy.patch
    want = [
        (top + r) * toy.width + left + c
        for top in range(0, toy.height, rows)
        for left in range(0, toy.width, columns)
        for r in range(rows)
        for c in range(columns)
    ]
    found = toy.build().order.tolist()
    if ("order", "random") in toy.options:
        assert found != want
        assert sorted(found) == want
    else:
        assert found == want


def test_the_label_last_depends_on_every_pixel(toy, density):
    if toy.label not in ("last", "both"):
        pytest.skip("y does not stand last")
    x = toy.images[[37]]
    place = "last" if toy.label == "both" else None
    before = density.class_log_prob(x, label=place)
    for pixel in range(toy.height * toy.width):
        other = x.flatten(1).clone()
        other[:, pixel] ^= 1
        assert (density.class_log_prob(other.reshape(x.shape), label=place) - before).abs().max() > 1e-9


def test_training_has_left_the_uniform_law(toy, density):
    """The trained toys are worth testing: their entropy is well below D ln 2."""
    log_p = density.log_prob(toy.images)
    assert -(log_p.exp() * log_p).sum() < toy.height * toy.width * math.log(2) - 0.5


def test_every_parameter_gets_a_finite_gradient(toy):
    density = toy.build()
    x = toy.images[::7]
    y = torch.arange(len(x)) % CLASSES if toy.joint else None
    density.log_prob(x, y).mean().backward()
    for name, parameter in density.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_evaluation_repeats_and_does_not_depend_on_the_batch(toy, density):
    x = toy.images[::7]
    assert torch.equal(density.log_prob(x), density.log_prob(x))
    assert (density.log_prob(x[3:4]) - density.log_prob(x)[3:4]).abs().max() < 1e-10
    for dtype in (torch.int64, torch.bool):
        assert torch.equal(density.log_prob(x.to(dtype)), density.log_prob(x))


def test_saving_and_loading_keeps_every_bit(toy, density, tmp_path):
    torch.save(density.state_dict(), tmp_path / "density.pt")
    fresh = toy.build(seed=1)
    if toy.joint:
        fresh.fit_prior(torch.ones(CLASSES, dtype=torch.int64))
    x = toy.images[::9]
    assert not torch.equal(fresh.log_prob(x), density.log_prob(x))
    fresh.load_state_dict(torch.load(tmp_path / "density.pt", weights_only=True))
    for place in toy.places:
        assert torch.equal(fresh.log_prob(x, label=place), density.log_prob(x, label=place))
    assert torch.equal(fresh.order, density.order)


def test_weights_bring_their_order_or_are_refused(toy, density):
    """Weights of a random order, loaded where the raster was built: as they were, or not at all."""
    if ("order", "random") not in toy.options:
        pytest.skip("in the raster")
    options = tuple(option for option in toy.options if option[0] != "order")
    other, x = dataclasses.replace(toy, options=options).build(seed=1), toy.images[::9]
    if toy.kind == "made":  # whose masks are not saved
        with pytest.raises(ValueError, match="weights of other orders or masks"):
            other.load_state_dict(density.state_dict())
        return
    other.load_state_dict(density.state_dict())
    for stepwise in (False, True):
        torch.testing.assert_close(other.log_prob(x, stepwise=stepwise), density.log_prob(x))


def test_float32_stays_near_float64(toy, density):
    single, x = copy.deepcopy(density).float(), toy.images[::9]
    got = single.log_prob(x)
    assert got.dtype == torch.float32
    want = density.log_prob(x)
    assert ((got - want).abs() / want.abs()).max() < 1e-5
    assert single.log_prob(x, stepwise=True).sub(got).abs().div(got.abs()).max() < 1e-5
