"""Image densities learn laws that are known exactly (spec/densities.md, sections 10, 11.8 and 17)."""

import pytest
import torch
from toys import CLASSES, Toy


def fit(density, log_loss, steps, rate=0.02):
    optimiser = torch.optim.Adam(density.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        log_loss().backward()
        optimiser.step()
        schedule.step()
    return density.requires_grad_(False)


@pytest.mark.parametrize(
    "toy",
    [
        Toy(2, 3, (1, 1), "none"),
        Toy(2, 3, (1, 3), "none", "softmax"),
        Toy(2, 3, (1, 1), "none", kind="made", options=(("hidden", (64, 64)),)),
    ],
    ids=str,
)
def test_a_table_of_six_bits_is_learnt_within_a_twentieth_of_a_nat(toy):
    """The exact loss over all 64 images: what remains above the entropy is KL(p || q)."""
    density, x = toy.build(), toy.images
    log_p = (
        2 * torch.randn(64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ).log_softmax(0)
    entropy = -(log_p.exp() * log_p).sum()
    fit(density, lambda: -(log_p.exp() * density.log_prob(x)).sum(), 200)
    excess = (-(log_p.exp() * density.log_prob(x)).sum() - entropy).item()
    assert 0 <= excess < 0.05


@pytest.mark.parametrize("label", ["first", "last", "both"])
def test_both_ways_to_classify_find_a_known_posterior(label):
    """A joint table of 4 bits and 3 labels: Bayes (y first) and the direct answer (y last) find the truth."""
    toy = Toy(2, 2, (1, 1), label)
    density, images = toy.build(), toy.images
    generator = torch.Generator().manual_seed(2)
    log_p = (
        (1.5 * torch.randn(CLASSES, 16, generator=generator, dtype=torch.float64)).flatten().log_softmax(0)
    )
    table = log_p.reshape(CLASSES, 16)
    density.fit_prior((1e6 * table.exp().sum(1)).round().long())
    x, y = images.repeat(CLASSES, 1, 1), torch.arange(CLASSES).repeat_interleave(16)

    places = toy.places[-2:]

    def loss():
        return -sum((log_p.exp() * density.log_prob(x, y, label=place)).sum() for place in places)

    fit(density, loss, 150)
    for place in toy.places:
        excess = (log_p.exp() * (log_p - density.log_prob(x, y, label=place))).sum().item()
        assert 0 <= excess < 0.05
        found = density.class_log_prob(images, label=place).exp()
        error = (table.exp().sum(0) * (found - table.softmax(0).T).abs().sum(1)).sum()
        assert error < 0.15, f"total variation {error / 2:.3f} of p(y | x)"


@pytest.mark.parametrize("bit", [0, 1])
def test_a_certain_pixel_costs_nothing(bit):
    """Probabilities passed for logits cannot leave [0.5, 0.73]: 0.31 nats a pixel would remain."""
    toy = Toy(1, 1, (1, 1), "none")
    density = toy.build()
    x = torch.full((1, 1, 1), bit, dtype=torch.uint8)
    fit(density, lambda: -density.log_prob(x).sum(), 60, rate=0.2)
    assert -density.log_prob(x).item() < 1e-3
