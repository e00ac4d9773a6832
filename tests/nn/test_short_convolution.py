"""The short convolution against its sum, and the laws of its state."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from linsight.nn import ShortConvolution


def literal(conv, x):
    """y[t, c] = bias[c] + sum_i w[c, i] x[t - taps + 1 + i, c], one number at a time."""
    weight, bias, y = conv.weight.tolist(), conv.bias.tolist(), torch.zeros_like(x)
    for b, t, c in torch.cartesian_prod(*map(torch.arange, x.shape)).tolist():
        places = [(t - conv.taps + 1 + i, w) for i, w in enumerate(weight[c][0])]
        y[b, t, c] = bias[c] + sum(w * x[b, s, c].item() for s, w in places if s >= 0)
    return y


@pytest.mark.parametrize("taps", [1, 2, 4])
def test_it_is_the_sum_over_the_last_taps(taps):
    conv = ShortConvolution(3, taps).double()
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    torch.testing.assert_close(conv(x)[0], literal(conv, x), rtol=0, atol=1e-14)


def test_parameters_are_those_of_a_depthwise_conv1d():
    ours, theirs = ShortConvolution(5, 4), torch.nn.Conv1d(5, 5, 4, groups=5, padding=3)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 9, 5)
    torch.testing.assert_close(ours(x)[0], theirs(x.mT)[..., :9].mT)


@given(
    pieces=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    taps=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_split_law_from_any_state(pieces, taps, seed):
    torch.manual_seed(seed)
    conv = ShortConvolution(3, taps).double()
    x, state = torch.randn(2, sum(pieces), 3).double(), torch.randn(2, taps - 1, 3).double()
    whole, final = conv(x, state)
    outputs = []
    for piece in x.split(pieces, dim=1):
        y, state = conv(piece, state)
        outputs.append(y)
    assert torch.equal(whole, torch.cat(outputs, dim=1))
    assert torch.equal(final, state)


def test_no_state_is_the_initial_state():
    conv, x = ShortConvolution(3), torch.randn(2, 5, 3)
    for none, zeros in zip(conv(x), conv(x, conv.initial_state(2)), strict=True):
        assert torch.equal(none, zeros)


def test_state_is_the_inputs_before_the_convolution():
    conv, x = ShortConvolution(3), torch.randn(2, 5, 3)
    assert torch.equal(conv(x)[1], x[:, 2:])


@pytest.mark.parametrize("taps", [1, 4])
def test_a_row_of_fewer_tokens_is_as_alone(taps):
    conv = ShortConvolution(3, taps).double()
    x, state = torch.randn(5, 6, 3).double(), torch.randn(5, taps - 1, 3).double()
    lengths = torch.tensor([0, 1, 3, 5, 6])
    y, final = conv(x, state, torch.arange(6) < lengths[:, None])
    for row, length in enumerate(lengths.tolist()):
        if length == 0:
            assert torch.equal(final[row], state[row])
            continue
        alone, last = conv(x[row, None, :length], state[row, None])
        assert torch.equal(y[row, None, :length], alone)
        assert torch.equal(final[row, None], last)


def test_gradients_of_input_state_and_parameters():
    conv = ShortConvolution(2, 3).double()
    x, state = (torch.randn(3, n, 2, dtype=torch.float64, requires_grad=True) for n in (4, 2))
    valid = torch.arange(4) < torch.tensor([[0], [1], [4]])

    def run(x, state, weight, bias):
        parameters = {"weight": weight, "bias": bias}
        y, final = torch.func.functional_call(conv, parameters, (x, state, valid))
        return torch.where(valid[..., None], y, 0), final

    assert torch.autograd.gradcheck(run, (x, state, conv.weight, conv.bias))


def test_sums_are_float32_under_autocast():
    """One rounding, of the result: a bfloat16 sum of 256 and three ones would stay 256."""
    conv = ShortConvolution(1, 4, bias=False)
    torch.nn.init.ones_(conv.weight)
    x = torch.tensor([256.0, 1.0, 1.0, 1.0], dtype=torch.bfloat16).view(1, 4, 1)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = conv(x)
    assert y[0, -1].item() == 260  # 259 rounded to bfloat16
    assert y.dtype == state.dtype == torch.bfloat16


@pytest.mark.parametrize(("channels", "taps", "name"), [(0, 4, "channels"), (3, 0, "taps")])
def test_refusals(channels, taps, name):
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
        ShortConvolution(channels, taps)


def test_a_state_does_not_keep_the_row_that_it_was_made_of():
    """A view of the last inputs would hold O(T) memory for as long as the state is carried."""
    _, state = ShortConvolution(3, 4)(torch.randn(2, 1000, 3))
    assert state.untyped_storage().nbytes() == 4 * 2 * 3 * 3
