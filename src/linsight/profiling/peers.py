"""Published packages to be measured beside our mixers, where they are installed."""

import contextlib
import importlib
import io
from typing import Any

from torch import nn

__all__ = ["PEERS", "imported", "peer"]

PEERS = {
    "performer-pytorch": "performer_pytorch.performer_pytorch",
    "linear-attention-transformer": "linear_attention_transformer.linear_attention_transformer",
    "FLASH-pytorch": "flash_pytorch",
    "mambapy": "mambapy.mamba",
}
"""Package -> the module that holds its layer."""

FUNCTIONS = {"fast-transformers": "fast_transformers.causal_product", "transformers": "transformers"}
"""Package -> the module of which something other than a layer is measured."""


def peer(package: str, dim: int, *, causal: bool) -> nn.Module:
    """A layer of the package for tokens of width `dim`, heads 64 wide, as its documentation builds it.

    Raises:
        ImportError: The package is not installed, or fails to import here.
        ValueError: `causal=False` of a layer that is always causal.
    """
    if package == "mambapy" and not causal:
        raise ValueError("mambapy: its layer is always causal")
    module = imported(package)
    with contextlib.redirect_stdout(io.StringIO()):  # one prints that CUDA code is missing
        if package == "FLASH-pytorch":
            return module.FLASH(dim=dim, group_size=256, causal=causal).eval()
        if package == "mambapy":
            return module.MambaBlock(module.MambaConfig(d_model=dim, n_layers=1)).eval()
        return module.SelfAttention(dim, heads=dim // 64, causal=causal).eval()


def imported(package: str) -> Any:
    """The module of a package in `PEERS` or `FUNCTIONS`.

    Raises:
        ImportError: The package is not installed, or fails to import here.
    """
    name = (PEERS | FUNCTIONS)[package]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(name)
    except Exception as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]
        why = "is not installed" if absent else f"does not import here: {type(error).__name__}: {error}"
        raise ImportError(f"{package} {why}") from error
