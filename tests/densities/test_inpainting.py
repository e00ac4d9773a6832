"""In-painting against the posterior by enumeration (spec/densities.md, section 9)."""

import math

import pytest
import torch
from torch import Tensor
from toys import Toy, chi_square, every_image, pixels

from linsight.densities import FVSBN, FVSBNConfig, Given, inpaint

DRAWS = 3000
NONE, FIRST, LAST, *_ = pixels("fvsbn")
BOTH = Toy(2, 4, (1, 1), "both", kind="fvsbn", options=(("order", "random"),))
REORDERED = Toy(2, 4, (1, 1), "both", kind="deepnade", options=(("hidden", 16), ("orders", 2)))
PATCHES = Toy(2, 4, (1, 2), "first")
LATE = torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1]], dtype=torch.bool)
"""Known pixels that come late in the raster, so that unknown ones stand before them."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def known(image: int, mask: Tensor, number: int = DRAWS) -> Given:
    return Given(every_image(2, 4)[image].expand(number, -1, -1), mask)


def posterior(density, given: Given) -> tuple[Tensor, Tensor]:
    """All images that agree with what is known, and log p of each given that."""
    images = every_image(2, 4)
    agree = ((images == given.images[0]) | ~given.mask).flatten(1).all(1)
    log_p = density.log_prob(images[agree])
    return images[agree], log_p.log_softmax(0)


def copying() -> FVSBN:
    """One row of two pixels, each on half of the time, the later a copy of the earlier."""
    density = FVSBN(FVSBNConfig(height=1, width=2, label="none")).double().requires_grad_(False)
    density.weight[1, 0] = 60.0
    density.bias[1] = -30.0
    return density


@pytest.mark.parametrize("toy", [NONE, FIRST, BOTH, PATCHES], ids=str)
def test_known_pixels_that_come_first_are_a_prefix_and_exact(toy):
    density = toy.trained()
    mask = torch.zeros(8, dtype=torch.bool)
    mask[density.order[:4]] = True
    given = known(0b10110010, mask.view(2, 4))
    drawn = inpaint(density, given, generator=generator())
    assert (drawn.mode, drawn.truth) == ("prefix", "exact")
    images, log_p = posterior(density, given)
    assert chi_square(drawn.images, log_p, images) > 1e-4


def test_a_density_of_all_orders_is_asked_in_one_that_begins_with_the_known():
    """Exact with regard to its law in that order, which is not its law in another."""
    density = REORDERED.trained()
    given = known(0b10110010, LATE)
    drawn = inpaint(density, given, generator=generator())
    assert (drawn.mode, drawn.truth) == ("reorder", "exact")
    images, log_p = posterior(density.knowing(LATE), given)
    assert chi_square(drawn.images, log_p, images) > 1e-4


@pytest.mark.parametrize("toy", [NONE, FIRST, BOTH, PATCHES], ids=str)
def test_many_particles_draw_from_the_posterior(toy):
    density = toy.trained()
    given = known(0b10110010, LATE)
    drawn = inpaint(density, given, mode="particles", particles=100, generator=generator())
    images, log_p = posterior(density, given)
    assert (drawn.images == given.images)[:, LATE].all()
    assert chi_square(drawn.images, log_p, images) > 1e-4


def test_the_error_of_particles_falls_with_their_number():
    """Total variation to the exact posterior; two particles are hardly better than the clamp."""
    density = NONE.trained()
    given = known(0b01001101, LATE)
    images, log_p = posterior(density, given)

    def error(drawn: Tensor) -> float:
        share = (drawn[:, None] == images).flatten(2).all(2).double().mean(0)
        return 0.5 * (share - log_p.exp()).abs().sum().item()

    clamp = error(inpaint(density, given, mode="clamp", generator=generator()).images)
    few, many = (
        error(inpaint(density, given, mode="particles", particles=n, generator=generator()).images)
        for n in (2, 64)
    )
    assert many < few < clamp
    assert many < 0.04


@pytest.mark.parametrize("toy", [NONE, BOTH], ids=str)
def test_the_evidence_is_an_unbiased_estimate_of_p_of_the_known(toy):
    density = toy.trained()
    given = known(0b10110010, LATE, 20_000)
    found = inpaint(density, given, mode="particles", particles=3, generator=generator()).log_evidence.exp()
    images, _ = posterior(density, given)
    want = density.log_prob(images).exp().sum()
    assert abs(found.mean() - want) < 4 * found.std() / math.sqrt(len(found))


def test_labels_condition_the_particles():
    density = FIRST.trained()
    given, y = known(0b10110010, LATE), torch.full((DRAWS,), 2)
    drawn = inpaint(density, given, y, mode="particles", particles=100, generator=generator()).images
    images = posterior(density, given)[0]
    log_p = density.log_prob_given(images, y[: len(images)]).log_softmax(0)
    assert chi_square(drawn, log_p, images) > 1e-4


def test_the_clamp_is_biased_where_a_late_pixel_copies_an_early_one():
    """Known: the copy is on. The truth always agrees, the clamp half of the time, and says so."""
    given = Given(torch.ones(2000, 1, 2, dtype=torch.uint8), torch.tensor([[False, True]]))
    clamp = inpaint(copying(), given, mode="clamp", generator=generator())
    assert clamp.images[:, 0, 0].double().mean().item() == pytest.approx(0.5, abs=0.05)
    assert clamp.truth.startswith("biased")
    right = inpaint(copying(), given, mode="particles", particles=30, generator=generator())
    assert right.images[:, 0, 0].double().mean() > 0.999


def test_the_effective_size_tells_how_many_particles_agree_with_the_known():
    """Half of the particles guess the copied pixel: the effective size is that of a fair coin's heads."""
    given = Given(torch.ones(2000, 1, 2, dtype=torch.uint8), torch.tensor([[False, True]]))
    drawn = inpaint(copying(), given, mode="particles", particles=40, generator=generator())
    assert drawn.effective.mean().item() == pytest.approx(20, abs=0.5)
    assert "40 particles" in drawn.truth


def test_few_effective_particles_are_warned_of():
    """The known pixel is on where all of the four before it are: one guess of sixteen."""
    density = FVSBN(FVSBNConfig(height=1, width=5, label="none")).double().requires_grad_(False)
    density.weight[4, :4] = 40.0
    density.bias[4] = -140.0
    given = Given(torch.ones(50, 1, 5, dtype=torch.uint8), torch.tensor([[False] * 4 + [True]]))
    with pytest.warns(UserWarning, match=r"effective sample size is .* of 64 particles"):
        inpaint(density, given, mode="particles", generator=generator())


def test_what_is_known_whole_or_not_at_all_needs_no_draw():
    density = PATCHES.trained()
    whole = known(77, torch.ones(2, 4, dtype=torch.bool), 5)
    for mode in (None, "particles", "clamp"):
        assert torch.equal(inpaint(density, whole, mode=mode).images, whole.images)
    nothing = known(77, torch.zeros(2, 4, dtype=torch.bool))
    for mode in (None, "particles", "clamp"):
        drawn = inpaint(density, nothing, mode=mode, generator=generator()).images
        assert chi_square(drawn, density.log_prob(every_image(2, 4)), every_image(2, 4)) > 1e-4


def test_the_generator_decides_the_draw():
    density, given = NONE.trained(), known(3, LATE, 50)
    first, again, other = (
        inpaint(density, given, mode="particles", particles=4, generator=generator(seed)).images
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_cannot_be_done_is_refused():
    density, given = NONE.trained(), known(0, LATE, 3)
    with pytest.raises(ValueError, match=r"mode: the known pixels come first in no order .* 'particles'"):
        inpaint(density, given)
    for mode in ("prefix", "reorder"):
        with pytest.raises(ValueError, match="known pixels"):
            inpaint(density, given, mode=mode)
    with pytest.raises(ValueError, match="mode: expected one of prefix, reorder, particles, clamp, or None"):
        inpaint(density, given, mode="guess")
    with pytest.raises(ValueError, match="particles: expected at least 2, got 1"):
        inpaint(density, given, mode="particles", particles=1)
    with pytest.raises(ValueError, match=r"given\.images: expected at least 1 image"):
        inpaint(density, known(0, LATE, 0))
    with pytest.raises(ValueError, match="y: "):
        inpaint(density, given, torch.zeros(3, dtype=torch.int64), mode="clamp")
    with pytest.raises(ValueError, match="y cannot stand first"):
        inpaint(LAST.trained(), given, torch.zeros(3, dtype=torch.int64), mode="clamp")
