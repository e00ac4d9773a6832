"""Binary images as files: what is written is read again, and what is none is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linsight.data import Bitmaps, bitmap_files, read_bitmaps

IMAGES = np.random.default_rng(0).integers(0, 2, (12, 5, 9), dtype=np.uint8)


def write(bitmaps: Bitmaps, out: Path) -> None:
    for path, content in bitmap_files(bitmaps, out).items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("name", ["images.npz", "folder"])
def test_images_without_names_come_back_in_their_order(name, tmp_path):
    """Twelve of them: files are read by name, so that the numbers need leading zeros."""
    write(Bitmaps(IMAGES, ()), tmp_path / name)
    np.testing.assert_array_equal(read_bitmaps(tmp_path / name).images, IMAGES)


def test_pictures_keep_their_names(tmp_path):
    write(Bitmaps(IMAGES[:2], ("a.png", "b c.png")), tmp_path / "folder")
    found = read_bitmaps(tmp_path / "folder")
    assert found.names == ("a.png", "b c.png")
    np.testing.assert_array_equal(found.images, IMAGES[:2])


def test_one_picture_is_one_image(tmp_path):
    write(Bitmaps(IMAGES[:1], ()), tmp_path / "one.png")
    found = read_bitmaps(tmp_path / "one.png")
    assert found.names == ("one.png",)
    np.testing.assert_array_equal(found.images, IMAGES[:1])


def test_black_and_white_of_eight_bits_or_of_colours_is_binary_too(tmp_path):
    for mode in ("L", "RGB", "1"):
        Image.fromarray(IMAGES[0] * 255).convert(mode).save(tmp_path / "x.png")
        np.testing.assert_array_equal(read_bitmaps(tmp_path / "x.png").images[0], IMAGES[0])


def test_an_array_of_any_name_and_type_that_is_alone_will_do(tmp_path):
    for dtype in (bool, np.int64, np.float32):
        np.savez(tmp_path / "x.npz", IMAGES.astype(dtype))
        np.testing.assert_array_equal(read_bitmaps(tmp_path / "x.npz").images, IMAGES)


def test_what_are_no_binary_images_is_refused(tmp_path):
    def refused(name: str, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            read_bitmaps(tmp_path / name)

    (tmp_path / "empty").mkdir()
    refused("empty", r"expected a folder with \.png files, found none")
    np.savez(tmp_path / "grey.npz", IMAGES * 90)
    refused("grey.npz", "expected pixels 0 and 1, got values from 0 to 90; binarise")
    np.savez(tmp_path / "flat.npz", IMAGES[0])
    refused("flat.npz", r"expected images \(number, height, width\), got shape \(5, 9\)")
    np.savez(tmp_path / "two.npz", a=IMAGES, b=IMAGES)
    refused("two.npz", "expected an array called images, got a, b")
    for name in ("torn.npz", "torn.png"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        refused(name, f"{name}: cannot be read as")
    Image.fromarray(IMAGES[0] * 90).save(tmp_path / "grey.png")
    refused("grey.png", "expected black and white pixels alone, got grey")
    (tmp_path / "x.jpg").write_bytes(b"")
    refused("x.jpg", r"expected a \.npz, a \.png, or a folder")
    write(Bitmaps(IMAGES[:1], ("a.png",)), tmp_path / "mixed")
    Image.fromarray(IMAGES[0, :4] * 255).save(tmp_path / "mixed" / "b.png")
    refused("mixed", r"b\.png: expected 5 x 9 pixels, as a\.png has, got 4 x 9")
    with pytest.raises(FileNotFoundError, match="there are no images"):
        read_bitmaps(tmp_path / "missing.npz")


def test_no_file_is_written_elsewhere_than_asked_for(tmp_path):
    """Names come out of files that anybody may have made."""
    for name in ("../a.png", "/etc/a.png", "a/b.png", ".."):
        with pytest.raises(ValueError, match="expected names of pictures in this folder"):
            bitmap_files(Bitmaps(IMAGES[:1], (name,)), tmp_path)


def test_several_images_are_no_single_picture(tmp_path):
    with pytest.raises(ValueError, match=r"expected a \.npz or a folder for 12 images; a \.png holds one"):
        bitmap_files(Bitmaps(IMAGES, ()), tmp_path / "x.png")
