"""Strided attention against its definition (spec/mixers.md, section 10)."""

import pytest
import torch
from torch import Tensor

from linsight import mixers, ops

PARTS = ("both", "first", "second")


def seen_by(i: int, length: int, stride: int, part: str, causal: bool = True) -> set[int]:
    """N(i), as the paper writes it."""
    last = i + 1 if causal else length
    first = set(range(max(0, i - stride), i + 1 if causal else min(length, i + stride + 1)))
    second = {j for j in range(last) if (i - j) % stride == 0}
    return {"both": first | second, "first": first, "second": second}[part]


def mask(length: int, stride: int, part: str, causal: bool = True) -> Tensor:
    rows = [seen_by(i, length, stride, part, causal) for i in range(length)]
    return torch.tensor([[j in row for j in range(length)] for row in rows])


def dense(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    scores = torch.einsum("bihk,bjhk->bhij", q, k) / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    return torch.einsum("bhij,bjhk->bihk", weights, v)


def drawn(length: int, heads: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = torch.randn(3, 2, length, heads, 4, dtype=torch.float64)
    return q, k, v


def attended(pattern: ops.Pattern, i: int, length: int, form: str) -> set[int]:
    """Whose value reaches output i: values are one-hot, so that outputs are weights."""
    q = torch.zeros(1, length, 1, 2, dtype=torch.float64)
    v = torch.eye(length, dtype=torch.float64)[None, :, None]
    o = ops.pattern_attention(q, q, v, pattern, form=form)[0, i, 0]
    return set(o.nonzero().flatten().tolist())


@pytest.mark.parametrize("form", ["naive", "chunk"])
def test_the_worked_example(form):
    """i = 7, l = 3."""
    assert attended(ops.Strided(3, "first"), 7, 11, form) == {4, 5, 6, 7}
    assert attended(ops.Strided(3, "second"), 7, 11, form) == {1, 4, 7}
    assert attended(ops.Strided(3), 7, 11, form) == {1, 4, 5, 6, 7}


@pytest.mark.parametrize("form", ["naive", "chunk"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("part", PARTS)
def test_it_is_dense_softmax_with_the_pattern_as_a_mask(form, causal, part):
    """A pair that is in both parts counts once; lengths that the stride does not divide."""
    for stride in (1, 2, 5, 7):
        for length in (1, 2, stride - 1, stride, stride + 1, 3 * stride + 2, 31):
            q, k, v = drawn(max(length, 1))
            o = ops.pattern_attention(q, k, v, ops.Strided(stride, part, causal), form=form)
            want = dense(q, k, v, mask(max(length, 1), stride, part, causal))
            torch.testing.assert_close(o, want, rtol=0, atol=1e-13)


@pytest.mark.parametrize("part", PARTS)
def test_queries_go_on_where_each_row_is(part):
    """Keys from place 0, queries of places 3.. and 11..: the phase is the row's own."""
    q, k, v = drawn(30)
    want = dense(q, k, v, mask(30, 5, part))
    for length in (1, 4, 5, 6, 12):
        start = torch.tensor([3, 11])
        pick = (start[:, None] + torch.arange(length))[..., None, None].expand(-1, -1, 2, 4)
        for form in ("naive", "chunk"):
            o = ops.pattern_attention(q.gather(1, pick), k, v, ops.Strided(5, part), start=start, form=form)
            torch.testing.assert_close(o, want.gather(1, pick), rtol=0, atol=1e-13)


def test_two_layers_connect_every_pair():
    for stride, length in ((3, 11), (4, 16), (5, 23)):
        first, second = (mask(length, stride, part).long() for part in ("first", "second"))
        both = mask(length, stride, "both").long()
        pairs = torch.ones(length, length).tril().bool()
        assert torch.equal((first @ second) > 0, pairs)
        assert torch.equal((both @ both) > 0, pairs)


def test_half_of_the_heads_take_each_part():
    mixer = mixers.build("strided", dim=8, heads=4, stride=3, combine="heads").double()
    x = torch.randn(2, 17, 8, dtype=torch.float64)
    q, k, v = mixer.project(x).unbind(2)
    halves = [
        dense(q[:, :, half], k[:, :, half], v[:, :, half], mask(17, 3, part))
        for half, part in ((slice(2), "first"), (slice(2, 4), "second"))
    ]
    torch.testing.assert_close(mixer(x)[0], mixer.out(torch.cat(halves, 2).flatten(2)), rtol=0, atol=1e-13)


def test_a_step_reads_its_pattern_and_nothing_else_of_the_cache():
    """l + T / l places of the T: the others hold NaN, which one product would spread."""
    q, k, v = drawn(1025)
    here = mask(1025, 32, "both")[1024]
    assert here.sum() == 64
    want = ops.pattern_attention(q[:, 1024:], k, v, ops.Strided(32), start=torch.tensor([1024, 1024]))
    k, v = (torch.where(here[:, None, None], x, torch.nan) for x in (k, v))
    o = ops.pattern_attention(q[:, 1024:], k, v, ops.Strided(32), start=torch.tensor([1024, 1024]))
    assert torch.equal(o, want)


def test_memory_and_cost_grow_as_the_length_to_the_three_halves(square_root_growth):
    """T (2 l + T / l) weights a head at l = sqrt T: 8 times for 4 times the length, not 16."""
    bytes_, flops = square_root_growth("strided")
    assert bytes_ <= 8
    assert flops <= 8


def test_a_cache_whose_longest_row_has_left_goes_on():
    """The cache is longer than what remains has seen (with gradients no room is spare)."""
    mixer = mixers.build("strided", dim=8, heads=2, stride=3).double()
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    _, state = mixer(x, None, torch.tensor([9, 2]))
    rest = type(state)(*(tensor[1:] for tensor in state))
    y, after = mixer(x[1:, 2:3], rest)
    torch.testing.assert_close(y, mixer(x[1:, :3])[0][:, 2:], rtol=0, atol=1e-13)
    assert after.keys.shape[1] == 3


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="stride of at least 1, got 0"):
        mixers.build("strided", dim=8, heads=2, stride=0)
    with pytest.raises(ValueError, match="halves the heads, got heads 1; use an even number"):
        mixers.build("strided", dim=8, heads=1, combine="heads")
