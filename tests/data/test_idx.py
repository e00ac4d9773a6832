"""The IDX reader refuses every file whose header and content disagree, and says how."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsight.data import idx

PIXELS = bytes(range(24))


def header(*words: int) -> bytes:
    return struct.pack(f">{len(words)}I", *words)


GOOD = header(2051, 2, 3, 4) + PIXELS


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_images_are_read_in_file_order(tmp_path, pack):
    """Gzip is known by its content, whatever the name."""
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(pack(GOOD))
    found = idx.read_images(path)
    assert found.tolist() == np.arange(24).reshape(2, 3, 4).tolist()
    assert not found.flags.writeable


def test_labels_are_read(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(header(2049, 3) + b"\x07\x00\xff")
    assert idx.read_labels(path).tolist() == [7, 0, 255]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an IDX header of 16 bytes, found 0 bytes"),
        (GOOD[:15], "expected an IDX header of 16 bytes, found 15 bytes"),
        (header(2049, 2, 3, 4) + PIXELS, r"expected the IDX magic number 2051 \(images\), found 2049"),
        (struct.pack("<4I", 2051, 2, 3, 4) + PIXELS, "magic number 2051"),
        (GOOD[:-1], "header says count 2 x height 3 x width 4, that is 24 bytes, but 23 bytes follow"),
        (GOOD + b"\0", "24 bytes, but 25 bytes follow"),
        (header(2051, 2**32 - 1, 2**32 - 1, 2**32 - 1) + PIXELS, "but 24 bytes follow"),
        (header(2051, 0, 3, 4), "expected at least one of each axis, found a header with count 0"),
        (gzip.compress(GOOD)[:-9], "damaged gzip file"),
        (gzip.compress(GOOD)[:10] + b"\xff" * 20, "damaged gzip file"),
        (gzip.compress(GOOD)[:-8] + bytes(8), "damaged gzip file"),
    ],
    ids=[
        "empty",
        "header cut",
        "labels",
        "little-endian",
        "cut",
        "too long",
        "huge",
        "no image",
        "gzip cut",
        "gzip damaged",
        "gzip checksum",
    ],
)
def test_damaged_images(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match=rf"train-images-idx3-ubyte: .*{message}"):
        idx.read_images(path)


def test_label_file_with_the_images_magic(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(header(2051, 24) + PIXELS)
    with pytest.raises(
        RuntimeError, match=r"labels: expected the IDX magic number 2049 \(labels\), found 2051"
    ):
        idx.read_labels(path)


def test_counts_must_agree(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(GOOD)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(header(2049, 3) + b"abc")
    with pytest.raises(
        RuntimeError, match=r"labels-idx1-ubyte: holds 3 labels, but train-images.* holds 2 images"
    ):
        idx.read_folder(tmp_path, "train")


@pytest.mark.parametrize("suffix", ["images-idx3-ubyte", "images.idx3-ubyte", "images-idx3-ubyte.gz"])
def test_names_in_use(tmp_path, suffix):
    (tmp_path / f"t10k-{suffix}").write_bytes(gzip.compress(GOOD) if suffix.endswith("gz") else GOOD)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(header(2049, 2) + b"ab")
    assert len(idx.read_folder(tmp_path, "test")[0]) == 2


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the IDX file t10k-images-idx3-ubyte"):
        idx.read_folder(tmp_path, "test")
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(GOOD)
    with pytest.raises(FileNotFoundError, match="expected the IDX file t10k-labels-idx1-ubyte"):
        idx.read_folder(tmp_path, "test")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        idx.read_folder(tmp_path / "nowhere", "test")
    with pytest.raises(ValueError, match="file: expected 'train' or 'test', got 'valid'"):
        idx.read_folder(tmp_path, "valid")


@given(content=st.binary(max_size=40), place=st.integers(0, 39), byte=st.integers(0, 255))
def test_any_bytes_are_read_exactly_or_refused(tmp_path_factory, content, place, byte):
    """Random bytes and single-byte damage: either RuntimeError, or an array that is the file's own tail."""
    path = tmp_path_factory.getbasetemp() / "fuzz"
    damaged = bytearray(GOOD)
    damaged[place] = byte
    for candidate in (content, bytes(damaged)):
        path.write_bytes(candidate)
        try:
            found = idx.read_images(path)
        except RuntimeError:
            continue
        assert found.tobytes() == candidate[16:]
