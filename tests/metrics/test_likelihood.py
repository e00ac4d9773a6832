"""Negative log-likelihood: the mean in nats, its standard error, float64 sums, and honest refusals."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from linsight.metrics import NegativeLogLikelihood, NLLSums, bits_per_dim, nll_compute, nll_update


def test_the_mean_and_its_standard_error_by_hand():
    """-log p = 1, 2, 6: mean 3, sample variance (4 + 1 + 9) / 2 = 7, standard error sqrt(7 / 3)."""
    estimate = nll_compute(nll_update(torch.tensor([-1.0, -2.0, -6.0])))
    assert estimate.value.item() == pytest.approx(3, rel=1e-15)
    assert estimate.standard_error.item() == pytest.approx(math.sqrt(7 / 3), rel=1e-14)
    assert estimate.num_examples.item() == 3


def test_the_mean_and_its_standard_error_equal_scipys():
    log_prob = -80 + 20 * torch.randn(10_000)
    estimate = nll_compute(nll_update(log_prob))
    nats = -log_prob.double().numpy()
    assert estimate.value.item() == pytest.approx(nats.mean(), rel=1e-13)
    assert estimate.standard_error.item() == pytest.approx(stats.sem(nats), rel=1e-11)


def test_the_standard_error_is_the_spread_of_means_over_fresh_samples():
    log_prob = torch.randn(2000, 50) * 3 - 10
    means = torch.stack([nll_compute(nll_update(row)).value for row in log_prob])
    reported = (
        torch.stack([nll_compute(nll_update(row)).standard_error for row in log_prob]).square().mean().sqrt()
    )
    assert reported.item() == pytest.approx(means.std().item(), rel=0.06)


def test_batches_of_different_sizes_weigh_by_their_examples():
    """The mean of batch means would be 5.5."""
    metric = NegativeLogLikelihood()
    metric.update(torch.full((9,), -1.0))
    metric.update(torch.tensor([-10.0]))
    assert metric.compute().value.item() == pytest.approx(1.9, rel=1e-14)


def test_sums_stay_exact_where_float32_stops_growing():
    """After 1e8 examples of 80 nats one float32 step is 512 nats: a million examples of 100 add nothing."""
    seen = NLLSums(torch.tensor(10**8), torch.tensor(8e9).double(), torch.tensor(6.4e11).double())
    metric = NegativeLogLikelihood()
    metric.merge_state(seen._asdict())
    for _ in range(1000):
        metric.update(torch.full((1,), -100.0))
    expected = (8e9 + 1000 * 100) / (10**8 + 1000)
    assert metric.compute().value.item() == pytest.approx(expected, rel=1e-15)

    single = torch.tensor(8e9)
    for _ in range(1000):
        single += torch.full((1,), 100.0).sum()
    assert single.item() == 8e9


def test_a_batch_is_summed_in_float64():
    """2^24 + 1 is no float32 number, so ones after 2^24 are lost in a float32 sum."""
    sums = nll_update(torch.tensor([-(2.0**24), *[-1.0] * 7]))
    assert sums.nats.dtype == torch.float64
    assert sums.nats.item() == 2**24 + 7


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_floating_type_is_accepted(dtype: torch.dtype):
    assert nll_compute(nll_update(torch.tensor([-2.0, -4.0], dtype=dtype))).value.item() == 3


def test_an_impossible_example_makes_the_mean_infinite():
    estimate = nll_compute(nll_update(torch.tensor([-1.0, -math.inf])))
    assert estimate.value.item() == math.inf
    assert estimate.standard_error.item() == math.inf


def test_one_example_has_no_standard_error():
    estimate = nll_compute(nll_update(torch.tensor([-3.0])))
    assert estimate.value.item() == 3
    assert math.isnan(estimate.standard_error.item())


def test_equal_examples_have_standard_error_0_up_to_rounding():
    error = nll_compute(nll_update(torch.full((1000,), -80.1))).standard_error.item()
    assert 0 <= error < 80.1e-8


def test_no_gradient_is_kept():
    log_prob = torch.tensor([-1.0, -2.0], requires_grad=True)
    assert not nll_update(log_prob).nats.requires_grad


@pytest.mark.parametrize(
    ("log_prob", "error", "message"),
    [
        (torch.tensor([1, 2]), TypeError, "log_prob: expected floating point, got torch.int64"),
        (torch.zeros(2, 3), ValueError, r"expected one number per example, shape \(batch,\), got \(2, 3\)"),
        (torch.tensor(1.0), ValueError, r"shape \(batch,\), got \(\)"),
        (torch.tensor([-1.0, math.nan]), ValueError, "got nan at index 1"),
        (torch.tensor([math.inf, -1.0]), ValueError, "got inf at index 0"),
    ],
)
def test_bad_log_probabilities_are_refused_and_change_nothing(
    log_prob: torch.Tensor, error: type[Exception], message: str
):
    metric = NegativeLogLikelihood()
    metric.update(torch.tensor([-2.0]))
    with pytest.raises(error, match=message):
        metric.update(log_prob)
    assert metric.sums == NLLSums(torch.tensor(1), torch.tensor(2.0), torch.tensor(4.0))


def test_a_value_over_no_examples_is_refused():
    with pytest.raises(ValueError, match="there are no examples yet; call update"):
        nll_compute(nll_update(torch.zeros(0)))


def test_80_nats_are_the_stated_bits_per_pixel():
    """spec: 80 nats = 115.4 bits = 0.1472 bits a pixel = 14.4 bytes an image."""
    assert bits_per_dim(80.0, 1) == pytest.approx(115.4, abs=0.05)
    assert bits_per_dim(80.0, 784) == pytest.approx(0.1472, abs=5e-5)
    assert bits_per_dim(80.0, 8) == pytest.approx(14.4, abs=0.05)
    assert bits_per_dim(torch.tensor(80.0), 784).item() == pytest.approx(np.log2(np.e) * 80 / 784)
    with pytest.raises(ValueError, match="num_dims: expected an integer >= 1, got 0"):
        bits_per_dim(80.0, 0)
