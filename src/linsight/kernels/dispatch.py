"""Which engine computes an op on a device, and why not a faster one."""

from typing import NamedTuple

import torch

from linsight.kernels import cpu

__all__ = ["OPS", "Choice", "choose", "require"]

OPS: dict[str, tuple[str, ...]] = {
    "linear_attention": ("compiled", "eager"),
    "delta_rule": ("compiled", "eager"),
    "favor_attention": ("compiled", "eager"),
    "selective_scan": ("compiled", "eager"),
    "short_convolution": ("compiled", "eager"),
    "gated_silu": ("compiled", "eager"),
    "diagonal_space": ("compiled", "eager"),
    "diagonal_recurrence": ("compiled", "eager"),
    "low_rank_space": ("eager",),
    "decode": ("compiled", "eager"),
}
"""The engines that each op has, fastest first. `eager`, PyTorch's own operations, is last everywhere.

`decode` is a step of one token of a whole model, `linsight.models.sequence.Steps`; the others are of `ops`.
"""

DEVICES = {"triton": "cuda", "compiled": "cpu"}
"""The engines that run on one type of device alone, fastest first."""


class Choice(NamedTuple):
    """The engine that runs, and each faster one with the reason why it does not."""

    engine: str
    passed_over: dict[str, str]


def choose(op: str, device: torch.device | str, dtype: torch.dtype) -> Choice:
    """The engine that computes `op` for tensors of this device and dtype.

    It is what `linsight doctor` prints. An op with a single engine does not ask.

    Args:
        op: A name in `OPS`.
        device: The tensors' device, or its type: "cpu", "cuda".
        dtype: The tensors' dtype, floating point.

    Raises:
        ValueError: an unknown op.
        TypeError: a dtype that is not floating point.

    Example:
        >>> choose("linear_attention", "cpu", torch.float64).engine
        'eager'
    """
    if op not in OPS:
        raise ValueError(f"op: expected one of {', '.join(OPS)}, got {op!r}")
    if not dtype.is_floating_point:
        raise TypeError(f"dtype: expected a floating-point dtype, got {dtype}")
    passed_over = {}
    for engine, device_type in DEVICES.items():
        if torch.device(device).type != device_type:
            passed_over[engine] = f"runs on {device_type} alone"
        elif engine not in OPS[op]:
            passed_over[engine] = f"linsight has no {engine} kernel of {op} yet"
        elif engine == "compiled" and (reason := _why_not_compiled(op, dtype)):
            passed_over[engine] = reason
        else:
            return Choice(engine, passed_over)
    return Choice("eager", passed_over)


def require(op: str, engine: str, device: torch.device | str, dtype: torch.dtype) -> None:
    """Refuse to compute `op` by this engine where it does not run.

    Raises:
        ValueError: It does not run here, with the reason.
    """
    found = choose(op, device, dtype)
    if found.engine != engine:
        reason = found.passed_over.get(engine, f"{found.engine} is faster")
        raise ValueError(f"form: {engine!r} does not run here: {reason}")


def _why_not_compiled(op: str, dtype: torch.dtype) -> str | None:
    if dtype == torch.float64 or (op == "decode" and dtype != torch.float32):
        return "computes in float32 alone"
    if torch.compiler.is_exporting():
        return "exported graphs hold torch's own operations alone"
    return cpu.why_not()
