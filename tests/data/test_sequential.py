"""The split of MNIST for classification and the permutation of pMNIST (spec/data.md 4)."""

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from linsight.data import mnist
from linsight.data.sequential import PERMUTATION, classified, permutation


def _write(folder: Path, number: int) -> None:
    for name in ("train", "t10k"):
        for file, magic, array in (
            (f"{name}-images-idx3-ubyte", 2051, np.zeros((number, 2, 2), np.uint8)),
            (f"{name}-labels-idx1-ubyte", 2049, np.arange(number, dtype=np.uint8)),
        ):
            header = struct.pack(f">{1 + array.ndim}I", magic, *array.shape)
            (folder / file).write_bytes(header + array.tobytes())


def test_the_splits_are_55_5_and_10_thousand_in_the_files_order() -> None:
    first, last = mnist("train"), mnist("valid")
    for part in (0, 1):
        whole = np.concatenate([first[part], last[part]])
        assert (classified("train")[part] == whole[:55_000]).all()
        assert (classified("valid")[part] == whole[55_000:]).all()
        assert (classified("test")[part] == mnist("test")[part]).all()
    assert not classified("train")[0].flags.writeable


def test_a_folders_validation_split_is_the_last_twelfth_of_its_training_file(tmp_path: Path) -> None:
    _write(tmp_path, 30)
    assert classified("train", tmp_path)[1].tolist() == list(range(28))
    assert classified("valid", tmp_path)[1].tolist() == [28, 29]
    assert len(classified("test", tmp_path)[1]) == 30


def test_a_training_file_without_a_twelfth_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, 11)
    with pytest.raises(ValueError, match=r"source: the training file holds 11 examples, .* use at least 12"):
        classified("train", tmp_path)


def test_another_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split: expected one of 'train', 'valid', 'test', got 'dev'"):
        classified("dev")


def test_the_permutation_is_the_published_one() -> None:
    assert PERMUTATION == "pmnist-v1"
    found = permutation()
    assert found[:8].tolist() == [300, 40, 613, 417, 681, 200, 537, 6]
    assert sorted(found.tolist()) == list(range(784))
    digest = hashlib.sha256(found.astype("<u2").tobytes()).hexdigest()
    assert digest == "8a444ca3def6368cd8fbafc6b2ba587474b239dec08522c2430b6229059f2fea"
