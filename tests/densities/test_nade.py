"""NADE is the recurrence that its equations say, in every form, at the cost that it says."""

import math

import pytest
import torch
from allocations import Allocations
from torch import Tensor
from torch.autograd import gradcheck
from toys import Toy, lawful

from linsight import densities
from linsight.densities import NADE, NADEConfig, state_bytes

HEIGHT, WIDTH, CLASSES = 3, 4, 3
D = HEIGHT * WIDTH
BLOCKS = (1, 3, D - 1, D, D + 1)


def nade(*, block: int = 3, hidden: int = 7, order: str = "random", **options) -> NADE:
    """In float64, every parameter off its initial value; the same weights whatever the block."""
    torch.manual_seed(0)
    config = NADEConfig(
        height=HEIGHT, width=WIDTH, classes=CLASSES, order=order, hidden=hidden, block=block, **options
    )  # fmt: skip
    density = config.build().double()
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.add_(torch.randn_like(parameter))
    return density


def some(number: int) -> tuple[Tensor, Tensor]:
    """Random images, and starts of every kind."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(2, (number, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    return x, torch.arange(number) % (CLASSES + 1)


def act(a: float, activation: str) -> float:
    return 1 / (1 + math.exp(-a)) if activation == "sigmoid" else max(a, 0.0)


def literal(density: NADE, image: Tensor, start: int) -> tuple[list[float], list[float]]:
    """The logits of the pixels in raster order, and of the labels, by the equations, number by number."""
    weight, c, u, v, b, e = (
        parameter.tolist()
        for parameter in (
            density.weight, density.hidden_bias, density.hidden_start,
            density.readout, density.bias, density.start,
        )
    )  # fmt: skip
    units, pixels = range(len(c)), image.flatten().tolist()

    def logit(row: int) -> float:
        h = [act(a[k], density.config.activation) for k in units]
        return b[row] + e[start][row] + sum(v[row][k] * h[k] for k in units)

    a = [c[k] + u[start][k] for k in units]
    logits = [math.nan] * D
    for pixel in density.order.tolist():
        logits[pixel] = logit(pixel)
        a = [a[k] + weight[k][pixel] * pixels[pixel] for k in units]
    return logits, [logit(D + label) for label in range(CLASSES)]


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
@pytest.mark.parametrize("order", ["raster", "random"])
def test_the_logits_are_those_of_the_equations(activation, order):
    density = nade(activation=activation, order=order)
    x, starts = some(5)
    found = density.conditionals(x.flatten(1).double(), starts)
    for row, (image, start) in enumerate(zip(x, starts.tolist(), strict=True)):
        pixels, labels = (torch.tensor(z, dtype=torch.float64) for z in literal(density, image, start))
        assert (found.pixels[row] - pixels).abs().max() < 1e-12
        assert (found.labels[row] - labels).abs().max() < 1e-12


def scores(density: NADE, x: Tensor, starts: Tensor, form: str) -> Tensor:
    """log p of all pixels, then of all labels, in one pass or by steps of a pixel."""
    cells = density.to_cells(x)
    if form == "whole":
        return torch.cat(density.log_probs(cells, starts), dim=1)
    state, found = density.begin(starts), []
    for cell in cells.split(1, dim=1):
        found.append(density.read(state).log_softmax(1).gather(1, cell))
        state = density.feed(state, cell)
    return torch.cat([*found, density.read(state).log_softmax(1)], dim=1)


def differentiated(density: NADE, form: str) -> list[Tensor]:
    """The scores of some images, and the gradient of a weighted sum of them for every parameter."""
    found = scores(density, *some(5), form)
    weights = torch.linspace(-1, 1, found.numel(), dtype=torch.float64).view_as(found)
    return [found.detach(), *torch.autograd.grad((weights * found).sum(), list(density.parameters()))]


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_all_forms_agree_and_so_do_their_gradients(activation):
    want = differentiated(nade(activation=activation), "steps")
    for block in BLOCKS:
        found = differentiated(nade(activation=activation, block=block), "whole")
        for mine, reference in zip(found, want, strict=True):
            assert (mine - reference).abs().max() < 1e-12 * max(1, reference.abs().max()), block


def test_without_gradients_the_numbers_are_the_same():
    """The blocks are then not computed again: another way through the code."""
    density, (x, starts) = nade(), some(5)
    with torch.no_grad():
        free = scores(density, x, starts, "whole")
    assert torch.equal(free, scores(density, x, starts, "whole"))


def test_the_gradient_is_that_of_finite_differences():
    """gradcheck moves the entries of the parameters themselves."""
    density, (x, starts) = nade(block=5, hidden=2), some(4)
    assert gradcheck(lambda *_: scores(density, x, starts, "whole"), tuple(density.parameters()))


@pytest.mark.parametrize("split", range(1, D))
def test_the_state_after_two_parts_is_that_after_the_whole(split):
    density, (x, starts) = nade(), some(6)
    cells = density.to_cells(x)
    begun = density.begin(starts)
    whole = density.feed(begun, cells)
    parts = density.feed(density.feed(begun, cells[:, :split]), cells[:, split:])
    assert parts.seen == whole.seen == D
    assert (parts.sums - whole.sums).abs().max() < 1e-12
    assert torch.equal(parts.starts, whole.starts)


def test_a_part_of_an_image_is_scored_as_in_the_whole():
    density, (x, starts) = nade(), some(6)
    cells = density.to_cells(x)
    whole = density.log_probs(cells, starts)[0]
    for count in range(1, D):
        part = density.log_probs(cells[:, :count], starts)[0]
        assert (part - whole[:, :count]).abs().max() < 1e-12


def test_feeding_changes_no_state_that_someone_keeps():
    density, (x, starts) = nade(), some(3)
    begun = density.begin(starts)
    before = begun.sums.clone()
    density.feed(begun, density.to_cells(x))
    assert torch.equal(begun.sums, before)


def test_the_state_has_one_size_wherever_it_stands():
    density, (x, starts) = nade(), some(3)
    state, sizes = density.begin(starts), []
    for cell in density.to_cells(x).split(1, dim=1):
        sizes.append(state_bytes(state))
        state = density.feed(state, cell)
    assert set(sizes) == {3 * (8 * 7 + 8)}, "7 sums in float64, and a start, for each of 3 images"


def large(hidden: int = 32, block: int = 4, pixels: int = 256) -> NADE:
    config = NADEConfig(height=1, width=pixels, label="none", hidden=hidden, block=block)
    return config.build()


@pytest.mark.parametrize("training", [False, True])
def test_the_sums_before_all_pixels_are_never_in_memory(training):
    """They would be D * hidden numbers an image; two blocks of 4 and a state for each block are a third."""
    batch, hidden, pixels = 16, 32, 256
    density = large(hidden, pixels=pixels)
    x = torch.randint(2, (batch, 1, pixels), dtype=torch.uint8)
    with torch.set_grad_enabled(training), Allocations(x, *density.parameters()) as watch:
        loss = density.log_prob(x).sum()
        if training:
            loss.backward()
    assert watch.largest < 4 * batch * hidden * pixels / 3
    everything = 4 * batch * hidden * pixels
    assert watch.peak < everything * (0.75 if training else 0.3)


def test_what_a_step_makes_does_not_grow_with_the_position():
    density = large().requires_grad_(False)
    cells = torch.randint(2, (16, 256))
    largest = []
    for seen in (1, 255):
        state = density.feed(density.begin(torch.zeros(16, dtype=torch.int64)), cells[:, :seen])
        with Allocations(*state[:2], cells, *density.parameters(), *density.buffers()) as watch:
            density.feed(state, cells[:, :1])
            density.read(state)
        largest.append(watch.largest)
    assert largest[0] == largest[1] <= 4 * 16 * 32


def test_it_starts_near_the_frequencies_of_its_pixels():
    """What the sigmoid units say at first is the same for nearly all images: the bias decides."""
    x, _ = lawful(HEIGHT, WIDTH, 500)
    density = NADEConfig(height=HEIGHT, width=WIDTH, label="none", hidden=7).build()
    density.fit_bias(x)
    wanted = torch.logit(x.double().mean(0).flatten(), eps=1e-3).float()
    torch.testing.assert_close(density.bias.detach(), wanted)


@pytest.mark.parametrize(("matrix", "fan_in"), [("weight", D), ("readout", 300)])
def test_matrices_start_uniform_within_the_root_of_their_inputs(matrix, fan_in):
    torch.manual_seed(0)
    density = NADEConfig(height=HEIGHT, width=WIDTH, hidden=300).build()
    values = getattr(density, matrix).detach() * math.sqrt(fan_in)
    assert values.shape[1] == fan_in
    assert 0.99 < values.abs().max() <= 1
    assert values.var().item() == pytest.approx(1 / 3, abs=0.02)


def test_it_learns_the_law_of_its_images():
    """A copied pixel and class templates: well below pixels that are independent of one another."""
    x, _ = lawful(2, 4, 1600)
    independent = densities.IndependentBernoulli(2, 4).fit(x).log_prob(x).mean()
    density = Toy(2, 4, (1, 1), "none", kind="nade", options=(("hidden", 8),)).trained(300)
    assert density.log_prob(x).mean() > independent + 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "hidden: expected at least 1, got 0"),
        ({"block": 0}, "block: expected at least 1, got 0"),
    ],
)
def test_sizes_that_are_not_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        NADEConfig(**options)


def test_units_that_are_not_known_are_refused():
    config = NADEConfig()
    object.__setattr__(config, "activation", "tanh")
    with pytest.raises(ValueError, match="activation: expected 'sigmoid' or 'relu', got 'tanh'"):
        config.__post_init__()
