"""torch.export and torch.compile take the op whole; the length is free where the form is named."""

import os
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import torch
    from linsight import ops

    class Op(torch.nn.Module):
        def __init__(self, **options):
            super().__init__()
            self.options = options

        def forward(self, q, k, v, log_decay=None, initial_state=None):
            return ops.linear_attention(q, k, v, log_decay, initial_state=initial_state, **self.options)

    torch.manual_seed(0)
    q, k, v = torch.rand(3, 2, 50, 2, 8).unbind(0)
    decays = {None: None, "token": -torch.rand(2, 50, 2), "feature": -torch.rand(2, 50, 2, 8)}
    state = torch.rand(2, 2, 8, 9)

    def check(traced, module, *args):
        for actual, expected in zip(traced(*args), module(*args), strict=True):
            torch.testing.assert_close(actual, expected)
"""
EXPORT = """
    for options, decay in (
        ({"form": "chunk", "chunk_size": 32}, None),
        ({"form": "chunk", "chunk_size": 32}, decays["feature"]),
        ({}, decays["token"]),
    ):
        module = Op(normalise=True, **options)
        args = (q, k, v, decay, state)
        check(torch.export.export(module, args).module(), module, *args)

    step = Op(normalise=True)
    one = tuple(x[:, :1] for x in (q, k, v))
    check(torch.export.export(step, (*one, None, state)).module(), step, *one, None, state)

    length = torch.export.Dim("length", min=2, max=4096)
    for decay in (None, decays["token"]):
        module = Op(normalise=True, form="parallel")
        args = (q, k, v) if decay is None else (q, k, v, decay)
        traced = torch.export.export(module, args, dynamic_shapes=[{1: length}] * len(args)).module()
        check(traced, module, *(x[:, :33] for x in args))
"""
COMPILE = """
    for length in (1, 50):
        torch._dynamo.reset()
        module = Op(normalise=True, chunk_size=32)
        compiled = torch.compile(module, backend="aot_eager", fullgraph=True)

        def gradients(function):
            parts = (*(x[:, :length] for x in (q, k, v)), state)
            inputs = [x.clone().requires_grad_() for x in parts]
            o, final = function(*inputs[:3], None, inputs[3])
            return (o, final, *torch.autograd.grad(o.sum() + final.square().sum(), inputs))

        for actual, expected in zip(gradients(compiled), gradients(module), strict=True):
            torch.testing.assert_close(actual, expected)
"""


@pytest.mark.slow
def test_traced_calls_equal_eager_ones():
    """In a process of its own: shape checks, which the suite installs, cannot be traced."""
    program = textwrap.dedent(PROGRAM) + textwrap.dedent(EXPORT) + textwrap.dedent(COMPILE)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
