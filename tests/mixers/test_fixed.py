"""Fixed attention against its definition (spec/mixers.md, section 10)."""

import pytest
import torch
from torch import Tensor

from linsight import mixers, ops

PARTS = ("both", "first", "second")


def seen_by(i: int, length: int, stride: int, columns: int, part: str, causal: bool = True) -> set[int]:
    """N(i), as the paper writes it."""
    before = range(i + 1) if causal else range(length)
    first = {j for j in before if j // stride == i // stride}
    second = {j for j in before if j % stride >= stride - columns}
    return {"both": first | second, "first": first, "second": second}[part]


def mask(length: int, stride: int, columns: int, part: str, causal: bool = True) -> Tensor:
    rows = [seen_by(i, length, stride, columns, part, causal) for i in range(length)]
    return torch.tensor([[j in row for j in range(length)] for row in rows])


def dense(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """Rows that see nothing are 0."""
    scores = torch.einsum("bihk,bjhk->bhij", q, k) / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    weights = torch.where(seen.any(-1, keepdim=True), weights, 0)
    return torch.einsum("bhij,bjhk->bihk", weights, v)


def drawn(length: int, heads: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = torch.randn(3, 2, length, heads, 4, dtype=torch.float64)
    return q, k, v


def attended(pattern: ops.Pattern, i: int, length: int, form: str) -> set[int]:
    q = torch.zeros(1, length, 1, 2, dtype=torch.float64)
    v = torch.eye(length, dtype=torch.float64)[None, :, None]
    o = ops.pattern_attention(q, q, v, pattern, form=form)[0, i, 0]
    return set(o.nonzero().flatten().tolist())


@pytest.mark.parametrize("form", ["naive", "chunk"])
def test_the_worked_example(form):
    """i = 7, l = 3, c = 1."""
    assert attended(ops.Fixed(3, 1, "first"), 7, 11, form) == {6, 7}
    assert attended(ops.Fixed(3, 1, "second"), 7, 11, form) == {2, 5}
    assert attended(ops.Fixed(3, 1), 7, 11, form) == {2, 5, 6, 7}


@pytest.mark.parametrize("form", ["naive", "chunk"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("part", PARTS)
def test_it_is_dense_softmax_with_the_pattern_as_a_mask(form, causal, part):
    for stride, columns in ((1, 1), (2, 1), (5, 2), (7, 7)):
        for length in (1, 2, max(stride - 1, 1), stride, stride + 1, 3 * stride + 2, 31):
            q, k, v = drawn(length)
            o = ops.pattern_attention(q, k, v, ops.Fixed(stride, columns, part, causal), form=form)
            want = dense(q, k, v, mask(length, stride, columns, part, causal))
            torch.testing.assert_close(o, want, rtol=0, atol=1e-13)


@pytest.mark.parametrize("part", PARTS)
def test_blocks_lie_at_absolute_places(part):
    """Queries of places 3.. and 11..: block boundaries are the sequence's, not the call's."""
    q, k, v = drawn(30)
    want = dense(q, k, v, mask(30, 5, 2, part))
    for length in (1, 4, 5, 6, 12):
        start = torch.tensor([3, 11])
        pick = (start[:, None] + torch.arange(length))[..., None, None].expand(-1, -1, 2, 4)
        for form in ("naive", "chunk"):
            o = ops.pattern_attention(q.gather(1, pick), k, v, ops.Fixed(5, 2, part), start=start, form=form)
            torch.testing.assert_close(o, want.gather(1, pick), rtol=0, atol=1e-13)


@pytest.mark.parametrize("form", ["naive", "chunk"])
def test_a_query_with_nothing_to_see_gives_0_and_has_gradients(form):
    """A2 alone is empty for i < l - c."""
    mixer = mixers.build("fixed", dim=8, heads=2, stride=5, columns=2, part="second", form=form).double()
    x = torch.randn(2, 12, 8, dtype=torch.float64, requires_grad=True)
    y, _ = mixer(x)
    assert not y[:, :3].any()
    assert (y[:, 3:] != 0).all()
    y.square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in mixer.parameters())


@pytest.mark.parametrize("form", ["naive", "chunk"])
@pytest.mark.parametrize("part", ["first", "second"])
def test_each_part_alone_keeps_the_split_law(form, part):
    """Layers that take turns decode as well."""
    mixer = mixers.build("fixed", dim=8, heads=2, stride=5, columns=2, part=part, form=form).double()
    x = torch.randn(2, 23, 8, dtype=torch.float64)
    whole, final = mixer(x)
    for sizes in ([1] * 23, [4, 1, 18], [5, 5, 13], [7, 16]):
        state, outputs = None, []
        for piece in x.split(sizes, dim=1):
            y, state = mixer(piece, state)
            outputs.append(y)
        torch.testing.assert_close(torch.cat(outputs, 1), whole, rtol=0, atol=1e-13)
        assert torch.equal(state.position, final.position)


def test_two_layers_connect_every_pair_through_the_columns():
    """j reaches its block's last column, which later blocks see: A1 then A2, or the union twice."""
    for stride, columns, length in ((3, 1, 11), (4, 2, 16), (5, 1, 23)):
        second, first = (mask(length, stride, columns, part).long() for part in ("second", "first"))
        both = mask(length, stride, columns, "both").long()
        pairs = torch.ones(length, length).tril().bool()
        assert torch.equal((both @ both) > 0, pairs)
        assert torch.equal((second @ first + first) > 0, pairs)


def test_half_of_the_heads_take_each_part():
    mixer = mixers.build("fixed", dim=8, heads=4, stride=3, columns=2, combine="heads").double()
    x = torch.randn(2, 17, 8, dtype=torch.float64)
    q, k, v = mixer.project(x).unbind(2)
    halves = [
        dense(q[:, :, half], k[:, :, half], v[:, :, half], mask(17, 3, 2, part))
        for half, part in ((slice(2), "first"), (slice(2, 4), "second"))
    ]
    want = torch.cat(halves, 2).nan_to_num()  # token 0 has nothing to attend to
    torch.testing.assert_close(mixer(x)[0], mixer.out(want.flatten(2)), rtol=0, atol=1e-13)


def test_a_step_reads_its_pattern_and_nothing_else_of_the_cache():
    """l + c T / l places of the T: the others hold NaN, which one product would spread."""
    q, k, v = drawn(1024)
    here = mask(1024, 32, 2, "both")[1023]
    assert here.sum() == 32 + 2 * 31
    start = torch.tensor([1023, 1023])
    want = ops.pattern_attention(q[:, 1023:], k, v, ops.Fixed(32, 2), start=start)
    k, v = (torch.where(here[:, None, None], x, torch.nan) for x in (k, v))
    assert torch.equal(ops.pattern_attention(q[:, 1023:], k, v, ops.Fixed(32, 2), start=start), want)


def test_memory_and_cost_grow_as_the_length_to_the_three_halves(square_root_growth):
    """T (2 l - 1 + c T / l) weights a head at l = sqrt T: 8.1 times for 4 times the length, not 16."""
    bytes_, flops = square_root_growth("fixed", columns=1)
    assert bytes_ <= 8
    assert flops <= 8.1


def test_a_constant_sequence_gives_a_constant_where_both_halves_see_something():
    mixer = mixers.build("fixed", dim=8, heads=2, stride=5, columns=2, combine="heads").double()
    y = mixer(torch.randn(8, dtype=torch.float64).expand(1, 20, 8))[0][0]
    torch.testing.assert_close(y[3:], y[3:4].expand(17, 8), rtol=0, atol=1e-13)


def test_columns_are_within_a_block():
    for columns in (0, 6):
        with pytest.raises(ValueError, match=f"columns from 1 to the stride 5, got {columns}"):
            mixers.build("fixed", dim=8, heads=2, stride=5, columns=columns)
