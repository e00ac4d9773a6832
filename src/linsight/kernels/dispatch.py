"""Which engine computes an op on a device, and why not a faster one."""

from typing import NamedTuple

import torch

__all__ = ["OPS", "Choice", "choose"]

OPS: dict[str, tuple[str, ...]] = {
    name: ("eager",)
    for name in (
        "linear_attention",
        "delta_rule",
        "selective_scan",
        "diagonal_space",
        "diagonal_recurrence",
        "low_rank_space",
    )
}
"""The engines that each op has, fastest first. `eager`, PyTorch's own operations, is last everywhere."""

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
        >>> choose("linear_attention", "cpu", torch.float32).engine
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
        else:
            return Choice(engine, passed_over)
    return Choice("eager", passed_over)
