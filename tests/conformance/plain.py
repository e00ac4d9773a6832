"""What the honest mixers share: forms, padding, refusals, the dtype of sums."""

from typing import Any

import torch
from torch import Tensor

from linsight.conformance import Adapter


class Plain(Adapter):
    """What the mixers share: forms, padding, refusals. `mix` is the mixer, on clean tokens.

    Every form is a method, `run_` and its name. Sums are float32, or float64 in a float64 module, under any
    autocast.
    """

    chunk = 16
    """Where calls are cut, since the form by pairs has no length of its own: short, for speed."""
    usual: str
    """The form that `auto` takes."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.dim, self._form, self._last_form = dim, "auto", None

    @property
    def form(self) -> str:
        return self._form

    @form.setter
    def form(self, form: str) -> None:
        self._form = form

    @property
    def last_form(self) -> str | None:
        return self._last_form

    @property
    def weights(self) -> Tensor:
        """The parameter whose dtype and device the mixer computes with."""
        return next(self.parameters())

    @property
    def wide(self) -> torch.dtype:
        return torch.promote_types(self.weights.dtype, torch.float32)

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        self.check(x, state, lengths)
        state = self.initial_state(len(x)) if state is None else state
        valid = self.valid(x, lengths)
        self._last_form = self.usual if self.form == "auto" else self.form
        with torch.autocast("cpu", enabled=False):
            y, state = self.mix(self.clean(x, valid).to(self.weights.dtype), valid, state)
        return torch.where(valid[..., None], y, 0.0).to(x.dtype), state

    def mix(self, x: Tensor, valid: Tensor, state: Any) -> tuple[Tensor, Any]:
        raise NotImplementedError

    def run(self, *inputs: Any) -> Any:
        """The form chosen, on its inputs."""
        return getattr(self, f"run_{self._last_form}")(*inputs)

    def check(self, x: Tensor, state: Any, lengths: Tensor | None) -> None:
        if x.ndim != 3 or x.shape[1] == 0 or x.shape[2] != self.dim:
            raise ValueError(f"x: expected (batch, length >= 1, dim {self.dim}), got {tuple(x.shape)}")
        if state is not None and len(state[0]) != len(x):
            raise ValueError(f"state: expected a batch of {len(x)}, got {len(state[0])}")
        if lengths is not None and lengths.shape != x.shape[:1]:
            raise ValueError(f"lengths: expected {len(x)} of them, got {tuple(lengths.shape)}")

    def valid(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            return torch.ones(x.shape[:2], dtype=torch.bool)
        return torch.arange(x.shape[1]) < lengths[:, None]

    def clean(self, x: Tensor, valid: Tensor) -> Tensor:
        return torch.where(valid[..., None], x, 0.0)

    def zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=self.wide)

    def state_size(self, length: int) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.initial_state(1))
