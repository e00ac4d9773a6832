"""PixelCNNs see what their convolutions say and no more, and cost a column for each pixel."""

from itertools import product

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from linsight import densities
from linsight.densities import PixelDensity
from linsight.densities.pixelcnn import MaskedConv2d

KINDS = ("pixelcnn", "gated_pixelcnn")
SIZES = [(5, 5), (1, 6), (6, 1), (3, 7)]

Places = set[tuple[int, int]]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def build(kind: str, height: int, width: int, **options: object) -> PixelDensity:
    """A density in float64 with every parameter moved off its initial value, so that no law holds by a 0."""
    torch.manual_seed(0)
    chosen = {"label": "none", "channels": 8, "layers": 3, "first_kernel": 3, "classes": 3, **options}
    density = densities.build(kind, height=height, width=width, **chosen).double()
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return density


def images(number: int, height: int, width: int) -> Tensor:
    return (torch.rand(number, height, width) < 0.4).to(torch.uint8)


def jacobian(density: PixelDensity, of: str = "pixels") -> Tensor:
    """Sum over inputs of |d logits / d pixels|, `(logits, pixels)`."""
    starts = density.starts(1)
    inputs = torch.rand(16, density.num_pixels, dtype=torch.float64)
    return sum(
        torch.autograd.functional.jacobian(
            lambda pixels: getattr(density.conditionals(pixels[None], starts), of)[0], pixels
        ).abs()
        for pixels in inputs
    )


def seen(density: PixelDensity) -> list[Places]:
    """The pixels that reach each logit, following the definition from place to place."""
    places = list(product(range(density.height), range(density.width)))
    follow = _follow_gated if density.config.kind == "gated_pixelcnn" else _follow
    reached = follow(places, density.config.reaches)
    return [reached[place] for place in places]


def _around(places, place, above: int, side: int) -> list[tuple[int, int]]:
    """The places from `above` rows up to its own row, `side` columns to both sides."""
    (row, column) = place
    return [(r, c) for r, c in places if row - above <= r <= row and abs(c - column) <= side]


def _union(sets) -> Places:
    return set().union(*sets)


def _follow(places, reaches) -> dict[tuple[int, int], Places]:
    x = {place: {place} for place in places}
    for layer, reach in enumerate(reaches):
        allowed = (lambda a, b: a < b) if layer == 0 else (lambda a, b: a <= b)
        # Raster order of (row, column) is the order of tuples.
        x = {
            place: _union(x[other] for other in _around(places, place, reach, reach) if allowed(other, place))
            for place in places
        }
    return x


def _follow_gated(places, reaches) -> dict[tuple[int, int], Places]:
    v, h = {place: {place} for place in places}, {place: {place} for place in places}
    for layer, reach in enumerate(reaches):
        v = {place: _union(v[other] for other in _around(places, place, reach, reach)) for place in places}
        h = {
            (r, c): _union(h[r, left] for left in range(max(0, c - reach), c + (layer > 0)))
            | v.get((r - 1, c), set())
            for r, c in places
        }
    return h


def test_the_masks_are_those_of_the_paper():
    masks = {centre: MaskedConv2d(1, 1, 3, centre=centre).mask.tolist() for centre in (False, True)}
    assert masks[False] == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert masks[True] == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kernels", [(3, 3), (5, 3), (3, 5)], ids=str)
def test_a_logit_sees_exactly_the_pixels_of_its_receptive_field(kind, size, kernels):
    """Both ways: a mask off by a row, a lost link, a residual around the first layer would each show."""
    density = build(kind, *size, first_kernel=kernels[0], kernel=kernels[1])
    places = list(product(range(size[0]), range(size[1])))
    found = [{places[pixel] for pixel in row.nonzero()[:, 0].tolist()} for row in jacobian(density)]
    want = seen(density)
    assert found == want
    assert all(other < place for place, reached in zip(places, want, strict=True) for other in reached)


def test_deep_gated_layers_see_all_of_the_past():
    density = build("gated_pixelcnn", 5, 5, layers=5)
    assert torch.equal(jacobian(density) > 0, torch.ones(25, 25).tril(-1) > 0)


@pytest.mark.parametrize("layers", [2, 6])
def test_only_the_naive_stack_has_a_blind_spot(layers):
    """A stack of 3x3 masks never sees the pixel one row up and two columns to the right."""
    row, column, width = 2, 2, 6
    logit, pixel = row * width + column, (row - 1) * width + column + 2
    found = {kind: jacobian(build(kind, 4, width, layers=layers))[logit, pixel] for kind in KINDS}
    assert found["pixelcnn"] == 0
    assert found["gated_pixelcnn"] > 1e-6


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_labels_see_every_pixel(kind, size):
    assert (jacobian(build(kind, *size, label="last"), of="labels") > 0).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kernels", [(3, 3), (7, 3), (3, 5)], ids=str)
def test_row_by_row_decoding_is_the_whole_network(kind, size, kernels):
    density = build(kind, *size, label="both", first_kernel=kernels[0], kernel=kernels[1])
    x, starts = images(4, *size).flatten(1), torch.tensor([0, 1, 2, 3])
    whole = density.conditionals(x.double(), starts)
    state = density.begin(starts)
    for pixel in range(density.num_pixels):
        values = density.read(state)
        assert (values[:, 1] - values[:, 0] - whole.pixels[:, pixel]).abs().max() < 1e-10, pixel
        state = density.feed(state, x[:, pixel : pixel + 1])
    assert (density.read(state) - whole.labels).abs().max() < 1e-10


def test_several_pixels_at_once_are_the_same_one_by_one_and_leave_the_state_they_start_from(kind):
    density = build(kind, 3, 4)
    x = images(2, 3, 4).flatten(1)
    fresh = density.begin(density.starts(2))
    for count in range(1, density.num_pixels):
        state = fresh
        for pixel in x[:, :count].split(1, dim=1):
            state = density.feed(state, pixel)
        assert torch.equal(density.read(density.feed(fresh, x[:, :count])), density.read(state))
    assert torch.equal(density.read(fresh), density.read(density.begin(density.starts(2))))


def test_decoding_an_image_costs_no_more_than_one_pass(kind):
    """A pixel is a column of the network; re-running the network for every pixel would cost 48 passes."""
    density = build(kind, 6, 8, layers=4)
    x = images(1, 6, 8)
    costs = []
    for stepwise in (False, True):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            density.log_prob(x, stepwise=stepwise)
        costs.append(counter.get_total_flops())
    assert costs[1] <= costs[0]


def test_weights_stay_what_they_are_and_masked_ones_get_no_gradient(kind):
    density = build(kind, 3, 4, label="both")
    before = {name: value.clone() for name, value in density.state_dict().items()}
    density.log_prob(images(5, 3, 4), torch.tensor([0, 1, 2, 0, 1])).sum().backward()
    density.sample(3)
    for name, value in density.state_dict().items():
        assert torch.equal(value, before[name]), name
    for module in density.modules():
        if isinstance(module, MaskedConv2d):
            assert (module.weight[:, :, module.mask == 0] != 0).all()
            assert (module.weight.grad[:, :, module.mask == 0] == 0).all()
            assert (module.weight.grad[:, :, module.mask == 1] != 0).any()


def test_a_label_that_is_first_speaks_in_every_layer(kind):
    density = build(kind, 3, 4, label="first")
    density.log_prob_given(images(8, 3, 4), torch.ones(8, dtype=torch.int64)).sum().backward()
    starts = [module for module in density.modules() if isinstance(module, torch.nn.Embedding)]
    assert len(starts) == (3 if kind == "pixelcnn" else 6)
    for start in starts:
        assert (start.weight.grad[1] != 0).any()
        assert (start.weight.grad[[0, 2, 3]] == 0).all()


def test_a_fresh_density_with_fitted_biases_is_that_of_independent_pixels(kind):
    """And the first pixel is one of them."""
    torch.manual_seed(0)
    density = densities.build(kind, height=3, width=4, label="none", channels=4, layers=2).double()
    x = images(50, 3, 4)
    density.fit_bias(x)
    share = x.double().mean(0)
    want = (x * share.log() + (1 - x) * (1 - share).log()).sum((1, 2))
    assert (density.log_prob(x) - want).abs().max() < 1e-6
    first = torch.sigmoid(density.logits(x)[:, 0, 0])
    assert (first - share[0, 0]).abs().max() < 1e-6


def test_a_table_of_six_bits_is_learnt_within_a_twentieth_of_a_nat(kind):
    """The exact loss over all 64 images: what remains above the entropy is KL(p || q)."""
    torch.manual_seed(0)
    density = densities.build(kind, height=2, width=3, label="none", channels=16, layers=2).double()
    x = torch.tensor(list(product((0, 1), repeat=6)), dtype=torch.uint8).view(-1, 2, 3)
    log_p = (2 * torch.randn(64, dtype=torch.float64)).log_softmax(0)
    optimiser = torch.optim.Adam(density.parameters(), lr=0.01)
    for _ in range(200):
        optimiser.zero_grad()
        loss = -(log_p.exp() * density.log_prob(x)).sum()
        loss.backward()
        optimiser.step()
    excess = (log_p.exp() * (log_p - density.log_prob(x))).sum().item()
    assert 0 <= excess < 0.05


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"channels": 0}, "channels: expected at least 1, got 0"),
        ({"layers": 0}, "layers: expected at least 1, got 0"),
        ({"first_kernel": 4}, "first_kernel: expected an odd number from 3, got 4"),
        ({"kernel": 1}, "kernel: expected an odd number from 3, got 1"),
        ({"height": 0}, "height: expected at least 1, got 0"),
        ({"order": "random"}, "has no option 'order'"),
    ],
    ids=str,
)
def test_sizes_that_no_network_has_are_refused(kind, options, match):
    with pytest.raises(ValueError, match=match):
        densities.build(kind, **options)
