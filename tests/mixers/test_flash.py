"""FLASH against its definition over all pairs, its chunk boundaries and phases (spec/mixers.md, 9)."""

import math

import pytest
import torch
from torch import Tensor

from linsight import mixers

CHUNK = 6
LENGTHS = (1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 1, 23)


def made(*, causal: bool = True, dim: int = 6, **options) -> mixers.Mixer:
    torch.manual_seed(0)
    options = {"key_dim": 4, "chunk": CHUNK, **options}
    mixer = mixers.build("flash", dim=dim, causal=causal, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return mixer


def tokens(batch: int, length: int, dim: int = 6) -> Tensor:
    return torch.randn(batch, length, dim, dtype=torch.float64)


def turned(x: Tensor) -> Tensor:
    """Rotary positions from 0 on: (i, i + s/2) turns by t 10000^(-2i/s)."""
    half = x.shape[-1] // 2
    angle = torch.arange(len(x))[:, None] * 10000.0 ** (-torch.arange(half).double() / half)
    z = torch.complex(x[:, :half], x[:, half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([z.real, z.imag], dim=-1)


def defined(mixer, x: Tensor) -> Tensor:
    """One row from its first token on, pair by pair."""
    weights = dict(mixer.named_parameters())
    config, length, values = mixer.config, len(x), 2 * x.shape[-1]
    xs = x @ weights["uvz.weight"].T
    u, v, z = (xs / (1 + (-xs).exp())).split([values, values, config.key_dim], -1)
    q, k, far_q, far_k = (turned(z * g + b) for g, b in zip(weights["gamma"], weights["beta"], strict=True))
    b = weights["bias.weight"]
    rows = []
    for i in range(length):
        total = torch.zeros(values, dtype=x.dtype)
        for j in range(length):
            same = i // CHUNK == j // CHUNK
            if same and (j <= i or not mixer.causal):
                bias = b[i - j] if mixer.causal or i >= j else b[16 + j - i]  # distances below 8 are exact
                s = q[i] @ k[j] / CHUNK + bias
                weight = (
                    s.clamp(min=0) ** 2
                    if config.kernel == "relu2"
                    else 0.5 * (1 + torch.erf((s - math.sqrt(0.5)) * math.sqrt(2 * math.pi)))
                )
                total = total + weight * v[j]
            if not mixer.causal:
                total = total + far_q[i] @ far_k[j] / length * v[j]
            elif j // CHUNK < i // CHUNK:
                total = total + far_q[i] @ far_k[j] / CHUNK * v[j]
        rows.append(u[i] * total)
    return torch.stack(rows) @ weights["out.weight"].T


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kernel", ["relu2", "laplace"])
def test_every_form_is_the_definition(kernel: str, causal: bool) -> None:
    """The last chunk too divides by C, and the sum over chunks leaves the open one out."""
    mixer = made(kernel=kernel, causal=causal)
    for length in LENGTHS:
        x = tokens(1, length)
        want = defined(mixer, x[0])
        for form in (*mixer.forms, "auto"):
            mixer.form = form
            torch.testing.assert_close(mixer(x)[0][0], want, rtol=1e-9, atol=1e-11, msg=f"{form}, {length}")


@pytest.mark.parametrize("kernel", ["relu2", "laplace"])
@pytest.mark.parametrize("form", ["naive", "chunk", "recurrent"])
def test_every_cut_across_two_boundaries_gives_the_whole(form: str, kernel: str) -> None:
    """When a chunk closes its tokens pass from the elementwise part to the linear one."""
    mixer = made(form=form, kernel=kernel)
    x = tokens(2, 2 * CHUNK + 3)
    whole, final = mixer(x)
    torch.testing.assert_close(whole[0], defined(mixer, x[0]), rtol=1e-9, atol=1e-11)
    for cut in range(1, x.shape[1]):
        first, state = mixer(x[:, :cut])
        second, state = mixer(x[:, cut:], state)
        torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-9, atol=1e-11)
        for one, other in zip(state, final, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_rows_at_other_phases_share_a_call() -> None:
    """Rotary turns, chunk boundaries and sums of each row go on from its own position."""
    mixer = made()
    prompts, lengths = tokens(4, 14), torch.tensor([14, 4, 6, 0])
    _, state = mixer(prompts, None, lengths)
    assert state.position.tolist() == [14, 4, 6, 0]
    more = tokens(4, 9)
    for form in ("naive", "chunk", "recurrent"):
        mixer.form = form
        y, _ = mixer(more, state)
        for row, length in enumerate(lengths.tolist()):
            joined = torch.cat([prompts[row, :length], more[row]])
            torch.testing.assert_close(y[row], defined(mixer, joined)[length:], rtol=1e-9, atol=1e-11)


def test_the_state_does_not_grow_and_says_its_size() -> None:
    mixer = made()
    for length in (1, CHUNK, 40):
        _, state = mixer(tokens(1, length))
        assert sum(tensor.nbytes for tensor in state) == mixer.state_size(length)
    assert mixer.state_size(1) == 8 * (2 * 4 * 12 + CHUNK * (4 + 12)) + 8


def test_sums_move_to_the_memory_when_their_chunk_closes() -> None:
    mixer = made()
    x = tokens(1, CHUNK)
    _, before = mixer(x[:, :-1])
    _, after = mixer(x[:, -1:], before)
    assert not before.memory.any()
    assert before.pending.any()
    assert after.memory.any()
    assert not after.pending.any()
    assert not after.keys.any()


def test_bidirectional_rows_are_divided_by_their_own_length() -> None:
    mixer = made(causal=False)
    x, lengths = tokens(3, 15), torch.tensor([15, 8, 0])
    y, _ = mixer(x, None, lengths)
    torch.testing.assert_close(y[1, :8], defined(mixer, x[1, :8]), rtol=1e-9, atol=1e-11)
    assert not y[1, 8:].any()


def test_the_linear_part_grows_with_the_closed_chunks() -> None:
    """As in the paper nothing divides by their number: equal tokens add up, chunk by chunk."""
    mixer = made(key_dim=2)
    with torch.no_grad():
        mixer.get_parameter("bias.weight").fill_(-100.0)  # the elementwise part is 0
        mixer.get_parameter("gamma").zero_()
        mixer.get_parameter("beta").fill_(1.0)
    x = tokens(1, 1).expand(-1, 41 * CHUNK, -1)
    with torch.no_grad():
        y = mixer(x)[0][0].reshape(41, CHUNK, -1)
    assert not y[0].any()
    # Rotary turns weigh far chunks less than near ones: growth is at most linear.
    rms = y.square().mean((1, 2)).sqrt()
    assert rms[1] > 0
    assert rms.max() <= 40.01 * rms[1] * 2**0.5


def test_an_odd_width_of_queries_is_refused() -> None:
    with pytest.raises(ValueError, match="mixer 'flash': rotary positions need an even key_dim, got 3"):
        made(key_dim=3)
