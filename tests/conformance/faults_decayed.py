"""Decayed attention with one defect each: the order of decay and write, chunks, exponents, gradients."""

from typing import Any

import torch
from honest_recurrent import Decayed, Matrix
from torch import Tensor, nn

Result = tuple[Tensor, Any]


class DecayAfterWrite(Decayed):
    """One form lets the new token decay as well: S = a (S + k v^T)."""

    def advance(self, k: Tensor, v: Tensor, g: Tensor, state: Matrix) -> Matrix:
        return super().advance(k * g.exp(), v, g, state)


class LateDecay(Decayed):
    """In chunks, what came before decays one token late: an exclusive sum in place of an inclusive one."""

    def read(self, q: Tensor, g: Tensor, state: Matrix) -> Tensor:
        late = nn.functional.pad(g, (0, 0, 1, 0))[:, :-1]
        return super().read(q, late if self.last_form == "chunk" else g, state)


class SlippedMask(Decayed):
    """Inside a chunk the mask lets one later token through."""

    def decays(self, g: Tensor) -> Tensor:
        slip = torch.ones(g.shape[1], dtype=g.dtype)[1:].diag(1)
        return super().decays(g) + (slip if self.last_form == "chunk" else 0)


class LastChunkOnly(Decayed):
    """The state after several chunks is what the last chunk would leave alone; the outputs are right."""

    def run_chunk(self, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Matrix) -> Result:
        y, final = super().run_chunk(q, k, v, g, state)
        last = (q.shape[1] - 1) // self.chunk * self.chunk
        if last:
            _, final = self.run_naive(*(z[:, last:] for z in (q, k, v, g)), self.initial_state(len(q)))
        return y, final


class StaleChunk(Decayed):
    """The third chunk and later ones start from the state after the first: two boundaries show it."""

    def run_chunk(self, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Matrix) -> Result:
        y, final = super().run_chunk(q, k, v, g, state)
        third = 2 * self.chunk
        if q.shape[1] <= third:
            return y, final
        _, first = self.run_naive(*(z[:, : self.chunk] for z in (q, k, v, g)), state)
        late, _ = super().run_chunk(*(z[:, third:] for z in (q, k, v, g)), first)
        return torch.cat([y[:, :third], late], dim=1), final


class LoneStaleChunk(StaleChunk):
    """The same in a mixer that has no other form to compare with."""

    forms = ()


class LoneLateSlip(Decayed):
    """From the third chunk on, each output sees the next token a little; there is no other form."""

    forms = ()

    def run_chunk(self, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Matrix) -> Result:
        y, final = super().run_chunk(q, k, v, g, state)
        ahead = v[:, 2 * self.chunk + 1 :]
        first = y.shape[1] - ahead.shape[1] - 1
        return y + nn.functional.pad(1e-3 * ahead, (0, 0, first, 1)), final


class FilledChunk(Decayed):
    """Fills the last chunk up with zeros, whose decays are not 1: the final state fades."""

    def run_chunk(self, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Matrix) -> Result:
        length, fill = q.shape[1], (0, 0, 0, -q.shape[1] % self.chunk)
        q, k, v = (nn.functional.pad(z, fill) for z in (q, k, v))
        y, final = super().run_chunk(q, k, v, nn.functional.pad(g, fill, value=-0.05), state)
        return y[:, :length], final


class LastTokenOnly(Decayed):
    """Given a state and several tokens, its state takes up the last one alone (mamba #536)."""

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> Result:
        y, final = super().forward(x, state, lengths)
        if state is not None and x.shape[1] > 1:
            _, final = super().forward(x[:, -1:], state)
        return y, final


class DecayingPadding(Decayed):
    """The state goes on fading while the padding passes."""

    def mix(self, x: Tensor, valid: Tensor, state: Matrix) -> Result:
        return super().mix(x, torch.ones_like(valid), state)


class SharedDecay(Decayed):
    """One decay for all rows, their mean."""

    def log_decay(self, x: Tensor) -> Tensor:
        g = super().log_decay(x)
        return g.mean(0, keepdim=True).expand_as(g)


class CumsumDifference(Decayed):
    """Writes the sum over a segment as a difference of two sums from the beginning: -inf minus -inf."""

    def decays(self, g: Tensor) -> Tensor:
        since = g[..., 0].cumsum(1)
        difference = since[:, :, None] - since[:, None]
        later = ~torch.ones(difference.shape[1:], dtype=torch.bool).tril()
        return difference.masked_fill(later, -torch.inf).exp()


class MaskAfterExp(Decayed):
    """Masks the future after exp, which has overflowed there: right values, and gradients of 0 * inf."""

    def decays(self, g: Tensor) -> Tensor:
        since = g[..., 0].clamp(min=-1e3).cumsum(1)
        later = ~torch.ones(g.shape[1], g.shape[1], dtype=torch.bool).tril()
        return (since[:, :, None] - since[:, None]).exp().masked_fill(later, 0.0)


class ExpOfMinus(Decayed):
    """Divides the keys by the decay since the beginning, exp(-sum), which overflows."""

    def decays(self, g: Tensor) -> Tensor:
        since = g[..., 0].cumsum(1)
        return (since.exp()[:, :, None] * (-since).exp()[:, None]).tril()


class LostDecayGradient(Decayed):
    """The chunked backward pass leaves out the decay's gradient through the state: a missing term."""

    def read(self, q: Tensor, g: Tensor, state: Matrix) -> Tensor:
        return super().read(q, g.detach() if self.last_form == "chunk" else g, state)


class CutChunks(Decayed):
    """The gradient stops at the boundary between two chunks; one chunk does not show it."""

    def run_chunk(self, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Matrix) -> Result:
        outputs = []
        for start in range(0, q.shape[1], self.chunk):
            now = slice(start, start + self.chunk)
            before = Matrix(state.total.detach()) if start else state
            y, state = self.run_naive(q[:, now], k[:, now], v[:, now], g[:, now], before)
            outputs.append(y)
        return torch.cat(outputs, dim=1), state


class DetachedStart(Decayed):
    """Every form cuts the gradient of the state that it is given; values are right."""

    def mix(self, x: Tensor, valid: Tensor, state: Matrix) -> Result:
        return super().mix(x, valid, Matrix(state.total.detach()))


class UnitKeys(Decayed):
    """Divides the keys by their norm, which is 0 for a token of zeros."""

    def run(self, q: Tensor, k: Tensor, *rest: Tensor) -> Result:
        return super().run(q, k / k.norm(dim=-1, keepdim=True), *rest)


class RootOfZero(Decayed):
    """A norm with its eps outside the root: finite at 0, with an infinite gradient there."""

    def run(self, q: Tensor, k: Tensor, *rest: Tensor) -> Result:
        return super().run(q, k / (k.square().sum(-1, keepdim=True).sqrt() + 1e-6), *rest)
