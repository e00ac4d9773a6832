"""Local attention against its definition (spec/mixers.md, section 10)."""

import pytest
import torch
from torch import Tensor

from linsight import mixers, ops
from linsight.conformance.laws.states import largest_tensor


def dense(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """Softmax over the pairs that `seen` `(T, T)` allows, (B, T, H, K)."""
    scores = torch.einsum("bihk,bjhk->bhij", q, k) / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    return torch.einsum("bhij,bjhk->bihk", weights, v)


def window(length: int, width: int, causal: bool) -> Tensor:
    return torch.tensor(
        [
            [i - width < j <= i if causal else abs(i - j) <= width for j in range(length)]
            for i in range(length)
        ]
    )


def drawn(length: int, *, batch: int = 2, heads: int = 3, width: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = torch.randn(3, batch, length, heads, width, dtype=torch.float64)
    return q, k, v


@pytest.mark.parametrize("form", ["naive", "chunk"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("width", [1, 2, 5, 16, 17])
def test_it_is_dense_softmax_with_the_window_as_a_mask(form, causal, width):
    """At lengths around the window and around blocks of 16, primes among them."""
    for length in (1, 2, width, width + 1, 15, 16, 17, 33, 53):
        q, k, v = drawn(length)
        o = ops.pattern_attention(q, k, v, ops.Window(width, causal), form=form)
        torch.testing.assert_close(o, dense(q, k, v, window(length, width, causal)), rtol=0, atol=1e-13)


@pytest.mark.parametrize("form", ["naive", "chunk"])
def test_the_window_has_exactly_its_tokens(form):
    """The token a window ago changes nothing, the one after it something."""
    mixer = mixers.build("local", dim=8, heads=2, window=5, form=form).double()
    x = torch.randn(1, 30, 8, dtype=torch.float64)
    y = mixer(x)[0]
    other = x.clone()
    other[:, 12] += 1
    changed = (mixer(other)[0] != y).any(-1)[0].nonzero().flatten().tolist()
    assert changed == [12, 13, 14, 15, 16]


def test_a_query_alone_sees_the_keys_at_their_own_places():
    """Rows at other places: three queries after 0, 2 and 9 tokens, keys of the last four places."""
    q, k, v = drawn(30, batch=3)
    start = torch.tensor([0, 2, 9])
    places = start[:, None] + torch.arange(-4, 3)
    pick = places.clamp(min=0)[..., None, None].expand(-1, -1, 3, 4)
    keys, values = k.gather(1, pick), v.gather(1, pick)
    queries = q.gather(1, pick[:, 4:])
    want = dense(q, k, v, window(30, 5, True)).gather(1, pick[:, 4:])
    for form in ("naive", "chunk"):
        o = ops.pattern_attention(
            queries, keys, values, ops.Window(5), start=start, first=start - 4, form=form
        )
        torch.testing.assert_close(o, want, rtol=0, atol=1e-13)


def test_it_equals_softmax_attention_where_the_window_holds_everything():
    local, softmax = (
        mixers.build(kind, dim=8, heads=2, positions="rotary", **options).double()
        for kind, options in (("local", {"window": 40}), ("softmax", {}))
    )
    softmax.load_state_dict(local.state_dict())
    x = torch.randn(2, 40, 8, dtype=torch.float64)
    torch.testing.assert_close(local(x)[0], softmax(x)[0], rtol=0, atol=1e-13)


def test_no_tensor_of_a_call_grows_with_the_square_of_the_length():
    mixer, dim, width = mixers.build("local", dim=16, heads=2, window=16), 16, 16
    sizes = []
    for length in (512, 2048):
        x = torch.randn(1, length, dim)
        with torch.no_grad():
            sizes.append(largest_tensor(lambda x=x: mixer(x)))
    assert sizes[1] <= 4.1 * sizes[0]
    assert sizes[1] <= 3 * 2048 * max(dim, width) * 2


def test_the_state_is_the_window_without_its_newest_place():
    """What the next token sees beside its own; places before the first token are 0."""
    mixer = mixers.build("local", dim=8, heads=2, window=4).double()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    _, state = mixer(x, None, torch.tensor([6, 2]))
    k = mixer.project(x)[:, :, 1]
    torch.testing.assert_close(state.keys[0], k[0, 3:6], rtol=0, atol=0)
    torch.testing.assert_close(state.keys[1, 1:], k[1, :2], rtol=0, atol=0)
    assert not state.keys[1, 0].any()
    assert state.position.tolist() == [6, 2]


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="window of at least 1, got 0"):
        mixers.build("local", dim=8, heads=2, window=0)
    with pytest.raises(ValueError, match="even head dimension, got 6 / 2"):
        mixers.build("local", dim=6, heads=2, positions="rotary")
    with pytest.raises(ValueError, match="form: expected one of auto, naive, chunk, got 'parallel'"):
        ops.pattern_attention(*drawn(3), ops.Window(2), form="parallel")
