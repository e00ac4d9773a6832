"""Which form of linear attention runs, and in blocks of how many tokens."""

import torch
from torch import Tensor

from linsight import kernels
from linsight.ops.forms import Plan
from linsight.ops.linear.precision import accumulator_dtype, product_dtype

__all__ = ["linear_attention_plan"]

CACHE = 2**20
"""Bytes that one array of a block may take: the second-level cache of one core."""
WHOLE = 128
"""Tokens of a row without decay that may be one block, where blocks of longer rows have fewer."""


def linear_attention_plan(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None = None,
    *,
    form: str = "auto",
    chunk_size: int | None = None,
) -> Plan:
    """What `linear_attention` does with these arguments. Reads shapes, dtypes and the device alone.

    One token is a `recurrent` step; more are `compiled` where `linsight.kernels` has it for this device and
    dtype and the caller does not ask for blocks of a size. At (B, T, H, K) = (64, 98, 4, 32), (4, 784, 4,
    32) and (1, 1024, 8, 64), forward or with the backward, it takes a half of the time that blocks take, of
    a decay by token a third, by feature an eighth, and of bfloat16 inputs, which it widens, a half to four
    fifths. Of 2 to 32 tokens (batch 1 to 64, 8 heads, K = 32 and 64) a call and its backward take 0.4 to 1.1
    times what one block takes; of one row, where dispatch is the cost, 0.3 ms in either form.

    Elsewhere a row that fits one block is `parallel`; a longer one is `chunk`, cut evenly. A block has 64
    tokens (bfloat16 without decay: 128; so has a row of 128 without decay and of 16 heads at most, in 0.75 to
    0.85 of the time of two blocks), halved until its similarities and its keys fit a core's second-level
    cache, 1 MiB; that is within about 15 % of the best over (batch, heads, K) = (1, 8, 64),
    (1, 4, 32), (8, 4, 32), (64, 4, 32) and lengths 16 to 1024 (torch 2.13, one AVX-512 core). Forward and
    backward at batch 64, 4 heads, K = V = 32, 98 tokens: float32 34 ms in blocks of 32, 41 as one, 36 as
    softmax; bfloat16 21, 18 and 134. Softmax wins below about 64 tokens at batch 1, where a call costs 0.1
    to 0.3 ms whatever it computes. On other devices a block has 256 tokens: not measured.
    """
    length = q.shape[1]
    if form == "auto" and length <= 1:
        return Plan("recurrent")
    if form == "auto" and chunk_size is None and _compiled(q, k, v):
        return Plan("compiled")
    if form not in ("auto", "chunk"):
        return Plan(form)
    size = chunk_size or _block_size(q, k, v, log_decay)
    if form == "auto" and length <= size:
        return Plan("parallel")
    if chunk_size is None:
        # As many blocks as that takes, evenly cut: a short last one costs nearly as much as a full one.
        size = -(-length // max(-(-length // size), 1))
    return Plan("chunk", max(size, 1))


def _compiled(q: Tensor, k: Tensor, v: Tensor) -> bool:
    exact = accumulator_dtype(q.dtype, k.dtype, v.dtype)
    return kernels.choose("linear_attention", q.device, exact).engine == "compiled"


def _block_size(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None) -> int:
    if q.device.type != "cpu":
        return 256
    batch, length, heads, features = q.shape
    dtype = torch.float32
    if log_decay is None:
        dtype = product_dtype(q.dtype, k.dtype, v.dtype)
        if length <= WHOLE and (
            dtype is torch.bfloat16 or batch * heads * WHOLE**2 * dtype.itemsize <= CACHE
        ):
            return WHOLE
    size = 128 if dtype is torch.bfloat16 else 64
    while size > 16 and batch * heads * size * max(size, features) * dtype.itemsize > CACHE:
        size //= 2
    return size
