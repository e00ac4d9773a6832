"""Adapters of what computes one call in several ways: modules with a cache, functions of q, k and v."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linsight.conformance.adapter import Adapter, Pieces

__all__ = ["Attention", "Cached", "Formed", "refuse_lengths"]


class Formed(Adapter):
    """An adapter whose forms are set by name; `auto` is the first where nothing else has that name."""

    _form = "auto"

    @property
    def form(self):
        """How calls are computed now."""
        return self._form

    @form.setter
    def form(self, form):
        if form != "auto" and form not in self.forms:
            raise ValueError(f"form: expected auto or one of {', '.join(self.forms)}, got {form!r}")
        self._form = form


class Cached(Formed):
    """A module that writes into a cache object it is handed, as those of Hugging Face `transformers` do.

    The adapter hands it a copy, so that a state stays a value. The tensors of a cache are found wherever its
    attributes, lists and dicts hold them, and have to be batch first. A first call has two forms: `plain`, y
    of the call without a cache (how such modules train), and `cached`, y of the call with an empty one (how
    they read a prompt).

    Args:
        module: The module, as `call` uses it.
        dim: Width of the tokens.
        call: `(module, x, cache) -> y`, x and y `(batch, length, dim)`; `cache` is changed in place, and None
            for a call without one.
        cache: `(module, batch) -> cache` that is empty.
        pieces: "any", or "steps" if the module continues a cache by single tokens alone.
        keeps, state_grows, exact_past, reach, chunk, dtypes, unpromised: As the attributes of `Adapter`.

    Example:
        >>> import torch
        >>> class Sum(torch.nn.Module):
        ...     def forward(self, x, cache=None):
        ...         y = x.cumsum(1) + (cache["sum"] if cache else 0)
        ...         if cache is not None:
        ...             cache["sum"] = y[:, -1:]
        ...         return y
        >>> adapter = Cached(Sum(), 4, call=lambda module, x, cache: module(x, cache), cache=lambda *_: {})
        >>> y, state = adapter(torch.ones(1, 3, 4))
        >>> adapter(torch.ones(1, 2, 4), state)[0][0, :, 0]
        tensor([4., 5.])
    """

    forms = ("plain", "cached")
    takes_lengths = False

    def __init__(
        self,
        module: nn.Module,
        dim: int,
        *,
        call: Callable[[Any, Tensor, Any], Tensor],
        cache: Callable[[Any, int], Any],
        pieces: Pieces = "any",
        keeps: Sequence[str] = (),
        state_grows: bool = False,
        exact_past: bool = True,
        reach: int | None = None,
        chunk: int = Adapter.chunk,
        dtypes: Sequence[torch.dtype] = Adapter.dtypes,
        unpromised: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.module, self.dim, self.call, self.cache = module, dim, call, cache
        self.pieces, self.keeps, self.state_grows = pieces, tuple(keeps), state_grows
        self.exact_past = exact_past
        self.reach, self.chunk = reach, chunk
        self.dtypes, self.unpromised = tuple(dtypes), dict(unpromised or {})

    def forward(self, x, state=None, lengths=None):
        """The call with a copy of the cache, or with an empty one."""
        refuse_lengths(lengths)
        held = self.initial_state(len(x)) if state is None else self.map_state(Tensor.clone, state)
        y = self.call(self.module, x, held.cache)
        if held.tokens == 0 and self.form != "cached":
            y = self.call(self.module, x, None)
        return y, _Held(held.cache, held.tokens + x.shape[1])

    def initial_state(self, batch):
        """An empty cache."""
        return _Held(self.cache(self.module, batch), 0)

    def tensors(self, state):
        """The tensors of a cache, by the way to each."""
        return dict(_found(state))

    def map_state(self, change, state):
        """A copy of the cache with every tensor replaced by what `change` makes of it."""
        return copy.deepcopy(state, {id(tensor): change(tensor) for _, tensor in _found(state)})


class Attention(Formed):
    """A function of queries, keys and values, and of a decay and a state if it takes them.

    q, k, v `(batch, length, heads, head_dim)` and the decay are projections of x without bias, drawn when the
    adapter is made; y is the output with its heads side by side, so `dim` is `heads * head_dim`.

    Args:
        function: `(q, k, v, [log_decay], [initial_state=]) -> (o, final_state)`, or o alone; or several by
            name, which are then the forms of one function, the first its reference.
        heads: Heads.
        head_dim: Width of a head, of keys and values alike.
        layout: Axes of q, k, v, o and the decay: "bthk", or "bhtk" with the heads before time.
        decay: What has a decay of its own, None for none: "head" `(heads,)`, "token" `(batch, length, heads)`
            or "feature" `(batch, length, heads, head_dim)`. A logarithm: log sigmoid of a projection.
        carries: Whether the function takes `initial_state` (None, or an earlier final state, batch first) and
            returns the final state.
        exact_past, reach, chunk, dtypes, unpromised: As the attributes of `Adapter`.

    Raises:
        ValueError: A layout or a decay that does not exist; no function at all.

    Example:
        >>> import torch
        >>> from linsight.ops import linear_attention
        >>> adapter = Attention(linear_attention, decay="token")
        >>> y, state = adapter(torch.randn(2, 5, 16))
        >>> y.shape, state.shape
        (torch.Size([2, 5, 16]), torch.Size([2, 2, 8, 8]))
    """

    starts_empty = False
    takes_lengths = False

    def __init__(
        self,
        function: Callable[..., Any] | Mapping[str, Callable[..., Any]],
        *,
        heads: int = 2,
        head_dim: int = 8,
        layout: Literal["bthk", "bhtk"] = "bthk",
        decay: Literal["head", "token", "feature"] | None = None,
        carries: bool = True,
        exact_past: bool = True,
        reach: int | None = None,
        chunk: int = Adapter.chunk,
        dtypes: Sequence[torch.dtype] = Adapter.dtypes,
        unpromised: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        if layout not in ("bthk", "bhtk"):
            raise ValueError(f"layout: expected 'bthk' or 'bhtk', got {layout!r}")
        if decay not in (None, "head", "token", "feature"):
            raise ValueError(f"decay: expected 'head', 'token', 'feature' or None, got {decay!r}")
        functions = function if isinstance(function, Mapping) else {"": function}
        if not functions:
            raise ValueError("function: expected at least one, got an empty mapping")
        self.functions = dict(functions)
        self.forms = tuple(functions) if isinstance(function, Mapping) else ()
        self.dim, self.heads, self.layout, self.decay = heads * head_dim, heads, layout, decay
        self.pieces = "any" if carries else "none"
        self.exact_past, self.reach, self.chunk = exact_past, reach, chunk
        self.dtypes = tuple(dtypes)
        self.unpromised = {"scale": "the projections are the adapter's own", **(unpromised or {})}
        self.qkv = nn.Linear(self.dim, 3 * self.dim, bias=False)
        if decay is not None:
            self.gate = nn.Linear(self.dim, self.dim if decay == "feature" else heads, bias=False)
        self._constant: float | None = None

    def forward(self, x, state=None, lengths=None):
        """The function of the projections."""
        refuse_lengths(lengths)
        inputs = [self._in_layout(part.unflatten(-1, (self.heads, -1))) for part in self.qkv(x).chunk(3, -1)]
        if self.decay is not None:
            inputs.append(self._log_decay(x))
        carried = {} if self.pieces == "none" else {"initial_state": state}
        function = self.functions.get(self.form) or next(iter(self.functions.values()))
        result = function(*inputs, **carried)
        o, final = result if isinstance(result, tuple) else (result, None)
        return self._in_layout(o).flatten(2), final if carried else None

    @contextmanager
    def decayed(self, value: float) -> Iterator[None]:
        """Calls with every logarithm of a decay equal to `value`: 0 keeps all, -inf resets.

        Raises:
            ValueError: The function has no decay.
        """
        if self.decay is None:
            raise ValueError(f"decayed: expected an adapter made with a decay, got decay=None and {value}")
        before, self._constant = self._constant, value
        try:
            yield
        finally:
            self._constant = before

    def _log_decay(self, x: Tensor) -> Tensor:
        source = self.gate.weight.mean(1) if self.decay == "head" else self.gate(x)
        decay = F.logsigmoid(source)
        if self._constant is not None:
            decay = self._constant + 0 * decay  # still a function of x: a gradient that is NaN is seen
        if self.decay == "head":
            return decay
        return self._in_layout(decay.unflatten(-1, (self.heads, -1)) if self.decay == "feature" else decay)

    def _in_layout(self, tensor: Tensor) -> Tensor:
        return tensor.transpose(1, 2) if self.layout == "bhtk" else tensor


class _Held(NamedTuple):
    """A cache and how many tokens it has seen."""

    cache: Any
    tokens: int


def refuse_lengths(lengths: Tensor | None) -> None:
    """Raise a ValueError if there are lengths."""
    if lengths is not None:
        raise ValueError("lengths: expected None, this adapter takes no padded rows, got lengths")


def _found(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in an object's attributes, lists and dicts, with the way to it; code is passed by."""
    if isinstance(value, Tensor):
        yield path, value
        return
    if hasattr(value, "_asdict"):  # a named tuple
        parts = value._asdict().items()
    elif isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, Sequence) and not isinstance(value, str):
        parts = enumerate(value)
    else:
        parts = () if callable(value) else getattr(value, "__dict__", {}).items()
    for name, part in parts:
        yield from _found(part, f"{path}.{name}" if path else f"{name}")
