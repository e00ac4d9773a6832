"""Counted baselines: their exact values on MNIST `fixed-v1` (spec/densities.md, 16.1), and their laws."""

import itertools

import pytest
import torch

from linsight import data
from linsight.densities import IndependentBernoulli, NaiveBayes


@pytest.fixture(scope="module")
def bits():
    """Binarised images and labels of each split."""
    arrays = {split: (data.binarize.fixed(split), data.mnist(split)[1]) for split in data.SPLITS}
    return {split: tuple(torch.from_numpy(array.copy()) for array in pair) for split, pair in arrays.items()}


@pytest.fixture(scope="module")
def naive_bayes(bits):
    return NaiveBayes(28, 28, 10).fit(*bits["train"])


def test_independent_pixels_of_mnist(bits):
    density = IndependentBernoulli(28, 28).fit(*bits["train"])
    for split, nats in (("valid", 204.804), ("test", 205.817)):
        assert -density.log_prob(bits[split][0]).double().mean().item() == pytest.approx(nats, abs=1e-3)


def test_naive_bayes_of_mnist(bits, naive_bayes):
    x, y = bits["test"]
    y = y.long()
    given = naive_bayes.class_log_prob(x)
    assert -naive_bayes.log_prob(x).mean().item() == pytest.approx(170.966, abs=1e-3)
    assert -naive_bayes.log_prob(x, y).mean().item() == pytest.approx(174.033, abs=1e-3)
    assert -given[torch.arange(len(y)), y].mean().item() == pytest.approx(3.067, abs=1e-3)
    assert (given.argmax(1) == y).double().mean().item() == pytest.approx(0.8431, abs=1e-9)


@pytest.fixture(scope="module")
def toy():
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(200, 2, 3, generator=generator) < 0.3).to(torch.uint8)
    y = torch.randint(0, 3, (200,), generator=generator)
    x[:, 0, 0] = y == 1
    return NaiveBayes(2, 3, 3).fit(x, y), x, y


EVERY = torch.tensor(list(itertools.product((0, 1), repeat=6)), dtype=torch.uint8).reshape(-1, 2, 3)


def test_probabilities_sum_to_one_and_agree(toy):
    density, _, _ = toy
    joint = torch.stack([density.log_prob(EVERY, torch.full((64,), y)) for y in range(3)], dim=1)
    assert joint.exp().sum().item() == pytest.approx(1, abs=1e-10)
    assert (joint.logsumexp(1) - density.log_prob(EVERY)).abs().max() < 1e-10
    assert (joint.log_softmax(1) - density.class_log_prob(EVERY)).abs().max() < 1e-10
    for y in range(3):
        given = density.log_prob_given(EVERY, torch.full((64,), y))
        assert given.exp().sum().item() == pytest.approx(1, abs=1e-10)


def test_counts_are_smoothed_by_one_of_each(toy):
    """p = (ones + 1) / (images + 2): a pixel never seen on is not impossible."""
    density, x, y = toy
    for label in range(3):
        mine = x[y == label].double()
        p = (mine.sum(0) + 1) / (len(mine) + 2)
        want = torch.where(EVERY == 1, p.log(), (1 - p).log()).sum((1, 2))
        assert (density.log_prob_given(EVERY, torch.full((64,), label)) - want).abs().max() < 1e-10


def test_samples_have_the_counted_frequencies(toy):
    density, x, y = toy
    for label in range(3):
        labels = torch.full((20_000,), label)
        samples = density.sample(20_000, labels, generator=torch.Generator().manual_seed(1))
        assert samples.dtype == torch.uint8
        mine = x[y == label].double()
        want = (mine.sum(0) + 1) / (len(mine) + 2)
        assert (samples.double().mean(0) - want).abs().max() < 0.02
    free = density.sample(20_000, generator=torch.Generator().manual_seed(1))
    want = (torch.where(EVERY == 1, 1.0, 0.0) * density.log_prob(EVERY).exp()[:, None, None]).sum(0)
    assert (free.double().mean(0) - want).abs().max() < 0.02


def test_an_independent_density_ignores_labels(toy):
    _, x, y = toy
    one = IndependentBernoulli(2, 3).fit(x)
    other = IndependentBernoulli(2, 3).fit(x, y)
    assert torch.equal(one.log_prob(EVERY), other.log_prob(EVERY))
    assert one.log_prob(EVERY).exp().sum().item() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize(
    ("x", "y", "error", "match"),
    [
        (torch.full((2, 2, 3), 2), None, ValueError, "x.*2"),
        (torch.full((2, 2, 3), 0.5), None, (ValueError, TypeError), "x"),
        (torch.zeros(2, 3, 2, dtype=torch.uint8), None, ValueError, "x.*2.*3"),
        (torch.zeros(2, 2, 3, dtype=torch.uint8), torch.tensor([0, 3]), ValueError, "y.*3|label.*3"),
        (torch.zeros(2, 2, 3, dtype=torch.uint8), torch.tensor([0.0, 1.0]), TypeError, "y|label"),
        (torch.zeros(2, 2, 3, dtype=torch.uint8), torch.tensor([0]), ValueError, "y|label"),
    ],
    ids=["two", "grey", "size", "range", "float labels", "number"],
)
def test_bad_input_is_refused(toy, x, y, error, match):
    with pytest.raises(error, match=match):
        toy[0].log_prob(x, y)
    with pytest.raises((ValueError, TypeError)):
        NaiveBayes(2, 3, 3).fit(x, torch.zeros(2, dtype=torch.int64) if y is None else y)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_not_positive_is_refused(toy, temperature):
    with pytest.raises(ValueError, match="temperature"):
        toy[0].sample(2, temperature=temperature)
