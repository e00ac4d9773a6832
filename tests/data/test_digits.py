"""MNIST's facts (spec/data.md 2.1), its splits, and the same view of a folder of IDX files."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from linsight.data import images, mnist
from linsight.data.digits import labelled_file

CLASS_COUNTS = {
    "train": [4932, 5678, 4968, 5101, 4859, 4506, 4951, 5175, 4842, 4988],
    "valid": [991, 1064, 990, 1030, 983, 915, 967, 1090, 1009, 961],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}
PAYLOADS = {
    "train": (
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    ),
    "test": (
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    ),
}


def write_idx(folder: Path, prefix: str, pixels: np.ndarray, labels: np.ndarray, *, packed: bool = False):
    """The two IDX files of one half of a data set."""
    for name, magic, array in (
        (f"{prefix}-images-idx3-ubyte", 2051, pixels),
        (f"{prefix}-labels-idx1-ubyte", 2049, labels),
    ):
        content = struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes()
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("split", CLASS_COUNTS)
def test_class_counts(split):
    pixels, labels = mnist(split)
    assert pixels.shape == ({"train": 50_000}.get(split, 10_000), 28, 28)
    assert pixels.dtype == labels.dtype == np.uint8
    assert np.bincount(labels, minlength=10).tolist() == CLASS_COUNTS[split]


def test_first_labels():
    assert mnist("train")[1][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist("test")[1][:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


@pytest.mark.parametrize("file", PAYLOADS)
def test_whole_files_are_the_original_payloads(file):
    found = tuple(hashlib.sha256(part.tobytes()).hexdigest() for part in labelled_file("mnist", file))
    assert found == PAYLOADS[file]


def test_train_and_valid_are_the_training_file_in_order():
    whole, labels = labelled_file("mnist", "train")
    assert np.array_equal(np.concatenate([mnist("train")[0], mnist("valid")[0]]), whole)
    assert np.array_equal(np.concatenate([mnist("train")[1], mnist("valid")[1]]), labels)


@pytest.mark.parametrize("part", [0, 1])
def test_arrays_are_read_only(part):
    array = mnist("valid")[part]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


@pytest.mark.parametrize("call", [mnist, lambda split: images("mnist", split)])
def test_a_wrong_split_lists_the_names(call):
    with pytest.raises(ValueError, match=r"split: expected one of 'train', 'valid', 'test', got 'training'"):
        call("training")


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_reads_as_mnist_does(tmp_path, packed):
    """Any size; the validation split is the last sixth, rounded down."""
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (20, 5, 7), np.uint8)
    labels = random.integers(0, 10, 20, np.uint8)
    write_idx(tmp_path, "train", pixels, labels, packed=packed)
    write_idx(tmp_path, "t10k", pixels[:4], labels[:4], packed=packed)
    for split, part in {"train": slice(0, 17), "valid": slice(17, 20), "test": slice(0, 4)}.items():
        found, classes = images(tmp_path, split)
        assert np.array_equal(found, pixels[part])
        assert np.array_equal(classes, labels[part])
        assert not found.flags.writeable


def test_mnist_written_as_a_folder_reads_equal(tmp_path):
    """The user's copy of MNIST and the embedded one are the same data, split the same way."""
    write_idx(tmp_path, "train", *labelled_file("mnist", "train"))
    for split in ("train", "valid"):
        for ours, theirs in zip(mnist(split), images(str(tmp_path), split), strict=True):
            assert np.array_equal(ours, theirs)


def test_source_is_no_folder(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"source: expected 'mnist' or a folder of IDX files, got 'minst'"
    ):
        images("minst", "train")
    with pytest.raises(
        FileNotFoundError, match=r"expected the IDX file train-images-idx3-ubyte \(or .*\.gz\)"
    ):
        images(tmp_path, "train")


def test_a_folder_too_small_to_split(tmp_path):
    write_idx(tmp_path, "train", np.zeros((5, 2, 2), np.uint8), np.zeros(5, np.uint8))
    with pytest.raises(ValueError, match=r"training file holds 5 examples.*use at least 6"):
        images(tmp_path, "valid")
