"""MADE: who reads whom, one pass's work for one sample, and several orders that stay one law."""

import itertools
import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from toys import CLASSES, chi_square, every_image, lawful

from linsight import densities
from linsight.densities import MADE, Given, inpaint

LAYERS = [(30,), (14, 13), (15, 20, 13)]


def build(height: int = 3, width: int = 4, **options: object) -> MADE:
    """A density in float64 with every parameter moved off its initial value, so that no law holds by a 0."""
    torch.manual_seed(0)
    chosen = {"label": "none", "classes": CLASSES, "hidden": (14, 13), **options}
    density = densities.build("made", height=height, width=width, **chosen).double()
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.add_(0.6 * torch.randn_like(parameter))
    return density.requires_grad_(False)


def hidden_degrees(density: MADE, member: int) -> list[Tensor]:
    return list(density.degrees[member].split(density.widths)[1:-1])


def paper_masks(density: MADE, member: int) -> list[Tensor]:
    """Of all layers and of the direct link, by the inequalities of the paper, its output mask strict."""
    positions = torch.empty(density.num_pixels, dtype=torch.int64)
    positions[density.order_of(member)] = torch.arange(1, density.num_pixels + 1)
    labels = torch.full((density.num_outputs - density.num_pixels,), density.num_pixels + 1)
    outputs = torch.cat([positions, labels])
    levels = [positions, *hidden_degrees(density, member)]
    masks = [to[:, None] >= by for by, to in itertools.pairwise(levels)]
    return [*masks, outputs[:, None] > levels[-1], outputs[:, None] > positions]


def all_ones(density: MADE) -> MADE:
    """Every weight and bias 1: then all units are on, and a derivative counts the paths that are open."""
    for parameter in density.parameters():
        parameter.fill_(1)
    return density


def path_counts(density: MADE, member: int) -> Tensor:
    """`(outputs, pixels)`."""

    def outputs(pixels: Tensor) -> Tensor:
        return torch.cat(density.conditionals(pixels[None], density.starts(1), member), dim=1)[0]

    pixels = torch.rand(density.num_pixels, dtype=torch.float64)
    return torch.autograd.functional.jacobian(outputs, pixels)


def scored(density: MADE, x: Tensor, member: int) -> Tensor:
    """log p of the images by one of the orders."""
    return density.log_probs(density.to_cells(x, member), density.starts(len(x)), member)[0].sum(1)


@pytest.mark.parametrize("hidden", LAYERS, ids=str)
@pytest.mark.parametrize("degrees", ["even", "random"])
@pytest.mark.parametrize("label", ["none", "first", "last", "both"])
def test_the_open_paths_are_those_of_the_papers_masks(hidden, degrees, label):
    """Exact counts: a mask off by one, a layer without one, a strict inequality relaxed would each show."""
    density = all_ones(build(hidden=hidden, degrees=degrees, label=label, orders=3))
    for member in range(3):
        *masks, direct = (mask.double() for mask in paper_masks(density, member))
        want = direct + torch.linalg.multi_dot(masks[::-1])
        assert torch.equal(path_counts(density, member), want)
        order = density.order_of(member)
        assert torch.equal(want[order][:, order], want[order][:, order].tril(-1))


@pytest.mark.parametrize("hidden", LAYERS, ids=str)
@pytest.mark.parametrize("label", ["none", "last"])
def test_without_the_direct_link_every_earlier_pixel_has_a_path_to_every_output(hidden, label):
    density = all_ones(build(hidden=hidden, direct=False, label=label, order="random", orders=2))
    for member in range(2):
        order = density.order_of(member)
        paths = path_counts(density, member)
        assert torch.equal(paths[order][:, order] > 0, torch.ones(12, 12).tril(-1) > 0)
        assert (paths[12:] > 0).all()


@pytest.mark.parametrize("degrees", ["even", "random"])
def test_no_hidden_unit_has_nothing_to_read_or_only_what_nobody_may_know(degrees):
    """With 1 as the lower bound in every layer, narrow random layers leave units without an input."""
    for seed in range(20):
        for label, most in (("first", 11), ("last", 12)):
            density = build(hidden=(3, 5, 4), degrees=degrees, label=label, order_seed=seed)
            for mask in paper_masks(density, 0)[:-2]:
                assert mask.any(1).all()
            for level in hidden_degrees(density, 0):
                assert level.min() >= 1
                assert level.max() <= most


@pytest.mark.parametrize(("label", "most"), [("none", 11), ("last", 12)])
@pytest.mark.parametrize("width", [2, 5, 12, 40])
def test_even_degrees_are_the_nearest_to_equal_steps_from_end_to_end(label, most, width):
    (level,) = hidden_degrees(build(hidden=(width,), label=label), 0)
    assert (level[0], level[-1]) == (1, most)
    steps = 1 + (most - 1) / (width - 1) * torch.arange(width)
    assert (level - steps).abs().max() < 0.5 + 1e-5


def test_random_degrees_are_uniform_and_of_each_order_its_own():
    density = build(hidden=(1100,), degrees="random", orders=2)
    first, second = (hidden_degrees(density, member)[0] for member in range(2))
    assert not torch.equal(first, second)
    counts = first.bincount(minlength=12)[1:].double()
    assert ((counts - 100).square() / 100).sum() < 30  # chi-square with 10 degrees of freedom, p = 0.001


def test_an_order_is_made_from_its_number_and_the_seed_alone():
    few, many = (build(orders=count, degrees="random", order_seed=5) for count in (2, 4))
    assert torch.equal(few.degrees, many.degrees[:2])
    assert torch.equal(few.raster_orders, many.raster_orders[:2])
    assert torch.equal(many.order_of(0), torch.arange(12))
    assert len({tuple(order.tolist()) for order in many.raster_orders}) == 4
    other = build(orders=4, degrees="random", order_seed=6)
    assert not any(torch.equal(a, b) for a, b in zip(other.degrees, many.degrees, strict=True))
    random = build(orders=2, order="random", order_seed=5)
    assert not torch.equal(random.order_of(0), torch.arange(12))
    assert torch.equal(random.order_of(1), few.order_of(1))


@pytest.mark.parametrize("hidden", LAYERS, ids=str)
@pytest.mark.parametrize("degrees", ["even", "random"])
@pytest.mark.parametrize("direct", [True, False])
def test_any_split_into_steps_is_the_whole_pass(hidden, degrees, direct):
    density = build(hidden=hidden, degrees=degrees, direct=direct, label="both", orders=2)
    x, starts = every_image(3, 4)[7::1021], torch.tensor([0, 1, 2, 3, 3])
    for member, parts in itertools.product(range(2), ((1,) * 12, (5, 1, 6), (11, 1), (12,))):
        cells = density.to_cells(x, member)
        whole = density.conditionals(x.flatten(1).double(), starts, member)
        state, seen = density.begin(starts, member), 0
        for part in cells.split(list(parts), dim=1):
            values = density.read(state)
            want = whole.pixels[:, density.order_of(member)[seen]]
            assert (values[:, 1] - values[:, 0] - want).abs().max() < 1e-12
            state, seen = density.feed(state, part), seen + part.shape[1]
        assert (density.read(state) - whole.labels).abs().max() < 1e-12


@pytest.mark.parametrize("hidden", LAYERS, ids=str)
@pytest.mark.parametrize("degrees", ["even", "random"])
def test_a_whole_sample_multiplies_as_often_as_one_pass(hidden, degrees):
    """Each hidden unit is computed once, when it is final: twelve passes would cost twelve times as much."""
    density = build(hidden=hidden, degrees=degrees, label="last")
    x = every_image(3, 4)[77:79]
    costs = []
    for stepwise in (False, True):
        with FlopCounterMode(display=False) as counter:
            density.log_prob(x, stepwise=stepwise)
        costs.append(counter.get_total_flops())
    widths = (12, *hidden, density.num_outputs)
    products = sum(inputs * outputs for inputs, outputs in itertools.pairwise(widths))
    assert costs == [2 * len(x) * (products + 12 * density.num_outputs)] * 2


def test_weights_stay_what_they_are_under_eight_masks():
    """Masks multiplied into the weights leave 2 % of them after eight orders."""
    density = build(orders=8, degrees="random", label="both").requires_grad_(True)
    before = {name: value.clone() for name, value in density.state_dict().items()}
    x, y = lawful(3, 4, 16)
    for seed in range(8):
        sum(density.loss(x, y, torch.arange(16) % 2 == 0, seed)).sum().backward()
    density.sample(3)
    for name, value in density.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all((weight != 0).all() for weight in (*density.weights, density.direct))


def test_what_the_masks_leave_out_is_never_read_and_gets_no_gradient():
    """So that weight decay, which acts on it too, does no harm: its values change no bit of the output."""
    density = build(label="both", order="random").requires_grad_(True)
    x, y = lawful(3, 4, 16)
    before = density.log_prob(x, y)
    before.sum().backward()
    weights = [*density.weights, density.direct]
    for weight, mask in zip(weights, paper_masks(density, 0), strict=True):
        assert (weight.grad[~mask] == 0).all()
        assert (weight.grad[mask] != 0).any()
        with torch.no_grad():
            weight[~mask] = 100.0
    assert torch.equal(density.log_prob(x, y), before)
    with torch.no_grad():
        steps = density.log_prob(x, y, stepwise=True)
    assert (steps - before).abs().max() < 1e-12


def test_pixels_that_move_with_their_weights_leave_the_density_as_it_was():
    raster, moved = build(label="both"), build(label="both", order="random")
    order = moved.order
    for to, by in zip(moved.parameters(), raster.parameters(), strict=True):
        to.copy_(by)
    pixels = slice(-raster.num_outputs, -raster.num_outputs + 12)
    moved.weights[0][:, order] = raster.weights[0]
    moved.direct[:, order] = raster.direct
    rows = torch.cat([order, torch.arange(12, raster.num_outputs)])
    moved.direct[rows] = moved.direct.clone()
    moved.weights[-1][rows] = raster.weights[-1]
    moved.bias[pixels][order] = raster.bias[pixels]
    moved.start[:, pixels][:, order] = raster.start[:, pixels]
    x, y = lawful(3, 4, 50)
    other = torch.empty_like(x).flatten(1)
    other[:, order] = x.flatten(1)
    want = raster.log_prob(x, y)
    assert (moved.log_prob(other.view_as(x), y) - want).abs().max() < 1e-12
    assert (moved.log_prob(x, y) - want).abs().max() > 1e-3


def test_the_label_in_front_speaks_to_every_unit_and_the_first_pixel():
    density = build(label="first").requires_grad_(True)
    density.log_prob_given(lawful(3, 4, 50)[0], torch.ones(50, dtype=torch.int64)).sum().backward()
    outputs = density.start.grad[:, -12:]
    assert (outputs[1] != 0).all()
    assert (density.start.grad[[0, 2, 3]] == 0).all()
    for level in density.start.grad.split(density.widths[1:], dim=1):
        assert (level[1] != 0).any()


def test_a_fresh_density_with_fitted_biases_is_that_of_independent_pixels():
    density = densities.build("made", height=3, width=4, label="none", order="random", orders=2).double()
    x = lawful(3, 4, 200)[0]
    density.fit_bias(x)
    share = x.double().mean(0)
    want = (x * share.log() + (1 - x) * (1 - share).log()).sum((1, 2))
    assert (density.log_prob(x) - want).abs().max() < 1e-12


def averaged(density: MADE, images: Tensor) -> Tensor:
    """What a mean of logits over the orders would call log p."""
    logits = torch.stack([density.logits(images, member=member) for member in range(density.members)])
    signs = 2.0 * images - 1
    return torch.nn.functional.logsigmoid(signs * logits.mean(0)).sum((1, 2))


def test_the_mean_of_logits_over_orders_is_no_likelihood_and_the_mixture_is_one():
    """Two bits that agree, read both ways: their first logit is 0, their second +-6 by the other bit."""
    seed = next(seed for seed in range(100) if build(1, 2, orders=2, order_seed=seed).order_of(1)[0] == 1)
    density = build(1, 2, orders=2, order_seed=seed, hidden=(2,), direct=False)
    for parameter, values in zip(
        (density.weights[0], density.weights[1], density.bias),
        ([[-2, -2], [2, 2]], [[-6, 6], [-6, 6]], [1, -1, 0, 0]),
        strict=True,
    ):
        parameter.copy_(torch.tensor(values))
    density.start.zero_()
    images = every_image(1, 2)
    wrong = averaged(density, images).exp()
    sigmoid = 1 / (1 + math.exp(-3))
    assert wrong.tolist() == pytest.approx(
        [sigmoid**2, (1 - sigmoid) ** 2, (1 - sigmoid) ** 2, sigmoid**2], abs=1e-12
    )
    assert wrong.sum().item() == pytest.approx(1.819, abs=5e-4)
    assert density.log_prob(images).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_six_orders_of_ten_bits_and_their_mixture_sum_to_one():
    density, images = build(2, 5, orders=6, degrees="random", order="random"), every_image(2, 5)
    members = torch.stack([scored(density, images, member) for member in range(6)])
    assert (members.exp().sum(1) - 1).abs().max() < 1e-12
    mixture = density.log_prob(images)
    assert (mixture - members.exp().mean(0).log()).abs().max() < 1e-12
    assert mixture.exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert abs(averaged(density, images).exp().sum().item() - 1) > 1e-3
    assert len({round(value, 6) for value in members[:, 5].tolist()}) == 6, "the orders are one and the same"


def test_a_step_of_training_takes_the_order_that_its_seed_says():
    density, (x, y) = build(orders=3, degrees="random"), lawful(3, 4, 8)
    for seed in range(6):
        nats = density.loss(x, y, torch.zeros(8, dtype=torch.bool), seed)[0]
        assert torch.equal(nats, -scored(density, x, seed % 3))


def known(density: MADE, member: int, count: int, image: int = 0b10110010) -> Given:
    """Images of which the first pixels in the order of a member are known."""
    mask = torch.zeros(density.num_pixels, dtype=torch.bool)
    mask[density.order_of(member)[:count]] = True
    images = every_image(density.height, density.width)
    return Given(images[image].expand(3000, -1, -1), mask.view(density.height, density.width))


def test_in_painting_takes_the_orders_in_which_the_known_pixels_come_first():
    """Their posterior is exact, by enumeration; the orders in which they come later have another."""
    density = build(2, 4, orders=5, degrees="random", label="both")
    given = known(density, member=3, count=2)
    drawn = inpaint(density, given, generator=torch.Generator().manual_seed(0))
    assert (drawn.mode, drawn.truth) == ("reorder", "exact")
    images = every_image(2, 4)
    images = images[((images == given.images[0]) | ~given.mask).flatten(1).all(1)]
    chosen, log_p = density.knowing(given.mask).log_prob(images), density.log_prob(images)
    assert chi_square(drawn.images, chosen.log_softmax(0), images) > 1e-4
    assert chi_square(drawn.images, log_p.log_softmax(0), images) < 1e-4


def test_the_density_of_some_orders_shares_the_weights_and_leaves_the_other_as_it_was():
    density, images = build(2, 4, orders=6, degrees="random"), every_image(2, 4)
    mask = known(density, member=2, count=1).mask
    chosen = [member for member in range(6) if density.order_of(member)[0] == density.order_of(2)[0]]
    assert 2 <= len(chosen) < 6, "the seed has no two orders that begin alike: choose another"
    before = density.log_prob(images)
    some = density.knowing(mask)
    assert some.members == len(chosen)
    want = torch.stack([scored(density, images, member) for member in chosen]).exp().mean(0).log()
    assert (some.log_prob(images) - want).abs().max() < 1e-12
    assert torch.equal(density.log_prob(images), before)
    assert all(a is b for a, b in zip(some.parameters(), density.parameters(), strict=True))
    assert density.knowing(torch.zeros(2, 4, dtype=torch.bool)) is density


def test_pixels_that_come_first_in_no_order_are_refused():
    density = build(2, 4, orders=2)
    mask = torch.zeros(2, 4, dtype=torch.bool)
    mask[tuple(divmod(int(density.order[-1]), 4))] = True
    with pytest.raises(ValueError, match="mask: the density has no order in which the known pixels"):
        density.knowing(mask)


@pytest.mark.parametrize(
    "options",
    [{"order_seed": 1}, {"order": "random"}, {"degrees": "random"}, {"orders": 2}, {"hidden": (13, 14)}],
    ids=str,
)
def test_weights_of_other_masks_are_refused_and_none_of_them_is_loaded(options):
    saved = {"orders": 3}
    density, other = build(**saved), build(**{**saved, **options})
    before = {name: value.clone() for name, value in density.state_dict().items()}
    for parameter in other.parameters():
        parameter.add_(1)
    with pytest.raises(ValueError, match=r"^state_dict: weights of other orders or masks \(SHA-256 \w{12}"):
        density.load_state_dict(other.state_dict())
    for name, value in density.state_dict().items():
        assert torch.equal(value, before[name]), name
    with pytest.raises(ValueError, match="state_dict: weights of other orders or masks"):
        torch.nn.ModuleList([density]).load_state_dict(torch.nn.ModuleList([other]).state_dict())


def test_a_checkpoint_has_the_orders_and_a_digest_in_place_of_masks():
    density = build(orders=3, degrees="random")
    saved = density.state_dict()
    assert torch.equal(saved["raster_orders"], density.raster_orders)
    assert (saved["degrees_sha256"].dtype, saved["degrees_sha256"].shape) == (torch.uint8, (32,))
    assert not any(name.startswith("degrees") and name != "degrees_sha256" for name in saved)


@pytest.mark.parametrize("label", ["none", "first", "last", "both"])
@pytest.mark.parametrize("direct", [True, False])
def test_a_single_pixel_is_a_density_too(label, direct):
    density = build(1, 1, label=label, direct=direct)
    assert density.log_prob(every_image(1, 1)).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"hidden": ()}, r"hidden: expected layers of at least 1 unit, got \(\)"),
        ({"hidden": (5, 0)}, r"hidden: expected layers of at least 1 unit, got \(5, 0\)"),
        ({"orders": 0}, "orders: expected at least 1, got 0"),
        ({"height": 0}, "height: expected at least 1, got 0"),
    ],
    ids=str,
)
def test_networks_that_cannot_be_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        densities.build("made", **options)


def test_an_unknown_way_to_spread_degrees_is_refused():
    """In another process: here the shape checks would catch it before the code a user runs does."""
    program = "from linsight.densities import MADEConfig; MADEConfig(degrees='odd')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ValueError: degrees: expected 'even' or 'random', got 'odd'" in done.stderr
