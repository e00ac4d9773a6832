"""DeepNADE is one network for all orders: exact in each, trained on all at once, mixed as whole images."""

import itertools
import math

import pytest
import torch
from allocations import Allocations
from torch import Tensor
from toys import CLASSES, PRIOR, chi_square, every_image, lawful

from linsight.densities import DeepNADE, DeepNADEConfig, Given, IndependentBernoulli, inpaint, state_bytes

LATE = torch.tensor([[0, 0, 0, 1], [0, 1, 1, 1]], dtype=torch.bool)
"""Known pixels that come late in the raster."""


def deepnade(height: int = 2, width: int = 4, *, hidden: int = 9, **options) -> DeepNADE:
    """In float64, every parameter off its initial value."""
    torch.manual_seed(0)
    config = DeepNADEConfig(height=height, width=width, classes=CLASSES, hidden=hidden, **options)
    density = config.build().double()
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    if density.classes:
        density.fit_prior(PRIOR)
    return density.requires_grad_(False)


def in_order(density: DeepNADE, order: Tensor) -> DeepNADE:
    """The density asked in this order, by the interface that in-painting uses: one more pixel at a time."""
    for count in range(len(order), 0, -1):
        mask = torch.zeros(density.height * density.width, dtype=torch.bool)
        mask[order[:count]] = True
        density = density.knowing(mask.view(density.height, density.width))
    assert torch.equal(density.order, order)
    return density


def literal(density: DeepNADE, pixels: list[int], known: set[int], start: int) -> list[float]:
    """All logits given some pixels, by the equations, number by number."""
    weight, m, c, u, v, b, e = (
        parameter.tolist()
        for parameter in (
            density.weight, density.known, density.hidden_bias, density.hidden_start,
            density.readout, density.bias, density.start,
        )
    )  # fmt: skip
    units = range(len(c))
    a = [c[k] + u[start][k] + sum(weight[k][j] * pixels[j] + m[k][j] for j in known) for k in units]
    h = [max(value, 0.0) for value in a]
    for layer in density.layers:
        w, shift = layer.weight.tolist(), layer.bias.tolist()
        h = [max(shift[k] + sum(w[k][i] * h[i] for i in units), 0.0) for k in units]
    return [b[row] + e[start][row] + sum(v[row][k] * h[k] for k in units) for row in range(len(b))]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_logits_are_those_of_one_pass_for_each_pixel(layers):
    """D passes with a growing mask, and one more with all pixels known for the labels."""
    density = deepnade(layers=layers, order="random", block=3)
    x = every_image(2, 4)[[5, 190, 77]]
    starts = torch.tensor([0, CLASSES, 2])
    found = density.conditionals(x.flatten(1).double(), starts)
    order = density.order.tolist()
    for row, (image, start) in enumerate(zip(x.flatten(1).tolist(), starts.tolist(), strict=True)):
        for step, pixel in enumerate(order):
            want = literal(density, image, set(order[:step]), start)[pixel]
            assert found.pixels[row, pixel].item() == pytest.approx(want, abs=1e-12)
        labels = literal(density, image, set(order), start)[len(order) :]
        assert found.labels[row].tolist() == pytest.approx(labels, abs=1e-12)


def test_one_pass_with_a_mask_is_that_of_the_equations():
    density = deepnade(layers=2)
    x, starts = every_image(2, 4)[[5, 190]], torch.tensor([1, CLASSES])
    mask = torch.tensor([[1, 0, 0, 1, 0, 1, 1, 0], [0, 0, 0, 0, 1, 0, 0, 0]], dtype=torch.bool)
    found = torch.cat(density.logits_given(x.flatten(1).double(), mask, starts), dim=1)
    for row in range(2):
        known = set(mask[row].nonzero()[:, 0].tolist())
        want = literal(density, x[row].flatten().tolist(), known, int(starts[row]))
        assert found[row].tolist() == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("label", ["none", "first"])
def test_the_loss_over_all_orders_and_cuts_is_the_mean_of_the_exact_one(label):
    """24 orders, 4 cuts: the spec's test of the factor D / (D - d + 1) and of what is summed."""
    density = deepnade(2, 2, label=label, layers=2)
    x = every_image(2, 2)
    y = None if label == "none" else torch.arange(len(x)) % CLASSES
    starts, pixels = density.starts(len(x), y), x.flatten(1).double()
    losses, exact = [], []
    for order in map(torch.tensor, itertools.permutations(range(4))):
        ordered = in_order(density, order)
        exact.append(-(ordered.log_prob(x) if y is None else ordered.log_prob_given(x, y)))
        for cut in range(4):
            mask = torch.zeros(4, dtype=torch.bool)
            mask[order[:cut]] = True
            losses.append(density.nats_beyond(pixels, mask.expand(len(x), -1), starts))
    assert len(losses) == 96
    assert (torch.stack(losses).mean(0) - torch.stack(exact).mean(0)).abs().max() < 1e-10
    assert torch.stack(exact).std(0).min() > 1e-3, "all orders agree: nothing is tested"


@pytest.mark.parametrize("first", [False, True])
def test_the_drawn_loss_is_unbiased(first):
    """What training sees, against the mean over all 24 orders; of a joint with the label in both places."""
    density, number = deepnade(2, 2, label="both"), 40_000
    image = every_image(2, 2)[11:12]
    y, place = torch.tensor([1]), "first" if first else "last"
    exact = torch.stack(
        [
            -in_order(density, torch.tensor(order)).log_prob(image, y, label=place)
            for order in itertools.permutations(range(4))
        ]
    ).mean()
    terms = density.loss(image.expand(number, -1, -1), y.expand(number), torch.full((number,), first), seed=3)
    drawn = sum(terms)
    assert drawn.std() > 0.1
    assert abs(drawn.mean() - exact) < 4 * drawn.std() / math.sqrt(number)


def test_the_label_last_is_learnt_from_all_pixels():
    """Its term is no estimate: exactly -log p(y | x), whatever order and cut are drawn."""
    density = deepnade(label="last")
    x = every_image(2, 4)[::5]
    y = torch.arange(len(x)) % CLASSES
    want = -density.class_log_prob(x).gather(1, y[:, None])[:, 0]
    for seed in (0, 1):
        _, labels = density.loss(x, y, torch.zeros(len(x), dtype=torch.bool), seed=seed)
        assert (labels - want).abs().max() < 1e-12


def test_every_image_has_its_own_order_and_cut_and_the_seed_decides_them():
    density = deepnade(label="none")
    x = every_image(2, 4)[9:10].expand(200, -1, -1)
    y, first = torch.zeros(200, dtype=torch.int64), torch.zeros(200, dtype=torch.bool)
    one, again, other = (density.loss(x, y, first, seed=seed)[0] for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert len(one.unique()) > 100


def test_what_is_not_known_changes_no_bit():
    density = deepnade(label="both", layers=3)
    x = every_image(2, 4)
    starts = torch.arange(len(x)) % (CLASSES + 1)
    mask = torch.rand(len(x), 8) < 0.5
    other = x.flatten(1).clone()
    other[~mask] ^= 1
    assert not torch.equal(other, x.flatten(1))
    for before, after in zip(
        density.logits_given(x.flatten(1).double(), mask, starts),
        density.logits_given(other.double(), mask, starts),
        strict=True,
    ):
        assert torch.equal(before, after)


def test_a_pixel_that_is_off_is_not_one_that_is_unknown():
    """The mask is an input: of images that are off everywhere it is all there is to see."""
    density = deepnade(label="none")
    off, starts = torch.zeros(2, 8, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)
    mask = torch.zeros(2, 8, dtype=torch.bool)
    mask[1, 3] = True
    nothing, one = density.logits_given(off, mask, starts).pixels
    assert (nothing - one).abs().min() > 1e-6


def test_several_orders_are_the_mixture_of_whole_images():
    """It sums to one; the means over the orders of each pixel's logits make no probability."""
    density, x = deepnade(label="none", orders=4), every_image(2, 4)
    starts = density.starts(len(x))
    members = torch.stack([density.log_probs(density.to_cells(x, s), starts, s)[0].sum(1) for s in range(4)])
    assert (density.log_prob(x) - (members.logsumexp(0) - math.log(4))).abs().max() < 1e-12
    assert density.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert members.std(0).min() > 1e-3, "all orders agree: nothing is tested"
    logits = torch.stack([density.logits(x, member=s) for s in range(4)]).mean(0)
    mean_of_logits = -torch.nn.functional.softplus((1 - 2.0 * x) * logits).sum((1, 2))
    assert abs(mean_of_logits.exp().sum() - 1) > 1e-3


def test_the_orders_are_those_of_the_seed():
    """More of them keep the first ones; the raster stands in the place of the first where it is asked for."""
    four, two, raster, other = (
        deepnade(label="none", order_seed=seed, order=order, orders=number).raster_orders
        for seed, order, number in ((3, "random", 4), (3, "random", 2), (3, "raster", 4), (4, "random", 4))
    )
    assert torch.equal(four[:2], two)
    assert torch.equal(raster[0], torch.arange(8))
    assert torch.equal(raster[1:], four[1:])
    assert not torch.equal(four, other)
    assert len(four.unique(dim=0)) == 4
    assert torch.equal(four.sort(1).values, torch.arange(8).expand(4, -1))


@pytest.mark.parametrize("orders", [1, 3])
def test_known_pixels_can_be_put_first_without_a_copy_of_the_weights(orders):
    density = deepnade(label="both", order="random", orders=orders)
    before = density.raster_orders.clone()
    asked = density.knowing(LATE)
    assert asked.knows_first(LATE)
    assert not density.knows_first(LATE)
    assert torch.equal(density.raster_orders, before)
    assert asked.knowing(LATE) is asked
    for mine, theirs in zip(asked.parameters(), density.parameters(), strict=True):
        assert mine is theirs
    for order, was in zip(asked.raster_orders.tolist(), before.tolist(), strict=True):
        known = LATE.flatten().tolist()
        assert order == [p for p in was if known[p]] + [p for p in was if not known[p]]
    assert asked.log_prob(every_image(2, 4)).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("orders", [1, 3])
def test_in_painting_by_another_order_is_exact(orders):
    density = deepnade(label="both", orders=orders)
    images = every_image(2, 4)
    given = Given(images[0b10110010].expand(5000, -1, -1), LATE)
    drawn = inpaint(density, given, generator=torch.Generator().manual_seed(0))
    assert (drawn.mode, drawn.truth) == ("reorder", "exact")
    agree = images[((images == given.images[0]) | ~LATE).flatten(1).all(1)]
    log_p = density.knowing(LATE).log_prob(agree).log_softmax(0)
    assert chi_square(drawn.images, log_p, agree) > 1e-4


def passed(density: DeepNADE) -> list[int]:
    """A list to which every run of the second layer adds its number of rows."""
    rows: list[int] = []
    density.layers[0].register_forward_hook(lambda _, __, output: rows.append(output.shape[:-1].numel()))
    return rows


@pytest.mark.parametrize(("label", "passes"), [("none", 8), ("first", 8), ("last", 9), ("both", 9)])
def test_it_takes_as_many_passes_as_it_says(label, passes):
    """For one image in one order."""
    density = deepnade(label=label, layers=2, block=3)
    rows, x = passed(density), every_image(2, 4)[:1]
    density.log_probs(density.to_cells(x), density.starts(1))
    assert sum(rows) == density.passes == passes


def test_the_state_has_one_size_and_a_step_is_one_pass():
    density = deepnade(label="last", layers=2)
    rows = passed(density)
    cells = density.to_cells(every_image(2, 4)[:3])
    state, sizes = density.begin(density.starts(3)), []
    for cell in cells.split(1, dim=1):
        density.read(state)
        sizes.append(state_bytes(state))
        state = density.feed(state, cell)
    assert set(sizes) == {3 * (8 * 9 + 8)}, "9 sums in float64, and a start, for each of 3 images"
    assert rows == [3] * 8


@pytest.mark.parametrize("training", [False, True])
def test_the_layers_of_all_passes_are_never_in_memory(training):
    """Of each layer they would be D * hidden numbers an image."""
    batch, hidden, pixels = 16, 32, 256
    density = DeepNADEConfig(height=1, width=pixels, label="none", hidden=hidden, layers=3, block=4).build()
    x = torch.randint(2, (batch, 1, pixels), dtype=torch.uint8)
    with torch.set_grad_enabled(training), Allocations(x, *density.parameters()) as watch:
        loss = density.log_prob(x).sum()
        if training:
            loss.backward()
    assert watch.peak < 4 * batch * hidden * pixels * (1 if training else 0.5)


def test_it_learns_all_orders_from_random_cuts():
    """Quick steps on its own loss: below independent pixels in the raster and in any other order."""
    torch.manual_seed(0)
    x, y = lawful(2, 4, 1600)
    density = DeepNADEConfig(height=2, width=4, classes=CLASSES, label="both", hidden=16).build()
    density.fit_prior(torch.bincount(y, minlength=CLASSES))
    density.fit_bias(x)
    optimiser = torch.optim.Adam(density.parameters(), lr=0.02)
    coins = torch.rand(600, 32) < 0.5
    for step in range(600):
        rows = torch.arange(32) + 32 * step % 1600
        optimiser.zero_grad()
        sum(density.loss(x[rows], y[rows], coins[step], seed=step)).mean().backward()
        optimiser.step()
    density.requires_grad_(False)
    independent = IndependentBernoulli(2, 4).fit(x).log_prob(x).mean()
    for asked in (density, density.knowing(LATE)):
        assert asked.log_prob(x).mean() > independent + 0.5
    accuracy = (density.class_log_prob(x).argmax(1) == y).double().mean()
    assert accuracy > 0.6, "the label is read from the pixels"


@pytest.mark.parametrize("name", ["layers", "orders", "hidden", "block"])
def test_sizes_that_are_not_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
        DeepNADEConfig(**{name: 0})
