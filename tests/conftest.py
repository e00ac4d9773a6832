"""What every test gets: shapes checked, fresh buffers poisoned, a fixed seed, one thread.

`LINSIGHT_SHAPES=0` leaves the shape annotations unchecked: torch.compile and torch.export cannot trace
through the checks (jaxtyping #196), so tests of those run in a second job with the switch set.
"""

import os
import random
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from beartype import BeartypeConf, beartype
from hypothesis import settings
from jaxtyping import install_import_hook

if os.environ.get("LINSIGHT_SHAPES", "1") != "0":
    # The hook names its checker by module and attribute; ours takes an int for a float, as PEP 484 says.
    checker = types.ModuleType("linsight_shapes")
    checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))
    sys.modules["linsight_shapes"] = checker
    install_import_hook("linsight", "linsight_shapes.check")

torch.set_num_threads(1)
settings.register_profile("linsight", deadline=None, derandomize=True, database=None)
settings.load_profile("linsight")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.fixture(autouse=True)
def _poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that nobody wrote reads as NaN or as an extreme integer, never as a lucky zero."""
    for owner, name in (
        (torch, "empty"),
        (torch, "empty_like"),
        (torch, "empty_strided"),
        (torch.Tensor, "new_empty"),
        (torch.Tensor, "new_empty_strided"),
    ):
        monkeypatch.setattr(owner, name, _poisoned(getattr(owner, name)))


def _poisoned(create: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        tensor = create(*args, **kwargs)
        if tensor.layout is torch.strided and not tensor.is_meta:
            with torch.no_grad():
                tensor.fill_(_poison_value(tensor.dtype))
        return tensor

    return poisoned


def _poison_value(dtype: torch.dtype) -> float | int | bool | complex:
    if dtype.is_complex:
        return complex("nan+nanj")
    if dtype.is_floating_point:
        return float("nan")
    return True if dtype is torch.bool else torch.iinfo(dtype).min
