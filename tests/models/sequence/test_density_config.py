"""What an image density refuses to be built of, and to be asked."""

import pytest
import torch

from linsight.models.sequence import ImageDensityConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 27}, "patch: height 27 is not divisible by 2"),
        ({"width": 30}, "patch: width 30 is not divisible by 4"),
        ({"height": 0}, "height: expected at least 1, got 0"),
        ({"patch": (0, 4)}, "patch: height 28 is not divisible by 0"),
        (
            {"patch": (4, 4)},
            r"patch: expected at most 12 pixels, which make a vocabulary of 4096, got \(4, 4\)",
        ),
        (
            {"neighbours": ()},
            "neighbours: expected at least one, without which no cell is ever read, got none",
        ),
        ({"classes": 0}, "classes: expected at least 1 with label 'both', got 0"),
        ({"classes": -1, "label": "last"}, "classes: expected at least 1 with label 'last', got -1"),
    ],
    ids=str,
)
def test_images_that_cannot_be_cut_or_labelled_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageDensityConfig(**options)


def test_the_default_cuts_mnist_into_98_bytes() -> None:
    patches = ImageDensityConfig().build().patches
    assert (patches.number, patches.vocabulary) == (98, 256)


def test_classes_count_for_nothing_without_labels() -> None:
    for classes in (0, 10):
        model = ImageDensityConfig(label="none", classes=classes).build()
        assert model.classes == 0
        assert model.places == ()


@pytest.mark.parametrize("neighbours", [((0, 1),), ((1, 0),)], ids=str)
def test_neighbours_that_are_not_known_yet_are_refused(neighbours) -> None:
    with pytest.raises(ValueError, match="neighbours: expected"):
        ImageDensityConfig(neighbours=neighbours).build()


def test_logits_of_a_factorisation_that_was_not_built_are_refused(image_density) -> None:
    x, y = torch.zeros(1, 4, 4), torch.tensor([0])
    with pytest.raises(ValueError, match="this density was built with label 'last', so y cannot stand first"):
        image_density(label="last").token_logits(x, y)
    with pytest.raises(ValueError, match="this density was built with label 'first', so y cannot stand last"):
        image_density(label="first").token_logits(x)
    with pytest.raises(ValueError, match="y: this density was built without labels"):
        image_density(label="none").token_logits(x, y)
    with pytest.raises(ValueError, match="x: expected pixels 0 and 1"):
        image_density().token_logits(x + 2)


def test_a_prior_of_another_number_of_labels_is_refused(image_density) -> None:
    for counts in ([1, 2], [1], [0, 0, 0], [3, -1, 2]):
        with pytest.raises(ValueError, match="counts: expected 3 numbers of labels, not all 0, got"):
            image_density().fit_prior(torch.tensor(counts))


def test_a_joint_law_of_a_density_without_labels_is_refused(image_density) -> None:
    with pytest.raises(ValueError, match=r"this density was built without labels: there is no p\(x, y\)"):
        image_density(label="none").joint(torch.zeros(1, 4, 4))
