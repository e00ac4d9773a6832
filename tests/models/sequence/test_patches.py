"""Images and tokens are two spellings of the same bits."""

import numpy as np
import pytest
import torch
from torch import Tensor

from linsight.models.sequence.patches import Patches

CUTS = [(4, 6, 2, 3), (3, 4, 1, 1), (2, 4, 2, 4), (6, 2, 3, 1)]


def _by_loops(x: Tensor, rows: int, columns: int) -> list[list[int]]:
    """Patch by patch in raster order; pixel i of a patch, row by row, counts 2^i."""
    tokens = []
    for image in x.tolist():
        found = []
        for top in range(0, len(image), rows):
            for left in range(0, len(image[0]), columns):
                bits = [image[top + r][left + c] for r in range(rows) for c in range(columns)]
                found.append(sum(int(bit) << i for i, bit in enumerate(bits)))
        tokens.append(found)
    return tokens


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float32], ids=str)
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_tokens_are_the_bits_of_patches_in_raster_order(cut, dtype: torch.dtype) -> None:
    patches = Patches(*cut)
    x = torch.randint(2, (5, *cut[:2])).to(dtype)
    tokens = patches.to_tokens(x)
    assert tokens.tolist() == _by_loops(x, *cut[2:])
    assert tokens.shape == (5, patches.number)
    assert torch.equal(patches.to_images(tokens), x.to(torch.uint8))


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_every_token_has_its_image(cut) -> None:
    patches = Patches(*cut)
    tokens = torch.randint(patches.vocabulary, (7, patches.number))
    tokens[0], tokens[1] = 0, patches.vocabulary - 1
    images = patches.to_images(tokens)
    assert images.dtype == torch.uint8
    assert torch.equal(patches.to_tokens(images), tokens)
    assert images[0].sum() == 0
    assert images[1].min() == 1


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_the_features_of_a_token_are_its_pixels_as_signs(cut) -> None:
    patches = Patches(*cut)
    assert patches.pixels.shape == (patches.vocabulary, cut[2] * cut[3])
    x = torch.randint(2, (4, *cut[:2]))
    features = patches.pixels[patches.to_tokens(x)].flatten(1)
    assert torch.equal(features, 2.0 * x.flatten(1)[:, patches.order] - 1)


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_order_is_the_permutation_by_which_pixels_become_tokens(cut) -> None:
    """Turning pixel order[i] over changes token i // n alone, by 2^(i mod n)."""
    patches = Patches(*cut)
    order, size = patches.order, cut[2] * cut[3]
    assert sorted(order.tolist()) == list(range(cut[0] * cut[1]))
    x = torch.zeros(1, *cut[:2], dtype=torch.uint8)
    for step, pixel in enumerate(order.tolist()):
        turned = x.clone()
        turned.view(-1)[pixel] = 1
        expected = np.zeros(patches.number, dtype=int)
        expected[step // size] = 2 ** (step % size)
        assert patches.to_tokens(turned)[0].tolist() == expected.tolist()
