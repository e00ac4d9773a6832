"""Compression: what comes out is what went in, for the bits of the density, or a sentence says why not."""

import contextlib
import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from toys import PIXEL_TOYS, Toy, every_image

from linsight.tasks.generate.compression import Archive, compress, decompress, png_bytes, xz_bytes
from linsight.tasks.generate.compression.coder import decode, encode

TOYS = [
    *PIXEL_TOYS,
    *(Toy(2, 4, (1, 1), label) for label in ("none", "first", "last", "both")),
    Toy(3, 4, (3, 2), "first"),
    Toy(2, 4, (2, 2), "none", "softmax"),
]
DENSITY, IMAGES = Toy(3, 4, (1, 1), "both"), every_image(3, 4)[7::63]


def single(toy: Toy):
    """The trained density as runs have it: float32."""
    return copy.deepcopy(toy.trained()).float()


def sample(toy: Toy, number: int) -> torch.Tensor:
    return toy.trained().sample(number, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("toy", TOYS, ids=str)
def test_every_density_gives_back_what_it_was_given(toy):
    """Causality, normalisation and the stepwise form at once: 64 images and a batch that is not full."""
    density, images = single(toy), every_image(toy.height, toy.width)[torch.arange(64) * 3]
    content, ledger = compress(density, images, model="m", batch=24)
    archive = Archive.from_bytes(content, where="f")
    assert torch.equal(decompress(density, archive, model="m", where="f"), images)
    assert ledger.images == 64
    assert ledger.file_bytes == len(content)
    assert ledger.model_bits - 64 <= ledger.coded_bits <= 1.005 * ledger.model_bits + 256


@pytest.mark.parametrize("toy", [toy for toy in TOYS if toy.label != "both"], ids=str)
def test_the_bits_are_those_of_p_of_x(toy):
    """With y first p(x) is a sum over labels, and so is what the coder is told, cell by cell."""
    density, images = toy.trained(), sample(toy, 40)
    found = encode(density, images, 16)[1]
    assert found == pytest.approx(-density.log_prob(images).sum().item() / math.log(2), rel=1e-9)


def test_many_images_cost_little_more_than_their_entropy():
    """The range coder's own cost: below 0.2 % over the 20,000 bits of the model."""
    toy = TOYS[4]
    _, ledger = compress(single(toy), sample(toy, 3000), model="m", batch=1000)
    assert 0 <= ledger.overhead < 0.002


def test_all_images_alike_leave_bits_for_none():
    """What the model is nearly sure of costs nearly nothing; xz and PNG know nothing of the images."""
    images = torch.zeros(500, 28, 28, dtype=torch.uint8)
    images[:, 5:9, 5:9] = 1
    assert 0 < xz_bytes(images) < 500 * 98
    assert 0 < png_bytes(images) < 500 * 98


def test_words_of_other_probabilities_are_found_out():
    """A weight changed in its last bits, the names left: the checks of the images tell."""
    density, images = single(DENSITY), IMAGES
    archive = Archive.from_bytes(compress(density, images, model="m")[0], where="f")
    words = encode(density, images.flip(0), 65)[0]
    with pytest.raises(RuntimeError, match=r"f: image 0 comes out otherwise than it went in"):
        decompress(density, dataclasses.replace(archive, words=words), model="m", where="f")


def test_a_machine_that_rounds_otherwise_is_refused():
    """As much as one last bit of one weight moves the probabilities, and so their digest."""
    density = single(DENSITY)
    archive = Archive.from_bytes(compress(density, IMAGES, model="m")[0], where="f")
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.copy_(torch.nextafter(parameter, parameter + 1))
    with pytest.raises(RuntimeError, match=r"f: compressed on torch .*; this is torch .*, which rounds"):
        decompress(density, archive, model="m", where="f")


def test_another_batch_walks_another_way():
    """Why the batch stands in the header: images are coded cell by cell across a batch."""
    density = single(DENSITY)
    words = encode(density, IMAGES, 20)[0]
    assert torch.equal(decode(density, words, len(IMAGES), 20), IMAGES)
    with contextlib.suppress(RuntimeError):  # as likely as other images: words that no image can have
        assert not torch.equal(decode(density, words, len(IMAGES), 30), IMAGES)


def test_another_model_is_refused():
    content, _ = compress(single(DENSITY), IMAGES, model="one")
    archive = Archive.from_bytes(content, where="f")
    with pytest.raises(ValueError, match=r"f: compressed by the model one, which is not this run's, two"):
        decompress(single(DENSITY), archive, model="two", where="f")


def test_every_altered_byte_and_every_missing_one_is_noticed():
    content, _ = compress(single(DENSITY), IMAGES[:3], model="m")
    random = np.random.default_rng(0)
    for place in range(len(content)):
        altered = bytearray(content)
        altered[place] ^= int(random.integers(1, 256))
        with pytest.raises((ValueError, RuntimeError), match=r"f: (expected a file|written by|truncated)"):
            Archive.from_bytes(bytes(altered), where="f")
        with pytest.raises((ValueError, RuntimeError), match=r"f: (expected a file|written by|truncated)"):
            Archive.from_bytes(content[:place], where="f")


def test_what_cannot_be_compressed_is_refused():
    density = single(DENSITY)
    with pytest.raises(ValueError, match=r"images: expected shape .*height 3, width 4.*, got \(2, 4, 3\)"):
        compress(density, torch.zeros(2, 4, 3, dtype=torch.uint8), model="m")
    with pytest.raises(ValueError, match="images: expected pixels 0 and 1"):
        compress(density, torch.full((2, 3, 4), 7, dtype=torch.uint8), model="m")
    with pytest.raises(ValueError, match="images: expected at least 1, got none"):
        compress(density, IMAGES[:0], model="m")
    with pytest.raises(ValueError, match="batch: expected at least 1, got 0"):
        compress(density, IMAGES, model="m", batch=0)


def test_the_number_of_threads_is_given_back():
    before = torch.get_num_threads()
    encode(single(DENSITY), IMAGES, 10)
    assert torch.get_num_threads() == before
