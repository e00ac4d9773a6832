"""What one core does at best."""

from typing import NamedTuple

import torch

from linsight.profiling.clock import measure

__all__ = ["PRODUCT", "Peak", "peaks"]

PRODUCT = "float32 product 1024^3"
"""The peak that kernels are held against."""


class Peak(NamedTuple):
    """A rate and its unit."""

    rate: float
    unit: str


def peaks(seconds: float = 2.0) -> dict[str, Peak]:
    """The best of several rounds of products, of a copy (read and written), and of exponentials in cache."""
    a = torch.randn(1024, 1024)
    half = a.bfloat16()
    small = torch.randn(128, 64, 64)
    source, target = torch.randn(2, 2**24).unbind(0)
    exponents, powers = torch.rand(2, 2**16).neg().unbind(0)
    calls = {
        PRODUCT: (lambda: a @ a, 2 * 1024**3, "GFLOP/s"),
        "bfloat16 product 1024^3": (lambda: half @ half, 2 * 1024**3, "GFLOP/s"),
        "float32 products 128 x 64^3": (lambda: small @ small, 2 * 128 * 64**3, "GFLOP/s"),
        "copy of 64 MiB": (lambda: target.copy_(source), 2 * source.nbytes, "GB/s"),
        "exponentials": (lambda: torch.exp(exponents, out=powers), len(powers), "G/s"),
    }
    timings = measure({name: call for name, (call, _, _) in calls.items()}, seconds=seconds)
    return {name: Peak(work / timings[name].minimum / 1e6, unit) for name, (_, work, unit) in calls.items()}
