"""The state space of a diagonal matrix less a product P P^*, in its forms."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from linsight.ops.diagonal import diagonal_space_plan, fft_convolution
from linsight.ops.diagonal.alignment import valid_tokens
from linsight.ops.diagonal.arguments import check_call, check_complex
from linsight.ops.diagonal.powers import accumulated
from linsight.ops.forms import Plan, form_of_auto
from linsight.ops.linear import accumulator_dtype, without_autocast
from linsight.ops.low_rank.kernel import low_rank_kernel
from linsight.ops.low_rank.system import LowRankSystem, dense_steps, real_parts, steps

__all__ = ["low_rank_space", "low_rank_space_plan"]

FORMS = ("naive", "parallel", "chunk", "recurrent")


def low_rank_space(
    x: Tensor,
    system: LowRankSystem,
    *,
    initial_state: Tensor | None = None,
    lengths: Tensor | None = None,
    form: str = "auto",
    chunk_size: int | None = None,
) -> tuple[Float[Tensor, "B T D"], Tensor]:
    """y_t = 2 Re sum C_n h_t,n, h_t = A_bar h_(t-1) + B_bar x_t: the bilinear steps of a `LowRankSystem`.

    Gu, Goel, Re 2022, arXiv 2111.00396 (S4).

    Args:
        x: Tokens `(B, T, D)`, a channel each.
        system: Its n = N / 2 kept states by channel. All that is made of it is float64.
        initial_state: h_0, complex `(B, D, n)`; None for zeros.
        lengths: Tokens of each row, integers `(B,)`; what follows is padding, and the final state is the
            row's own at its last token.
        form: How it is computed, never what: `naive` is the definition, with a dense solve; `parallel` a
            Fourier convolution with `low_rank_kernel`, beside what the initial state still gives; `chunk`
            products with a triangle of the kernel in blocks, and powers of A_bar between them; `recurrent`
            O(N) a token by Woodbury's identity; `auto` is `low_rank_space_plan`'s.
        chunk_size: Tokens of a block, a power of 2.

    Returns:
        y in x's dtype, 0 at padded tokens, and the final state, complex64 (complex128 for float64 x).

    Cost a channel and row: `recurrent` O(T N); `chunk` O(T (N + C + N^2 / C)), and once a call O(C N^2 + N^3)
    a channel; `parallel` O(T (log T + N + N^2 / C)), and once O(T N + N^3 log T).

    Raises:
        TypeError: an input of another kind of number.
        ValueError: a shape, `form` or `chunk_size` that does not fit.
    """
    if x.ndim != 3:
        raise ValueError(f"x: expected 3 axes (B, T, D), got shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise TypeError(f"x: expected a floating-point tensor, got a tensor of {x.dtype}")
    batch, length, channels = x.shape
    pairs = system.values.shape[-1]
    for name, tensor in zip(("values", "P", "B", "C"), system, strict=False):
        check_complex(f"system.{name}", tensor, (channels, pairs))
    check_call(FORMS, form, chunk_size, lengths, x)
    if chunk_size is not None and chunk_size & (chunk_size - 1):
        raise ValueError(f"chunk_size: expected a power of 2, got {chunk_size}")
    if initial_state is not None:
        check_complex("initial_state", initial_state, (batch, channels, pairs))
    dtype, exact = x.dtype, accumulator_dtype(x.dtype)
    x = x.to(exact)
    start = accumulated(initial_state, (batch, channels, pairs), x)
    if length == 0:
        return x.to(dtype), start.clone()
    valid = None
    if lengths is not None:
        valid = valid_tokens(x, lengths)[..., None]
        x = torch.where(valid, x, 0)
    form, chunk_size = low_rank_space_plan(x, form=form, chunk_size=chunk_size)
    with without_autocast(x.device):
        if form == "naive":
            y, h = _by_definition(x, system, start, valid)
        elif form == "recurrent":
            y, h = _by_token(x, system, start, valid)
        else:
            y, h = _by_block(x, system, start, lengths, chunk_size or 64, fourier=form == "parallel")
    return (y if valid is None else torch.where(valid, y, 0)).to(dtype), h


def low_rank_space_plan(
    x: Float[Tensor, "B T D"], *, form: str = "auto", chunk_size: int | None = None
) -> Plan:
    """What `low_rank_space` does with these arguments: as `diagonal_space` without a kernel."""
    if form == "auto":
        form = form_of_auto("low_rank_space", x.shape[1], chunk_size, x.device, x.dtype)
    return diagonal_space_plan(x, form=form, chunk_size=chunk_size)


def _by_definition(x, system, h, valid):
    """(1 - dt A / 2)^-1 by a dense solve, then token by token."""
    values, P, B, C, dt = system
    pairs = values.shape[-1]
    row, column = real_parts(P), real_parts(B)
    plain = torch.stack([values.real, -values.imag, values.imag, values.real], -1).unflatten(-1, (2, 2))
    A = torch.stack([torch.block_diag(*blocks) for blocks in plain])
    half = dt[:, None, None] / 2 * (A - 2 * row[..., None] * row[:, None])
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    right = torch.cat([eye + half, (dt[:, None] * column)[..., None]], -1)
    solved = torch.linalg.solve(eye - half, right).to(x.dtype)
    A, B, C = solved[..., :-1], solved[..., -1], real_parts(2 * C.conj()).to(x.dtype)
    h, outputs = real_parts(h), []
    for t, token in enumerate(x.unbind(1)):
        new = torch.einsum("dnm,bdm->bdn", A, h) + B * token[..., None]
        h = new if valid is None else torch.where(valid[:, t, :, None], new, h)
        outputs.append((C * h).sum(-1))
    return torch.stack(outputs, 1), torch.view_as_complex(h.unflatten(-1, (pairs, 2)).contiguous())


def _by_token(x, system, h, valid):
    found = steps(system)
    decay, left, B = (part.to(h.dtype) for part in (found.decay, found.left, found.B))
    seen = real_parts(found.right.conj()).to(x.dtype)
    read = real_parts(2 * system.C.conj()).to(x.dtype)
    outputs = []
    for t, token in enumerate(x.unbind(1)):
        across = (real_parts(h) * seen).sum(-1, keepdim=True)
        new = decay * h - left * across + B * token[..., None]
        h = new if valid is None else torch.where(valid[:, t, :, None], new, h)
        outputs.append((real_parts(h) * read).sum(-1))
    return torch.stack(outputs, 1), h


def _by_block(x, system, start, lengths, size, *, fourier):
    """Blocks of `size` tokens, powers of A_bar between them; the tokens' own part by either convolution."""
    batch, length, _ = x.shape
    found = steps(system)
    B, C = real_parts(found.B), real_parts(2 * system.C.conj())
    chain, rows, columns = _powers(dense_steps(found), B, C, size)
    kernel = torch.cat([C[:, None], rows[:, :-1]], 1) @ B[..., None]
    chain, rows, columns = [power.to(x.dtype) for power in chain], rows.to(x.dtype), columns.to(x.dtype)
    number = -(-length // size)
    # (D, tokens of a block, rows of the batch, blocks): a channel's matrices are the same for all.
    blocks = F.pad(x, (0, 0, 0, number * size - length)).unflatten(1, (number, size)).permute(3, 2, 0, 1)
    taken = (columns @ blocks.flatten(2)).unflatten(2, (batch, number))
    first = real_parts(start).permute(1, 2, 0)
    states = _carried(first, taken, chain[-1])
    if fourier:
        states_before = _carried(first, torch.zeros_like(taken), chain[-1])
        y = rows @ states_before[..., :-1].flatten(2)
    else:
        triangle = F.pad(kernel[..., 0].to(x.dtype), (size - 1, 0)).unfold(-1, size, 1).flip(-2).mT
        y = torch.baddbmm(rows @ states[..., :-1].flatten(2), triangle, blocks.flatten(2))
    y = y.unflatten(2, (batch, number)).permute(2, 3, 1, 0).flatten(1, 2)[:, :length]
    if fourier:
        y = y + fft_convolution(x, low_rank_kernel(system, length).to(x.dtype))
    return y, _final(x, states, chain, columns, lengths)


def _powers(A, B, C, size):
    """A, A^2, A^4, ..., A^size; the rows C A^1..C A^size; the columns A^(size - 1) B..B."""
    chain, rows, columns = [A], C[:, None] @ A, B[..., None]
    while rows.shape[1] < size:
        power = chain[-1]
        rows = torch.cat([rows, rows @ power], 1)
        columns = torch.cat([power @ columns, columns], 2)
        chain.append(power @ power)
    return chain, rows, columns


def _carried(h, taken, power):
    """The states `(D, N, B, blocks + 1)` before each block and after the last."""
    states = [h]
    for block in taken.unbind(-1):
        states.append(torch.baddbmm(block, power, states[-1]))
    return torch.stack(states, -1)


def _final(x, states, chain, columns, lengths):
    """The state of each row after its own tokens: that before its last block, by powers of two."""
    size = columns.shape[-1]
    whole, rest = divmod(x.shape[1], size)
    if lengths is None:
        h, last = states[..., whole], x[:, whole * size :].permute(2, 1, 0)
        for bit, power in enumerate(chain[:-1]):
            if rest >> bit & 1:
                h = power @ h
        h = h + columns[..., size - rest :] @ last
    else:
        whole, rest = lengths // size, lengths % size
        h = states.gather(-1, whole[:, None].expand(*states.shape[:-1], 1))[..., 0]
        for bit, power in enumerate(chain[:-1]):
            h = torch.where((rest >> bit & 1).bool(), power @ h, h)
        source = lengths[:, None] - size + torch.arange(size, device=x.device)
        index = source.clamp(min=0)[..., None].expand(-1, -1, x.shape[-1])
        last = torch.where((source >= whole[:, None] * size)[..., None], x.gather(1, index), 0)
        h = h + columns @ last.permute(2, 1, 0)
    return torch.view_as_complex(h.permute(2, 0, 1).unflatten(-1, (len(h[0]) // 2, 2)).contiguous())
