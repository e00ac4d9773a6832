"""Binarisation: `fixed-v1` as published (spec/densities.md 13), and the laws of the dynamic draw."""

import hashlib
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsight.data import binarize, images, mnist, noise

SEED = 11


def checksum(bits: np.ndarray) -> str:
    return hashlib.sha256(np.packbits(bits).tobytes()).hexdigest()


def naive_bit(word: int, pixel: int) -> int:
    """The definition, in Python's integers."""
    return int((((word >> 32) * 255) >> 32) < pixel)


def test_first_words():
    found = [int(word) for word in noise.run(np.zeros(2, np.uint64), 0, 3)]
    assert found == [0x2F4BA6408E4D89B, 0x3DD62B0B9CA8C5B2, 0x1C8667A55D902E79]


def test_the_training_file_is_the_published_draw():
    bits = np.concatenate([binarize.fixed("train"), binarize.fixed("valid")])
    assert checksum(bits) == "abf0abbb5acc5fc9584c58598ca8e763f75bfc681b32b72c6e87da98da4f205a"
    assert int(bits.sum(dtype=np.int64)) == 6_146_514
    assert int(bits[0].sum()) == 106


def test_the_test_file_is_the_published_draw():
    bits = binarize.fixed("test")
    assert checksum(bits) == "bdf505ea45ce75f8eb11be8f9c7fcc30de784398a2d90c4060b6a59bcffe892b"
    assert int(bits.sum(dtype=np.int64)) == 1_038_936
    assert int(bits[0].sum()) == 73


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_bits_go_with_the_images(split):
    """Pixel 0 is never on, 255 always; shape and order are those of `mnist`; read-only and kept."""
    bits, (pixels, _) = binarize.fixed(split), mnist(split)
    assert bits.shape == pixels.shape
    assert bits.dtype == np.uint8
    assert not bits[pixels == 0].any()
    assert bits[pixels == 255].all()
    assert not bits.flags.writeable
    assert binarize.fixed(split) is bits


@pytest.mark.parametrize(("split", "first", "index"), [("train", 0, 12_345), ("valid", 50_000, 9_999)])
def test_an_image_is_addressable(split, first, index):
    """Image i of the file starts at the counter 196 i."""
    generator = np.random.Philox(key=np.array([0, 0], np.uint64))
    generator.advance((first + index) * 196)
    pixels = mnist(split)[0][index].ravel()
    expected = [naive_bit(int(w), int(p)) for w, p in zip(generator.random_raw(784), pixels, strict=True)]
    assert binarize.fixed(split)[index].ravel().tolist() == expected


def test_other_bits_are_refused(monkeypatch):
    """A NumPy whose generator draws otherwise must not produce numbers that look comparable."""
    binarize._fixed_mnist.cache_clear()
    monkeypatch.setattr(
        noise, "run", lambda key, start, count: np.random.Philox(key=[1, 1]).random_raw(count)
    )
    with pytest.raises(
        RuntimeError, match=r"fixed-v1 bits of MNIST test: expected SHA-256 bdf505ea45ce\.\.\., found"
    ):
        binarize.fixed("test")


@pytest.mark.parametrize(("height", "width"), [(5, 7), (4, 4)])
def test_a_folder_follows_the_same_law(tmp_path, monkeypatch, height, width):
    """One long run of words in file order, for image sizes that are no multiple of four, in any chunks."""
    pixels = np.random.default_rng(0).integers(0, 256, (13, height, width), np.uint8)
    for prefix in ("train", "t10k"):
        _write(tmp_path / f"{prefix}-images-idx3-ubyte", 2051, pixels)
        _write(tmp_path / f"{prefix}-labels-idx1-ubyte", 2049, np.zeros(13, np.uint8))
    monkeypatch.setattr(binarize, "_CHUNK", 37)
    for file, splits in ((0, ("train", "valid")), (1, ("test",))):
        words = np.random.Philox(key=np.array([0, file], np.uint64)).random_raw(pixels.size)
        expected = [naive_bit(int(w), int(p)) for w, p in zip(words, pixels.ravel(), strict=True)]
        found = np.concatenate([binarize.fixed(split, tmp_path) for split in splits])
        assert found.ravel().tolist() == expected
        assert found.shape == pixels.shape
    assert len(binarize.fixed("valid", tmp_path)) == len(images(tmp_path, "valid")[0]) == 2


@given(indices=st.lists(st.integers(0, 19), max_size=6), epoch=st.integers(0, 10**6), seed=st.integers(0, 99))
def test_dynamic_bits_depend_on_seed_epoch_and_index_alone(indices, epoch, seed):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 5), np.uint8)
    chosen = np.array(indices, np.int64)
    bits = binarize.dynamic(pixels, chosen, seed=seed, epoch=epoch)
    assert bits.shape == (len(indices), 3, 5)
    assert bits.dtype == np.uint8
    everything = binarize.dynamic(pixels, np.arange(20), seed=seed, epoch=epoch)
    assert np.array_equal(bits, everything[chosen])


def test_dynamic_follows_the_integer_law():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 5), np.uint8)
    words = noise.words(noise.key(SEED, "binarize/dynamic"), np.arange(4), 15, epoch=2)
    expected = [naive_bit(int(w), int(p)) for w, p in zip(words.ravel(), pixels.ravel(), strict=True)]
    assert binarize.dynamic(pixels, np.arange(4), seed=SEED, epoch=2).ravel().tolist() == expected


def test_dynamic_is_unbiased():
    """Mean over 400 epochs = pixel / 255 for every grey level, within five standard errors."""
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    epochs = 400
    draws = [binarize.dynamic(ramp, np.array([0]), seed=SEED, epoch=epoch) for epoch in range(epochs)]
    mean, wanted = np.mean(draws, axis=0).ravel(), np.arange(256) / 255
    error = np.sqrt(wanted * (1 - wanted) / epochs)
    assert np.all(np.abs(mean - wanted) <= 5 * error)
    assert mean[0] == 0
    assert mean[255] == 1


def test_dynamic_draws_differ_by_epoch_seed_and_image():
    """Grey everywhere: about half of the bits differ between any two of them, and from the fixed draw."""
    grey = np.full((2, 28, 28), 128, np.uint8)
    draws = [
        binarize.dynamic(grey, np.array([index]), seed=seed, epoch=epoch).ravel()
        for seed, epoch, index in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    ]
    draws.append(binarize._bits(noise.run(np.zeros(2, np.uint64), 0, 784), grey[0].ravel()))
    for place, one in enumerate(draws):
        for other in draws[:place]:
            assert 0.4 < np.mean(one != other) < 0.6


def test_the_dynamic_bits_never_change():
    """Committed: the first 100 training images of MNIST, seed 0, epoch 1."""
    bits = binarize.dynamic(mnist("train")[0], np.arange(100), seed=0, epoch=1)
    assert checksum(bits) == "bcb5ac96567adf800d082fc871f2e2ef877a18d8443d94a2165e57d9a9c5ecc2"


def test_a_batch_takes_less_than_two_milliseconds():
    """64 images of 784 pixels; 0.5 ms alone on a core, the best of 20 on a shared one."""
    pixels, indices = mnist("train")[0], np.arange(0, 50_000, 800)
    durations = []
    for epoch in range(20):
        start = time.perf_counter()
        binarize.dynamic(pixels, indices, seed=0, epoch=epoch)
        durations.append(time.perf_counter() - start)
    assert min(durations) < 2e-3


def test_dynamic_refuses_floats():
    with pytest.raises(TypeError, match=r"images"):
        binarize.dynamic(np.zeros((2, 3, 3), np.float32), np.array([0]), seed=0, epoch=0)


def test_threshold():
    """On above 127; the mean over MNIST tells it apart from a Bernoulli draw."""
    assert binarize.threshold(np.array([0, 127, 128, 255], np.uint8)).tolist() == [0, 0, 1, 1]
    assert binarize.threshold(mnist("test")[0]).mean() == pytest.approx(0.1342, abs=5e-5)
    assert binarize.fixed("test").mean() == pytest.approx(0.1325, abs=5e-5)


@pytest.mark.parametrize("source", ["mnist", "."])
def test_a_wrong_split_lists_the_names(source):
    with pytest.raises(ValueError, match="split: expected one of 'train', 'valid', 'test', got 'dev'"):
        binarize.fixed("dev", source)


def _write(path: Path, magic: int, array: np.ndarray) -> None:
    path.write_bytes(struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes())
