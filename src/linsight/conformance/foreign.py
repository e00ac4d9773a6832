"""Adapters that put foreign modules and functions under the laws, unchanged."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linsight.conformance.adapter import Adapter
from linsight.conformance.formed import Attention, Cached, refuse_lengths

__all__ = ["Attention", "Cached", "Stepped", "Whole"]


class Whole(Adapter):
    """A module that maps whole sequences and carries no state: `y = module(x)`.

    Args:
        module: Maps `(batch, length, dim)` to the same shape.
        dim: Width of the tokens.
        causal: Whether token t sees the tokens up to t alone.
        multiple: x is padded on the right with zeros to a multiple of this, and the output cut. A module that
            is not causal needs `masked` for it.
        masked: `(module, x, valid) -> y` for padded rows; `valid` `(batch, length)` is True at tokens. NaN in
            the padding reaches it as 0, and what it returns there is replaced by 0: few modules promise more.
            None: the module takes no padded rows.
        call: `(module, x) -> y` where it is not `module(x)`.
        exact_past, reach, chunk, dtypes, unpromised: As the attributes of `Adapter`.

    Raises:
        ValueError: `multiple` below 1, or above it for a module that would see the padding.

    Example:
        >>> import torch
        >>> adapter = Whole(torch.nn.Conv1d(4, 4, 1), 4, call=lambda conv, x: conv(x.mT).mT)
        >>> y, state = adapter(torch.randn(2, 5, 4))
        >>> y.shape, state
        (torch.Size([2, 5, 4]), None)
    """

    pieces = "none"
    starts_empty = False

    def __init__(
        self,
        module: nn.Module,
        dim: int,
        *,
        causal: bool = True,
        multiple: int = 1,
        masked: Callable[[Any, Tensor, Tensor], Tensor] | None = None,
        call: Callable[[Any, Tensor], Tensor] | None = None,
        exact_past: bool = True,
        reach: int | None = None,
        chunk: int = Adapter.chunk,
        dtypes: Sequence[torch.dtype] = Adapter.dtypes,
        unpromised: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        if multiple < 1:
            raise ValueError(f"multiple: expected at least 1, got {multiple}")
        if multiple > 1 and not causal and masked is None:
            raise ValueError(
                f"multiple: expected 1 or `masked` for a module that is not causal, got {multiple}"
            )
        self.module, self.dim, self.causal, self.multiple = module, dim, causal, multiple
        self.call, self.masked = call, masked
        self.takes_lengths = masked is not None
        self.exact_past, self.reach, self.chunk = exact_past, reach, chunk
        self.dtypes, self.unpromised = tuple(dtypes), dict(unpromised or {})

    def forward(self, x, state=None, lengths=None):
        """The whole sequence; the state is None."""
        if state is not None:
            raise ValueError(f"state: expected None, the module has none, got {type(state).__name__}")
        length = x.shape[1]
        added = -length % self.multiple
        x = F.pad(x, (0, 0, 0, added))
        if lengths is None and (self.causal or not added):
            y = self.module(x) if self.call is None else self.call(self.module, x)
            return y[:, :length], None
        if self.masked is None:
            raise ValueError("lengths: expected None, the adapter has no `masked`, got lengths")
        valid = torch.arange(x.shape[1], device=x.device) < (length if lengths is None else lengths[:, None])
        valid = valid.expand(x.shape[:2])
        x = torch.where(valid[..., None], x, x.nan_to_num(0.0))
        y, valid = self.masked(self.module, x, valid)[:, :length], valid[:, :length]
        return torch.where(valid[..., None], y, 0), None


class Stepped(Adapter):
    """A module that maps whole sequences, and a function that decodes with it token by token.

    A call without a state is the module's whole call; the state after it is the one that `prefill` returns
    or, without `prefill`, the one that stepping through the same tokens leaves. A call with a state steps
    through its tokens.

    Args:
        module: Maps `(batch, length, dim)` to the same shape.
        dim: Width of the tokens.
        step: `(module, token, state) -> (y, state)`, token and y `(batch, dim)`.
        start: `(module, batch) -> state` before the first token: tensors, batch first, in any structure that
            `torch.utils._pytree` knows.
        prefill: `(module, x) -> (y, state)`, where the whole call gives its state; called instead of
            `module(x)`.
        call: `(module, x) -> y` where it is not `module(x)`.
        keeps, state_grows, exact_past, reach, chunk, dtypes, unpromised: As the attributes of `Adapter`.

    Example:
        >>> import torch
        >>> gru = torch.nn.GRU(4, 4, batch_first=True)
        >>> def step(gru, token, state):
        ...     y, state = gru(token[:, None], state[None])
        ...     return y[:, 0], state[0]
        >>> adapter = Stepped(
        ...     gru, 4, step=step, start=lambda gru, n: torch.zeros(n, 4), call=lambda gru, x: gru(x)[0]
        ... )
        >>> x = torch.randn(2, 5, 4)
        >>> whole, _ = adapter(x)
        >>> rest, _ = adapter(x[:, 3:], adapter(x[:, :3])[1])
        >>> torch.allclose(rest, whole[:, 3:], atol=1e-6)
        True
    """

    pieces = "steps"
    takes_lengths = False

    def __init__(
        self,
        module: nn.Module,
        dim: int,
        *,
        step: Callable[[Any, Tensor, Any], tuple[Tensor, Any]],
        start: Callable[[Any, int], Any],
        prefill: Callable[[Any, Tensor], tuple[Tensor, Any]] | None = None,
        call: Callable[[Any, Tensor], Tensor] | None = None,
        keeps: Sequence[str] = (),
        state_grows: bool = False,
        exact_past: bool = True,
        reach: int | None = None,
        chunk: int = Adapter.chunk,
        dtypes: Sequence[torch.dtype] = Adapter.dtypes,
        unpromised: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.module, self.dim = module, dim
        self.step, self.start, self.prefill, self.call = step, start, prefill, call
        self.keeps, self.state_grows, self.exact_past = tuple(keeps), state_grows, exact_past
        self.reach, self.chunk = reach, chunk
        self.dtypes, self.unpromised = tuple(dtypes), dict(unpromised or {})

    def forward(self, x, state=None, lengths=None):
        """The whole call, or steps that continue a state."""
        refuse_lengths(lengths)
        if state is not None:
            return self._steps(x, state)
        if self.prefill is not None:
            return self.prefill(self.module, x)
        y = self.module(x) if self.call is None else self.call(self.module, x)
        return y, self._steps(x, self.initial_state(len(x)))[1]

    def initial_state(self, batch):
        """The state that decoding starts from."""
        return self.start(self.module, batch)

    def _steps(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        outputs = []
        for token in x.unbind(1):
            y, state = self.step(self.module, token, state)
            outputs.append(y)
        return torch.stack(outputs, dim=1), state
