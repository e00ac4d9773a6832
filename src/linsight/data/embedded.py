"""The data files inside the package: decompressed and checked against their SHA-256."""

import hashlib
import lzma
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["FILES", "FOLDER", "EmbeddedFile", "read"]

FOLDER = Path(__file__).parent / "files"


@dataclass(frozen=True)
class EmbeddedFile:
    """What a file must hold once decompressed (xz output itself differs between versions of liblzma)."""

    size: int
    """Bytes, decompressed."""
    sha256: str
    licence: str


FILES = {
    "mnist.xz": EmbeddedFile(
        size=54_950_000,
        sha256="06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16",
        licence="CC BY-SA 3.0, Yann LeCun and Corinna Cortes (data only)",
    ),
    "shakespeare.xz": EmbeddedFile(
        size=5_057_888,
        sha256="83c10dc826ec5a6d11b3fe22e9609d421c81c89f14f9993e1bfbd5ac65b1d104",
        licence="public-domain text, compilation CC BY 2.5",
    ),
    "textures.xz": EmbeddedFile(
        size=196_608,
        sha256="06cc99a41f22afa787f632e0eca3753f4327010d42c822893b1a713a29fb1e31",
        licence="CC0 1.0, photographs of brick, grass and gravel",
    ),
}


def read(name: str, folder: str | os.PathLike[str] | None = None) -> bytes:
    """The decompressed bytes of the embedded file `name`, checked once in a process and then kept.

    `folder` is read in place of the package's own folder: the same files, held elsewhere.

    Raises FileNotFoundError when the file is missing, RuntimeError when its content is not the expected one.
    """
    if name not in FILES:
        raise ValueError(f"name: expected one of {', '.join(FILES)}, got {name!r}")
    return _read(Path(folder).absolute() / name if folder is not None else FOLDER / name)


@lru_cache(maxsize=8)  # the content is proven to be the one its name stands for, so it cannot go stale
def _read(path: Path) -> bytes:
    expected = FILES[path.name]
    try:
        content = lzma.decompress(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: this data file is missing, as in a wheel built without data; "
            f"install the full linsight wheel, or name your own data with --data PATH"
        ) from None
    except (lzma.LZMAError, EOFError) as error:
        raise RuntimeError(
            f"{path}: damaged data file: expected SHA-256 {expected.sha256[:12]}..., "
            f"found bytes that do not decompress ({error}); reinstall linsight"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != expected.sha256:
        raise RuntimeError(
            f"{path}: damaged data file: expected SHA-256 {expected.sha256[:12]}..., "
            f"found {found[:12]}... ({len(content)} bytes, expected {expected.size}); reinstall linsight"
        )
    return content
