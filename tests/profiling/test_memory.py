"""The peak of memory, in cases that can be counted by hand: 1000 numbers in float64 have 8000 bytes."""

import torch

from linsight.profiling import peak_bytes

X = torch.randn(10, 100, dtype=torch.float64)
SIZE = 8000


def test_what_is_freed_before_counts_no_longer():
    def call():
        y = X + 1
        z = y + 1
        del y
        return z + 1

    assert peak_bytes(call) == 2 * SIZE


def test_views_and_writes_in_place_take_no_memory():
    def call():
        y = X.clone()
        y.mul_(2)
        rows = y.view(100, 10)[:50]
        return rows.t().add_(1)

    assert peak_bytes(call) == SIZE
    assert peak_bytes(lambda: X.t()[3:]) == 0


def test_what_autograd_keeps_is_alive_until_the_backward():
    """Five times tanh: five results are kept, and the backward needs a gradient or two beside them."""
    x = X.clone().requires_grad_()

    def call():
        y = x
        for _ in range(5):
            y = y.tanh()
        return torch.autograd.grad(y, x, torch.ones_like(y))

    assert 6 * SIZE <= peak_bytes(call) <= 8 * SIZE


def test_the_same_call_has_the_same_peak():
    def call():
        return torch.softmax(X @ X.T, -1) @ X

    assert peak_bytes(call) == peak_bytes(call) == 2 * 800 + SIZE - 800
