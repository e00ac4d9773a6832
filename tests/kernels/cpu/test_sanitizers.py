"""Every kernel at every level under AddressSanitizer and UBSan: nothing outside memory, nothing undefined."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from linsight.kernels.cpu import compiling

FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O0")

CALLS = """
    import itertools, sys
    from pathlib import Path
    import torch
    from linsight import ops
    from linsight.kernels.cpu import at_level, levels, library
    from linsight.mixers import config
    from linsight.models.sequence import ImageDensityConfig, SequenceConfig, Steps, TokenModelConfig, generate

    library.LIBRARY = Path(sys.argv[1])
    torch.set_num_threads(1)

    def call(op, *inputs, **options):
        leaves = [None if x is None else x.requires_grad_() for x in inputs]
        found = op(*leaves, form="compiled", **options)
        torch.autograd.grad(sum(x.abs().sum() for x in found), [x for x in leaves if x is not None])

    def attention(T, K, V):
        q, k, v = torch.rand(1, T, 2, K), torch.rand(1, T, 2, K), torch.rand(1, T, 2, V)
        decays = None, -torch.rand(2), -torch.rand(1, T, 2), -torch.rand(1, T, 2, K)
        for decay, read in itertools.product(decays, ("after", "before")):
            for normalise in (False, True):
                options = {"bonus": torch.rand(2, K)} if read == "before" and normalise else {}
                call(ops.linear_attention, q, k, v, decay, read=read, normalise=normalise, **options)
            half = (x.detach().bfloat16() for x in (q, k, v))
            call(ops.linear_attention, *half, decay, read=read, normalise=True, feature_map="elu1")

    def favor(T, M, V):
        def flat(*inputs, form):
            o, state = ops.favor_attention(*inputs, form=form)
            return o, *state

        q, k, v = torch.randn(1, T, 2, M), torch.randn(1, T, 2, M), torch.rand(1, T, 2, V)
        call(flat, q, k, v, torch.randn(1, T, 2))

    def delta(T, K, V):
        q, k, v = torch.rand(1, T, 2, K), torch.rand(1, T, 2, K) / K, torch.rand(1, T, 2, V)
        for decay in (None, -torch.rand(1, T, 2), -torch.rand(1, T, 2, K)):
            call(ops.delta_rule, q, k, v, torch.rand(1, T, 2), decay)
            call(ops.dplr_delta_rule, q, k, v, k.clone(), -k, decay)

    def scan(T, D, N):
        u, delta, B, C = torch.rand(1, T, D), torch.rand(1, T, D), torch.rand(1, T, N), torch.rand(1, T, N)
        call(ops.selective_scan, u, delta, -torch.rand(D, N), B, C, torch.rand(D))

    def convolution(T, D, width):
        taps = width % 8 + 1
        x, weight, state = torch.rand(2, T, D), torch.rand(D, taps), torch.rand(2, taps - 1, D)
        call(ops.short_convolution, x, weight, torch.rand(D), initial_state=state)

    def gate(T, D, width):
        for dtype in (torch.float32, torch.bfloat16):
            call(lambda x, form: (ops.gated_silu(x, form=form),), torch.randn(T, 2 * D, dtype=dtype))

    def space(T, D, N):
        rates, read = torch.complex(-torch.rand(2, D, N), torch.rand(2, D, N))
        lengths = torch.tensor([T, T // 2, 0])
        call(ops.diagonal_space, torch.rand(3, T, D), rates, read, lengths=lengths)
        call(ops.diagonal_recurrence, torch.randn(3, T, D) + 0j, rates[:, 0].clone(), lengths=lengths)

    @torch.no_grad()
    def decode(rows, dim, mlp_dim, kind, **options):
        sequence = SequenceConfig(dim=dim, layers=2, mlp_dim=mlp_dim, mixers=(config(kind, **options),))
        model = TokenModelConfig(vocabulary=5, max_length=4, previous=2, sequence=sequence).build().eval()
        assert Steps(model).reason is None
        generate(model, torch.zeros(rows, 1, dtype=torch.int64), 4)
        Steps(model, half=True)(torch.zeros(rows, dtype=torch.int64))
        ImageDensityConfig(height=4, width=8, sequence=sequence).build().eval().sample(rows)

    for level in levels():
        with at_level(level):
            for sizes in ((1, 1, 1), (7, 15, 17), (50, 64, 33), (5, 33, 70)):
                decode(*sizes, "linear", heads=1)
            for kind, options in (
                ("linear", {"heads": 3}),
                ("retnet", {"heads": 3}),
                ("gated_delta", {"heads": 2, "head_dim": 7}),
                ("mamba2", {"states": 5, "head_dim": 3, "groups": 2, "taps": 1}),
                ("mamba", {"states": 19}),
                ("rwkv6", {"heads": 2, "mix_rank": 3}),
                ("rwkv7", {"heads": 3, "value_rank": 5}),
                *(("performer", {"heads": 3, "kernel": kernel}) for kernel in ("exp", "hyperbolic", "relu")),
            ):
                decode(7, 18, 17, kind, **options)
            for sizes in ((1, 1, 1), (31, 17, 33), (33, 16, 16), (65, 3, 47), (32, 40, 5)):
                attention(*sizes)
                favor(*sizes)
                delta(*sizes)
                scan(*sizes)
                convolution(*sizes)
                gate(*sizes)
                space(*sizes)
        print(level)
"""


@pytest.mark.slow
@pytest.mark.skipif(compiling.compiler() is None, reason="no C++ compiler here")
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    try:
        library = compiling.build(tmp_path / "kernels.so", flags=FLAGS)
    except RuntimeError as error:
        pytest.skip(f"no sanitizers here: {error}")
    first = subprocess.run(
        [str(compiling.compiler()), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    done = run(library, LD_PRELOAD=first.stdout.strip())
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == "portable"


def run(library: Path, **environment: str) -> subprocess.CompletedProcess:
    """The calls, in a process whose memory is watched; what Python itself leaves behind is not counted."""
    code = "\n".join(line.removeprefix("    ") for line in CALLS.splitlines())
    environment |= {"ASAN_OPTIONS": "detect_leaks=0", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, str(library)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
