"""Reformer against its definition (spec/mixers.md, section 11)."""

import itertools

import pytest
import torch
from torch import Tensor

from linsight import mixers, ops


def build(seed: int = 0, **options) -> mixers.Mixer:
    torch.manual_seed(seed)
    return mixers.build("reformer", dim=8, heads=2, **options).double()


def signal(batch: int, length: int, seed: int = 3) -> Tensor:
    return torch.randn(batch, length, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hashed(q: Tensor, rotations: Tensor) -> Tensor:
    """h_r(x) = argmax([x W_r ; -x W_r]), (B, T, H, rounds)."""
    turned = torch.stack([q @ matrix for matrix in rotations], dim=-2)
    return torch.cat([turned, -turned], dim=-1).argmax(-1)


def defined(mixer: mixers.Mixer, x: Tensor) -> Tensor:
    """Pair by pair: the softmax over every key that any round finds."""
    batch, length, _ = x.shape
    q, v = (linear(x).reshape(batch, length, 2, 4) for linear in (mixer.qk, mixer.value))
    single = mixer.config.buckets == 1
    buckets = torch.zeros(batch, length, 2, 1) if single else hashed(q, mixer.rotations)
    size, o = mixer.config.size, torch.zeros_like(q)
    for b, h in itertools.product(range(batch), range(2)):
        rounds = buckets[b, :, h].T.tolist()
        for i in range(length):
            found: set[int] = set()
            for row in rounds:
                if mixer.causal:
                    same = [j for j in range(i + 1) if row[j] == row[i]]
                    found |= set(same[-size:])
                else:
                    order = sorted(range(length), key=lambda j, row=row: (row[j], j))
                    chunk = {j: place // size for place, j in enumerate(order)}
                    found |= {j for j in range(length) if row[j] == row[i] and abs(chunk[j] - chunk[i]) <= 1}
            keys = sorted(found)
            logits = torch.stack([q[b, i, h] @ q[b, j, h] / q[b, j, h].norm() for j in keys])
            logits[keys.index(i)] = -1e5
            o[b, i, h] = logits.softmax(0) @ v[b, keys, h]
    return mixer.out(o.flatten(2))


def full(mixer: mixers.Mixer, x: Tensor) -> Tensor:
    """Shared-QK softmax over the whole past, the self logit at -1e5."""
    batch, length, _ = x.shape
    q, v = (linear(x).reshape(batch, length, 2, 4) for linear in (mixer.qk, mixer.value))
    logits = torch.einsum("bihk,bjhk->bhij", q, q / q.norm(dim=-1, keepdim=True))
    logits = logits.masked_fill(torch.eye(length).bool(), -1e5)
    if mixer.causal:
        logits = logits.masked_fill(torch.ones(length, length).triu(1).bool(), float("-inf"))
    return mixer.out(torch.einsum("bhij,bjhk->bihk", logits.softmax(-1), v).flatten(2))


@pytest.mark.parametrize("form", ["naive", "chunk"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    ("rounds", "buckets", "size"), [(1, 1, 3), (1, 4, 3), (3, 2, 4), (2, 6, 1), (2, 8, 9)]
)
def test_it_is_the_softmax_over_what_any_round_finds(form, causal, rounds, buckets, size):
    """A pair that two rounds find counts once: the correction by log N."""
    torch.manual_seed(rounds)
    mixer = mixers.build(
        "reformer", dim=8, heads=2, rounds=rounds, buckets=buckets, size=size, causal=causal, form=form
    ).double()
    for length in (1, 2, size, size + 1, 23):
        x = signal(2, length)
        torch.testing.assert_close(mixer(x)[0], defined(mixer, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", ["naive", "chunk"])
@pytest.mark.parametrize("causal", [True, False])
def test_one_bucket_that_holds_everything_is_softmax_with_the_self_penalty(form, causal):
    torch.manual_seed(0)
    mixer = mixers.build(
        "reformer", dim=8, heads=2, rounds=2, buckets=1, size=30, causal=causal, form=form
    ).double()
    x = signal(2, 30)
    torch.testing.assert_close(mixer(x)[0], full(mixer, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", ["naive", "chunk"])
def test_a_token_attends_to_itself_only_where_it_finds_nothing_else(form):
    mixer = build(rounds=2, buckets=4, size=8, form=form)
    y, _ = mixer(signal(1, 1))
    torch.testing.assert_close(y, mixer.out(mixer.value(signal(1, 1))), rtol=0, atol=1e-12)
    # Beside one other token its own value is not seen at all, if they share a bucket.
    x = signal(1, 1).expand(1, 2, 8).clone()
    x[:, 1] *= 2  # the same direction, the same bucket
    torch.testing.assert_close(mixer(x)[0][:, 1], mixer.out(mixer.value(x[:, 0])), rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("form", ["naive", "chunk"])
def test_the_order_of_the_rounds_and_a_round_twice_change_nothing(form, causal):
    """Without the correction by log N a doubled round would weigh its pairs twice."""
    x = signal(2, 40)

    def with_rounds(rounds: list[int]) -> Tensor:
        mixer = build(rounds=3, buckets=4, size=5, form=form).config.build(8, causal=causal).double()
        other = mixers.build(
            "reformer", dim=8, heads=2, rounds=len(rounds), buckets=4, size=5, causal=causal, form=form
        ).double()
        state = mixer.state_dict()
        state["rotations"] = state["rotations"][rounds]
        other.load_state_dict(state)
        torch.manual_seed(0)
        return other(x)[0]

    torch.manual_seed(0)
    want = with_rounds([0, 1, 2])
    for rounds in ([2, 0, 1], [0, 1, 2, 1], [0, 0, 0, 1, 2]):
        torch.testing.assert_close(with_rounds(rounds), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [True, False])
def test_more_rounds_and_larger_buckets_come_nearer_to_full_attention(causal):
    """Mean over eight draws: a single one may be lucky."""

    def error(**options) -> float:
        errors = []
        for seed in range(8):
            torch.manual_seed(seed)
            mixer = mixers.build("reformer", dim=8, heads=2, buckets=4, causal=causal, **options).double()
            x = signal(2, 60, seed)
            want = full(mixer, x)
            errors.append(((mixer(x)[0] - want).norm() / want.norm()).item())
        return sum(errors) / len(errors)

    with torch.no_grad():
        by_rounds = [error(rounds=rounds, size=64) for rounds in (1, 2, 4, 8)]
        by_size = [error(rounds=4, size=size) for size in (2, 6, 18, 64)]
    assert by_rounds == sorted(by_rounds, reverse=True)
    assert by_size == sorted(by_size, reverse=True)
    assert by_rounds[-1] < 0.5 * by_rounds[0]
    assert by_size[-1] < 0.5 * by_size[0]


def test_the_future_keeps_every_bit_of_the_past():
    """Later tokens, twenty times as large and so in other buckets, move no earlier token's keys."""
    mixer = build(rounds=4, buckets=8, size=5)
    x = signal(2, 100)
    y = mixer(x)[0]
    for start in (1, 17, 50, 99):
        for change in (lambda z: 20 * z, lambda z: -z, lambda z: z.flip(1)):
            other = torch.cat([x[:, :start], change(x[:, start:])], dim=1)
            assert torch.equal(mixer(other)[0][:, :start], y[:, :start])


def test_the_rings_hold_the_last_tokens_of_every_bucket():
    mixer = build(rounds=2, buckets=4, size=3)
    x = signal(1, 30)
    q = mixer.qk(x).reshape(1, 30, 2, 4)
    buckets = hashed(q, mixer.rotations)
    _, state = mixer(x)
    for head, turn, bucket in itertools.product(range(2), range(2), range(4)):
        same = [t for t in range(30) if buckets[0, t, head, turn] == bucket]
        assert state.counts[0, head, turn, bucket] == len(same)
        for rank in range(max(0, len(same) - 3), len(same)):
            key = state.keys[0, head, turn, bucket, rank % 3]
            torch.testing.assert_close(key, q[0, same[rank], head], rtol=0, atol=0)


def test_the_hash_is_drawn_by_the_seed_and_saved():
    x = signal(1, 40)
    one, again, other = build(), build(), build(seed=1)
    assert torch.equal(one(x)[0], again(x)[0])
    assert not torch.equal(one.rotations, other.rotations)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x)[0], other(x)[0])


def test_buckets_are_those_of_directions():
    """Scaling a vector keeps its bucket, turning it round moves it by half of them."""
    x, rotations = torch.randn(1, 50, 2, 4), torch.randn(3, 4, 5)
    buckets = ops.angular_buckets(x, rotations)
    assert buckets.shape == (1, 2, 3, 50)
    assert int(buckets.min()) >= 0
    assert int(buckets.max()) < 10
    assert torch.equal(ops.angular_buckets(7 * x, rotations), buckets)
    assert torch.equal(ops.angular_buckets(-x, rotations), (buckets + 5) % 10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_hashes_as_float64_does(dtype):
    """A projection rounded to 8 bits puts some tokens into other buckets."""
    mixer = build(rounds=4, buckets=16, size=8).to(dtype)
    x = signal(4, 200).to(dtype)
    _, state = mixer(x)
    _, want = mixer.double()(x.double())
    assert torch.equal(state.counts, want.counts)


def test_what_cannot_be_hashed_is_refused():
    for options, words in (
        ({"buckets": 3}, "even number of buckets, or 1, got 3"),
        ({"buckets": 0}, "even number of buckets, or 1, got 0"),
        ({"rounds": 0}, "rounds of at least 1, got 0"),
        ({"size": 0}, "size of at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=words):
            mixers.build("reformer", dim=8, heads=2, **options)
