"""An image density is the chain rule over its network's logits, in every factorisation it has."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from linsight.models.sequence import ImageDensity
from linsight.optim import param_groups

LABELS = ("none", "first", "last", "both")


def _images(number: int = 6) -> Tensor:
    return torch.randint(2, (number, 4, 4), dtype=torch.uint8)


def _joint_by_the_chain_rule(model: ImageDensity, x: Tensor, place: str) -> Tensor:
    """log p(x, y) of all labels `(batch, classes)` (one column without), patch by patch, image by image."""
    vocabulary, none = 16, 16 + model.classes
    rows = []
    for cells in model.patches.to_tokens(x).tolist():
        columns = []
        for label in range(max(model.classes, 1)):
            start = vocabulary + label if place == "first" else none
            total = model.log_prior[label].item() if place == "first" else 0.0
            for step, cell in enumerate(cells):
                logits = model.network(torch.tensor([[start, *cells[:step]]]))[0][0, -1, :vocabulary]
                total += logits.log_softmax(0)[cell].item()
            if place == "last" and model.classes:
                logits = model.network(torch.tensor([[start, *cells]]))[0][0, -1, vocabulary:]
                total += logits.log_softmax(0)[label].item()
            columns.append(total)
        rows.append(columns)
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("pattern", ["linear", "softmax"])
@pytest.mark.parametrize("label", LABELS)
@torch.no_grad()
def test_log_prob_is_the_chain_rule_place_by_place(image_density, label: str, pattern: str) -> None:
    """p(x) and p(x, y) of each factorisation, and of both as the mean of their probabilities."""
    model = image_density(pattern, label=label)
    x = _images()
    y = torch.arange(len(x)) % max(model.classes, 1)
    places = model.places or ("last",)
    assert set(places) == {"none": {"last"}, "both": {"first", "last"}}.get(label, {label})
    expected = {place: _joint_by_the_chain_rule(model, x, place) for place in places}
    expected[None] = (
        torch.logaddexp(*expected.values()) - math.log(2) if len(places) == 2 else expected[places[0]]
    )
    for place, joint in expected.items():
        if label == "none" and place:
            continue
        for stepwise in (False, True):
            options = {"label": place, "stepwise": stepwise}
            torch.testing.assert_close(model.log_prob(x, **options), joint.logsumexp(1), rtol=1e-11, atol=0)
            if model.classes:
                true = joint.gather(1, y[:, None])[:, 0]
                torch.testing.assert_close(model.log_prob(x, y, **options), true, rtol=1e-11, atol=0)
                torch.testing.assert_close(model.joint(x, **options), joint, rtol=1e-11, atol=0)
        if model.classes:
            given = model.class_log_prob(x, label=place)
            torch.testing.assert_close(given, joint.log_softmax(1), rtol=0, atol=1e-11)
    if "first" in places and model.classes:
        conditional = (expected["first"] - model.log_prior).gather(1, y[:, None])[:, 0]
        for stepwise in (False, True):
            found = model.log_prob_given(x, y, stepwise=stepwise)
            torch.testing.assert_close(found, conditional, rtol=1e-11, atol=0)


@pytest.mark.parametrize("label", LABELS)
@torch.no_grad()
def test_the_loss_is_minus_log_prob_of_each_rows_own_factorisation(image_density, label: str) -> None:
    model = image_density(label=label)
    x, y = _images(), torch.tensor([0, 1, 2, 2, 1, 0])
    coins = {"both": torch.tensor([True, False, True, False, False, True])}
    first = coins.get(label, torch.full((6,), label == "first"))
    image_nats, label_nats = model.loss(x, y, first)
    if label == "none":
        torch.testing.assert_close(image_nats, -model.log_prob(x), rtol=1e-12, atol=0)
        assert torch.equal(label_nats, torch.zeros_like(label_nats))
        return
    for row in range(6):
        place = "first" if first[row] else "last"
        one, own = x[row : row + 1], y[row : row + 1]
        joint = model.log_prob(one, own, label=place)[0]
        torch.testing.assert_close(-(image_nats + label_nats)[row], joint, rtol=1e-12, atol=0)
        image = model.log_prob_given(one, own)[0] if place == "first" else model.log_prob(one, label=place)[0]
        torch.testing.assert_close(-image_nats[row], image, rtol=1e-12, atol=0)


@pytest.mark.parametrize("width", [2, 4, 10])
@pytest.mark.parametrize("pattern", ["linear", "mixed"])
@torch.no_grad()
def test_a_pixel_reaches_the_patches_after_its_own_and_no_others(
    image_density, pattern: str, width: int
) -> None:
    """Turning pixel order[i] over leaves every logit up to its own patch bit-equal, and moves all later ones.

    At the end of a line too, whose patch is no near neighbour of the first ones of the next line.
    """
    model = image_density(pattern, width=width)
    x = torch.randint(2, (1, 4, width), dtype=torch.uint8)
    for y in (None, torch.tensor([2])):
        logits = model.token_logits(x, y)
        assert logits.shape == (1, width, 16)
        for step, pixel in enumerate(model.order.tolist()):
            turned = x.clone()
            turned.view(-1)[pixel] ^= 1
            change = (model.token_logits(turned, y) - logits).abs().amax(-1)[0]
            own = step // 4
            assert (change[: own + 1] == 0).all()
            assert (change[own + 1 :] > 0).all()


@torch.no_grad()
def test_logits_of_patches_are_those_of_the_label_that_is_given(image_density) -> None:
    model = image_density()
    x, y = _images(), torch.tensor([0, 1, 2, 0, 1, 2])
    cells = model.patches.to_tokens(x)
    for labels, expected in ((y, model.log_prob_given(x, y)), (None, model.log_prob(x, label="last"))):
        log_p = model.token_logits(x, labels).log_softmax(-1).gather(2, cells[..., None]).sum((1, 2))
        torch.testing.assert_close(log_p, expected, rtol=1e-12, atol=0)


def test_the_prior_is_the_frequency_of_each_label(image_density) -> None:
    model = image_density()
    model.fit_prior(torch.tensor([2, 0, 6]))
    assert model.log_prior.exp().tolist() == [0.25, 0.0, 0.75]
    x = _images(2)
    assert model.joint(x, label="first")[:, 1].tolist() == [-math.inf, -math.inf]
    assert model.log_prob(x).isfinite().all()
    assert model.sample(4, generator=torch.Generator().manual_seed(0)).shape == (4, 4, 4)


@pytest.mark.parametrize("label", LABELS)
def test_every_parameter_receives_a_finite_gradient(image_density, label: str) -> None:
    """All of them matter: there is none whose gradient is 0 throughout."""
    model = image_density("mixed", layers=2, label=label).train()
    x, y = _images(32), torch.arange(32) % 3
    first = torch.arange(32) % 2 == 0 if label == "both" else torch.full((32,), label == "first")
    sum(model.loss(x, y, first)).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_the_state_dict_holds_all_there_is_to_know(image_density) -> None:
    """Another density of the same configuration gives bit-equal probabilities, the prior included."""
    model, other = image_density("mixed"), image_density("mixed")
    x, y = _images(), torch.tensor([0, 1, 2, 0, 1, 2])
    other.fit_prior(torch.tensor([1, 1, 1]))
    assert not torch.equal(model.log_prob(x, y), other.log_prob(x, y))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.log_prob(x, y), other.log_prob(x, y))
    built = model.config.build().double()
    built.load_state_dict(model.state_dict())
    assert torch.equal(model.log_prob(x, y), built.log_prob(x, y))
    assert all(tensor.is_floating_point() for tensor in model.state_dict().values()), (
        "nothing that is derived"
    )


def test_weights_decay_but_not_what_stands_for_values(image_density) -> None:
    """Embeddings, the vectors made of a patch's pixels, norms and biases keep their size."""
    model = image_density()
    kept, decayed = set(), set()
    for group in param_groups(model, lr=0.1, weight_decay=0.1):
        (decayed if group["weight_decay"] else kept).update(group["param_names"])
    assert {name for name in kept if ".embedding." not in name and "norm" not in name} == {
        "network.head.bias"
    }
    assert not any(".embedding." in name for name in decayed)
    assert "network.stack.blocks.0.mixer.qkv.weight" in decayed


@torch.no_grad()
def test_training_and_evaluation_modes_agree(image_density) -> None:
    model, x = image_density(), _images()
    assert torch.equal(model.train().log_prob(x), model.eval().log_prob(x))


@torch.no_grad()
def test_float32_stays_near_float64(image_density) -> None:
    model, x = image_density("mixed", layers=2), _images(50)
    exact = model.log_prob(x)
    for stepwise in (False, True):
        found = model.float().log_prob(x, stepwise=stepwise)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)


@torch.no_grad()
def test_the_bias_starts_at_the_counted_patches(image_density) -> None:
    """Untrained, p is then of independent patches, each of probability (its count + 1) / (patches + 16)."""
    model = image_density().config.build()
    images = _images(20)
    images[:, :2] = 0
    cells = model.patches.to_tokens(images)
    model.fit_bias(images)
    counts = torch.tensor([(cells == value).sum() + 1 for value in range(16)]).double()
    expected = (counts / (80 + 16)).log().float()[cells].sum(1)
    torch.testing.assert_close(model.log_prob(images, label="last"), expected)
    torch.testing.assert_close(model.class_log_prob(images), torch.full((20, 3), -math.log(3)))
    with pytest.raises(ValueError, match="x: expected pixels 0 and 1"):
        model.fit_bias(images + 2)


@torch.no_grad()
def test_an_untrained_density_is_uniform(image_density, sequence_config) -> None:
    """The head starts at 0: 16 nats of bits, whatever the network."""
    model = image_density().config.build()
    expected = torch.full((6,), -16 * math.log(2))
    torch.testing.assert_close(model.log_prob(_images()), expected)
    torch.testing.assert_close(model.class_log_prob(_images()), torch.full((6, 3), -math.log(3)))


@torch.no_grad()
def test_images_of_any_type_that_holds_bits_are_the_same_images(image_density) -> None:
    model, x = image_density(), _images()
    expected = model.log_prob(x)
    for dtype in (torch.bool, torch.int64, torch.float32):
        assert torch.equal(model.log_prob(x.to(dtype)), expected)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    assert torch.equal(model.log_prob(x, labels.to(torch.uint8)), model.log_prob(x, labels))


def test_a_narrow_grid_leaves_out_neighbours_it_has_no_room_for(image_density) -> None:
    """A single column keeps those above, of the six default ones; the others are off the grid everywhere."""
    for size, kept in (((8, 2), 2), ((8, 4), 5), ((8, 6), 6)):
        model = image_density(height=size[0], width=size[1])
        assert len(model.network.embedding.distances) == kept
        x = torch.randint(2, (2, *size), dtype=torch.uint8)
        with torch.no_grad():
            torch.testing.assert_close(
                model.log_prob(x), model.log_prob(x, stepwise=True), rtol=1e-11, atol=0
            )


def test_a_row_of_pixels_may_be_an_image(image_density) -> None:
    """784 tokens of one pixel are this with more of them: p sums to 1 over all images."""
    model = image_density(height=1, width=6, patch=(1, 1), label="both")
    every = torch.tensor(list(itertools.product((0, 1), repeat=6)), dtype=torch.uint8).view(64, 1, 6)
    with torch.no_grad():
        assert model.log_prob(every).exp().sum().item() == pytest.approx(1, abs=1e-12)
