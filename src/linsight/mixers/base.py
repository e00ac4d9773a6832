"""The contract of every token mixer, and the part of it that is the same for all."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from linsight.config import Config
from linsight.nn import AcrossRanks, Hinted

__all__ = ["Cost", "Form", "Mixer", "MixerConfig"]


Form = Literal["auto", "naive", "parallel", "chunk", "recurrent"]


class Cost(NamedTuple):
    """What one call costs per sequence: floating-point operations, and bytes of intermediate results."""

    flops: int
    bytes: int


@dataclass(frozen=True)
class MixerConfig(Config):
    """Base of the mixers' configurations, told apart by their `kind`."""

    replaces_mlp: ClassVar[bool] = False
    """Whether a block of this mixer has no feed-forward network: it is a gated unit of its own."""

    directions: ClassVar[tuple[bool, ...]] = (True, False)
    """The values of `causal` that this kind can be built with."""

    def build(self, dim: int, *, causal: bool = True) -> "Mixer":
        """The mixer this configuration describes, for tokens of width `dim`."""
        raise NotImplementedError

    def at(self, layer: int, num_layers: int) -> Any:
        """The configuration for layer `layer` of the `num_layers` that a stack has of it; itself by default.

        For mixers whose initial values depend on where they stand.
        """
        return self


class Mixer(AcrossRanks, Hinted, ABC):
    """A token mixer, called exactly as `torch.nn.GRU` is: `y, state = mixer(x, state=None, lengths=None)`.

    The **split law** holds for every causal mixer: for every split of x into pieces, running the pieces one
    after another with the state carried gives the same y and the same final state as running x whole. So
    training is the whole call, prefill is a long call, and decoding is the same call with length 1.

    The **form** says how the call is computed, never what: `naive` (the definition, token by token),
    `parallel`, `chunk`, `recurrent`, and `auto`, which picks one by length and device. `form` may be set at
    any time; `last_form` tells which one ran.

    A state is a `NamedTuple` of tensors, batch first in every tensor, whose accumulators are float32 (float64
    in a float64 module) under any autocast, and whose positions are int64 `(batch,)`.
    """

    spreads: ClassVar[bool] = False
    """Whether a row's tokens may be spread over ranks, by `mixers.across`."""
    keeps: ClassVar[tuple[str, ...]] = ()
    """Fields of the state that hold tokens as they came, in their dtype (caches, windows); others add up."""
    max_length: int | None = None
    """The most tokens of a row; None for any number."""
    exact_past: bool = True
    """Whether a changed token leaves every bit of the outputs before it, in the form that is set; a Fourier
    transform leaves them to rounding."""
    period: int = 64
    """Tokens of what the mixer repeats: a chunk, block, window or stride. Defects live at its seams."""
    out: nn.Linear
    """The last projection, back to the residual stream."""

    def __init__(self, dim: int, *, causal: bool, forms: tuple[Form, ...], form: Form = "auto") -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim: expected at least 1, got {dim}")
        self.dim = dim
        self.causal = causal
        self.forms = forms
        self.form = form
        self.last_form: str | None = None

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Tensor | None = None,
    ) -> tuple[Float[Tensor, "batch length {self.dim}"], Any]:
        """Mix the tokens of x, continuing from `state`.

        Args:
            x: Tokens `(batch, length, dim)`, length >= 1.
            state: What an earlier call returned, or None for the beginning. Causal mixers only. It is a
                value: it is not changed, may be indexed along the batch, and may be continued twice.
            lengths: `(batch,)` integers in 0..length: row b holds `lengths[b]` tokens and then padding on the
                right. y is 0 at padded places, and the state is the row's own at its last token; what the
                padding holds (NaN included) changes nothing and receives no gradient.

        Returns:
            y `(batch, length, dim)`, and the state after the last token (None if not causal).

        Raises:
            ValueError: x or lengths of another shape or range; a state given to a mixer that is not causal.
        """
        x, valid = self.admit(x, state, lengths)
        y, state = self.mix(x, state, valid)
        return (y if valid is None else torch.where(valid[..., None], y, 0)), state

    def admit(
        self, x: Tensor, state: Any, lengths: Tensor | None
    ) -> tuple[Tensor, Bool[Tensor, "batch length"] | None]:
        """Check a call's arguments: x with 0 where the padding is, and which places hold tokens."""
        self._check(x, state, lengths)
        if lengths is None:
            return x, None
        valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        return torch.where(valid[..., None], x, 0), valid

    @abstractmethod
    def mix(
        self,
        x: Float[Tensor, "batch length dim"],
        state: Any,
        valid: Bool[Tensor, "batch length"] | None,
    ) -> tuple[Float[Tensor, "batch length dim"], Any]:
        """The mixer itself, on checked arguments: x is 0 where `valid` is False, y there is free."""

    @abstractmethod
    def initial_state(
        self, batch: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Any:
        """The state before the first token, equal in effect to None; None if the mixer is not causal."""

    @abstractmethod
    def state_size(self, length: int) -> int:
        """Bytes of state per sequence after `length` tokens, in the dtype of the weights."""

    @abstractmethod
    def cost(self, length: int) -> dict[str, Cost]:
        """What mixing `length` tokens costs per sequence in each form, projections left out."""

    @torch.no_grad()
    def scale_output(self, factor: float) -> None:
        """Multiply the weights of the last projection, as a stack does with each of its residual branches."""
        self.out.weight.mul_(factor)

    @property
    def form(self) -> Form:
        """How calls are computed: one of `forms`, or `auto`."""
        return self._form

    @form.setter
    def form(self, form: Form) -> None:
        if form != "auto" and form not in self.forms:
            raise NotImplementedError(
                f"{type(self).__name__} has no form {form!r}; it has auto, {', '.join(self.forms)}"
            )
        self._form: Form = form

    def _check(self, x: Tensor, state: Any, lengths: Tensor | None) -> None:
        if not x.is_floating_point():
            raise TypeError(f"x: expected floating-point tokens, got {x.dtype}")
        if x.ndim != 3 or x.shape[-1] != self.dim or x.shape[1] == 0:
            raise ValueError(f"x: expected shape (batch, length >= 1, dim {self.dim}), got {tuple(x.shape)}")
        if state is not None:
            self._check_state(x, state)
        if lengths is None:
            return
        if lengths.shape != x.shape[:1] or lengths.is_floating_point() or lengths.dtype == torch.bool:
            raise ValueError(
                f"lengths: expected {x.shape[0]} integers, one for each row, padded on the right, "
                f"got shape {tuple(lengths.shape)} of {lengths.dtype} (a mask is not accepted)"
            )
        # Reading the values would break tracing; they are checked where they can be read.
        if not torch.compiler.is_compiling() and ((lengths < 0) | (lengths > x.shape[1])).any():
            raise ValueError(f"lengths: expected 0 to {x.shape[1]}, got {lengths.tolist()}")

    def _check_state(self, x: Tensor, state: Any) -> None:
        if not self.causal:
            raise ValueError(f"state: {type(self).__name__} built with causal=False takes none, got one")
        expected = self.initial_state(0)
        if type(state) is not type(expected):
            raise ValueError(f"state: expected {type(expected).__name__}, got {type(state).__name__}")
        for name, tensor, pattern in zip(state._fields, state, expected, strict=True):
            free = 2 if self.state_grows else 1
            if (
                tensor.ndim != pattern.ndim
                or tensor.shape[0] != x.shape[0]
                or (tensor.shape[free:] != pattern.shape[free:])
            ):
                shape = ("batch", "length")[:free] + tuple(pattern.shape[free:])
                raise ValueError(
                    f"state.{name}: expected shape ({', '.join(map(str, shape))}) with batch {x.shape[0]}, "
                    f"got {tuple(tensor.shape)}"
                )

    @property
    def state_grows(self) -> bool:
        """Whether the state's second axis grows with the tokens seen."""
        return False
