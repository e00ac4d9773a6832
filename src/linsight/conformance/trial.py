"""One run of a law: inputs drawn from a seed, and comparisons that end in evidence."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from linsight.conformance.adapter import Adapter
from linsight.conformance.law import Breach, Evidence

__all__ = ["Trial", "pieces_in_words", "relative_rms", "unravel"]


def relative_rms(got: Tensor, want: Tensor) -> float:
    """RMS of the difference over the RMS of `want` (over 1 where `want` is zero throughout)."""
    if want.numel() == 0:
        return 0.0
    error = (got.double() - want.double()).square().mean().sqrt()
    scale = want.double().square().mean().sqrt()
    return (error / scale if scale > 0 else error).item()


class Trial:
    """Draws and judges for one law on one module; `worst` is the largest error it accepted.

    The same seed draws the same inputs on every machine: the generator is torch's CPU generator.
    """

    def __init__(self, seed: int, *, quick: bool = False) -> None:
        self.seed, self.quick = seed, quick
        self.worst: Evidence | None = None
        self._generator = torch.Generator().manual_seed(seed)
        self._context: tuple[str, ...] = ()

    def signal(self, batch: int, length: int, dim: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """Standard normal tokens, `(batch, length, dim)`."""
        return torch.randn(batch, length, dim, generator=self._generator, dtype=torch.float64).to(dtype)

    def tokens(self, adapter: Adapter, batch: int, length: int) -> Tensor:
        """Standard normal tokens for a module, in its width and dtype."""
        return self.signal(batch, length, adapter.dim, adapter.dtype)

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return int(torch.randint(low, high + 1, (), generator=self._generator))

    def order(self, number: int) -> list[int]:
        """A permutation of `range(number)`."""
        return torch.randperm(number, generator=self._generator).tolist()

    def split(self, length: int) -> tuple[int, ...]:
        """Sizes of pieces, at least one token each, that add up to `length`."""
        sizes = []
        while sum(sizes) < length:
            sizes.append(self.integer(1, min(40, length - sum(sizes))))
        return tuple(sizes)

    @contextmanager
    def saying(self, words: str) -> Iterator[None]:
        """Words put before what is compared inside; empty words are not."""
        before = self._context
        self._context = (*before, words) if words else before
        try:
            yield
        finally:
            self._context = before

    def holds(self, condition: bool, what: str) -> None:
        """Break the law, in these words, unless the condition is true."""
        if not condition:
            raise Breach(Evidence(self._words(what)))

    def below(self, error: float, tolerance: float, what: str) -> None:
        """Break the law unless the error is within the tolerance; NaN is not."""
        self._judge(Evidence(self._words(what), error=error, tolerance=tolerance))

    def close(self, got: Tensor, want: Tensor, tolerance: float, what: str) -> None:
        """Shape, dtype and value, in relative RMS; whole numbers exactly, NaN never."""
        self._alike(got, want, what)
        if not want.dtype.is_floating_point:
            index = _worst_index((got != want).double())
            self.holds(
                torch.equal(got, want), f"{what}: {got[index]} instead of {want[index]} at {list(index)}"
            )
            return
        self._judge(self._evidence(got, want, relative_rms(got, want), tolerance, what))

    def same(self, got: Tensor, want: Tensor, what: str) -> None:
        """Shape, dtype, and every bit of every number (NaN equals NaN)."""
        self._alike(got, want, what)
        if not torch.equal(got.nan_to_num(nan=1234.5), want.nan_to_num(nan=1234.5)):
            raise Breach(self._evidence(got, want, (got - want).abs().max().item(), 0.0, what))

    def finite(self, tensor: Tensor, what: str) -> None:
        """No NaN and no infinity."""
        bad = ~torch.isfinite(tensor)
        if bad.any():
            index = _worst_index(bad.double())
            raise Breach(Evidence(self._words(f"{what} is {tensor[index]} at {list(index)}"), index))

    def states(self, got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float, what: str) -> None:
        """Two states, by the names of their tensors; room beyond what the other has must be unused (0)."""
        self.holds(
            got.keys() == want.keys(), f"{what}: a state of {sorted(got)} where {sorted(want)} was expected"
        )
        for name, tensor in want.items():
            one, other = _roomy(got[name], tensor), _roomy(tensor, got[name])
            if tolerance == 0:
                self.same(one, other, f"{what}, state {name}")
            else:
                self.close(one, other, tolerance, f"{what}, state {name}")

    def _alike(self, got: Tensor, want: Tensor, what: str) -> None:
        self.holds(
            got.shape == want.shape, f"{what}: shape {tuple(got.shape)} instead of {tuple(want.shape)}"
        )
        self.holds(got.dtype == want.dtype, f"{what}: {got.dtype} instead of {want.dtype}")

    def _judge(self, evidence: Evidence) -> None:
        error, tolerance = evidence.error or 0.0, evidence.tolerance or 0.0
        if not error <= tolerance:
            raise Breach(evidence)
        if error == 0:
            return
        before = self.worst
        if before is None or error * (before.tolerance or 0.0) > (before.error or 0.0) * tolerance:
            self.worst = evidence

    def _evidence(self, got: Tensor, want: Tensor, error: float, tolerance: float, what: str) -> Evidence:
        words = self._words(what)
        if want.numel() == 0:
            return Evidence(words, error=error, tolerance=tolerance)
        index = _worst_index((got.double() - want.double()).abs())
        return Evidence(words, index, got[index].item(), want[index].item(), error, tolerance)

    def _words(self, what: str) -> str:
        return ", ".join((*self._context, what))


def unravel(index: int, shape: Sequence[int]) -> tuple[int, ...]:
    """The place of the index-th number of a tensor (torch.unravel_index imports sympy: half a second)."""
    places = []
    for size in reversed(shape):
        index, place = divmod(index, size)
        places.append(place)
    return tuple(reversed(places))


def _worst_index(error: Tensor) -> tuple[int, ...]:
    """Where the largest entry stands; NaN is larger than any."""
    flat = torch.where(error.isnan(), torch.inf, error).flatten()
    return unravel(int(flat.argmax()), error.shape) if flat.numel() else ()


def _roomy(tensor: Tensor, other: Tensor) -> Tensor:
    """`tensor` with zeros up to the sizes of `other`: caches of batches with other longest rows differ so."""
    if tensor.ndim != other.ndim or tensor.shape == other.shape:
        return tensor
    grown = tensor.new_zeros([max(sizes) for sizes in zip(tensor.shape, other.shape, strict=True)])
    grown[tuple(slice(size) for size in tensor.shape)] = tensor
    return grown


def pieces_in_words(sizes: Sequence[int]) -> str:
    """Sizes in words: `1 + 99`, or `100 pieces`."""
    return " + ".join(map(str, sizes)) if len(sizes) <= 7 else f"{len(sizes)} pieces"
