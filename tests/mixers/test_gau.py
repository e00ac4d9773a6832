"""GAU against its quadratic definition, its normalisers, its bias, and its first size (spec/mixers.md, 8)."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from linsight import mixers
from linsight.optim import param_groups
from linsight.profiling import peak_bytes

LENGTHS = (1, 2, 6, 7, 8, 23, 140)
KERNELS = {
    "relu2": lambda s: s.clamp(min=0) ** 2,
    # Mega's numbers: mu = sqrt(1/2), sigma = sqrt(1 / (4 pi))
    "laplace": lambda s: (
        0.5 * (1 + torch.erf((s - math.sqrt(0.5)) / (math.sqrt(1 / (4 * math.pi)) * math.sqrt(2))))
    ),
}


def made(*, causal: bool = True, moved: float = 0.3, dim: int = 6, **options) -> mixers.Mixer:
    torch.manual_seed(0)
    options = {"key_dim": 4, "chunk": 7, **options}
    mixer = mixers.build("gau", dim=dim, causal=causal, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(moved * torch.randn_like(parameter))
    return mixer


def tokens(batch: int, length: int, dim: int = 6) -> Tensor:
    return torch.randn(batch, length, dim, dtype=torch.float64)


def bucket(distance: int) -> int:
    """T5's of 32, causal: 16 of one distance each, then 16 up to 128 on a logarithmic scale."""
    if distance < 16:
        return distance
    return min(16 + int(math.log(distance / 16) / math.log(128 / 16) * 16), 31)


def both_buckets(distance: int) -> int:
    """16 for keys behind and 16 for keys ahead, 8 of each exact."""
    far = abs(distance)
    side = far if far < 8 else min(8 + int(math.log(far / 8) / math.log(128 / 8) * 8 + 1e-9), 15)
    return side + (16 if distance < 0 else 0)


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def defined(mixer, x: Tensor) -> Tensor:
    """One row: every pair of tokens, its weight, and the sum."""
    weights = dict(mixer.named_parameters())
    config, causal, length, values = mixer.config, mixer.causal, len(x), 2 * x.shape[-1]
    u, v, z = silu(x @ weights["uvz.weight"].T).split([values, values, config.key_dim], -1)
    q, k = (z * weights["gamma"][i] + weights["beta"][i] for i in range(2))
    norm = config.norm or ("chunk" if causal else "length")
    place = bucket if causal else both_buckets
    rows = []
    for i in range(length):
        total = torch.zeros(values, dtype=x.dtype)
        seen = range(i + 1) if causal else range(length)
        divisor = config.chunk if norm == "chunk" else len(seen)
        for j in seen:
            similarity = q[i] @ k[j] / divisor + weights["bias.weight"][place(i - j)]
            total = total + KERNELS[config.kernel](similarity) * v[j]
        rows.append(u[i] * total)
    return torch.stack(rows) @ weights["out.weight"].T


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("norm", [None, "chunk", "position", "length"])
def test_every_form_is_the_definition(norm: str | None, kernel: str, causal: bool) -> None:
    if causal and norm == "length":
        pytest.skip("refused")
    mixer = made(kernel=kernel, norm=norm, causal=causal)
    for length in LENGTHS if norm is None else (1, 9):
        x = tokens(1, length)
        want = defined(mixer, x[0])
        for form in (*mixer.forms, "auto"):
            mixer.form = form
            torch.testing.assert_close(mixer(x)[0][0], want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("norm", ["chunk", "position"])
def test_every_cut_gives_the_whole(norm: str) -> None:
    mixer = made(norm=norm)
    x = tokens(2, 12)
    whole, final = mixer(x)
    for cut in range(1, 12):
        first, state = mixer(x[:, :cut])
        second, state = mixer(x[:, cut:], state)
        torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-9, atol=1e-12)
        for one, other in zip(state, final, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_rows_at_other_positions_share_a_call() -> None:
    mixer = made(norm="position")
    prompts, lengths = tokens(3, 9), torch.tensor([9, 4, 0])
    _, state = mixer(prompts, None, lengths)
    more = tokens(3, 5)
    y, _ = mixer(more, state)
    for row, length in enumerate(lengths.tolist()):
        joined = torch.cat([prompts[row, :length], more[row]])
        torch.testing.assert_close(y[row], defined(mixer, joined)[length:], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("causal", [True, False])
def test_blocks_of_queries_take_memory_linear_in_the_length(causal: bool) -> None:
    """Similarities are made block by block, in the backward once more, and none of them is kept."""
    mixer = made(causal=causal, chunk=32)
    weights = list(mixer.parameters())
    found = {}
    for form in ("parallel", "chunk"):
        mixer.form = form
        found[form] = []
        for x in (tokens(1, length) for length in (512, 1024, 2048)):
            found[form].append(peak_bytes(lambda x=x: torch.autograd.grad(mixer(x)[0].sum(), weights)))
    for one, other in pairwise(found["parallel"]):
        assert other > 3.5 * one
    for one, other in pairwise(found["chunk"]):
        assert other < 2.1 * one


def test_bidirectional_rows_are_divided_by_their_own_length() -> None:
    mixer = made(causal=False)
    x, lengths = tokens(2, 9), torch.tensor([9, 4])
    y, _ = mixer(x, None, lengths)
    torch.testing.assert_close(y[1, :4], defined(mixer, x[1, :4]), rtol=1e-9, atol=1e-11)
    assert not y[1, 4:].any()


def test_dividing_by_the_length_is_refused_where_it_breaks_the_prefix_law() -> None:
    with pytest.raises(ValueError, match=r"norm: 'length' with causal=True.*prefix law.*'position'"):
        made(norm="length")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("kind", ["gau", "flash"])
def test_the_first_branch_neither_drowns_the_residual_nor_vanishes(kind: str, kernel: str) -> None:
    """The trap: a bias of N(0, 1) sqrt(128), squared, gave 33 times the residual."""
    for causal in (True, False):
        for length in (1, 16, 200, 2048):
            torch.manual_seed(1)
            mixer = mixers.build(kind, dim=32, kernel=kernel, causal=causal)
            x = torch.randn(1, length, 32)
            with torch.no_grad():
                ratio = (mixer(x)[0].square().mean() / x.square().mean()).sqrt().item()
            assert 0.01 < ratio < 1, (causal, length, ratio)


def test_every_first_bias_can_learn() -> None:
    """relu^2 has no gradient where the bias is negative and q . k / n is small, as it is at first."""
    mixer = made(moved=0.0)
    mixer(tokens(2, 140))[0].square().sum().backward()
    bias = mixer.get_parameter("bias.weight")
    assert (bias > 0).all()
    assert bias.grad is not None
    assert (bias.grad != 0).all()


@pytest.mark.parametrize("kind", ["gau", "flash"])
def test_scales_offsets_and_biases_are_not_decayed(kind: str) -> None:
    groups = param_groups(mixers.build(kind, dim=8), lr=1e-3, weight_decay=0.1)
    names = {group["name"]: sorted(group["param_names"]) for group in groups}
    assert names == {"decay": ["out.weight", "uvz.weight"], "no_decay": ["beta", "bias.weight", "gamma"]}


@pytest.mark.parametrize(("kind", "pairs"), [("gau", 2), ("flash", 4)])
def test_queries_and_keys_start_as_the_paper_says(kind: str, pairs: int) -> None:
    torch.manual_seed(0)
    mixer = mixers.build(kind, dim=8, key_dim=512)
    gamma, beta = mixer.get_parameter("gamma"), mixer.get_parameter("beta")
    assert gamma.shape == beta.shape == (pairs, 512)
    assert gamma.std().item() == pytest.approx(0.02, rel=0.1)
    assert abs(gamma.mean().item()) < 0.002
    assert not beta.any()
    assert mixer.config.replaces_mlp


@pytest.mark.parametrize("kind", ["gau", "flash"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"expansion": 0}, "expected expansion of at least 1, got 0"),
        ({"key_dim": 0}, "expected key_dim of at least 1, got 0"),
        ({"chunk": 0}, "expected chunk of at least 1, got 0"),
    ],
)
def test_sizes_below_1_are_refused(kind: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"mixer '{kind}': {message}"):
        mixers.build(kind, dim=8, **options)
