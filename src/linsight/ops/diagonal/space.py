"""The diagonal state space: one number in and one out a channel, by way of many complex states."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor

from linsight import kernels
from linsight.ops.diagonal.alignment import align_right, valid_tokens
from linsight.ops.diagonal.arguments import check_call, check_complex
from linsight.ops.diagonal.convolution import fft_convolution
from linsight.ops.diagonal.kernel import diagonal_kernel
from linsight.ops.diagonal.powers import accumulated, complex_of, pair, power_parts, powers, summands
from linsight.ops.forms import Plan, form_of_auto
from linsight.ops.linear import accumulator_dtype, without_autocast
from linsight.ops.pieces import Piece

__all__ = ["FORMS", "diagonal_space", "diagonal_space_piece", "diagonal_space_plan"]

FORMS = ("naive", "parallel", "chunk", "recurrent", "compiled")


def diagonal_space(
    x: Tensor,
    log_decay: Tensor,
    read: Tensor,
    *,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
    form: str = "auto",
    chunk_size: int | None = None,
) -> tuple[Float[Tensor, "B T D"], Complex[Tensor, "B D N"]]:
    """y_t = Re sum_n read_n h_t,n with h_t,n = exp(log_decay_n) h_(t-1),n + x_t, channel by channel.

    Gu, Gupta, Goel, Re 2022, arXiv 2206.11893 (S4D), B folded into the reading: read = 2 C B_bar where states
    stand for conjugate pairs.

    Args:
        x: Tokens `(B, T, D)`; all N states of a channel take in the same number.
        log_decay: Logarithms of the decays, complex `(D, N)`, real parts not above 0, -inf for states that
            forget at once. In complex128 they cost nothing more: their powers are float64 in any case.
        read: The weights of the states, complex `(D, N)`.
        initial_state: h_0, complex `(B, D, N)`; None for zeros.
        lengths: Tokens of each row, integers `(B,)`; what follows is padding, and the final state is the
            row's own at its last token.
        form: How it is computed, never what: `naive` is the definition; `parallel` a Fourier convolution with
            the kernel, beside what the initial state still gives; `chunk` products with a triangle of the
            kernel in blocks of `chunk_size` and the states between them; `recurrent` one update a token;
            `compiled` is the kernel of `linsight.kernels.cpu`, float32 on a CPU; `auto` is
            `diagonal_space_plan`'s.
        chunk_size: Tokens of a block; need not divide T.

    Returns:
        y in x's dtype, 0 at padded tokens, and the final state, complex64 (complex128 for float64 x).

    Cost a channel and row: `recurrent` O(T N) time, and autograd keeps as many numbers; `chunk` O(T (N + C))
    time and O(T (1 + N / C)) memory; `parallel` O(T (N + log T)) time and O(T + N sqrt T) memory; `compiled`
    O(T N) time and O(T (1 + N / 32)) memory, and no second derivative.

    Raises:
        TypeError: an input of another kind of number.
        ValueError: a shape, `form` or `chunk_size` that does not fit; `compiled` where it does not run, with
            the reason.

    Example:
        >>> x, log_decay = torch.randn(1, 9, 2), torch.tensor([[-0.1 + 1j], [-0.2 + 3j]])
        >>> whole, _ = diagonal_space(x, log_decay, torch.ones_like(log_decay))
        >>> first, state = diagonal_space(x[:, :4], log_decay, torch.ones_like(log_decay))
        >>> rest, _ = diagonal_space(x[:, 4:], log_decay, torch.ones_like(log_decay), initial_state=state)
        >>> torch.allclose(whole, torch.cat([first, rest], 1), atol=1e-6)
        True
    """
    if x.ndim != 3:
        raise ValueError(f"x: expected 3 axes (B, T, D), got shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise TypeError(f"x: expected a floating-point tensor, got a tensor of {x.dtype}")
    batch, length, channels = x.shape
    states = log_decay.shape[-1]
    check_complex("log_decay", log_decay, (channels, states))
    check_complex("read", read, (channels, states))
    check_call(FORMS, form, chunk_size, lengths, x)
    if initial_state is not None:
        check_complex("initial_state", initial_state, (batch, channels, states))
    dtype, exact = x.dtype, accumulator_dtype(x.dtype)
    x = x.to(exact)
    h = accumulated(initial_state, (batch, channels, states), x)
    if length == 0:
        return x.to(dtype), h.clone()
    form, chunk_size = diagonal_space_plan(x, form=form, chunk_size=chunk_size)
    if form == "compiled":
        kernels.require("diagonal_space", "compiled", x.device, exact)
        y, h = kernels.cpu.diagonal_space(x, log_decay, read, h, lengths)
        return y.to(dtype), h
    valid = None
    if lengths is not None:
        valid = valid_tokens(x, lengths)[..., None]
        x = torch.where(valid, x, 0)
    with without_autocast(x.device):
        if form in ("naive", "recurrent"):
            y, h = _by_token(x, log_decay, read, h, valid, literal=form == "naive")
        else:
            forced = _by_fourier if chunk_size is None else partial(_by_chunk, size=min(chunk_size, length))
            y, final = forced(x, log_decay, read, h)
            h = final if lengths is None else _final(x, log_decay, h, lengths)
    return (y if valid is None else torch.where(valid, y, 0)).to(dtype), h


def diagonal_space_plan(
    x: Float[Tensor, "B T D"], *, form: str = "auto", chunk_size: int | None = None
) -> Plan:
    """What `diagonal_space` does with these arguments. Reads the shape, dtype and device of x alone.

    One token is a `recurrent` step; more are `compiled` where `linsight.kernels` has it for this device and
    dtype and the caller does not ask for blocks of a size, `chunk` elsewhere. A block has 16, 32 or 64
    tokens, the more the more tokens there are to share its powers. Forward and backward of 64 states, one
    thread: 31 ms compiled, 63 to 105 in blocks of 64 and 143 to 177 by Fourier at (batch, T, channels) = (32,
    784, 48); 7, 38 in blocks of 16 and 69 at (1, 784, 256).
    """
    if form == "auto":
        exact = accumulator_dtype(x.dtype)
        form = form_of_auto("diagonal_space", x.shape[1], chunk_size, x.device, exact)
    if form != "chunk":
        return Plan(form)
    tokens = x.shape[0] * x.shape[1]
    return Plan("chunk", chunk_size or (16 if tokens <= 2048 else 32 if tokens <= 16_384 else 64))


def diagonal_space_piece(
    x: Float[Tensor, "B T D"], log_decay: Tensor, *, lengths: Tensor | None = None
) -> Piece:
    """The map h_0 -> h_T of `diagonal_space` on these tokens: h_T = exp(T log_decay) h_0 + written.

    Args:
        x, log_decay, lengths: As in `diagonal_space`; a row of `lengths[b]` tokens has that for its T.

    Returns:
        written, complex `(B, D, N)`, and decay, complex `(D, N)`, or `(B, D, N)` with lengths.

    Cost a channel: O(T N), a product of x with powers that are computed once for all rows.
    """
    x = x.to(accumulator_dtype(x.dtype))
    with without_autocast(x.device):
        if lengths is None:
            return Piece(_summed(x, log_decay), _free_factor(log_decay, x.shape[1], x))
        x = align_right(x, lengths)
        return Piece(_summed(x, log_decay), _free_factor(log_decay, lengths[:, None, None], x))


def _by_token(x, log_decay, read, h, valid, *, literal):
    """Where `literal`, the equations as they are; else rounding less, and reading by a real product."""
    decay = powers(log_decay, x.new_ones(()))
    decays = (decay.to(h.dtype),) if literal else summands(decay, h.dtype)
    weights = read.to(h.dtype)
    parts = torch.stack([weights.real, -weights.imag], -1).flatten(-2)[..., None]
    outputs = []
    for t, new in enumerate(x.to(h.dtype)[..., None].unbind(1)):
        for decay in decays:
            new = torch.addcmul(new, decay, h)
        h = new if valid is None else torch.where(valid[:, t, :, None], new, h)
        if literal:
            outputs.append((weights * new).real.sum(-1))
        else:
            outputs.append((torch.view_as_real(new).flatten(-2)[..., None, :] @ parts).flatten(-3))
    return torch.stack(outputs, 1), h


def _by_fourier(x, log_decay, read, h):
    length = x.shape[1]
    y = fft_convolution(x, diagonal_kernel(log_decay, read, length, dtype=x.dtype))
    first = read * powers(log_decay, x.new_ones(())) * h
    y = y + diagonal_kernel(log_decay, first, length, dtype=x.dtype).mT
    return y, _free(log_decay, h, length) + _summed(x, log_decay)


def _by_chunk(x, log_decay, read, h, size):
    """As many whole chunks as there are, then what is left as one."""
    batch, length, _ = x.shape
    number, left = divmod(length, size)
    whole = length - left
    times = torch.arange(size, device=x.device)
    kernel = diagonal_kernel(log_decay, read, size, dtype=x.dtype)
    triangle = F.pad(kernel, (size - 1, 0)).unfold(-1, size, 1).flip(-2)
    blocks = x[:, :whole].unflatten(1, (number, size)).permute(3, 0, 1, 2)
    entered = _write(blocks, log_decay)
    keep = _free_factor(log_decay, size, h)
    starts = []
    for taken in entered.unbind(2):
        starts.append(h)
        h = torch.addcmul(taken.transpose(0, 1), keep, h)
    out = read[..., None] * powers(log_decay[..., None], times + 1)
    out = pair(out.real, -out.imag, x.dtype)
    start = torch.stack(starts, 1).permute(2, 0, 1, 3).flatten(1, 2)
    start = torch.cat([start.real, start.imag], -1)
    y = torch.baddbmm(blocks.flatten(1, 2) @ triangle, start, out)
    y = y.unflatten(1, (batch, number)).permute(1, 2, 3, 0).flatten(1, 2)
    if left:
        last, h = _by_chunk(x[:, whole:], log_decay, read, h, left)
        y = torch.cat([y, last], 1)
    return y, h


def _write(blocks: Float[Tensor, "D B M C"], log_decay: Tensor) -> Complex[Tensor, "D B M N"]:
    """What the tokens of a block add to the state at its end: sum_j exp((C - 1 - j) log_decay) x_j."""
    size, states = blocks.shape[-1], log_decay.shape[-1]
    left = torch.arange(size - 1, -1, -1, device=blocks.device)
    weights = pair(*power_parts(log_decay[..., None], left), blocks.dtype).mT
    found = (blocks.flatten(1, 2) @ weights).unflatten(1, blocks.shape[1:3])
    return torch.complex(found[..., :states], found[..., states:])


def _final(x, log_decay, h, lengths):
    """The state of each row after its own tokens."""
    return _free(log_decay, h, lengths[:, None, None]) + _summed(align_right(x, lengths), log_decay)


def _summed(x: Float[Tensor, "B T D"], log_decay: Tensor) -> Complex[Tensor, "B D N"]:
    """sum_j exp((T - 1 - j) log_decay) x_j in two levels: blocks of sqrt(T) tokens, then their sums."""
    length = x.shape[1]
    size = max(math.isqrt(length), 1)
    number = -(-length // size)
    blocks = F.pad(x, (0, 0, -length % size, 0)).unflatten(1, (number, size)).permute(3, 0, 1, 2)
    sums = _write(blocks, log_decay)
    left = size * torch.arange(number - 1, -1, -1, device=x.device)
    factors = powers(log_decay[:, None], left[:, None]).to(sums.dtype)
    return (sums * factors[:, None]).sum(2).transpose(0, 1)


def _free(log_decay: Tensor, h: Tensor, length: int | Tensor) -> Tensor:
    """What is left of h after so many tokens."""
    return _free_factor(log_decay, length, h) * h


def _free_factor(log_decay: Tensor, length: int | Tensor, h: Tensor) -> Tensor:
    exponent = torch.as_tensor(length, device=log_decay.device)
    return powers(log_decay, exponent).to(complex_of(h.real.dtype))
