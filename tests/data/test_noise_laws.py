"""Laws of label noise: densities that integrate to 1 and are those of the samples."""

import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from linsight.data.noise_laws import (
    AnyNoiseLaw,
    Gauss,
    Hetero,
    Laplace,
    NoNoise,
    Outlier,
    Skew,
    kinds,
    noise_law,
)

LAWS = [
    Gauss(0.3),
    Laplace(0.2),
    Hetero(0.1, 0.4),
    Outlier(0.2, 0.15, 0.5, 3.0),
    Skew(0.3, 5.0),
    Skew(0.3, -2.0),
]
named = pytest.mark.parametrize("law", LAWS, ids=lambda law: law.kind)


def clarity_of(law, shape):
    return torch.full(shape, 0.3, dtype=torch.float64) if law.needs_clarity else None


@named
def test_the_density_over_two_coordinates_integrates_to_1(law):
    """The midpoint rule on a fine grid; the grid's cells end at the steps of the uniform part.

    At Laplace's kink it is off by (h / b)^2 / 24 an axis: 2.1e-4 in all.
    """
    side = torch.linspace(-8, 8, 1601, dtype=torch.float64)[:-1] + 0.005
    grid = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1)
    total = law.log_prob(grid, clarity_of(law, grid.shape[:-1])).exp().sum() * 0.01**2
    assert total.item() == pytest.approx(1, abs=2.5e-4)


@named
def test_samples_follow_the_density(law):
    """Shares of samples in cells against the integral of the density there: within 5 standard errors."""
    generator = torch.Generator().manual_seed(3)
    number = 40_000
    residual = law.sample(generator, (number, 2), clarity_of(law, (number,)))
    edges = torch.tensor([-9, -0.4, -0.2, -0.1, 0, 0.1, 0.2, 0.4, 0.8, 1.5, 9], dtype=torch.float64)
    cells = len(edges) - 1
    where = torch.bucketize(residual, edges) - 1
    counts = torch.bincount(where[:, 0] * cells + where[:, 1], minlength=cells**2)
    step = 0.01
    fine = torch.arange(-9, 9, step, dtype=torch.float64) + step / 2
    grid = torch.stack(torch.meshgrid(fine, fine, indexing="ij"), -1)
    mass = law.log_prob(grid, clarity_of(law, grid.shape[:-1])).exp() * step**2
    of = torch.bucketize(fine, edges) - 1
    expected = torch.zeros(cells, cells, dtype=torch.float64)
    expected.index_put_((of[:, None].expand_as(mass), of[None].expand_as(mass)), mass, accumulate=True)
    expected = number * expected.flatten()
    # 2: the midpoint rule at the kink of Laplace, and cells of less than one sample.
    assert ((counts - expected).abs() <= 5 * expected.sqrt() + 2 + 2e-3 * expected).all()


def test_densities_are_scipys():
    points = torch.linspace(-1, 1, 41, dtype=torch.float64)[:, None]
    inner = points[:, 0].numpy()
    for law, oracle in (
        (Gauss(0.3), stats.norm(scale=0.3)),
        (Laplace(0.2), stats.laplace(scale=0.2)),
        (Hetero(0.1, 0.4), stats.norm(scale=0.4**0.7 * 0.1**0.3)),
    ):
        found = law.log_prob(points, clarity_of(law, (41,)))
        torch.testing.assert_close(found, torch.from_numpy(oracle.logpdf(inner)), rtol=1e-12, atol=1e-12)
    law = Skew(0.3, 5.0)
    _, width, place = law._constants()
    oracle = torch.from_numpy(stats.skewnorm(5.0, loc=place, scale=width).logpdf(inner))
    torch.testing.assert_close(law.log_prob(points), oracle, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [-3.0, 0.0, 5.0])
def test_skewed_labels_are_right_on_average_and_wrong_at_the_mode(shape):
    """Mean 0 and standard deviation `scale`, by quadrature of the density; shape 0 is the normal law."""
    law = Skew(0.3, shape)
    points = torch.arange(-4, 4, 1e-3, dtype=torch.float64)
    density = law.log_prob(points[:, None]).exp() * 1e-3
    assert (density * points).sum().item() == pytest.approx(0, abs=1e-9)
    assert (density * points**2).sum().sqrt().item() == pytest.approx(0.3, rel=1e-6)
    mode = points[density.argmax()].item()
    assert (abs(mode) < 2e-3) if shape == 0 else mode * shape < -0.1
    if shape == 0:
        torch.testing.assert_close(law.log_prob(points[:, None]), Gauss(0.3).log_prob(points[:, None]))


def test_what_is_hidden_is_less_certain():
    law = Hetero(0.01, 0.05)
    scale = law.scale(torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64))
    assert scale.tolist() == pytest.approx([0.01, math.sqrt(0.01 * 0.05), 0.05])
    uniform = torch.full((2, 1), 0.8, dtype=torch.float64)
    seen, hidden = law.residual(uniform, torch.tensor([1.0, 0.0]))
    assert hidden.item() == pytest.approx(5 * seen.item())


def test_an_outlier_is_one_in_all_coordinates_and_on_one_side():
    law = Outlier(1e-4, 0.15, 0.05, 0.30)
    residual = law.sample(torch.Generator().manual_seed(0), (20_000, 2))
    far = residual > 0.01
    assert (far[:, 0] == far[:, 1]).all()
    assert far[:, 0].double().mean().item() == pytest.approx(0.15, abs=0.01)
    assert residual[far].min() >= 0.05
    assert residual[far].max() <= 0.30


@named
def test_residuals_are_a_function_of_the_uniform_numbers_alone(law):
    uniform = torch.rand(7, law.num_uniforms(3), dtype=torch.float64)
    whole = law.residual(uniform, clarity_of(law, (7,)))
    assert whole.shape == (7, 3)
    for row in range(7):
        alone = law.residual(uniform[row : row + 1], clarity_of(law, (1,)))
        torch.testing.assert_close(alone[0], whole[row], rtol=1e-14, atol=0)


@named
def test_the_ends_of_the_uniform_numbers_are_finite_and_so_are_their_densities(law):
    for value in (0.0, 1 - 2.0**-53):
        uniform = torch.full((1, law.num_uniforms(2)), value, dtype=torch.float64)
        residual = law.residual(uniform, clarity_of(law, (1,)))
        assert residual.isfinite().all()
        assert law.log_prob(residual, clarity_of(law, (1,))).isfinite().all()


def test_samples_repeat_with_the_generator_and_have_the_type_asked_for():
    draws = [Gauss().sample(torch.Generator().manual_seed(5), (4, 2), dtype=torch.float32) for _ in range(2)]
    assert torch.equal(*draws)
    assert draws[0].dtype == torch.float32
    assert Gauss().sample(None, (0, 2)).shape == (0, 2)


def test_without_noise_labels_are_the_truth_and_there_is_no_density():
    assert NoNoise().sample(None, (3, 2)).tolist() == [[0, 0]] * 3
    with pytest.raises(
        ValueError, match="noise law 'none' has no density; compare learnt densities on another law"
    ):
        NoNoise().log_prob(torch.zeros(2))


def test_laws_are_found_by_name_and_survive_json():
    adapter = TypeAdapter(AnyNoiseLaw)
    for kind in kinds():
        law = noise_law(kind)
        assert law.kind == kind
        assert adapter.validate_json(adapter.dump_json(law)) == law
    with pytest.raises(ValidationError, match="scael"):
        adapter.validate_python({"kind": "gauss", "scael": 1.0})
    with pytest.raises(
        ValueError, match="noise law 'cauchy' is not known; choose one of none, gauss, laplace"
    ):
        noise_law("cauchy")
    with pytest.raises(ValueError, match="noise law 'gauss' has no option 'b'; it has scale"):
        noise_law("gauss", b=1.0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Gauss(0.0), "noise law 'gauss': scale: expected a number above 0, got 0.0"),
        (lambda: Laplace(-1.0), "noise law 'laplace': scale: expected a number above 0, got -1.0"),
        (lambda: Laplace(math.nan), "noise law 'laplace': scale: expected a number above 0, got nan"),
        (lambda: Hetero(hidden=math.inf), "noise law 'hetero': hidden: expected a number above 0, got inf"),
        (lambda: Outlier(scale=0.0), "noise law 'outlier': scale: expected a number above 0, got 0.0"),
        (lambda: Outlier(share=1.0), "noise law 'outlier': share: expected between 0 and 1, got 1.0"),
        (
            lambda: Outlier(least=0.3),
            "noise law 'outlier': least, most: expected least < most, got 0.3 and 0.3",
        ),
        (lambda: Skew(scale=0.0), "noise law 'skew': scale: expected a number above 0, got 0.0"),
        (lambda: Skew(shape=math.nan), "noise law 'skew': shape: expected a finite number, got nan"),
        (lambda: Gauss().sample(None, ()), r"shape: expected at least the axis of coordinates, got \(\)"),
        (
            lambda: Hetero().sample(None, (3, 2)),
            "noise law 'hetero': clarity: expected one for each residual, got none",
        ),
        (
            lambda: Hetero().log_prob(torch.zeros(2, 2), torch.tensor([0.5, 1.5])),
            "noise law 'hetero': clarity: expected shares from 0 to 1, got 0.5 to 1.5",
        ),
    ],
)
def test_what_is_no_law_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
