"""Images as the words of a range coder and back, by one walk through a density that both directions share."""

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from linsight.densities import Autoregressive
from linsight.tasks.base import Progress

__all__ = ["arithmetic", "decode", "encode"]


class Walk:
    """The probabilities of the next cell of some images, in float64, as all that may stand before the first.

    Where several starts may (labels, y first) they are mixed by their posterior given the cells so far, so
    that an image costs -log2 p(x) bits with p(x) = sum_y p(y) p(x | y), not those of its best label.
    """

    def __init__(self, density: Autoregressive, number: int) -> None:
        self.density, self.number = density, number
        # One factorisation of p(x) suffices, and the label last takes one pass.
        starts, law = density.start_law("last" if density.reads_label else None)
        self.starts = len(starts)
        self.scores = law.double().expand(number, -1)
        self.state = density.begin(starts.repeat(number))

    def probabilities(self) -> np.ndarray:
        """`(images, values)` of the next cell."""
        logits = self.density.read(self.state).double().log_softmax(1).view(self.number, self.starts, -1)
        self.conditionals = logits
        mixed = (self.scores.log_softmax(1)[:, :, None] + logits).logsumexp(1)
        return mixed.exp().numpy()

    def advance(self, cells: np.ndarray) -> None:
        """Read the cells `(images,)` whose probabilities were asked for."""
        found = torch.from_numpy(cells.astype(np.int64))[:, None]
        index = found[:, None].expand(-1, self.starts, 1)
        self.scores = self.scores + self.conditionals.gather(2, index)[:, :, 0]
        self.state = self.density.feed(self.state, found.repeat_interleave(self.starts, 0))


@torch.inference_mode()
def encode(
    density: Autoregressive, images: Tensor, batch: int, progress: Progress | None = None
) -> tuple[bytes, float]:
    """The words that say these images, and the bits that the density itself gives to them.

    Args:
        density: In evaluation mode, on the CPU; of several orders the first is used.
        images: `(number, height, width)` of 0 and 1.
        batch: How many are walked through at once; the decoder has to take as many.
        progress: Told after every batch.
    """
    queue, family = _coder()
    encoder, bits = queue.RangeEncoder(), 0.0
    with _one_thread():
        for first in range(0, len(images), batch):
            cells = density.to_cells(images[first : first + batch]).int().numpy()
            walk = Walk(density, len(cells))
            for cell in range(density.num_cells):
                symbols = np.ascontiguousarray(cells[:, cell])
                probabilities = walk.probabilities()
                encoder.encode(symbols, family, probabilities)
                bits -= float(np.log2(probabilities[np.arange(len(cells)), symbols]).sum())
                if cell + 1 < density.num_cells:
                    walk.advance(symbols)
            if progress:
                progress("encoding images", first + len(cells), len(images))
    return encoder.get_compressed().astype("<u4").tobytes(), bits


@torch.inference_mode()
def decode(
    density: Autoregressive, words: bytes, number: int, batch: int, progress: Progress | None = None
) -> Tensor:
    """The images `(number, height, width)` that words say; other ones where the arithmetic is another.

    Raises:
        RuntimeError: The words are none that these probabilities can have given.
    """
    queue, family = _coder()
    decoder, images = queue.RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32)), []
    with _one_thread():
        for first in range(0, number, batch):
            walk, cells = Walk(density, min(batch, number - first)), []
            for cell in range(density.num_cells):
                cells.append(_next(decoder, family, walk.probabilities()))
                if cell + 1 < density.num_cells:
                    walk.advance(cells[-1])
            images.append(density.to_images(torch.from_numpy(np.stack(cells, axis=1)).long()))
            if progress:
                progress("decoding images", first + len(images[-1]), number)
    return torch.cat(images)


@torch.inference_mode()
def arithmetic(density: Autoregressive, batch: int) -> str:
    """A digest (hex) of the last bits of some probabilities, which other machines may round otherwise.

    A range decoder that sees one probability differ in its last bit reads other images from there on.
    """
    digest = hashlib.sha256()
    pattern = torch.arange(density.height * density.width).view(density.height, density.width) % 3 == 0
    cells = density.to_cells(pattern.expand(batch, -1, -1)).int().numpy()
    with _one_thread():
        walk = Walk(density, batch)
        for cell in range(min(16, density.num_cells)):
            if cell:
                walk.advance(cells[:, cell - 1])
            digest.update(walk.probabilities().tobytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are split among threads: with one, machines of other numbers of cores round alike."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _next(decoder: Any, family: Any, probabilities: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(decoder.decode(family, probabilities))
    except AssertionError:  # so constriction says that a word is out of every interval
        raise RuntimeError("the words cannot be of these probabilities") from None


def _coder() -> tuple[Any, Any]:
    """Constriction's queue, and the family of categorical laws."""
    try:
        from constriction import stream  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError:
        raise ImportError(
            "compression needs the package constriction: pip install 'linsight[compress]'"
        ) from None
    return stream.queue, stream.model.Categorical(perfect=False)
