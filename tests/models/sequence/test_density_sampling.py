"""Samples of an image density: what is given is kept, and what is drawn follows it."""

import itertools

import pytest
import torch
from scipy import stats
from torch import Tensor
from toys import prefix

from linsight.densities import Given
from linsight.models.sequence import ImageDensity


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("label", ["none", "first", "last", "both"])
@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_the_known_patches_are_kept(image_density, label: str, count: int) -> None:
    """And those after them are drawn, which here means that they differ."""
    model = image_density("mixed", label=label)
    known = torch.randint(2, (40, 4, 4), dtype=torch.uint8)
    drawn = model.sample(40, given=prefix(model, known, count), generator=_generator())
    assert drawn.dtype == torch.uint8
    assert drawn.max() <= 1
    cells, found = model.patches.to_tokens(known), model.patches.to_tokens(drawn)
    assert torch.equal(found[:, :count], cells[:, :count])
    for patch in range(count, 4):
        assert (found[:, patch] != cells[:, patch]).any()


def _strong(model: ImageDensity) -> ImageDensity:
    """Labels that matter: the start token moves every patch."""
    torch.nn.init.normal_(model.network.embedding.starts.weight, std=3.0)
    return model


def _posterior(model: ImageDensity, known: Tensor, label) -> tuple[Tensor, Tensor]:
    """All images of the known first two of four 1 x 2 patches, and their probabilities given those."""
    every = torch.tensor(list(itertools.product((0, 1), repeat=8)), dtype=torch.uint8).view(256, 2, 4)
    cells = model.patches.to_tokens(every)
    own = every[(cells[:, :2] == model.patches.to_tokens(known[None])[:, :2]).all(1)]
    with torch.no_grad():
        return own, model.log_prob(own, label=label).softmax(0)


@pytest.mark.parametrize(
    ("built", "label"), [("both", None), ("both", "first"), ("both", "last"), ("first", None), ("none", None)]
)
def test_in_painting_draws_from_the_posterior(image_density, built: str, label) -> None:
    """With y first, y is drawn given what is known; by the prior, halves of different classes would meet."""
    model = _strong(image_density(height=2, width=4, patch=(1, 2), label=built))
    for seed in range(3):
        known = torch.randint(2, (2, 4), dtype=torch.uint8)
        images, law = _posterior(model, known, label)
        number = 3000
        drawn = model.sample(
            number,
            given=prefix(model, known.expand(number, -1, -1), 2),
            label=label,
            generator=_generator(seed),
        )
        cells = model.patches.to_tokens
        same = (cells(drawn)[:, None] == cells(images)).all(-1)
        assert (same.sum(1) == 1).all()
        counts, expected = same.sum(0).double(), number * law
        common = expected >= 5
        found, cell_law = (torch.cat([p[common], p[~common].sum()[None] + 1e-9]) for p in (counts, expected))
        assert stats.chisquare(found.numpy(), cell_law.numpy()).pvalue > 1e-5


def test_the_generator_decides_the_images_alone(image_density) -> None:
    model = image_density("mixed")
    before = torch.get_rng_state()
    known = torch.zeros(5, 4, 4, dtype=torch.uint8)
    for options in (
        {},
        {"y": torch.tensor([0, 1, 2, 0, 1])},
        {"given": prefix(model, known, 2)},
        {"label": "first"},
    ):
        first, again, other = (model.sample(5, generator=_generator(seed), **options) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_may_be_learned_from(image_density) -> None:
    """They carry no mark of the mode that they were drawn in."""
    model = image_density()
    drawn = model.sample(3)
    assert not drawn.is_inference()
    model.log_prob(drawn).sum().backward()


def test_a_label_that_is_given_rules_the_image(image_density) -> None:
    """Where each label allows one image alone."""
    model = image_density(label="first")
    with torch.no_grad():
        model.network.embedding.starts.weight[:3] = 50 * torch.eye(3, 8, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    drawn = model.sample(6, y, temperature=1e-3, generator=_generator())
    assert torch.equal(drawn[:3], drawn[3:])
    assert len({tuple(image.flatten().tolist()) for image in drawn}) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature: expected a number above 0, got 0.0"),
        (
            {"given": Given(torch.zeros(1, 4, 4), torch.ones(4, 4).bool())},
            "given.images: expected 2 images, as many as are drawn, got 1",
        ),
        (
            {"given": Given(torch.zeros(2, 4, 4), torch.ones(4, 4))},
            r"given.mask: expected bool of shape \(4, 4\), got torch.float32 of \(4, 4\)",
        ),
        (
            {"y": torch.tensor([0, 1]), "label": "last"},
            "label: expected 'first' or None where y is given, got 'last'",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(list(value)),
)
def test_what_cannot_be_drawn_is_refused(image_density, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_density().sample(2, **options)
