"""What collectives send, against devices that hand on real tensors and count them."""

import pytest
import torch
from rings import Ring, ring_attention, spread_recurrence

from linsight.profiling.traffic import (
    all_gather_sent,
    all_reduce_sent,
    passed_around,
    reduce_scatter_sent,
    share,
)

DEVICES = [1, 2, 3, 4, 7]


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("devices", DEVICES)
def test_an_all_gather_sends_every_piece_but_one(devices):
    ring, pieces = Ring(devices), list(draw(devices, 5))
    for gathered in ring.all_gather(pieces):
        assert torch.equal(torch.stack(gathered), torch.stack(pieces))
    assert ring.sent == [all_gather_sent(pieces[0].nbytes, devices)] * devices


@pytest.mark.parametrize("devices", DEVICES)
def test_a_reduce_scatter_sends_every_share_but_one(devices):
    ring, shares = Ring(devices), draw(devices, devices, 3)
    found = torch.stack(ring.reduce_scatter([list(row) for row in shares]))
    torch.testing.assert_close(found, shares.sum(0))
    assert ring.sent == [reduce_scatter_sent(shares[0].nbytes, devices)] * devices


@pytest.mark.parametrize("devices", DEVICES)
def test_an_all_reduce_sends_nearly_all_twice(devices):
    ring, tensors = Ring(devices), draw(devices, devices * 6)
    for found in ring.all_reduce(list(tensors)):
        torch.testing.assert_close(found, tensors.sum(0))
    assert ring.sent == [all_reduce_sent(tensors[0].nbytes, devices)] * devices
    assert sum(ring.sent) == 2 * (devices - 1) * tensors[0].nbytes


def test_shares_are_rounded_up():
    assert [share(size, 4) for size in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]
    assert share(10**18 + 1, 3) == 333333333333333334, "no float in between"
    assert all_reduce_sent(5, 4) == 2 * 3 * 2
    assert reduce_scatter_sent(5, 4) == 3 * 2


@pytest.mark.parametrize("devices", DEVICES)
def test_ring_attention_sends_keys_and_values_twice_and_their_gradients_home(devices):
    """The schedule that is counted gives the outputs and all gradients of whole attention."""
    tokens, dim = 3, 4
    q, k, v, pull = (draw(devices * tokens, dim) + place for place in range(4))
    for tensor in (q, k, v):
        tensor.requires_grad_()
    whole = (q @ k.T).softmax(-1) @ v
    whole.backward(pull)
    ring = Ring(devices)
    pieces = [list(tensor.detach().split(tokens)) for tensor in (q, k, v, pull)]
    outputs, of_q, of_kv = ring_attention(ring, *pieces)
    torch.testing.assert_close(torch.cat(outputs), whole.detach())
    torch.testing.assert_close(torch.cat(of_q), q.grad)
    torch.testing.assert_close(torch.cat(of_kv, dim=1), torch.stack([k.grad, v.grad]))
    block = 2 * tokens * dim * 8
    sent = 2 * passed_around(block, devices) + passed_around(block, devices, home=True)
    assert ring.sent == [sent] * devices
    assert sent == (0 if devices == 1 else (3 * devices - 2) * block)


@pytest.mark.parametrize("devices", DEVICES)
def test_a_spread_recurrence_sends_its_pieces_once_each_way(devices):
    """States by a literal exclusive prefix after an all-gather, gradients by a reduce-scatter."""
    decays, written, pull = (draw(devices, 6) / (1 + place) for place in range(3))
    ring = Ring(devices)
    starts, gradients = spread_recurrence(ring, list(decays), list(written), list(pull))
    parts = torch.stack([decays, written], dim=1).requires_grad_()
    state, expected = 0 * parts[0, 1], []
    for decay, wrote in parts:
        expected.append(state)
        state = decay * state + wrote
    (torch.stack(expected) * pull).sum().backward()
    torch.testing.assert_close(torch.stack(starts), torch.stack(expected).detach())
    torch.testing.assert_close(torch.stack(gradients), parts.grad)
    assert ring.sent == [2 * all_gather_sent(2 * 6 * 8, devices)] * devices


def test_one_device_sends_nothing_to_itself():
    assert all_gather_sent(7, 1) == reduce_scatter_sent(7, 1) == all_reduce_sent(7, 1) == 0
    assert passed_around(7, 1) == passed_around(7, 1, home=True) == 0
