"""What is put under the laws: a recipe that builds the same module again, in any of its dtypes."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from linsight import mixers
from linsight.conformance.adapter import Adapter, Native
from linsight.conformance.foreign import Whole

__all__ = ["Subject", "adapted", "cast", "kind_subject"]

Call = Callable[[], Any]


@dataclass(frozen=True)
class Subject:
    """A named recipe: `make()` returns an `Adapter`, a `linsight` mixer, or a plain module with `dim`.

    The recipe is run with a fixed seed, so it must draw its weights from torch's global generator alone.

    The last three fields are for parts of a library beside the call itself; laws about them say nothing where
    they are empty.
    """

    name: str
    make: Callable[[], nn.Module]
    features: Callable[[], torch.Tensor] | None = None
    """Draws a matrix of random features, `(features, width)`, anew at each call."""
    discretise: Callable[[torch.Tensor, float], torch.Tensor] | None = None
    """The step matrix A_bar of a diagonal A (complex) and a time step, element by element."""
    options: Mapping[str, Call] = field(default_factory=dict)
    """Options that must make a difference: name -> recipe of the module with the option changed."""
    mistakes: Mapping[str, Call] = field(default_factory=dict)
    """Arguments that a user gets wrong: name -> a call with the mistake in it."""

    def build(self, dtype: torch.dtype | None = None, *, moved: bool = True, seed: int = 0) -> Adapter:
        """The module in `dtype` (its most precise if None), in eval mode.

        Args:
            dtype: Of parameters and buffers.
            moved: Add normal noise of 0.1 to every parameter, so that no law holds by a zero at the start.
            seed: Of what the recipe draws.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            adapter = adapted(self.make(), self.name)
            if moved:
                _move(adapter)
        return cast(adapter, dtype or adapter.dtypes[0]).eval()

    def in_both_precisions(self, *, quick: bool = False) -> Iterator[Adapter]:
        """The module in its most precise dtype and, unless `quick`, in float32 if that is another."""
        precise = self.build()
        yield precise
        if not quick and precise.dtype != torch.float32:
            yield from self.in_dtypes(torch.float32)

    def in_dtypes(self, *dtypes: torch.dtype) -> Iterator[Adapter]:
        """The module in those of the dtypes that it is meant for, one after another."""
        for dtype in dtypes:
            if dtype in self.build().dtypes:
                yield self.build(dtype)


def cast(adapter: Adapter, dtype: torch.dtype) -> Adapter:
    """The adapter itself, its real numbers in `dtype`, its complex ones of two such (or float32) parts."""
    pair = torch.complex128 if dtype == torch.float64 else torch.complex64

    def convert(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_complex():
            return tensor.to(pair)
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    adapter._apply(convert)  # Module.to would drop imaginary parts
    adapter.dtype = dtype
    return adapter


def _move(adapter: Adapter) -> None:
    """Add noise to every parameter, drawn from its name: a parameter more or less moves no other."""
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            noise = torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
            parameter.add_(0.1 * noise)


def adapted(module: Any, name: str) -> Adapter:
    """The adapter of a module: itself, a mixer's, or that of a plain module with the attribute `dim`."""
    if isinstance(module, Adapter):
        return module
    if isinstance(module, mixers.Mixer):
        return Native(module)
    dim = getattr(module, "dim", None)
    if isinstance(module, nn.Module) and isinstance(dim, int):
        return Whole(module, dim)
    raise TypeError(
        f"{name}: expected a linsight.conformance.Adapter, a linsight mixer, or a module with an integer "
        f"attribute dim, got {type(module).__name__}; wrap it: linsight.conformance.Whole(module, dim)"
    )


def kind_subject(
    kind: str,
    *,
    dim: int = 8,
    causal: bool = True,
    unpromised: Mapping[str, str] | None = None,
    small: Mapping[str, Any] | None = None,
    **options: Any,
) -> Subject:
    """The subject of a registered kind of mixer, of width `dim`; `unpromised` as in `Adapter`.

    `small` are options that are not told in its name, and give way to `options`.

    Raises:
        ValueError: The kind is not known, or does not have an option.
    """
    config = mixers.config(kind, **{**(small or {}), **options})
    words = [f"{name}={value}" for name, value in options.items()]
    name = " ".join([kind, *words, *([] if causal else ["bidirectional"])])
    return Subject(name, lambda: Native(config.build(dim, causal=causal), unpromised=unpromised))
