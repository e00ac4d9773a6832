"""The recurrence h_t = lambda h_(t-1) + x_t, element by element, with every h returned."""

import torch
import torch.nn.functional as F
from jaxtyping import Complex
from torch import Tensor

from linsight import kernels
from linsight.ops.diagonal.alignment import align_right, valid_tokens
from linsight.ops.diagonal.arguments import check_call, check_complex
from linsight.ops.diagonal.powers import accumulated, powers, summands
from linsight.ops.forms import Plan, form_of_auto

__all__ = ["FORMS", "diagonal_recurrence", "diagonal_recurrence_plan"]

OP = "diagonal_recurrence"
FORMS = ("naive", "chunk", "recurrent", "compiled")
CHUNK = 32
"""Tokens of a chunk: its product costs as many multiplications a token, and a smaller one more rounds."""


def diagonal_recurrence(
    x: Tensor,
    log_decay: Tensor,
    *,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
    form: str = "auto",
    chunk_size: int | None = None,
) -> tuple[Complex[Tensor, "B T N"], Complex[Tensor, "B N"]]:
    """h_t = exp(log_decay) h_(t-1) + x_t, a complex number a state, the same decays at every token.

    Orvieto et al. 2023, arXiv 2303.06349 (LRU).

    Args:
        x: What each state takes in `(B, T, N)`; its dtype, complex64 or complex128, is that of the sums.
        log_decay: log lambda, complex `(N,)`, real parts not above 0, -inf for a reset at every token. Powers
            of lambda are computed in float64 from it.
        initial_state: h_0, complex `(B, N)`; None for zeros.
        lengths: Tokens of each row, integers `(B,)`; what follows is padding, and the final state is the
            row's own at its last token.
        form: How it is computed, never what: `naive` is the definition; `chunk` a product with the powers of
            lambda in blocks of `chunk_size` and the state between them; `recurrent` one update a token;
            `compiled` is the kernel of `linsight.kernels.cpu`, complex64 on a CPU; `auto` is
            `diagonal_recurrence_plan`'s.
        chunk_size: Tokens of a block; need not divide T.

    Returns:
        h of every token, 0 at padded ones, and the final state.

    Cost a state: `recurrent` and `compiled` O(T); `chunk` O(T C) multiplications in matrix products. Memory
    O(T). `compiled` has no second derivative.

    Raises:
        TypeError: an input that is not complex.
        ValueError: a shape, `form` or `chunk_size` that does not fit; `compiled` where it does not run, with
            the reason.

    Example:
        >>> x = torch.ones(1, 3, 1, dtype=torch.complex64)
        >>> h, state = diagonal_recurrence(x, torch.log(torch.tensor([0.5j])))
        >>> [round(z.real, 3) + round(z.imag, 3) * 1j for z in h.flatten().tolist()]
        [(1+0j), (1+0.5j), (0.75+0.5j)]
    """
    if x.ndim != 3:
        raise ValueError(f"x: expected 3 axes (B, T, N), got shape {tuple(x.shape)}")
    batch, length, states = x.shape
    check_complex("x", x, (batch, length, states))
    check_complex("log_decay", log_decay, (states,))
    check_call(FORMS, form, chunk_size, lengths, x)
    if initial_state is not None:
        check_complex("initial_state", initial_state, (batch, states))
    h = accumulated(initial_state, (batch, states), x.real)
    if length == 0:
        return x.clone(), h.clone()
    form, chunk_size = diagonal_recurrence_plan(x, form=form, chunk_size=chunk_size)
    if form == "compiled":
        kernels.require(OP, "compiled", x.device, x.real.dtype)
        return kernels.cpu.diagonal_recurrence(x, log_decay, h, lengths)
    valid = None
    if lengths is not None:
        valid = valid_tokens(x, lengths)[..., None]
        x = torch.where(valid, x, 0)
    if form in ("naive", "recurrent"):
        return _by_token(x, log_decay, h, valid, literal=form == "naive")
    size = min(chunk_size or CHUNK, length)
    if valid is None or lengths is None:
        return _by_chunk(x, log_decay, h, size)
    found = _by_chunk(x, log_decay, h, size)[0]
    start = powers(log_decay, lengths[:, None]).to(x.dtype) * h
    summed = _by_chunk(align_right(x, lengths), log_decay, torch.zeros_like(h), size)[1]
    return torch.where(valid, found, 0), start + summed


def diagonal_recurrence_plan(
    x: Complex[Tensor, "B T N"], *, form: str = "auto", chunk_size: int | None = None
) -> Plan:
    """What `diagonal_recurrence` does with these arguments. Reads the shape, dtype and device of x alone.

    One token is a `recurrent` step; more are `compiled` where `linsight.kernels` has it for this device and
    dtype and the caller does not ask for blocks of a size, and `chunk` elsewhere.
    """
    if form == "auto":
        form = form_of_auto(OP, x.shape[1], chunk_size, x.device, x.real.dtype)
    return Plan(form, chunk_size or CHUNK) if form == "chunk" else Plan(form)


def _by_token(
    x: Tensor, log_decay: Tensor, h: Tensor, valid: Tensor | None, *, literal: bool
) -> tuple[Tensor, Tensor]:
    decay = powers(log_decay, x.real.new_ones(()))
    decays = (decay.to(x.dtype),) if literal else summands(decay, x.dtype)
    outputs = []
    for t, new in enumerate(x.unbind(1)):
        for decay in decays:
            new = torch.addcmul(new, decay, h)
        h = new if valid is None else torch.where(valid[:, t], new, h)
        outputs.append(new if valid is None else torch.where(valid[:, t], new, 0))
    return torch.stack(outputs, 1), h


def _by_chunk(x: Tensor, log_decay: Tensor, h: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """As many whole chunks as there are, then what is left as one."""
    batch, length, states = x.shape
    number, left = divmod(length, size)
    whole = length - left
    main, rest = x[:, :whole], x[:, whole:]
    decays = powers(log_decay[:, None], torch.arange(size + 1, device=x.device)).to(x.dtype)
    reach = F.pad(decays[:, :size], (size - 1, 0)).unfold(-1, size, 1).flip(-2).mT
    # (N, C, B chunks): a product for each state, shared by all rows and chunks.
    blocks = main.reshape(batch * number, size, states).permute(2, 1, 0)
    own = (reach @ blocks).unflatten(-1, (batch, number)).permute(2, 3, 1, 0)
    outputs = []
    for block in own.unbind(1):
        block = torch.addcmul(block, decays[:, 1:].mT, h[:, None])
        h = block[:, -1]
        outputs.append(block)
    if left:
        last, h = _by_chunk(rest, log_decay, h, left)
        outputs.append(last)
    return torch.cat(outputs, 1), h
