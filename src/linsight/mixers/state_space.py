"""What state space mixers share: the layer around the recurrence, and how complex states are kept."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from linsight import ops
from linsight.mixers.base import Form, Mixer
from linsight.mixers.recurrence import check_causal

__all__ = ["FORMS", "StateSpaceMixer", "check_states", "check_steps", "single"]

FORMS: tuple[Form, ...] = ("naive", "parallel", "chunk", "recurrent")


class StateSpaceMixer(Mixer):
    """Base of mixers of complex states: `D`, the skip of each channel, and `out` with a gate behind it.

    Args:
        kind: The mixer's name, for messages.
        dim: Width of the tokens.
        shape: Axes of the complex state of a sequence, such as `(channels, states)`.
        causal, forms, form: As in `Mixer`; causal alone.

    Raises:
        ValueError: causal=False.
    """

    def __init__(
        self,
        kind: str,
        dim: int,
        shape: tuple[int, ...],
        *,
        causal: bool,
        forms: tuple[Form, ...],
        form: Form,
    ) -> None:
        check_causal(kind, causal)
        super().__init__(dim, causal=True, forms=forms, form=form)
        self.shape = shape
        self.D = nn.Parameter(torch.randn(dim))
        self.out = nn.Linear(dim, 2 * dim)

    def slow(self, *names: str) -> None:
        """Declare parameters of the dynamics: no weight decay, and a learning rate of at most 1e-3."""
        self.hint(*names, decay=False, lr_max=1e-3)

    @property
    def exact_past(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """False in the parallel form: a Fourier transform sums over all places, later ones included."""
        return self.form != "parallel"

    def finish(
        self, x: Float[Tensor, "batch length dim"], y: Float[Tensor, "batch length dim"]
    ) -> Float[Tensor, "batch length dim"]:
        """The skip, GELU, and a gated linear map: what the papers put around their recurrence."""
        return F.glu(self.out(F.gelu(y + self.D * x)), dim=-1)

    def complex_state(self, h: Float[Tensor, "batch *axes 2"] | None) -> Tensor | None:
        """A state's tensor as complex numbers."""
        return None if h is None else torch.view_as_complex(h.contiguous())

    def zeros(
        self, batch: int, dtype: torch.dtype | None, device: torch.device | str | None
    ) -> Float[Tensor, "{batch} *axes 2"]:
        """The state's tensor before the first token."""
        dtype, device = ops.accumulator_dtype(dtype or self.D.dtype), device or self.D.device
        return torch.zeros(batch, *self.shape, 2, dtype=dtype, device=device)

    def state_size(self, length):
        """Independent of `length`: two numbers a state."""
        return 2 * math.prod(self.shape) * ops.accumulator_dtype(self.D.dtype).itemsize


def check_states(kind: str, states: int, *, even: bool = True) -> None:
    """Refuse a number of states that is below 1, or odd where they come in conjugate pairs."""
    if states < 1 or (even and states % 2):
        expected = "an even number of states, for they are conjugate pairs" if even else "at least one state"
        raise ValueError(f"mixer {kind!r}: expected {expected}, got states {states}")


def check_steps(kind: str, dt_min: float, dt_max: float) -> None:
    """Refuse steps that are not positive, or in the wrong order."""
    if not 0 < dt_min <= dt_max:
        raise ValueError(f"mixer {kind!r}: expected 0 < dt_min <= dt_max, got {dt_min} and {dt_max}")


def single(value: Tensor) -> nn.Parameter:
    """A parameter in float32, of values that are computed in float64."""
    return nn.Parameter(value.float())
