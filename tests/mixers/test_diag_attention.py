"""DiagAttention against its quadratic definition, its block boundaries, and t1's norm (spec/mixers.md, 7)."""

import pytest
import torch
from torch import Tensor

from linsight import mixers

BLOCK = 5
LENGTHS = (1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 2, 23)


def made(*, causal: bool = True, dim: int = 12, **options) -> mixers.Mixer:
    torch.manual_seed(0)
    options = {"heads": 3, "block": BLOCK, **options}
    return mixers.build("diag_attention", dim=dim, causal=causal, **options).double()


def tokens(batch: int, length: int, dim: int = 12) -> Tensor:
    return torch.randn(batch, length, dim, dtype=torch.float64)


def defined(mixer, x: Tensor, *, start: int = 0) -> Tensor:
    """One row, token by token and head by head; `start` tokens went before and are not seen."""
    weights = dict(mixer.named_parameters())
    heads, width = mixer.heads, mixer.head_dim
    q, k, v = ((x @ part.T).reshape(len(x), heads, width) for part in weights["qkv.weight"].chunk(3))
    rows = []
    for i in range(len(x)):
        first = (start + i) // BLOCK * BLOCK - start
        last = i if mixer.causal else min(first + BLOCK, len(x)) - 1
        seen = slice(max(first, 0), last + 1)
        parts = []
        for head in range(heads):
            logits = k[seen, head] @ q[i, head] / width**0.5
            a = logits.softmax(0) if mixer.config.variant == "t2" else logits.clamp(min=0)
            parts.append(a @ v[seen, head])
        o = torch.cat(parts)
        if mixer.config.variant == "t1":
            o = o / (o.square().mean() + 1e-4).sqrt()
        rows.append(o)
    return torch.stack(rows) @ weights["out.weight"].T


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("variant", ["t1", "t2"])
def test_every_form_is_the_definition(variant: str, causal: bool) -> None:
    mixer = made(variant=variant, causal=causal)
    for length in LENGTHS:
        x = tokens(2, length)
        want = torch.stack([defined(mixer, row) for row in x])
        for form in (*mixer.forms, "auto"):
            mixer.form = form
            torch.testing.assert_close(mixer(x)[0], want, rtol=1e-9, atol=1e-11, msg=f"{form} at {length}")


@pytest.mark.parametrize("form", ["naive", "chunk", "recurrent"])
def test_blocks_lie_at_absolute_positions(form: str) -> None:
    """The trap: a call that begins its own blocks. Every cut of two blocks gives the whole."""
    mixer = made(form=form)
    x = tokens(1, 2 * BLOCK + 3)
    whole, final = mixer(x)
    for cut in range(1, x.shape[1]):
        first, state = mixer(x[:, :cut])
        second, state = mixer(x[:, cut:], state)
        torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-9, atol=1e-12)
        for one, other in zip(state, final, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_nothing_is_seen_across_a_boundary() -> None:
    for causal in (True, False):
        mixer = made(causal=causal)
        x = tokens(1, 3 * BLOCK)
        other = x.clone()
        other[:, BLOCK - 1] += 1
        changed = (mixer(x)[0] != mixer(other)[0]).any(-1)[0].nonzero()[:, 0].tolist()
        assert changed == ([BLOCK - 1] if causal else list(range(BLOCK)))


def test_rows_at_other_phases_share_a_call() -> None:
    """Ragged prompts, then one call for all: each row goes on in its own block."""
    mixer = made()
    prompts, lengths = tokens(4, 9), torch.tensor([9, 4, 5, 0])
    _, state = mixer(prompts, None, lengths)
    assert state.position.tolist() == [9, 4, 5, 0]
    more = tokens(4, 8)
    for form in ("naive", "chunk", "recurrent"):
        mixer.form = form
        y, _ = mixer(more, state)
        for row, length in enumerate(lengths.tolist()):
            joined = torch.cat([prompts[row, :length], more[row]])
            torch.testing.assert_close(y[row], defined(mixer, joined)[length:], rtol=1e-9, atol=1e-11)


def test_the_open_block_is_the_state() -> None:
    """It holds position mod C tokens, nothing behind them, and has one size."""
    mixer = made()
    for length in range(1, 2 * BLOCK + 1):
        _, state = mixer(tokens(1, length))
        held = state.keys.abs().sum((0, 2, 3)) > 0
        assert held.tolist() == [slot < length % BLOCK for slot in range(BLOCK)]
        size = sum(tensor.nbytes for tensor in state)
        assert size == mixer.state_size(length) == 2 * BLOCK * 12 * 8 + 8


def test_what_stands_behind_the_open_block_is_not_read() -> None:
    mixer = made()
    _, state = mixer(tokens(2, BLOCK + 2))
    spoilt = [tensor.clone() for tensor in (state.keys, state.values)]
    for tensor in spoilt:
        tensor[:, 2:] = float("nan")
    x = tokens(2, 7)
    for form in ("chunk", "recurrent"):
        mixer.form = form
        got, _ = mixer(x, state._replace(keys=spoilt[0], values=spoilt[1]))
        # In a product, a weight of 0 times NaN is NaN: what is behind must be replaced.
        torch.testing.assert_close(got, mixer(x, state)[0])


def test_the_norm_of_t1_is_over_all_heads_together() -> None:
    """The trap: RMS norm head by head, as RetNet has it."""
    mixer = made(variant="t1")
    x = tokens(1, BLOCK)
    with torch.no_grad():
        mixer.get_parameter("out.weight").copy_(torch.eye(12))
        mixer.get_parameter("qkv.weight")[24:28].mul_(10)  # the values of the first head
    y = mixer(x)[0][0, -1]
    assert y.square().mean().item() == pytest.approx(1, abs=0.05)
    by_head = y.reshape(3, 4).square().mean(-1)
    assert by_head[0] > 10 * by_head[1:].max()


def test_a_token_whose_similarities_are_all_negative_reads_zero_in_t1() -> None:
    mixer = made(variant="t1", heads=1, dim=4)
    with torch.no_grad():
        eye = torch.eye(4, dtype=torch.float64)
        mixer.get_parameter("qkv.weight").copy_(torch.cat([eye, -eye, eye]))
    x = tokens(1, 1, 4).requires_grad_()
    y, _ = mixer(x)
    assert not y.any()
    y.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_t1_rises_from_zero_over_what_bfloat16_resolves() -> None:
    """With a tiny eps an o of RMS 1e-6 becomes 1, and rounding decides between that and 0."""
    mixer = made(variant="t1", heads=1, dim=4)
    with torch.no_grad():
        eye = torch.eye(4, dtype=torch.float64)
        mixer.get_parameter("qkv.weight").copy_(torch.cat([eye, eye, eye]))
        mixer.get_parameter("out.weight").copy_(eye)
    x = torch.full((1, 1, 4), 1e-2, dtype=torch.float64)  # q . k / 2 v = 2e-6
    assert mixer(x)[0].max().item() == pytest.approx(2e-6 / 1e-2, rel=1e-3)


def test_chunk_never_forms_all_pairs() -> None:
    from linsight.conformance.laws.states import largest_tensor

    mixer = made(block=16, heads=2).float()
    x = tokens(1, 2048).float()
    with torch.no_grad():
        largest = largest_tensor(lambda: mixer(x))
    assert largest <= 3 * 2048 * 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": 0}, "block: expected at least 1, got 0"),
        ({"heads": 5}, "dim 12 is not divisible by heads 5"),
    ],
)
def test_refusals(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**options)
