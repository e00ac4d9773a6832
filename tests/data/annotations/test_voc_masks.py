"""VOC's segmentation pictures: numbers of a palette, back as they were; damage is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linsight.data.annotations import read_voc_mask, write_voc_mask
from linsight.data.annotations.voc_masks import voc_palette
from linsight.data.scenes import Scenes


def test_numbers_come_back_and_have_vocs_colours(tmp_path: Path) -> None:
    (scene,) = Scenes(border=True).scenes("train", np.arange(1))
    write_voc_mask(scene.semantic, tmp_path / "a.png")
    assert (read_voc_mask(tmp_path / "a.png") == scene.semantic).all()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"
        shown = np.asarray(picture.convert("RGB"))
    assert (shown == voc_palette()[scene.semantic]).all()


def test_the_palette_is_vocs() -> None:
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        3: (128, 128, 0),
        4: (0, 0, 128),
        8: (64, 0, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    assert {number: tuple(voc_palette()[number].tolist()) for number in known} == known


def test_grey_pictures_are_their_values(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert (read_voc_mask(tmp_path / "a.png") == values).all()


def test_pictures_that_are_no_masks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_voc_mask(path)
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(path)
    with pytest.raises(ValueError, match="expected a PNG with a palette, or a grey one, got mode RGB"):
        read_voc_mask(path)
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(path, "bmp")
    with pytest.raises(ValueError, match="cannot be read as PNG"):
        read_voc_mask(path)
    write_voc_mask(np.zeros((30, 40), np.uint8), path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="expected at most 89 million pixels, got more"):
        read_voc_mask(path)


def test_damaged_pictures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    random = np.random.default_rng(0)
    numbers = random.integers(0, 256, (20, 30)).astype(np.uint8)
    write_voc_mask(numbers, path)
    whole = path.read_bytes()
    refused = 0
    for _ in range(150):
        raw = bytearray(whole)
        place = int(random.integers(len(raw)))
        if random.random() < 0.5:
            raw[place] ^= int(random.integers(1, 256))
        else:
            del raw[place : place + int(random.integers(1, 60))]
        path.write_bytes(raw)
        try:
            read_voc_mask(path)
        except ValueError as error:
            refused += str(error).startswith(str(path))
    assert refused > 100
