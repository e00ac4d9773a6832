"""`linsight compress` and `decompress`: the same bits again through the real commands, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

from linsight.cli.main import main
from linsight.data import Bitmaps, bitmap_files

IMAGES = np.random.default_rng(1).integers(0, 2, (7, 28, 28), dtype=np.uint8)


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    np.savez(tmp_path / "images.npz", images=IMAGES)
    return tmp_path / "images.npz"


def test_an_array_comes_back_through_the_real_entry_point(linsight, trained, npz, tmp_path):
    done = linsight("compress", npz, "--run", trained, "-o", tmp_path / "x.lsi")
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[0].startswith("7 images: ")
    assert [line.split("  ")[1] for line in told[1:5]] == [
        "code",
        "file",
        "xz -6, packed bits",
        "PNG, one tall picture",
    ]
    assert told[-1] == str(tmp_path / "x.lsi")
    done = linsight("decompress", tmp_path / "x.lsi", "--run", trained, "-o", tmp_path / "again.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "again.npz") as arrays:
        np.testing.assert_array_equal(arrays["images"], IMAGES)


def test_a_folder_of_pictures_comes_back_under_its_names(trained, tmp_path):
    names = tuple(f"digit {index}.png" for index in range(7))
    files = bitmap_files(Bitmaps(IMAGES, names), tmp_path / "in")
    (tmp_path / "in").mkdir()
    for path, content in files.items():
        path.write_bytes(content)
    assert main(["compress", str(tmp_path / "in"), "--run", str(trained), "-o", str(tmp_path / "x")]) == 0
    assert main(["decompress", str(tmp_path / "x"), "--run", str(trained), "-o", str(tmp_path / "out")]) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        path.name: content for path, content in files.items()
    }


def test_json_has_every_size(trained, npz, tmp_path, capsys):
    assert main(["compress", str(npz), "--run", str(trained), "-o", str(tmp_path / "x"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 7
    assert found["coded_bits"] == pytest.approx(found["model_bits"] * (1 + found["overhead"]))
    assert found["file_bytes"] == (tmp_path / "x").stat().st_size
    assert found["xz_bytes"] > 0
    assert found["png_bytes"] > 0


def test_what_cannot_be_read_is_one_line(trained, npz, tmp_path, capsys):
    out = str(tmp_path / "x")
    assert main(["compress", str(npz), "--run", str(trained), "-o", out]) == 0
    capsys.readouterr()

    def refused(code: int, sentence: str, *line: str) -> None:
        assert main([*line, "--run", str(trained)]) == code
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1

    again = str(tmp_path / "again.npz")
    refused(2, "expected a file that linsight compress has written", "decompress", str(npz), "-o", again)
    (tmp_path / "torn").write_bytes((tmp_path / "x").read_bytes()[:-9])
    refused(1, "torn: truncated or altered", "decompress", str(tmp_path / "torn"), "-o", again)
    np.savez(tmp_path / "small.npz", images=IMAGES[:, :8])
    refused(
        2,
        "expected shape (batch, height 28, width 28), got (7, 8, 28)",
        "compress",
        str(tmp_path / "small.npz"),
        "-o",
        out,
    )
    np.savez(tmp_path / "grey.npz", images=IMAGES * 200)
    refused(2, "binarise grey images first", "compress", str(tmp_path / "grey.npz"), "-o", out)
    refused(2, "missing.npz: there are no images", "compress", str(tmp_path / "missing.npz"), "-o", out)
