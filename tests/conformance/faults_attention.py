"""Linear attention with one defect each, in what it computes: leaks, blind spots, forms, padding."""

from typing import Any

import torch
from honest_attention import Honest, Sums, phi
from torch import Tensor, nn

Result = tuple[Tensor, Any]


class LeakyFuture(Honest):
    """A stabiliser that looks at the whole sequence (performer-pytorch #82)."""

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return super().keys(k, valid) / (1e-3 + k.abs().amax(dim=1, keepdim=True)).sqrt()


class TensorScale(Honest):
    """Rounds relative to the largest entry of the call, as formats with one scale do: a faint leak."""

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        k = super().keys(k, valid)
        scale = torch.where(valid[..., None], k, 0.0).abs().amax() / 2**23
        return k + ((k / scale).round() * scale - k).detach()


class LengthNormaliser(Honest):
    """Divides by the length of the call (causal GAU of FLASH-pytorch): only a prefix shows it."""

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        y, final = super().mix(x, valid, state)
        return y / x.shape[1], final


class Forgetful(Honest):
    """A mixer that mixes nothing: each output sees its own token only."""

    def run(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        return v + 0 * super().run(q, k, v, state)


class OwnTokenUnseen(Honest):
    """Every form reads the state before it writes: they agree, and no output sees its own token."""

    def run(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        k, v = (nn.functional.pad(tensor, (0, 0, 1, 0))[:, :-1] for tensor in (k, v))
        return super().run(q, k, v, state)


class BlindBucket(Honest):
    """The outputs of the first bucket are 0, for it has no earlier one (linear-attention-transformer)."""

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        y, final = super().mix(x, valid, state)
        place = self.place(state.position, x.shape[1])
        return torch.where(place[..., None] < 8, 0.0, y), final


class ReadBeforeWrite(Honest):
    """One form reads the state before it is written."""

    def run_recurrent(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        k, v = (nn.functional.pad(tensor, (0, 0, 1, 0))[:, :-1] for tensor in (k, v))
        return super().run_recurrent(q, k, v, state)


class DeafForm(Honest):
    """One form ignores its initial state."""

    def run_recurrent(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        return super().run_recurrent(q, k, v, self.initial_state(len(q)))


class SilentFallback(Honest):
    """Computes another form than the one asked for, correctly."""

    def run(self, *inputs: Any) -> Tensor:
        self._last_form = "parallel"
        return super().run(*inputs)


class OtherWhenShort(Honest):
    """Left to choose, it takes another path for short calls, which leaves a normaliser out."""

    def run_parallel(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        if self.form == "auto" and q.shape[1] < 8:
            state = state._replace(weight=torch.zeros_like(state.weight))
        return super().run_parallel(q, k, v, state)


class TransposedInOneForm(Honest):
    """One form keeps its sums as v phi(k)^T: it agrees with itself in every split, and with no other form."""

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        if self.last_form != "recurrent":
            return super().mix(x, valid, state)
        y, final = super().mix(x, valid, self.turned(state))
        return y, self.turned(final)

    def turned(self, state: Sums) -> Sums:
        return state._replace(total=state.total.transpose(1, 2))


class UnmaskedKey(Honest):
    """Zeroes k at padding, not phi(k): elu(0) + 1 = 1 stays in the sums."""

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return phi(k * valid[..., None])


class UnmaskedInOneForm(Honest):
    """One form adds up the padding; the others replace it."""

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return phi(k) if self.last_form == "recurrent" else super().keys(k, valid)


class MaskedValueOnly(Honest):
    """Pads v alone (fla's LinearAttention): phi(k) of the padding stays in the normaliser."""

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        q, k, v = self.project(x, self.place(state.position, x.shape[1]))
        k, v = phi(k), v * valid[..., None]
        return self.run(q, k, v, state), self.finish(self.advance(k, v, state), valid)


class MultipliedMask(Honest):
    """Multiplies the padding by 0 instead of replacing it: 0 * NaN = NaN."""

    def clean(self, x: Tensor, valid: Tensor) -> Tensor:
        return x * valid[..., None]


class PaddedGradient(Honest):
    """Cuts the padding out of the values but leaves a path for the gradient: seen by no forward test."""

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> Result:
        y, final = super().forward(x, state, lengths)
        path = x.nan_to_num() - x.nan_to_num().detach()
        return y + 1e-6 * path.sum(1, keepdim=True), final


class UnmaskedOutput(Honest):
    """The outputs at padded positions are not 0."""

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> Result:
        y, final = super().forward(x, state, lengths)
        return torch.where(self.valid(x, lengths)[..., None], y, 1.0), final


class TrimmedToLongest(Honest):
    """Returns as many columns as the longest row has tokens, as `pad_packed_sequence` does."""

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> Result:
        y, final = super().forward(x, state, lengths)
        return y if lengths is None or not len(x) else y[:, : int(lengths.max())], final


class BatchNormed(Honest):
    """Mixes the rows of a batch."""

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return super().keys(k - 0.1 * k.nan_to_num().mean(dim=0, keepdim=True), valid)


class SqueezedRow(Honest):
    """Squeezes the axes of size 1 out of its normaliser, the batch's too if it has one row."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        return super().finish(state._replace(weight=state.weight.squeeze()), valid)


class MultiplesOnly(Honest):
    """Takes lengths that are multiples of its bucket alone (linear-attention-transformer)."""

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        return super().mix(x.unflatten(1, (-1, 64)).flatten(1, 2), valid, state)


class WholeBlocksOnly(Honest):
    """Computes the complete blocks and leaves the rest of the outputs as they were allocated, zero."""

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        y, final = super().mix(x, valid, state)
        length = x.shape[1]
        return nn.functional.pad(y[:, : length - length % 4], (0, 0, 0, length % 4)), final
