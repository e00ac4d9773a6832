"""A small honest mixer, and a subclass for each classic fault of published ones (spec/mixers.md, 21)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Sums(NamedTuple):
    """Sums of phi(k) v^T `(batch, dim, dim)` and of phi(k) `(batch, dim)`, and the position `(batch,)`."""

    total: Tensor
    weight: Tensor
    position: Tensor


def phi(x: Tensor) -> Tensor:
    """elu(x) + 1."""
    return nn.functional.elu(x) + 1


class Honest(nn.Module):
    """One-head linear attention with absolute positions, written for reading: the faults depart from it."""

    causal = True
    forms = ("naive", "parallel", "recurrent")

    def __init__(self, dim: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.dim, self.form, self.last_form = dim, "auto", ""
        self.qkv = nn.Parameter(
            torch.randn(dim, 3 * dim, generator=generator, dtype=torch.float64) / dim**0.5
        )

    def initial_state(self, batch: int) -> Sums:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=self.qkv.dtype)

        return Sums(
            zeros(batch, self.dim, self.dim), zeros(batch, self.dim), torch.zeros(batch, dtype=torch.int64)
        )

    def state_size(self, length: int) -> int:
        return (self.dim**2 + self.dim) * self.qkv.element_size() + 8

    def valid(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            return torch.ones(x.shape[:2], dtype=torch.bool)
        return torch.arange(x.shape[1]) < lengths[:, None]

    def clean(self, x: Tensor, valid: Tensor) -> Tensor:
        return torch.where(valid[..., None], x, 0.0)

    def place(self, position: Tensor, length: int) -> Tensor:
        return position[:, None] + torch.arange(length)

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return phi(k) * valid[..., None]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        weights = (phi(q) @ k.transpose(1, 2)).tril()
        above = weights @ v + phi(q) @ state.total
        return above / (weights.sum(-1) + (phi(q) @ state.weight[..., None])[..., 0] + 1e-6)[..., None]

    def step_by_step(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        outputs = []
        for t in range(q.shape[1]):
            now = slice(t, t + 1)
            outputs.append(self.attend(q[:, now], k[:, now], v[:, now], state))
            state = self.advance(k[:, now], v[:, now], state)
        return torch.cat(outputs, dim=1)

    def advance(self, k: Tensor, v: Tensor, state: Sums) -> Sums:
        return Sums(state.total + k.transpose(1, 2) @ v, state.weight + k.sum(1), state.position)

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        return state._replace(position=state.position + valid.sum(1))

    def forward(
        self, x: Tensor, state: Sums | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Sums | None]:
        state = self.initial_state(len(x)) if state is None else state
        valid = self.valid(x, lengths)
        wave = torch.sin(self.place(state.position, x.shape[1])[..., None] * 0.3 + torch.arange(self.dim))
        q, k, v = ((self.clean(x, valid) + wave) @ self.qkv).chunk(3, dim=-1)
        k = self.keys(k, valid)
        self.last_form = "parallel" if self.form == "auto" else self.form
        y = (self.attend if self.last_form == "parallel" else self.step_by_step)(q, k, v, state)
        return torch.where(valid[..., None], y, 0.0), self.finish(self.advance(k, v, state), valid)


class LeakyFuture(Honest):
    """A stabiliser that looks at the whole sequence (performer-pytorch #82)."""

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return super().keys(k, valid) / (1e-3 + k.abs().amax(dim=1, keepdim=True)).sqrt()


class LengthNormaliser(Honest):
    """Divides by the length of the call (causal GAU of FLASH-pytorch): only a prefix shows it."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        return super().attend(q, k, v, state) / q.shape[1]


class UnmaskedKey(Honest):
    """Zeroes k at padding, not phi(k): elu(0) + 1 = 1 stays in the sums."""

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return phi(k * valid[..., None])


class MaskedValueOnly(Honest):
    """Pads v alone (fla's LinearAttention): phi(k) of the padding stays in the normaliser."""

    def forward(
        self, x: Tensor, state: Sums | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Sums | None]:
        self.mask = self.valid(x, lengths)
        return super().forward(x, state, lengths)

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return phi(k)

    def advance(self, k: Tensor, v: Tensor, state: Sums) -> Sums:
        shown = v * self.mask[..., None] if v.shape[1] == self.mask.shape[1] else v
        return super().advance(k, shown, state)


class MultipliedMask(Honest):
    """Multiplies the padding by 0 instead of replacing it: 0 * NaN = NaN."""

    def clean(self, x: Tensor, valid: Tensor) -> Tensor:
        return x * valid[..., None]


class PaddedGradient(Honest):
    """Cuts the padding out of the values but leaves a path for the gradient: seen by no forward test."""

    def forward(
        self, x: Tensor, state: Sums | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Sums | None]:
        y, final = super().forward(x, state, lengths)
        return y + 1e-9 * (x.nan_to_num() - x.nan_to_num().detach()).sum(1, keepdim=True), final


class StateAtTheEnd(Honest):
    """The position after a padded row is the padded length."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        return state._replace(position=state.position + valid.shape[1])


class LostPosition(Honest):
    """Every call begins at position 0."""

    def place(self, position: Tensor, length: int) -> Tensor:
        return super().place(torch.zeros_like(position), length)


class SharedPosition(Honest):
    """One position for the whole batch, the first row's."""

    def place(self, position: Tensor, length: int) -> Tensor:
        return super().place(position[:1].expand(len(position)), length)


class ReadBeforeWrite(Honest):
    """One form reads the state before it is written."""

    def step_by_step(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        if self.last_form == "recurrent":
            k, v = (nn.functional.pad(tensor, (0, 0, 1, 0))[:, :-1] for tensor in (k, v))
        return super().step_by_step(q, k, v, state)


class DeafForm(Honest):
    """One form ignores its initial state."""

    def step_by_step(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        return super().step_by_step(
            q, k, v, self.initial_state(len(q)) if self.last_form == "recurrent" else state
        )


class SilentFallback(Honest):
    """Computes another form than the one asked for, correctly."""

    def forward(
        self, x: Tensor, state: Sums | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Sums | None]:
        result = super().forward(x, state, lengths)
        self.last_form = "parallel"
        return result


class HalfState(Honest):
    """Keeps its running sums in bfloat16."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        total, weight, position = super().finish(state, valid)
        return Sums(total.bfloat16(), weight.bfloat16(), position)

    def forward(
        self, x: Tensor, state: Sums | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Sums | None]:
        if state is not None:
            state = Sums(state.total.to(x.dtype), state.weight.to(x.dtype), state.position)
        return super().forward(x, state, lengths)


class RoundedState(HalfState):
    """Rounds its running sums to bfloat16 and hands them over as wide numbers."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        total, weight, position = super().finish(state, valid)
        return Sums(total.to(self.qkv.dtype), weight.to(self.qkv.dtype), position)


class InPlace(Honest):
    """Adds into the tensors it was given."""

    def advance(self, k: Tensor, v: Tensor, state: Sums) -> Sums:
        fresh = super().advance(k, v, state)
        with torch.no_grad():
            state.total.copy_(fresh.total)
        return fresh._replace(total=state.total)


class Detached(Honest):
    """Cuts the gradient at the boundary of a call."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        return Sums(*(tensor.detach() for tensor in super().finish(state, valid)))


class BatchNormed(Honest):
    """Mixes the rows of a batch."""

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return super().keys(k - 0.1 * k.nan_to_num().mean(dim=0, keepdim=True), valid)


class Uninitialised(Honest):
    """Adds memory nobody has written (usually zeros, so that all else passes)."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        noise = torch.empty_like(state.weight)
        return super().finish(
            state._replace(weight=state.weight + torch.where(noise.isnan(), noise, 0.0)), valid
        )


class Underweight(Honest):
    """Forgets a tensor when it says how large the state is."""

    def state_size(self, length: int) -> int:
        return self.dim**2 * self.qkv.element_size()


class _CrookedExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad * (1 - ctx.saved_tensors[0].tanh())


class WrongBackward(Honest):
    """Every form shares one wrong derivative."""

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return super().keys(_CrookedExp.apply(k), valid)


class Forgetful(Honest):
    """A mixer that mixes nothing: each output sees its own token only."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        return v + 0 * super().attend(q, k, v, state)
