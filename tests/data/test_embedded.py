"""The embedded files: what they hold is proven at each first reading, and damage is refused by name."""

import hashlib
import lzma
import time
from pathlib import Path

import pytest

from linsight.data import embedded, mnist, shakespeare


@pytest.fixture
def fresh():
    """Forget what was read, before and after."""
    embedded._read.cache_clear()
    yield
    embedded._read.cache_clear()


@pytest.mark.parametrize("name", list(embedded.FILES))
def test_content_is_the_published_one(name):
    content = embedded.read(name)
    assert len(content) == embedded.FILES[name].size
    assert hashlib.sha256(content).hexdigest() == embedded.FILES[name].sha256


def test_every_file_is_listed_and_small():
    """No stray file ships, and all of them leave the wheel under 20 MB."""
    found = {path.name: path.stat().st_size for path in embedded.FOLDER.iterdir()}
    assert set(found) == set(embedded.FILES)
    assert sum(found.values()) < 11e6


def test_every_file_has_its_licence():
    text = (Path(__file__).parents[2] / "LICENSE-DATA").read_text()
    for name, file in embedded.FILES.items():
        assert f"\n{name}\n" in text
        assert file.sha256 in text


def test_mnist_loads_fast_and_once(fresh):
    """0.8 s of process time alone on a core, checksum included; twice that beside other processes."""
    start = time.process_time()
    mnist("train")
    first = time.process_time() - start
    mnist("test")
    assert first < 1.6
    assert time.process_time() - start - first < 0.05, "the second reading is cached"


def test_a_flipped_byte_is_refused(tmp_path):
    """Anywhere in the file: header, middle, end."""
    packed = (embedded.FOLDER / "shakespeare.xz").read_bytes()
    for number, place in enumerate((8, len(packed) // 2, len(packed) - 3)):
        folder = tmp_path / str(number)
        folder.mkdir()
        damaged = bytearray(packed)
        damaged[place] ^= 0x10
        (folder / "shakespeare.xz").write_bytes(damaged)
        with pytest.raises(
            RuntimeError, match=r"shakespeare.xz: damaged data file: expected SHA-256 83c10dc826ec"
        ):
            shakespeare("test", folder=folder)


def test_a_truncated_file_is_refused(tmp_path):
    packed = (embedded.FOLDER / "mnist.xz").read_bytes()
    (tmp_path / "mnist.xz").write_bytes(packed[: len(packed) // 8])
    with pytest.raises(RuntimeError, match=r"mnist.xz: damaged.*06b0d1f124c4.*do not decompress"):
        mnist("test", folder=tmp_path)


def test_an_intact_file_of_other_content_is_refused_with_both_checksums(tmp_path):
    content = bytearray(embedded.read("shakespeare.xz"))
    content[-2] ^= 1
    (tmp_path / "shakespeare.xz").write_bytes(lzma.compress(bytes(content), preset=0))
    found = hashlib.sha256(content).hexdigest()[:12]
    with pytest.raises(RuntimeError, match=rf"expected SHA-256 83c10dc826ec\.\.\., found {found}"):
        shakespeare("train", folder=tmp_path)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"mnist.xz: this data file is missing.*wheel built without data.*--data"
    ):
        mnist("train", folder=tmp_path)


def test_an_intact_copy_elsewhere_is_read(tmp_path):
    (tmp_path / "shakespeare.xz").write_bytes((embedded.FOLDER / "shakespeare.xz").read_bytes())
    assert shakespeare("valid", folder=str(tmp_path)) == shakespeare("valid")


def test_unknown_name():
    with pytest.raises(
        ValueError, match=r"name: expected one of mnist.xz, shakespeare.xz, textures.xz, got 'cifar.xz'"
    ):
        embedded.read("cifar.xz")
