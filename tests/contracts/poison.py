"""Law 10 of the mixer contract: uninitialised memory is never read (spec/mixers.md, section 2).

`conftest.py` poisons Python's allocators for every test; this adds those inside torch's operations.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from laws import Contract, assert_close, assert_states, in_form
from torch import Tensor


@contextmanager
def poisoned() -> Iterator[None]:
    """Memory allocated by torch holds NaN, or the largest integer, until it is written."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = True
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]


def poison_law(mixer: Contract, x: Tensor, lengths: Tensor) -> None:
    """10: with uninitialised memory full of NaN every form gives the same numbers, and none is NaN."""
    for form in mixer.forms:
        with in_form(mixer, form):
            for given in (None, lengths):
                want, final = mixer(x, None, given)
                with poisoned():
                    got, poisoned_final = mixer(x, None, given)
                assert_close(got, want, 1e-12, f"form {form}, poisoned memory")
                if final is not None:
                    assert_states(poisoned_final, final, 1e-12, f"form {form}, poisoned memory")
