"""HiPPO against scipy: matrices, bases, discretisations, and histories rebuilt from the state."""

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.signal
import scipy.special
import torch

from linsight import nn

MEASURES = (("legs", 16), ("legt", 16), ("fourier", 15))


def legendre(n: int, s: np.ndarray) -> np.ndarray:
    return np.sqrt(2 * n + 1) * scipy.special.eval_legendre(n, 2 * s - 1)


def legs_state(signal: np.ndarray, order: int, method: str = "bilinear") -> torch.Tensor:
    """The coefficients of a whole signal, step by step."""
    A_bar, B_bar = nn.legs_transition(torch.arange(1, len(signal) + 1), order, method)
    x = torch.zeros(order, dtype=torch.float64)
    for A, B, u in zip(A_bar, B_bar, signal.tolist(), strict=True):
        x = A @ x + B * u
    return x


def windowed_state(signal: np.ndarray, measure: str, order: int, dt: float) -> torch.Tensor:
    """The coefficients of the last 1 / dt numbers."""
    A, B = (m.numpy() for m in nn.discretise(*nn.hippo(measure, order), dt, "zoh"))
    x = np.zeros(order)
    for u in signal:
        x = A @ x + B * u
    return torch.from_numpy(x)


def test_the_matrices_of_order_3():
    A, B = nn.hippo("legs", 3)
    np.testing.assert_allclose(A, [[-1, 0, 0], [-1.7321, -2, 0], [-2.2361, -3.8730, -3]], atol=5e-5)
    np.testing.assert_allclose(B, [1, 1.7321, 2.2361], atol=5e-5)
    A, _ = nn.hippo("legt", 3)
    want = [[-1, 1.7321, -2.2361], [-1.7321, -3, 3.8730], [-2.2361, -3.8730, -5]]
    np.testing.assert_allclose(A, want, atol=5e-5)


@pytest.mark.parametrize("measure", ["legs", "legt"])
def test_the_basis_is_legendres(measure):
    s = np.linspace(0, 1, 23)
    basis = nn.hippo_basis(measure, 40, torch.from_numpy(s))
    for n in range(40):
        np.testing.assert_allclose(basis[:, n], legendre(n, s), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("measure", "order"), [*MEASURES, ("legs", 1), ("legs", 2), ("fourier", 1)])
def test_the_basis_is_orthonormal(measure, order):
    places, weights = np.polynomial.legendre.leggauss(64)
    basis = nn.hippo_basis(measure, order, torch.from_numpy((places + 1) / 2)).numpy()
    np.testing.assert_allclose(basis.T @ (weights[:, None] / 2 * basis), np.eye(order), atol=1e-12)


def test_a_density_weighs_one():
    s = torch.linspace(-1, 6, 70_001, dtype=torch.float64)
    for measure, theta in (("legs", 1.0), ("legt", 2.0), ("fourier", 0.5)):
        density = nn.hippo_density(measure, 5.0, s, theta)
        assert torch.trapezoid(density, s).item() == pytest.approx(1, abs=1e-3)
        assert not density[s > 5.001].any()


def test_a_window_of_a_sine_has_its_legendre_coefficients():
    """f(t) = sin 5t + 0.3 t up to t = 2.5, theta = 1: the coefficients of f on [1.5, 2.5], by quadrature."""

    def f(t):
        return np.sin(5 * t) + 0.3 * t

    dt = 1e-3
    x = windowed_state(f((np.arange(2500) + 0.5) * dt), "legt", 24, dt)
    want = [scipy.integrate.quad(lambda s, n=n: f(1.5 + s) * legendre(n, s), 0, 1)[0] for n in range(8)]
    np.testing.assert_allclose(want[:4], [0.46977, -0.51829, 0.31636, 0.23070], atol=5e-6)
    np.testing.assert_allclose(x[:8], want, atol=5e-6)  # O(dt^2)
    s = torch.linspace(0, 1, 21, dtype=torch.float64)
    rebuilt = nn.reconstruct(x, s, "legt")
    np.testing.assert_allclose(rebuilt, f(1.5 + s.numpy()), atol=1e-3)


def test_a_window_of_a_periodic_signal_has_its_fourier_coefficients():
    """What returns after one window has no jump at its ends, and its series is exact."""
    dt = 1e-3

    def f(t):
        return 0.7 + np.sin(2 * np.pi * t) - 0.5 * np.cos(6 * np.pi * t)

    x = windowed_state(f((np.arange(6000) + 0.5) * dt), "fourier", 9, dt)
    want = np.zeros(9)
    want[[0, 2, 5]] = 0.7, 1 / np.sqrt(2), -0.5 / np.sqrt(2)
    np.testing.assert_allclose(x, want, atol=1e-4)


@pytest.mark.parametrize("order", [1, 9])
def test_a_window_of_a_ramp_jumps_to_the_mean_of_both_sides(order):
    """f = t: the mean t - 1/2 and -sqrt(2) / (2 pi n) by sine; without the factor 2 it is t - 1."""
    dt = 2e-3
    x = windowed_state((np.arange(5000) + 0.5) * dt, "fourier", order, dt)
    want = np.zeros(order)
    want[0] = 9.5
    want[2::2] = -np.sqrt(2) / (2 * np.pi * np.arange(1, order // 2 + 1))
    np.testing.assert_allclose(x, want, atol=1e-4)


@pytest.mark.parametrize("method", ["bilinear", "zoh"])
def test_legs_remembers_a_polynomial_of_the_whole_past(method):
    """Degree 4 in 6 coefficients; the error falls with the number of steps."""
    errors = []
    for steps in (250, 1000):
        s = (np.arange(steps) + 0.5) / steps
        signal = 1 - 2 * s + 3 * s**2 - s**4
        rebuilt = nn.reconstruct(legs_state(signal, 6, method), torch.from_numpy(s))
        errors.append(np.abs(rebuilt.numpy() - signal)[steps // 50 :].max())
    assert errors[0] < 0.1
    assert errors[1] < 0.3 * errors[0]


def test_legs_coefficients_are_the_projection_on_legendre():
    steps = 2000
    s = (np.arange(steps) + 0.5) / steps
    signal = np.sin(9 * s)
    x = legs_state(signal, 12)
    want = [scipy.integrate.quad(lambda s, n=n: np.sin(9 * s) * legendre(n, s), 0, 1)[0] for n in range(12)]
    np.testing.assert_allclose(x, want, atol=2e-3)


def test_legs_knows_no_timescale():
    """The signal stretched to twice its length has nearly the same coefficients."""
    x, y = (legs_state(np.sin(7 * (np.arange(n) + 0.5) / n), 8) for n in (600, 1200))
    np.testing.assert_allclose(x, y, atol=3e-3)


@pytest.mark.parametrize(("measure", "order"), MEASURES)
@pytest.mark.parametrize("dt", [1e-3, 0.05])
def test_discretisations_are_scipys(measure, order, dt):
    A, B = nn.hippo(measure, order)
    system = (A.numpy(), B[:, None].numpy(), np.eye(order), np.zeros((order, 1)))
    for method in ("zoh", "bilinear", "euler"):
        want_A, want_B, *_ = scipy.signal.cont2discrete(system, dt, method=method)
        A_bar, B_bar = nn.discretise(A, B, dt, method)
        np.testing.assert_allclose(A_bar, want_A, rtol=0, atol=1e-11)
        np.testing.assert_allclose(B_bar, want_B[:, 0], rtol=0, atol=1e-11)
    A_bar, B_bar = nn.discretise(A, B, dt, "dirac")
    np.testing.assert_allclose(A_bar, scipy.linalg.expm(dt * A.numpy()), rtol=0, atol=1e-11)
    assert torch.equal(B_bar, B)


def test_zoh_takes_a_singular_matrix():
    """An integrator: A^-1 (A_bar - 1) would divide by zero."""
    A_bar, B_bar = nn.discretise(torch.zeros(1, 1), torch.ones(1), 0.5, "zoh")
    assert (A_bar.item(), B_bar.item()) == pytest.approx((1, 0.5))


@pytest.mark.parametrize(("measure", "order"), [("legs", 8), ("legt", 8), ("fourier", 9)])
def test_exact_and_bilinear_steps_are_stable_whatever_their_size(measure, order):
    """All eigenvalues inside the unit circle; Euler's are not at large steps, which is its trap."""
    A, B = nn.hippo(measure, order)

    def radius(dt, method):
        return np.abs(np.linalg.eigvals(nn.discretise(A, B, dt, method)[0].numpy())).max()

    for dt in (1e-3, 0.1, 1.0, 10.0):
        assert radius(dt, "zoh") < 1
        assert radius(dt, "bilinear") < 1
        assert radius(dt, "dirac") < 1
    assert radius(1e-4, "euler") < 1
    assert radius(1.0, "euler") > 1


@pytest.mark.parametrize("order", [1, 5, 16])
def test_legs_transitions_by_scipy(order):
    A, B = (m.numpy() for m in nn.hippo("legs", order))
    steps = torch.tensor([[1, 2], [7, 300]])
    for index, k in np.ndenumerate(steps.numpy()):
        left, right = np.eye(order) - A / (2 * k), np.eye(order) + A / (2 * k)
        grown = scipy.linalg.expm(A * (np.log(k + 1) - np.log(k)))
        for method, want_A, want_B in (
            ("bilinear", np.linalg.inv(left) @ right, np.linalg.inv(left) @ B / k),
            ("euler", np.eye(order) + A / k, B / k),
            ("zoh", grown, np.linalg.inv(A) @ (grown - np.eye(order)) @ B),
        ):
            A_bar, B_bar = nn.legs_transition(steps, order, method)
            np.testing.assert_allclose(A_bar[index], want_A, rtol=0, atol=1e-9)
            np.testing.assert_allclose(B_bar[index], want_B, rtol=0, atol=1e-9)


def test_a_constant_is_remembered_exactly_from_the_first_steps():
    """Bilinear, 1 at every step: x_0 tends to 1 and never overshoots, all others tend to 0."""
    x = legs_state(np.ones(400), 32)
    assert x[0].item() == pytest.approx(1, abs=1e-2)
    assert x[1:].abs().max() < 0.05


@pytest.mark.parametrize(("measure", "order", "rank"), [("legs", 64, 1), ("legt", 33, 2), ("fourier", 31, 1)])
def test_normal_plus_low_rank_is_the_matrix(measure, order, rank):
    """V (Lambda - P P^*) V^* gives A back, V is unitary, and all real parts are one number."""
    A, B = nn.hippo(measure, order)
    values, P, B_new, V = nn.normal_low_rank(measure, order)
    assert P.shape == (order, rank)
    back = V @ (torch.diag(values) - P @ P.mH) @ V.mH
    np.testing.assert_allclose(back, A.to(back.dtype), rtol=0, atol=1e-10)
    np.testing.assert_allclose(V @ B_new, B.to(back.dtype), rtol=0, atol=1e-11)
    np.testing.assert_allclose(V.mH @ V, np.eye(order), rtol=0, atol=1e-12)
    np.testing.assert_allclose(values.real, -0.5 if measure == "legs" else 0, atol=1e-12)


def test_legs_angles_of_order_8():
    angles = nn.normal_low_rank("legs", 8).values.imag
    np.testing.assert_allclose(angles[:4], [19.857, 5.3542, 1.9578, 0.4275], atol=5e-4)
    np.testing.assert_allclose(angles[4:], -angles[:4].flip(0), atol=1e-10)


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="measure: expected one of legs, legt, fourier, got 'legp'"):
        nn.hippo("legp", 4)
    with pytest.raises(ValueError, match="order: expected at least 1, got 0"):
        nn.hippo("legs", 0)
    with pytest.raises(ValueError, match="order: 'fourier' has a constant and pairs, an odd number, got 4"):
        nn.hippo("fourier", 4)
    with pytest.raises(ValueError, match="method: expected one of zoh, bilinear, euler, dirac, got 'rk4'"):
        nn.discretise(*nn.hippo("legs", 4), 0.1, "rk4")
    with pytest.raises(ValueError, match="method: expected one of bilinear, euler, zoh, got 'dirac'"):
        nn.legs_transition(torch.tensor(1), 4, "dirac")
