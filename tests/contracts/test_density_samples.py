"""Samples of image densities against the enumerated law, by chi-square (spec/densities.md, 9 and 11)."""

import math

import pytest
import torch
from toys import CLASSES, PIXEL_TOYS, PRIOR, Toy, chi_square, lawful, prefix

from linsight.densities import Given

NUMBER = 10_000
TOYS = [
    Toy(2, 4, (1, 1), "none"),
    Toy(2, 4, (1, 2), "first"),
    Toy(2, 4, (2, 2), "last"),
    Toy(2, 4, (1, 1), "both"),
    Toy(2, 4, (2, 2), "both", "softmax"),
    Toy(3, 4, (3, 2), "both"),
    *(toy for toy in PIXEL_TOYS if toy.height == 2),
]


@pytest.fixture(params=TOYS, ids=str)
def toy(request) -> Toy:
    return request.param


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def places(toy: Toy) -> list[dict[str, str]]:
    return [{} if place is None else {"label": place} for place in toy.places]


def test_samples_follow_the_density(toy):
    density = toy.trained()
    for place in places(toy):
        samples = density.sample(NUMBER, generator=seeded(), **place)
        assert samples.shape == (NUMBER, toy.height, toy.width)
        assert samples.dtype == torch.uint8
        assert chi_square(samples, density.log_prob(toy.images, **place), toy.images) > 1e-4, place


def test_samples_of_a_class_follow_its_conditional(toy):
    if toy.label not in ("first", "both"):
        pytest.skip("y does not stand first")
    density = toy.trained()
    labels = torch.arange(CLASSES).repeat_interleave(NUMBER)
    samples = density.sample(len(labels), labels, generator=seeded())
    for y in range(CLASSES):
        log_p = density.log_prob_given(toy.images, torch.full((len(toy.images),), y))
        assert chi_square(samples[labels == y], log_p, toy.images) > 1e-4, f"class {y}"


def test_the_chi_square_test_can_fail(toy):
    """Samples of the trained density are not samples of the untrained one."""
    samples = toy.trained().sample(NUMBER, generator=seeded())
    assert chi_square(samples, toy.build().log_prob(toy.images).detach(), toy.images) < 1e-4


@pytest.mark.parametrize("count", [1, 2])
def test_a_known_prefix_is_kept_and_the_rest_follows_the_posterior(toy, count):
    """Exact in-painting. With y first the label must be drawn given the known patches, not from the prior."""
    density = toy.trained()
    seen = density.order[: count * density.cell_pixels]
    known = lawful(toy.height, toy.width, 1)[0]
    given = prefix(density, known.expand(NUMBER, -1, -1), count)
    density = density.knowing(given.mask)
    matching = (toy.images.flatten(1)[:, seen] == known.flatten(1)[:, seen]).all(1)
    images = toy.images[matching]
    for place in places(toy):
        samples = density.sample(NUMBER, generator=seeded(), given=given, **place)
        assert (samples.flatten(1)[:, seen] == known.flatten(1)[:, seen]).all()
        log_p = density.log_prob(images, **place)
        if len(images) > 1:
            assert chi_square(samples, log_p - log_p.logsumexp(0), images) > 1e-4, place


def test_a_known_prefix_with_a_label_follows_its_posterior(toy):
    if toy.label not in ("first", "both"):
        pytest.skip("y does not stand first")
    density = toy.trained()
    seen = density.order[: math.prod(toy.patch)]
    known = toy.images[-1:]
    images = toy.images[(toy.images.flatten(1)[:, seen] == known.flatten(1)[:, seen]).all(1)]
    given = prefix(density, known.expand(NUMBER, -1, -1), 1)
    density = density.knowing(given.mask)
    for y in range(CLASSES):
        labels = torch.full((NUMBER,), y)
        samples = density.sample(NUMBER, labels, generator=seeded(), given=given)
        log_p = density.log_prob_given(images, torch.full((len(images),), y))
        assert chi_square(samples, log_p - log_p.logsumexp(0), images) > 1e-4


def test_what_follows_the_known_patches_in_the_given_images_does_not_matter(toy):
    density = toy.trained()
    known = toy.images[:1].expand(64, -1, -1).clone()
    other = known.flatten(1).clone()
    other[:, density.order[math.prod(toy.patch) :]] ^= 1
    mask = prefix(density, known, 1).mask
    density = density.knowing(mask)
    samples = [
        density.sample(64, generator=seeded(), given=Given(images, mask))
        for images in (known, other.reshape(known.shape))
    ]
    assert torch.equal(*samples)


def test_all_patches_known_returns_the_images(toy):
    density = toy.trained()
    known = toy.images[:16]
    patches = toy.height * toy.width // math.prod(toy.patch)
    assert torch.equal(density.sample(16, generator=seeded(), given=prefix(density, known, patches)), known)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_the_logits(temperature):
    toy = Toy(2, 4, (1, 1), "none")
    density = toy.trained()
    logits = density.token_logits(toy.images) / temperature
    tokens = toy.images.flatten(1).long()[..., None]
    log_q = logits.log_softmax(-1).gather(-1, tokens).sum((1, 2))
    samples = density.sample(NUMBER, generator=seeded(), temperature=temperature)
    assert chi_square(samples, log_q, toy.images) > 1e-4
    assert chi_square(samples, density.log_prob(toy.images), toy.images) < 1e-4


def test_a_generator_fixes_the_samples(toy):
    density = toy.trained()
    first, second, third = (density.sample(50, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_labels_drawn_first_have_the_prior(toy):
    """The classes of unconditional samples, by Bayes, average to the prior where the model is consistent."""
    if toy.label != "first":
        pytest.skip("y stands last or nowhere")
    density = toy.trained()
    samples = density.sample(NUMBER, generator=seeded())
    found = density.class_log_prob(samples).exp().mean(0)
    assert (found - PRIOR / PRIOR.sum()).abs().max() < 0.02
