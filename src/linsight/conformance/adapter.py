"""How the laws see a module: the call of the contract, and what of the contract the module has at all."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from linsight.mixers import Mixer

__all__ = ["Adapter", "Native", "Pieces"]

Pieces = Literal["any", "steps", "none"]


class Adapter(nn.Module):
    """A module behind the contract's call, `y, state = adapter(x, state=None, lengths=None)`.

    Subclass it, or use one of the ready ones, to put a module under the laws without changing it: the
    attributes say which parts of the contract it has, and laws of the others say nothing about it.
    """

    dim: int
    """Width of the tokens."""
    causal: bool = True
    """Whether token t sees the tokens up to t alone."""
    forms: tuple[str, ...] = ()
    """Ways to compute the same call, `form` picks one; the first is the reference."""
    auto_forms: tuple[str, ...] = ()
    """Ways that `auto` may take beside these, where a machine and a dtype have them: compiled kernels."""
    pieces: Pieces = "any"
    """Which calls continue a state: of any length, single tokens alone, or none (there is no state)."""
    starts_empty: bool = True
    """Whether `initial_state` makes a state that decoding can begin with."""
    takes_lengths: bool = True
    """Whether padded rows can be given with their lengths."""
    state_grows: bool = False
    """Whether the state grows with the tokens seen, as a cache of keys and values does."""
    keeps: tuple[str, ...] = ()
    """Tensors of the state, by parts of their names, that hold tokens as they came; the others add up."""
    exact_past: bool = True
    """Whether outputs before a changed token keep every bit; else (an FFT) they keep to rounding."""
    reach: int | None = None
    """How many tokens back an output can see, itself included; None for all of them."""
    chunk: int = 64
    """Around which lengths the calls are cut in two: the module's own chunk, block or window."""
    multiple: int = 1
    """The module takes lengths that are multiples of this alone; the adapter pads the others."""
    max_length: int | None = None
    """The most tokens of a row; None for any number."""
    dtypes: tuple[torch.dtype, ...] = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    """The dtypes the module is meant for, the most precise first."""
    dtype: torch.dtype = torch.float32
    """The dtype it was built in."""
    decay: str | None = None
    """What has a decay of its own (a head, a token, a feature), where `decayed` can set them; None if not."""
    unpromised: Mapping[str, str] = {}
    """Laws that the module's author never promised, each with the reason: breaches of them are marked so."""

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """As `linsight.mixers.Mixer`."""
        raise NotImplementedError

    def initial_state(self, batch: int) -> Any:
        """The state before the first token; None where there is none."""
        return None

    def state_size(self, length: int) -> int | None:
        """Bytes of state per sequence after `length` tokens, if the module says so."""
        return None

    @property
    def form(self) -> str:
        """How calls are computed now."""
        return ""

    @form.setter
    def form(self, form: str) -> None:
        raise NotImplementedError

    @property
    def last_form(self) -> str | None:
        """How the last call was computed, if the module says so."""
        return None

    @contextmanager
    def in_form(self, form: str) -> Iterator[None]:
        """Calls computed in `form`."""
        before = self.form
        self.form = form
        try:
            yield
        finally:
            self.form = before

    def decayed(self, value: float) -> AbstractContextManager[None]:
        """Calls with every logarithm of a decay equal to `value`: 0 keeps all, -inf resets."""
        raise NotImplementedError

    def in_each_form(self, *, auto: bool = False) -> Iterator[str]:
        """Every form in turn, set while the loop's body runs; one unnamed form if there are none."""
        if not self.forms:
            yield ""
            return
        for form in (*self.forms, "auto") if auto else self.forms:
            with self.in_form(form):
                yield form

    def tensors(self, state: Any) -> dict[str, Tensor]:
        """The tensors of a state, by a name for each."""
        paths, _ = pytree.tree_flatten_with_path(state)
        return {
            (pytree.keystr(path).lstrip(".") or "state"): leaf
            for path, leaf in paths
            if isinstance(leaf, Tensor)
        }

    def map_state(self, change: Callable[[Tensor], Tensor], state: Any) -> Any:
        """The state with every tensor replaced by what `change` makes of it."""
        return pytree.tree_map_only(Tensor, change, state)

    def rows(self, state: Any, index: Sequence[int]) -> Any:
        """The state of some rows of the batch, in the order named."""
        return self.map_state(lambda tensor: tensor[list(index)], state)

    def copied(self, state: Any) -> Any:
        """The same state in other memory: a module that writes into its state does not reach this one."""
        return copy.deepcopy(self.map_state(Tensor.detach, state))


class Native(Adapter):
    """A `linsight` mixer: it has the whole contract."""

    def __init__(self, mixer: Mixer, *, unpromised: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.unpromised = dict(unpromised or {})
        self.mixer = mixer
        self.dim, self.causal, self.forms = mixer.dim, mixer.causal, mixer.forms
        self.auto_forms = ("compiled",)
        self.pieces = "any" if mixer.causal else "none"
        self.state_grows, self.keeps = mixer.state_grows, mixer.keeps
        self.max_length, self.chunk = mixer.max_length, mixer.period
        self.exact_past = mixer.exact_past

    def forward(self, x, state=None, lengths=None):
        """The mixer's own call."""
        return self.mixer(x, state, lengths)

    def initial_state(self, batch):
        """The mixer's own."""
        return self.mixer.initial_state(batch)

    def state_size(self, length):
        """The mixer's own."""
        return self.mixer.state_size(length)

    @property
    def form(self):
        """The mixer's own."""
        return self.mixer.form

    @form.setter
    def form(self, form):
        self.mixer.form = form
        self.exact_past = self.mixer.exact_past

    @property
    def last_form(self):
        """The mixer's own."""
        return self.mixer.last_form
