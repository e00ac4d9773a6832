"""The two-level kernel, the Fourier convolution and the discretisations, against numpy and scipy."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import torch

from linsight import ops
from linsight.conformance.laws.states import largest_tensor


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def powers_by_numpy(log_decay, read, length):
    """K_l by repeated multiplication."""
    step, term, kernel = np.exp(log_decay.numpy()), read.numpy().copy(), []
    for _ in range(length):
        kernel.append(term.sum(-1).real)
        term = term * step
    return torch.from_numpy(np.stack(kernel, -1))


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 15, 16, 17, 50, 97])
def test_the_two_level_kernel_at_lengths_that_are_no_squares(length):
    log_decay = torch.complex(-draw(3, 5).abs() / 5, 3 * draw(3, 5, seed=1))
    read = torch.complex(draw(3, 5, seed=2), draw(3, 5, seed=3))
    got = ops.diagonal_kernel(log_decay, read, length)
    torch.testing.assert_close(got, powers_by_numpy(log_decay, read, length), rtol=0, atol=1e-11)


def test_a_kernel_of_no_length_is_empty():
    assert ops.diagonal_kernel(torch.zeros(3, 2) + 0j, torch.zeros(3, 2) + 0j, 0).shape == (3, 0)


def test_a_batch_of_weights_shares_the_decays():
    log_decay = torch.complex(-draw(3, 5).abs(), draw(3, 5))
    read = torch.complex(draw(2, 3, 5), draw(2, 3, 5, seed=1))
    got = ops.diagonal_kernel(log_decay, read, 20)
    torch.testing.assert_close(got[1], ops.diagonal_kernel(log_decay, read[1], 20))


def test_gradcheck_of_the_kernel():
    log_decay = torch.complex(-draw(2, 3).abs(), draw(2, 3)).requires_grad_()
    read = torch.complex(draw(2, 3), draw(2, 3, seed=1)).requires_grad_()
    for length in (1, 7, 12):
        assert torch.autograd.gradcheck(
            lambda *given, length=length: ops.diagonal_kernel(*given, length), (log_decay, read)
        )


def test_in_float32_the_kernel_is_right_to_a_few_times_1e_7():
    """Exponentials in float32 are 20 times worse, powers in complex64 more: angles reach 10^4."""
    dt = torch.logspace(-3, -1, 8, dtype=torch.float64)[:, None]
    log_decay = dt * torch.complex(torch.full((32,), -0.5).double(), torch.pi * torch.arange(32.0).double())
    read = torch.complex(draw(8, 32), draw(8, 32, seed=1))
    got = ops.diagonal_kernel(log_decay, read, 4096, dtype=torch.float32)
    want = powers_by_numpy(log_decay, read, 4096)
    assert got.dtype == torch.float32
    assert ((got - want).norm() / want.norm()).item() < 3e-7


def test_the_kernel_never_holds_every_power():
    """32 states at 4,096 places would be 131,072 numbers a channel; two levels of 64 hold 4,096 each."""
    log_decay = torch.complex(-draw(4, 32).abs(), draw(4, 32))
    assert largest_tensor(lambda: ops.diagonal_kernel(log_decay, log_decay, 4096)) <= 4 * 4096 * 2


@pytest.mark.parametrize("length", [1, 2, 3, 16, 31, 100])
@pytest.mark.parametrize("size", [1, 5, 100, 140])
def test_the_convolution_is_the_causal_one_and_wraps_nothing_around(length, size):
    """A transform of `length` places would add the row's end to its beginning."""
    x, kernel = draw(2, length, 3), draw(3, size, seed=1)
    y = ops.fft_convolution(x, kernel)
    for b, d in np.ndindex(2, 3):
        want = np.convolve(x[b, :, d].numpy(), kernel[d].numpy())[:length]
        np.testing.assert_allclose(y[b, :, d].numpy(), want, rtol=0, atol=1e-12)


def test_the_convolution_takes_a_kernel_for_every_row():
    x, kernel = draw(2, 12, 3), draw(2, 3, 12, seed=1)
    want = torch.cat([ops.fft_convolution(x[b : b + 1], kernel[b]) for b in range(2)])
    torch.testing.assert_close(ops.fft_convolution(x, kernel), want)


def test_gradcheck_of_the_convolution():
    inputs = (draw(2, 9, 2).requires_grad_(), draw(2, 7, seed=1).requires_grad_())
    assert torch.autograd.gradcheck(ops.fft_convolution, inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_convolution_keeps_the_tokens_dtype_and_sums_in_float32(dtype):
    x = torch.ones(1, 1000, 1, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ops.fft_convolution(x, torch.ones(1, 1000))
    assert y.dtype == dtype
    assert y[0, -1].item() == 1000


def test_a_kernel_of_other_channels_is_refused():
    with pytest.raises(ValueError, match=r"kernel: expected shape \(channels 3, length >= 1\)"):
        ops.fft_convolution(draw(2, 9, 3), draw(2, 9))
    with pytest.raises(ValueError, match=r"got \(3, 0\)"):
        ops.fft_convolution(draw(2, 9, 3), draw(3, 0))


POLES = torch.tensor([-0.5 + torch.pi * 1j, -1 + 0j, -0.01 + 20j, -30 + 0.1j], dtype=torch.complex128)


@pytest.mark.parametrize("method", ["zoh", "bilinear"])
@pytest.mark.parametrize("dt", [1e-3, 0.1])
def test_discretisation_is_scipys(method, dt):
    """x' = a x + b u as a real system of two states, by scipy.signal.cont2discrete."""
    log_decay, factor = ops.discretise_diagonal(POLES, torch.tensor(dt, dtype=torch.float64), method)
    for a, decay, gain in zip(POLES.tolist(), log_decay.exp().tolist(), factor.tolist(), strict=True):
        matrix = np.array([[a.real, -a.imag], [a.imag, a.real]])
        system = (matrix, np.array([[1.0], [0.0]]), np.eye(2), np.zeros((2, 1)))
        A, B, *_ = scipy.signal.cont2discrete(system, dt, method=method)
        assert decay == pytest.approx(complex(*A[:, 0]), abs=1e-12)
        assert gain == pytest.approx(complex(*B[:, 0]), abs=1e-12)


def test_decays_of_the_worked_example():
    """A = -0.5 + pi i, dt = 0.1; a flipped sign of the bilinear transform gives 1.05."""
    for method, want in (("zoh", 0.951229), ("bilinear", 0.952367)):
        log_decay, _ = ops.discretise_diagonal(POLES[:1], torch.tensor(0.1, dtype=torch.float64), method)
        assert log_decay.exp().abs().item() == pytest.approx(want, abs=1e-6)


def test_euler_and_dirac_scale_the_input_alone():
    dt = torch.tensor(0.1, dtype=torch.float64)
    zoh, _ = ops.discretise_diagonal(POLES, dt)
    for method, gain in (("euler", 0.1), ("dirac", 1.0)):
        log_decay, factor = ops.discretise_diagonal(POLES, dt, method)
        assert torch.equal(log_decay, zoh)
        torch.testing.assert_close(factor, torch.full_like(POLES, gain))


@pytest.mark.parametrize("method", ["zoh", "bilinear", "euler", "dirac"])
def test_a_stable_system_stays_stable(method):
    """|A_bar| < 1 wherever Re A < 0, at steps of any size."""
    A = torch.complex(-draw(200).exp(), 30 * draw(200, seed=1))
    for dt in (1e-6, 1e-3, 0.1, 10.0):
        log_decay, factor = ops.discretise_diagonal(A, torch.tensor(dt, dtype=torch.float64), method)
        assert (log_decay.real < 0).all()
        assert torch.view_as_real(factor).isfinite().all()


def test_small_steps_keep_their_digits():
    """exp(z) - 1 at z = -5e-6: 1.4e-3 wrong in float32; and 0 in the division."""
    A = torch.tensor([-5e-6 + 0j, 0j], requires_grad=True)
    _, factor = ops.discretise_diagonal(A, torch.tensor(1.0))
    z = np.float64(np.float32(-5e-6))
    assert factor[0].item().real == pytest.approx(np.expm1(z) / z, rel=1e-15)
    assert factor[1].item() == 1
    factor.real.sum().backward()
    assert A.grad is not None
    assert A.grad.real.tolist() == pytest.approx([0.5, 0.5], rel=1e-4)


@pytest.mark.parametrize("size", [1e-20, 1e-9, 1e-3, 0.0624, 0.0626, 1.0])
def test_the_derivative_of_zoh_is_that_of_its_series(size):
    """d/dz sum_k z^k / (k + 1)!: at eigenvalues of hardly anything, and on both sides of where code parts."""
    z = size * torch.tensor([-1 + 0j, 1j, -0.6 + 0.8j], dtype=torch.complex128)
    z.requires_grad_()
    _, factor = ops.discretise_diagonal(z, torch.tensor(1.0, dtype=torch.float64))
    (found,) = torch.autograd.grad(factor.real.sum(), z)
    want = [sum(k * point ** (k - 1) / math.factorial(k + 1) for k in range(1, 30)) for point in z.tolist()]
    # torch's gradient of a real part is the conjugate of the derivative.
    torch.testing.assert_close(found.conj(), torch.tensor(want, dtype=torch.complex128), rtol=1e-13, atol=0)


def test_the_kernel_of_the_worked_example():
    """One pair, A = -0.5 + pi i, B = C = 1, dt = 0.1: K = 2 Re C B_bar A_bar^l."""
    log_decay, factor = ops.discretise_diagonal(POLES[None, :1], torch.tensor([0.1], dtype=torch.float64))
    kernel = ops.diagonal_kernel(log_decay, 2 * factor, 4)[0].tolist()
    assert kernel == pytest.approx([0.191929, 0.164773, 0.124467, 0.0761113], abs=1e-6)


def test_an_unknown_discretisation_is_refused():
    with pytest.raises(ValueError, match="method: expected one of zoh, bilinear, euler, dirac, got 'tustin'"):
        ops.discretise_diagonal(POLES, torch.tensor(0.1), "tustin")
