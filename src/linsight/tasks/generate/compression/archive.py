"""Compressed images as one file: which model, which machine, a check for each image, the coder's words."""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from torch import Tensor

from linsight.densities import Autoregressive, check_images
from linsight.tasks.base import Progress
from linsight.tasks.generate.compression.coder import arithmetic, decode, encode

__all__ = ["Archive", "Ledger", "compress", "decompress"]

MAGIC = b"\x89lsi\r\n\x01"
"""As PNG's: a byte above 127 and a line break, which a transfer as text destroys; then the version."""
CODER = "constriction range, 24 bit"


@dataclass(frozen=True)
class Header:
    """What a decoder has to know, and has to have the same."""

    model: str
    """SHA-256 of the weights."""
    number: int
    height: int
    width: int
    batch: int
    names: tuple[str, ...]
    """Of the files that the images were; empty where they were one array."""
    coder: str
    machine: str
    """Where they were compressed, in words."""
    arithmetic: str


@dataclass(frozen=True)
class Ledger:
    """What compression cost: bits of the model, and of the words; bytes of the whole file."""

    images: int
    model_bits: float
    coded_bits: int
    file_bytes: int

    @property
    def overhead(self) -> float:
        """The share of coded bits above those of the model."""
        return self.coded_bits / self.model_bits - 1


@dataclass(frozen=True)
class Archive:
    """A file's content, whose length and checksum were found right."""

    header: Header
    checks: bytes
    """A byte an image."""
    words: bytes

    def to_bytes(self) -> bytes:
        """The file: magic, header, checks, words, and a checksum of them all."""
        head = zlib.compress(json.dumps(asdict(self.header), separators=(",", ":")).encode(), 9)
        body = MAGIC + struct.pack("<I", len(head)) + head + self.checks + self.words
        return body + struct.pack("<I", zlib.crc32(body))

    @classmethod
    def from_bytes(cls, content: bytes, *, where: str) -> "Archive":
        """Read a file; `where` begins the messages.

        Raises:
            ValueError: Something else than such a file, or one of another version.
            RuntimeError: Truncated or altered.
        """
        if not content.startswith(MAGIC[:-1]):
            raise ValueError(f"{where}: expected a file that linsight compress has written, got another kind")
        if content[: len(MAGIC)] != MAGIC:
            raise ValueError(f"{where}: written by another version of the format than this linsight reads")
        body, end = content[:-4], len(MAGIC) + 4
        if len(content) < end + 4 or struct.pack("<I", zlib.crc32(body)) != content[-4:]:
            raise RuntimeError(f"{where}: truncated or altered, its checksum is wrong; get the file again")
        start = end + struct.unpack("<I", body[end - 4 : end])[0]
        plain = json.loads(zlib.decompress(body[end:start]))
        if plain.keys() != {field.name for field in fields(Header)}:
            raise ValueError(f"{where}: its header is not of this version of the format")
        header = Header(**plain | {"names": tuple(plain["names"])})
        return cls(header, body[start : start + header.number], body[start + header.number :])


def compress(
    density: Autoregressive,
    images: Tensor,
    *,
    model: str,
    names: Sequence[str] = (),
    batch: int = 100,
    progress: Progress | None = None,
) -> tuple[bytes, Ledger]:
    """A file that says these images losslessly, and what it cost.

    Encoder and decoder walk through the density step by step, in the same batches and with one thread, so
    that both see the same probabilities to the last bit; a byte of checksum for each image proves it.

    Args:
        density: In evaluation mode, on the CPU.
        images: `(number, height, width)` of 0 and 1.
        model: The identity of the density's weights.
        names: Of the files that the images were.
        batch: Images that are walked through at once: state and time are those of so many.
        progress: Told after every batch.
    """
    check_images(images, density.height, density.width, name="images")
    if len(images) == 0:
        raise ValueError("images: expected at least 1, got none")
    if batch < 1:
        raise ValueError(f"batch: expected at least 1, got {batch}")
    batch = min(batch, len(images))
    words, bits = encode(density, images, batch, progress)
    header = Header(
        model=model,
        number=len(images),
        height=density.height,
        width=density.width,
        batch=batch,
        names=tuple(names),
        coder=CODER,
        machine=_machine(),
        arithmetic=arithmetic(density, batch),
    )
    content = Archive(header, _checks(images), words).to_bytes()
    return content, Ledger(len(images), bits, 8 * len(words), len(content))


def decompress(
    density: Autoregressive, archive: Archive, *, model: str, where: str, progress: Progress | None = None
) -> Tensor:
    """The images `(number, height, width)`, each proven by its checksum; `where` begins the messages.

    Raises:
        ValueError: Compressed by another model.
        RuntimeError: This machine rounds otherwise, or an image came out wrong.
    """
    header = archive.header
    if header.model != model:
        raise ValueError(
            f"{where}: compressed by the model {header.model[:12]}, which is not this run's, {model[:12]}"
        )
    if header.coder != CODER:
        raise ValueError(f"{where}: written by the coder {header.coder!r}, this linsight has {CODER!r}")
    if arithmetic(density, header.batch) != header.arithmetic:
        raise RuntimeError(
            f"{where}: compressed on {header.machine}; this is {_machine()}, which rounds otherwise, so that "
            "the images can only be read there"
        )
    try:
        images = decode(density, archive.words, header.number, header.batch, progress)
    except RuntimeError as error:
        raise RuntimeError(f"{where}: {error}") from None
    for index, (found, check) in enumerate(zip(_checks(images), archive.checks, strict=True)):
        if found != check:
            raise RuntimeError(
                f"{where}: image {index} comes out otherwise than it went in: the words are not the model's"
            )
    return images


def _checks(images: Tensor) -> bytes:
    packed = np.packbits(images.numpy().astype(np.uint8).reshape(len(images), -1), axis=1)
    return bytes(zlib.crc32(image.tobytes()) & 0xFF for image in packed)


def _machine() -> str:
    return f"torch {torch.__version__} with {torch.backends.cpu.get_cpu_capability()}"
