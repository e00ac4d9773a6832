"""FLASH-pytorch: the gated attention unit and mixed chunk attention."""
# pyright: reportMissingImports=false

from functools import partial

import torch
from flash_pytorch import FLASH, GAU

from linsight.conformance import Subject, Whole

CAUSES = {
    "prefix": "`GAU.forward` divides similarities by the length of the sequence: a longer sequence weighs "
    "its first tokens otherwise.",
    "padding": "The same division: by the padded length.",
    "padding-gradients": "The same division: by the padded length.",
    "options-count": "`GAU.__init__` takes `rel_pos_bias` and always makes the bias.",
    "scale": "The bias of relative positions starts as a normal variable times sqrt(128) and is squared; a "
    "token's group adds up such weights.",
}
DTYPES = (torch.float64, torch.float32)


def gau() -> Subject:
    """The causal gated attention unit with relu^2."""
    return Subject(
        "FLASH-pytorch GAU, relu^2", _gau, options={"rel_pos_bias": lambda: _gau(rel_pos_bias=True)}
    )


def gau_laplace() -> Subject:
    """The causal gated attention unit with the Laplace function."""
    return Subject("FLASH-pytorch GAU, laplace", partial(_gau, laplace_attn_fn=True))


def flash() -> Subject:
    """Causal mixed chunk attention, in groups of 64."""
    return Subject("FLASH-pytorch FLASH", _flash)


SUBJECTS = (gau, gau_laplace, flash)


def _gau(**options: bool) -> Whole:
    unit = GAU(dim=16, query_key_dim=16, causal=True, **options)
    return Whole(unit, 16, masked=_masked, dtypes=DTYPES)


def _flash() -> Whole:
    return Whole(FLASH(dim=16, group_size=64, causal=True), 16, masked=_masked, dtypes=DTYPES)


def _masked(module: GAU, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    return module(x, mask=valid)
