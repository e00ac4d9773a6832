"""Random projections: their distribution, and the schedule that draws them again (spec/mixers.md, 6)."""

import io
import math

import pytest
import torch

from linsight.nn import RandomProjection, orthogonal_gaussian

DRAWS = 2000


def draws(rows: int, dim: int, **options) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack(
        [orthogonal_gaussian(rows, dim, generator=generator, **options) for _ in range(DRAWS)]
    ).double()


def mean_of_diagonal(matrices: torch.Tensor) -> tuple[float, float]:
    """The mean over draws of each draw's mean diagonal, and its standard error."""
    values = matrices.diagonal(dim1=-2, dim2=-1).mean(-1)
    return values.mean().item(), values.std().item() / len(values) ** 0.5


def test_the_diagonal_has_mean_zero():
    mean, error = mean_of_diagonal(draws(16, 16))
    assert abs(mean) < 4 * error


def test_the_diagonal_without_the_signs_has_not(monkeypatch):
    """The test above fails where the trap is built in: the factorisation's own signs give -0.58."""
    monkeypatch.setattr(torch.Tensor, "sign", lambda tensor: torch.ones_like(tensor))
    mean, error = mean_of_diagonal(draws(16, 16))
    assert mean < -100 * error
    assert mean == pytest.approx(-0.58, abs=0.05)


@pytest.mark.parametrize("scaling", ["chi", "sqrt"])
def test_rows_are_orthogonal_in_blocks_and_each_is_normal(scaling):
    matrices = draws(20, 8, scaling=scaling)
    first = matrices[:, :8] @ matrices[:, :8].mT
    off = first - torch.diag_embed(first.diagonal(dim1=-2, dim2=-1))
    assert off.abs().max() < 1e-4
    # Every row, also of the last, incomplete block: mean square 1 in every place.
    square = matrices.square().mean(0)
    assert (square - 1).abs().max() < 6 * math.sqrt(2 / DRAWS)
    lengths = matrices.square().sum(-1)
    assert lengths.var(0).mean().item() == pytest.approx(16 if scaling == "chi" else 0, rel=0.1, abs=1e-4)


def estimate(sign: int) -> tuple[float, float]:
    """phi(x) . phi(x) over exp(x . x) for x = sign (1, .., 1) / (2 sqrt 16), and its standard error."""
    x = torch.full((16,), sign / 8, dtype=torch.float64)
    means = (2 * draws(64, 16) @ x - 0.5).exp().mean(1)
    return means.mean().item(), means.std().item() / DRAWS**0.5


@pytest.mark.parametrize("sign", [1, -1])
def test_the_kernel_is_estimated_without_bias_at_x_and_minus_x(sign):
    mean, error = estimate(sign)
    assert abs(mean - 1) < 4 * error
    assert error < 0.005


@pytest.mark.parametrize(("sign", "biased"), [(1, 0.86), (-1, 1.15)])
def test_the_kernel_without_the_signs_is_biased(sign, biased, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "sign", lambda tensor: torch.ones_like(tensor))
    mean, _ = estimate(sign)
    assert mean == pytest.approx(biased, abs=0.02)


def test_refusals():
    with pytest.raises(ValueError, match="rows, dim: expected at least 1, got 0 and 4"):
        orthogonal_gaussian(0, 4)
    with pytest.raises(ValueError, match="redraw_every: expected at least 1 or None, got 0"):
        RandomProjection(4, 4, redraw_every=0)


def test_the_matrix_is_drawn_again_on_schedule_in_training_alone():
    projection = RandomProjection(6, 4, redraw_every=3)
    numbers = []
    for _ in range(8):
        projection.advance()
        numbers.append(projection.draw.item())
    assert [numbers.count(number) for number in dict.fromkeys(numbers)] == [3, 3, 2]
    projection.eval()
    weight = projection.weight.clone()
    for _ in range(8):
        projection.advance()
    assert torch.equal(projection.weight, weight)
    assert projection.calls == 2


def test_no_schedule_means_no_redraw():
    projection = RandomProjection(6, 4)
    weight = projection.weight.clone()
    for _ in range(5):
        projection.advance()
    assert torch.equal(projection.weight, weight)


def test_redraw_is_explicit_too_and_changes_the_number():
    projection = RandomProjection(6, 4)
    weight, draw = projection.weight.clone(), projection.draw.item()
    projection.redraw()
    assert not torch.equal(projection.weight, weight)
    assert projection.draw.item() != draw


@pytest.mark.parametrize("scaling", ["chi", "sqrt"])
def test_every_draw_of_the_schedule_is_orthogonal_and_of_its_scaling(scaling):
    """The trap: a redraw by other rules than the first draw, seen after a thousand steps alone."""
    projection = RandomProjection(6, 4, scaling=scaling, redraw_every=1)
    for _ in range(3):
        projection.advance()
        square = projection.weight[:4] @ projection.weight[:4].T
        lengths = square.diagonal()
        assert (square - torch.diag(lengths)).abs().max() < 1e-5
        assert torch.allclose(lengths, torch.full((4,), 4.0)) == (scaling == "sqrt")


def test_the_schedule_goes_on_after_saving_and_loading():
    """The copy draws where the original does, and the same, from the same random numbers."""
    torch.manual_seed(0)
    one = RandomProjection(6, 4, redraw_every=5)
    for _ in range(3):
        one.advance()
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other = RandomProjection(6, 4, redraw_every=5)
    other.load_state_dict(torch.load(file, weights_only=True))
    seen: list[list[int]] = []
    for projection in (one, other):
        torch.manual_seed(1)
        draw = projection.draw.item()
        seen.append([])
        for call in range(3, 9):
            projection.advance()
            if projection.draw.item() != draw:
                draw = projection.draw.item()
                seen[-1] += [call, draw]
    assert seen[0] == seen[1]
    assert seen[0][0] == 5
    assert torch.equal(one.weight, other.weight)


def test_a_redraw_between_forward_and_backward_changes_no_gradient():
    """The matrix is drawn in place: what a graph keeps must be its own copy."""
    from linsight import mixers

    found = []
    for redraw in (False, True):
        torch.manual_seed(0)
        mixer = mixers.build("performer", dim=8, heads=2)
        x = torch.ones(1, 5, 8, requires_grad=True)
        loss = mixer(x)[0].square().sum()
        if redraw:
            mixer.projection.redraw()
        found.append(torch.autograd.grad(loss, x)[0])
    assert torch.equal(*found)
