"""Published packages to be measured beside our mixers, where they are installed."""

import contextlib
import importlib
import io
from typing import Any

from torch import nn

__all__ = ["PEERS", "peer"]

PEERS = {
    "performer-pytorch": "performer_pytorch.performer_pytorch",
    "linear-attention-transformer": "linear_attention_transformer.linear_attention_transformer",
    "FLASH-pytorch": "flash_pytorch",
    "mambapy": "mambapy.mamba",
}
"""Package -> the module that holds its layer."""


def peer(package: str, dim: int, *, causal: bool) -> nn.Module:
    """A layer of the package for tokens of width `dim`, heads 64 wide, as its documentation builds it.

    Raises:
        ImportError: The package is not installed, or fails to import here.
        ValueError: `causal=False` of a layer that is always causal.
    """
    if package == "mambapy" and not causal:
        raise ValueError("mambapy: its layer is always causal")
    with contextlib.redirect_stdout(io.StringIO()):  # one prints that CUDA code is missing
        try:
            module: Any = importlib.import_module(PEERS[package])
        except Exception as error:
            raise ImportError(f"{package}: {type(error).__name__}: {error}") from error
        if package == "FLASH-pytorch":
            return module.FLASH(dim=dim, group_size=256, causal=causal).eval()
        if package == "mambapy":
            return module.MambaBlock(module.MambaConfig(d_model=dim, n_layers=1)).eval()
        return module.SelfAttention(dim, heads=dim // 64, causal=causal).eval()
