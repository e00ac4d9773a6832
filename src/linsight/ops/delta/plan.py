"""Which form of the delta rules runs, and in blocks of how many tokens."""

from torch import Tensor

from linsight.ops.forms import Plan, form_of_auto
from linsight.ops.linear.precision import accumulator_dtype

__all__ = ["delta_rule_plan"]

BLOCK = 32


def delta_rule_plan(
    q: Tensor, k: Tensor, v: Tensor, *, form: str = "auto", chunk_size: int | None = None
) -> Plan:
    """What `delta_rule` and `dplr_delta_rule` do with these arguments: shapes, dtypes and the device decide.

    One token is a `recurrent` step; more are `compiled` where `linsight.kernels` has it for this device and
    dtype and the caller does not ask for blocks of a size. Elsewhere they are `chunk`, cut evenly into blocks
    of at most 32. At B=1, T=1024, H=4, K=V=64 forward and backward then take 50 ms (decay by feature: 126),
    in blocks of 16 63 (121), of 64 60 (144), of 128 81 (165), and compiled 9 (10) (torch 2.13, one AVX-512
    core, CPU time).
    """
    length = q.shape[1]
    if form == "auto":
        exact = accumulator_dtype(q.dtype, k.dtype, v.dtype)
        form = form_of_auto("delta_rule", length, chunk_size, q.device, exact)
    if form != "chunk":
        return Plan(form)
    if chunk_size is None:
        # As many blocks as 32 tokens each take, evenly cut: a short last one would be padded to a full one.
        chunk_size = max(-(-length // max(-(-length // BLOCK), 1)), 1)
    return Plan("chunk", chunk_size)
