"""Maps: what each convention and decoder loses on perfect maps, biases of mirrors, and DARK by itself."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from linsight.models.vision.codecs import (
    Grid,
    Heatmap,
    Pixels,
    argmax_peak,
    dark_peak,
    dark_peak_1d,
    expectation,
    gaussian_maps,
    make_codec,
    quarter_peak,
)

CROP = Pixels(width=192, height=256)
CONVENTIONS = ("rounded", "stride", "udp", "half_pixel")


def places(number: int = 400, margin: float = 16.0) -> Tensor:
    """(1, number, 2) in float64, at least 16 pixels from the border."""
    unit = torch.rand(1, number, 2, dtype=torch.float64)
    return margin + unit * (torch.tensor([191.0, 255.0]) - 2 * margin)


def normalised(maps: Tensor) -> Tensor:
    return expectation(maps / maps.sum((-2, -1), keepdim=True))


def softmax(sharpness: float) -> Callable[[Tensor], Tensor]:
    return lambda maps: expectation((sharpness * maps).flatten(-2).softmax(-1).view_as(maps))


# Mean error in pixels on an axis: section 3 of the specification, measured there.
FLOORS = {
    "rounded": (1.00, 1.00, 1.00, 1.00, 47.3, 1.00),
    "stride": (1.00, 0.50, 0.0, 0.014, 47.3, 0.113),
    "udp": (1.02, 0.51, 0.0, 0.009, 47.3, 0.114),
    "half_pixel": (1.00, 0.50, 0.0, 0.013, 47.3, 0.112),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_what_is_lost_on_perfect_maps(convention: str) -> None:
    """The table of section 3: each decoder over each convention, 400 places, so 5 % of sampling error."""
    grid, truth = Grid(CROP, 4, convention), places()
    maps = gaussian_maps(grid.to_cells(truth), grid.size, 2.0)
    decoders = (argmax_peak, quarter_peak, dark_peak, normalised, softmax(1.0), softmax(20.0))
    for number, (decoder, want) in enumerate(zip(decoders, FLOORS[convention], strict=True)):
        error = (grid.to_pixels(decoder(maps)) - truth).abs().mean().item()
        if want == 0:
            assert error < 1e-6
        else:
            assert error == pytest.approx(want, rel=0.06 if number != 3 or convention == "rounded" else 0.6)


@pytest.mark.parametrize(("stride", "want"), [(4, 1.0), (8, 1.96), (16, 4.0)])
def test_argmax_loses_a_quarter_of_the_stride_and_dark_nothing_at_any_size(stride: int, want: float) -> None:
    grid, truth = Grid(CROP, stride), places(margin=2.5 * stride)
    maps = gaussian_maps(grid.to_cells(truth), grid.size, 2.0)
    assert (grid.to_pixels(argmax_peak(maps)) - truth).abs().mean().item() == pytest.approx(want, rel=0.06)
    assert (grid.to_pixels(dark_peak(maps)) - truth).abs().max().item() < 1e-6


def test_reading_a_map_by_another_convention_is_a_constant_bias() -> None:
    """Drawn at half-pixel centres, read as x s: 1.5 pixels to the left at stride 4, on both axes."""
    grid, other, truth = Grid(CROP), Grid(CROP, convention="stride"), places()
    cells = dark_peak(gaussian_maps(grid.to_cells(truth), grid.size, 2.0))
    error = other.to_pixels(cells) - truth
    assert (error + 1.5).abs().max().item() < 1e-6


@pytest.mark.parametrize(
    ("convention", "shift", "bias"),
    [
        ("half_pixel", False, 0.0),
        ("udp", False, 0.0),
        ("stride", False, -1.5),
        ("stride", True, 0.5),
    ],
)
def test_the_bias_of_averaging_with_the_mirror_image(convention: str, shift: bool, bias: float) -> None:
    """Half-pixel and UDP: none. Otherwise 3 pixels off before the mean; the classical cell gives 4 back."""
    codec = Heatmap(CROP, convention=convention, shift_flipped=shift)
    truth = places()
    visible = torch.full(truth.shape[:2], 2)
    mirror = torch.stack([191 - truth[..., 0], truth[..., 1]], -1)
    image, other = (codec.perfect(codec.encode(one, visible)) for one in (truth, mirror))
    found = codec.decode(codec.average(image, codec.flip(other, ()))).xy
    error = (found - truth).mean((0, 1))
    assert error[0].item() == pytest.approx(bias, abs=1e-3)
    assert abs(error[1].item()) < 1e-3


def test_conventions_by_hand() -> None:
    """x = 5.5 and y = 8 of 192 x 256 at stride 4."""
    point = torch.tensor([5.5, 8.0], dtype=torch.float64)
    for convention, want in (
        ("half_pixel", (1.0, 1.625)),
        ("stride", (1.375, 2.0)),
        ("rounded", (1.0, 2.0)),
        ("udp", (5.5 * 47 / 191, 8 * 63 / 255)),
    ):
        grid = Grid(CROP, 4, convention)
        cells = grid.to_cells(point)
        assert cells.tolist() == pytest.approx(want, abs=1e-12)
        if convention != "rounded":
            assert grid.to_pixels(cells).tolist() == pytest.approx(point.tolist(), abs=1e-12)
    assert Grid(CROP, 4, "rounded").to_cells(torch.tensor([6.0, 5.999])).tolist() == [2.0, 1.0]
    udp = Grid(CROP, 4, "udp")
    assert udp.to_cells(torch.tensor([191.0, 255.0])).tolist() == pytest.approx([47.0, 63.0], abs=1e-4)


def test_a_gaussian_map_is_its_formula_cell_by_cell() -> None:
    import math

    maps = gaussian_maps(torch.tensor([2.3, 1.1]).double(), (4, 6), 1.5)
    cut = gaussian_maps(torch.tensor([2.3, 1.1]).double(), (4, 6), 0.5, cut=3.0)
    for row in range(4):
        for column in range(6):
            square = (column - 2.3) ** 2 + (row - 1.1) ** 2
            assert maps[row, column].item() == pytest.approx(math.exp(-square / 4.5), abs=1e-7)
            inside = abs(column - 2.3) <= 1.5 and abs(row - 1.1) <= 1.5
            assert (cut[row, column] > 0).item() == inside
    with pytest.raises(ValueError, match="sigma: expected a number of cells above 0, got 0"):
        gaussian_maps(torch.zeros(2), (3, 3), 0.0)


def test_dark_is_the_top_of_any_gaussian_and_stays_put_where_there_is_none() -> None:
    """A turned, stretched Gaussian; a border; a plateau; a single spike; a shift of at most a cell."""
    row, column = torch.meshgrid(torch.arange(9.0).double(), torch.arange(11.0).double(), indexing="ij")
    dx, dy = column - 4.3, row - 3.8
    turned = (-0.5 * (0.5 * dx**2 + 0.3 * dy**2 + 0.4 * dx * dy)).exp()
    assert dark_peak(turned).tolist() == pytest.approx([4.3, 3.8], abs=1e-9)
    assert dark_peak(5 * turned).tolist() == pytest.approx([4.3, 3.8], abs=1e-9)
    corner = gaussian_maps(torch.tensor([0.4, 0.2]).double(), (9, 11), 2.0)
    assert dark_peak(corner).tolist() == [0.0, 0.0]
    assert dark_peak(torch.ones(9, 11)).tolist() == [0.0, 0.0]
    two = torch.zeros(5, 6)
    two[2, 2:4] = 1.0
    assert dark_peak(two).tolist() == pytest.approx([2.5, 2.0]), "two equal cells: between them"
    steep = torch.full((5, 5), 1e-9)
    steep[2, 2], steep[2, 3] = 1.0, 1.0 - 1e-7
    assert (dark_peak(steep) - torch.tensor([2.0, 2.0])).abs().max() <= 1
    negative = -torch.rand(5, 5) - 1
    assert dark_peak(negative).tolist() == argmax_peak(negative).tolist()


def test_a_blur_moves_no_perfect_peak_and_steadies_a_noisy_one() -> None:
    """Published DARK blurs by 2 cells; three sigmas inside, that moves a peak by less than a hundredth."""
    grid, truth = Grid(CROP), places(margin=44)
    maps = gaussian_maps(grid.to_cells(truth), grid.size, 2.0)
    assert (grid.to_pixels(dark_peak(maps, blur=2.0)) - truth).abs().max().item() < 0.02
    noisy = (maps + 0.03 * torch.randn_like(maps)).clamp(min=0)
    with_blur, without = (
        (grid.to_pixels(dark_peak(noisy, blur=blur)) - truth).abs().mean().item() for blur in (2.0, 0.0)
    )
    assert with_blur < 0.7 * without


def test_quarters_by_hand() -> None:
    line = torch.tensor([[0.0, 0.2, 1.0, 0.4, 0.0], [0.0, 0.0, 0.1, 0.0, 0.0], [0.0] * 5])
    assert quarter_peak(line).tolist() == [2.25, 0.0], "right is larger; the row is on the border"
    assert quarter_peak(line.T.contiguous()).tolist() == [0.0, 2.25]
    assert argmax_peak(line).tolist() == [2.0, 0.0]


def test_dark_over_one_axis() -> None:
    bins = torch.arange(20.0).double()
    for centre in (3.0, 7.3, 7.5, 17.9):
        assert dark_peak_1d((-0.1 * (bins - centre) ** 2).exp()).item() == pytest.approx(centre, abs=1e-9)
    assert dark_peak_1d((-0.1 * (bins + 2) ** 2).exp()).item() == 0
    assert dark_peak_1d(torch.ones(3)).item() == 0
    with pytest.raises(ValueError, match="values: expected at least 3 bins for DARK, got 2"):
        dark_peak_1d(torch.ones(2))


@pytest.mark.parametrize(
    ("ratio", "decoder", "floor"), [(2.0, "argmax", 0.25), (1.0, "argmax", 0.5), (2.0, "dark", 1e-6)]
)
def test_simcc_loses_half_a_bin_at_most(ratio: float, decoder: str, floor: float) -> None:
    codec, truth = make_codec("simcc", CROP, ratio=ratio, decoder=decoder), places(200)
    targets = codec.encode(truth, torch.full(truth.shape[:2], 2))
    error = (codec.decode(codec.perfect(targets)).xy - truth).abs()
    assert error.max().item() <= floor + 1e-9
    assert decoder == "dark" or error.max().item() > 0.9 * floor
    for name, number in (("x", 192 * ratio), ("y", 256 * ratio)):
        assert targets[name].shape[-1] == number
        assert (targets[name].sum(-1) - 1).abs().max().item() < 1e-12
    assert codec.loss(codec.perfect(targets), targets)[0].item() == pytest.approx(0, abs=1e-9)


def test_the_weight_of_a_joint_beyond_the_border() -> None:
    """Maps reach three sigmas, 24 pixels, beyond the outermost cells' centres; coordinates, to the edge."""
    points = torch.tensor([[[-22.4, 50.0], [-22.6, 50.0], [100.0, 277.4], [100.0, 277.6], [-0.6, 0.0]]])
    visible = torch.full((1, 5), 2)
    assert make_codec("heatmap", CROP).encode(points, visible)["weight"].tolist() == [[1, 0, 1, 0, 1]]
    assert make_codec("integral", CROP).encode(points, visible)["weight"].tolist() == [[0] * 5]


def test_a_flat_softmax_warns_and_a_fresh_head_is_sharp() -> None:
    with pytest.warns(UserWarning, match="sharpness 1.0: below 5, a softmax over maps with peaks of 1"):
        make_codec("integral", CROP, sharpness=1.0)
    head = make_codec("integral", CROP).head(3, 2)
    assert head.sharpness.item() == 20
    assert head.sharpness.requires_grad
    assert make_codec("dsnt", CROP).head(3, 2).sharpness is None


def test_the_mean_within_a_sigma_is_the_score_of_integral() -> None:
    """A Gaussian of 2 cells has 1 - exp(-1/2) = 39.3 % within a sigma, a little more or less by the grid."""
    codec = make_codec("integral", CROP, sigma=2.0)
    truth = places(20, margin=40)
    outputs = codec.perfect(codec.encode(truth, torch.full(truth.shape[:2], 2)))
    assert codec.score(outputs).mean().item() == pytest.approx(0.393, abs=0.03)


def test_a_head_with_upsamplings_is_finer() -> None:
    head = make_codec("heatmap", CROP, upsamplings=3).head(8, 5)
    assert head(torch.randn(2, 8, 8, 6))["maps"].shape == (2, 5, 64, 48)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: make_codec("heatmap", Pixels(190, 256)), "stride: expected a divisor of 190 and 256, got 4"),
        (
            lambda: make_codec("heatmap", Pixels(8, 256)),
            r"stride: .* at least 3 x 3 for 'dark', got \(64, 2\)",
        ),
        (lambda: make_codec("heatmap_udp", Pixels(4, 8)), r"stride: .* 2 x 2 for 'udp', got \(2, 1\)"),
        (lambda: make_codec("heatmap", Pixels(32, 32, 32)), "space: expected a plane for maps"),
        (lambda: make_codec("simcc", Pixels(32, 32, 32)), "space: expected a plane for simcc"),
        (lambda: make_codec("heatmap", CROP, sigma=0.0), "sigma: expected a number of cells above 0"),
        (lambda: make_codec("integral", CROP, sigma=0.0), "sigma: expected a number of cells above 0"),
        (lambda: make_codec("dsnt", CROP, sigma=-1.0), "sigma: expected a number of cells above 0"),
        (
            lambda: make_codec("integral", CROP, divergence=-1.0),
            "divergence: expected a weight of at least 0",
        ),
        (lambda: make_codec("simcc", CROP, ratio=0.0), "ratio: expected a number above 0, got 0.0"),
        (
            lambda: make_codec("simcc", CROP).head(3, 1200),
            "keypoints: expected at most 1048576 bins x joints in an image, got 1075200; use a smaller ratio",
        ),
        (
            lambda: make_codec("simcc", CROP).head(3, 2)(torch.zeros(1, 3, 7, 6)),
            r"features: expected a map of \(8, 6\), got \(7, 6\)",
        ),
        (lambda: dark_peak(torch.zeros(2, 5)), "maps: expected at least 3 x 3 cells for DARK, got 2 x 5"),
        (lambda: dark_peak(torch.zeros(3, 5), blur=-1.0), "blur: expected a number of cells of at least 0"),
        (lambda: Pixels(0, 5), "width: expected at least 1, got 0"),
        (lambda: Pixels(5, 5, 0), "depth: expected at least 1, got 0"),
    ],
)
def test_refusals(call: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
