"""Correct recurrences with decays, written for reading: decayed attention, and a gated convolution."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from plain import Plain
from torch import Tensor, nn


def log_products(log_decay: Tensor) -> Tensor:
    """Log of the decay from token j to token t, `(batch, t, j, channels)`; -inf where j comes later.

    Segments are added up by a masked cumulative sum: no difference of two sums, which would cancel, and which
    -inf would make NaN.
    """
    length = log_decay.shape[1]
    below = torch.ones(length, length, dtype=torch.bool).tril(-1)[..., None]
    steps = torch.where(below, log_decay[:, :, None], 0.0).cumsum(1)
    return torch.where(torch.ones(length, length, dtype=torch.bool).tril()[..., None], steps, -torch.inf)


class Matrix(NamedTuple):
    """The decayed sum of k v^T, `(batch, dim, dim)`."""

    total: Tensor


class Decayed(Plain):
    """Linear attention without a normaliser and with a decay for each token: S_t = a_t S_(t-1) + k_t v_t^T.

    log a_t = -softplus(w . x_t + b), and y_t = q_t S_t, as in gated linear attention and Mamba-2.
    """

    chunk = 64
    forms = ("naive", "chunk", "recurrent")
    usual = "chunk"
    decay = "token"

    def __init__(self, dim: int = 8) -> None:
        super().__init__(dim)
        self.fixed: float | None = None
        self.qkv = nn.Parameter(torch.randn(dim, 3 * dim) / dim**0.5)
        self.gate = nn.Parameter(torch.randn(dim, 1) / dim)
        self.bias = nn.Parameter(torch.tensor([-3.0]))

    @contextmanager
    def decayed(self, value: float) -> Iterator[None]:
        """Calls with every log decay at `value`."""
        self.fixed = value
        try:
            yield
        finally:
            self.fixed = None

    def initial_state(self, batch: int) -> Matrix:
        return Matrix(self.zeros(batch, self.dim, self.dim))

    def mix(self, x: Tensor, valid: Tensor, state: Matrix) -> tuple[Tensor, Matrix]:
        q, k, v = (x @ self.qkv).to(self.wide).chunk(3, dim=-1)
        g = torch.where(valid[..., None], self.log_decay(x), 0.0)
        return self.run(q / self.dim**0.5, k, v, g, state)

    def log_decay(self, x: Tensor) -> Tensor:
        g = -nn.functional.softplus((x @ self.gate).to(self.wide) + self.bias.to(self.wide))
        return g if self.fixed is None else self.fixed + 0 * g

    def run_naive(self, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Matrix) -> tuple[Tensor, Matrix]:
        """All pairs of tokens, each with the product of the decays between them."""
        decays = self.decays(g)
        y = (q @ k.transpose(1, 2) * decays) @ v + self.read(q, g, state)
        left = k * decays[:, -1, :, None]
        return y, Matrix(g.sum(1, keepdim=True).exp() * state.total + left.transpose(1, 2) @ v)

    def decays(self, g: Tensor) -> Tensor:
        """From token j to token t, `(batch, t, j)`."""
        return log_products(g)[..., 0].exp()

    def read(self, q: Tensor, g: Tensor, state: Matrix) -> Tensor:
        """What the tokens before this call add to the outputs."""
        return g.cumsum(1).exp() * (q @ state.total)

    def run_chunk(self, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Matrix) -> tuple[Tensor, Matrix]:
        outputs = []
        for pieces in zip(*(tensor.split(self.chunk, dim=1) for tensor in (q, k, v, g)), strict=True):
            y, state = self.run_naive(*pieces, state)
            outputs.append(y)
        return torch.cat(outputs, dim=1), state

    def run_recurrent(
        self, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Matrix
    ) -> tuple[Tensor, Matrix]:
        outputs = []
        for t in range(q.shape[1]):
            now = slice(t, t + 1)
            state = self.advance(k[:, now], v[:, now], g[:, now], state)
            outputs.append(q[:, now] @ state.total)
        return torch.cat(outputs, dim=1), state

    def advance(self, k: Tensor, v: Tensor, g: Tensor, state: Matrix) -> Matrix:
        """The state after one token."""
        return Matrix(g.exp() * state.total + k.transpose(1, 2) @ v)


class Window(NamedTuple):
    """The last inputs of the convolution `(batch, kernel - 1, dim)`, and the hidden state `(batch, dim)`."""

    inputs: Tensor
    hidden: Tensor


class Convolved(Plain):
    """A causal convolution, silu, and a gated diagonal recurrence (Mamba, arXiv 2312.00752, with one state).

    u = silu(conv(x W)), h_t = exp(-dt_t a) h_(t-1) + dt_t u_t, y = (h + d u) silu(z); dt = softplus(u w + b)
    """

    forms = ("naive", "recurrent")
    usual = "naive"
    kernel = 4

    def __init__(self, dim: int = 8) -> None:
        super().__init__(dim)
        self.into = nn.Parameter(torch.randn(dim, 2 * dim) / dim**0.5)
        self.taps = nn.Parameter(torch.randn(self.kernel, dim) / self.kernel**0.5)
        self.rate = nn.Parameter(torch.randn(dim, dim) / dim)
        self.bias = nn.Parameter(torch.full((dim,), -1.0))
        self.log_a = nn.Parameter(torch.linspace(-3.0, -1.0, dim))
        self.skip = nn.Parameter(torch.ones(dim))

    def initial_state(self, batch: int) -> Window:
        return Window(self.zeros(batch, self.kernel - 1, self.dim), self.zeros(batch, self.dim))

    def mix(self, x: Tensor, valid: Tensor, state: Window) -> tuple[Tensor, Window]:
        u, z = (x @ self.into).to(self.wide).chunk(2, dim=-1)
        u, inputs = self.convolve(u, state.inputs, valid)
        dt = torch.where(valid[..., None], self.step_size(u), 0.0)
        h, hidden = self.run(dt * u, self.log_decay(dt), state.hidden)
        return (h + self.skip * u) * nn.functional.silu(z), Window(inputs, hidden)

    def convolve(self, u: Tensor, before: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """The activations, and the last inputs of each row for the next call."""
        length = u.shape[1]
        window = torch.cat([before, u], dim=1)
        taps = self.taps.to(self.wide)
        conv = sum(taps[i] * window[:, i : i + length] for i in range(self.kernel))
        last = valid.sum(1, keepdim=True) + torch.arange(self.kernel - 1)
        return nn.functional.silu(conv), window.gather(1, last[..., None].expand(-1, -1, self.dim))

    def step_size(self, u: Tensor) -> Tensor:
        return nn.functional.softplus(u @ self.rate.to(self.wide) + self.bias)

    def log_decay(self, dt: Tensor) -> Tensor:
        return -dt * self.log_a.to(self.wide).exp()

    def run_naive(self, u: Tensor, g: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """All pairs of tokens, in every channel."""
        h = (log_products(g).exp() * u[:, None]).sum(2) + g.cumsum(1).exp() * hidden[:, None]
        return h, h[:, -1]

    def run_recurrent(self, u: Tensor, g: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        outputs = []
        for t in range(u.shape[1]):
            hidden = g[:, t].exp() * hidden + u[:, t]
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), hidden
