"""The HiPPO-RNN against the paper's equations with scipy's matrices (spec/mixers.md, section 14)."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from linsight import mixers, nn
from linsight.mixers.hippo import BLOCK

FORMS = ("naive", "recurrent", "auto")


def built(**options) -> mixers.Mixer:
    torch.manual_seed(0)
    return mixers.build("hippo", **{"dim": 5, "order": 6, "memories": 2, "hidden": 4, **options}).double()


def transition(order: int, k: int, method: str):
    """By dense inverse and expm."""
    n = np.arange(order)
    norms = np.sqrt(2 * n + 1)
    A = -np.tril(np.outer(norms, norms), -1) - np.diag(n + 1.0)
    eye = np.eye(order)
    if method == "bilinear":
        left = np.linalg.inv(eye - A / (2 * k))
        return left @ (eye + A / (2 * k)), left @ norms / k
    if method == "euler":
        return eye + A / k, norms / k
    grown = scipy.linalg.expm(A * (np.log(k + 1) - np.log(k)))
    return grown, np.linalg.inv(A) @ (grown - eye) @ norms


def defined(mixer: mixers.Mixer, x: Tensor, method: str) -> Tensor:
    w = {name: parameter.detach().numpy() for name, parameter in mixer.named_parameters()}
    rows = []
    for tokens in x.numpy():
        h, m, row = np.zeros(4), np.zeros((2, 6)), []
        for k, token in enumerate(tokens, start=1):
            u = w["uxh.weight"] @ np.concatenate([token, h]) + w["uxh.bias"]
            A, B = transition(6, k, method)
            m = np.stack([A @ m[i] + B * u[i] for i in range(2)])
            seen = np.concatenate([token, m.flatten()])
            c = np.tanh(w["hxm.weight"] @ seen + w["hxm.bias"])
            g = 1 / (1 + np.exp(-(w["gxm.weight"] @ seen + w["gxm.bias"])))
            h = (1 - g) * h + g * c
            row.append(w["out.weight"] @ h)
        rows.append(row)
    return torch.tensor(np.array(rows))


@pytest.mark.parametrize(
    ("method", "length"),
    [
        *((method, length) for method in ("bilinear", "zoh") for length in (1, 2, BLOCK, BLOCK + 1, 40)),
        *(("euler", length) for length in (1, 2, 4)),  # it grows at order 6 until the third step
    ],
)
def test_every_form_is_the_paper(method, length, trial, signal):
    mixer, x = built(discretisation=method), signal(2, length, 5)
    want = defined(mixer, x, method)
    for mixer.form in FORMS:
        with torch.no_grad():
            trial.close(mixer(x)[0], want, 1e-10, mixer.form)


def test_the_step_goes_on_across_calls(signal):
    """A count that began anew would weigh the second piece as if it were the whole past."""
    mixer, x = built(), signal(2, 30, 5)
    _, state = mixer(x[:, :17])
    assert state.step.tolist() == [17, 17]
    y, state = mixer(x[:, 17:], state)
    assert state.step.tolist() == [30, 30]
    torch.testing.assert_close(y, mixer(x)[0][:, 17:])
    forgetful = state._replace(step=torch.zeros_like(state.step))
    assert (mixer(x, state)[0] - mixer(x, forgetful)[0]).abs().max() > 1e-3


def test_rows_that_have_come_unequally_far(signal, trial):
    """After ragged rows every row has its own step, and with it its own matrices."""
    mixer, x = built(), signal(3, 40, 5)
    _, state = mixer(x[:, :20], lengths=torch.tensor([20, 3, 0]))
    assert state.step.tolist() == [20, 3, 0]
    for mixer.form in FORMS:
        y, final = mixer(x[:, 20:], state)
        for row, length in enumerate((20, 3, 0)):
            alone = torch.cat([x[row, :length], x[row, 20:]])[None]
            trial.close(y[row], mixer(alone)[0][0, length:], 1e-11, f"row {row}")
        assert final.step.tolist() == [40, 23, 20]


def test_the_memory_is_the_past_of_u(signal):
    """With u = x the coefficients rebuild the signal: LegS at work inside the cell."""
    mixer = built(dim=1, order=12, memories=1)
    with torch.no_grad():
        mixer.get_parameter("uxh.weight").zero_()[0, 0] = 1
        mixer.get_parameter("uxh.bias").zero_()
    s = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    with torch.no_grad():
        m = mixer((6 * s).sin()[None, :, None])[1].m[0, 0]
    assert (nn.reconstruct(m, s) - (6 * s).sin()).abs()[50:].max() < 0.02


def test_matrices_are_made_once_and_no_parameter(signal, monkeypatch):
    """Never an inverse a step: the second call finds them."""
    mixer, x = built(), signal(2, 3 * BLOCK, 5)
    made = []
    original = nn.legs_transition

    def counting(step, *args):
        made.append(tuple(step.shape))
        return original(step, *args)

    monkeypatch.setattr("linsight.mixers.hippo.legs_transition", counting)
    first = mixer(x)[0]
    assert made == [(BLOCK,)] * 3
    assert torch.equal(mixer(x)[0], first)
    assert len(made) == 3
    assert not list(mixer.buffers())
    assert set(mixer.state_dict()) == {
        *(f"{layer}.{part}" for layer in ("uxh", "hxm", "gxm") for part in ("weight", "bias")),
        "out.weight",
    }


def test_what_is_kept_is_bounded(signal, monkeypatch):
    monkeypatch.setattr("linsight.mixers.hippo.CACHE", 2 * BLOCK * 36 * 8)
    mixer = built()
    mixer(signal(1, 20 * BLOCK, 5))
    assert len(mixer._blocks) <= 3


def test_there_is_no_parallel_form():
    with pytest.raises(NotImplementedError, match="HippoRNN has no form 'parallel'; it has auto, naive, rec"):
        built(form="parallel")


def test_sizes_below_1_are_refused():
    for options, words in (
        ({"order": 0}, "mixer 'hippo': expected order of at least 1, got 0"),
        ({"memories": 0}, "expected memories of at least 1, got 0"),
        ({"hidden": 0}, "expected hidden of at least 1, got 0"),
        ({"causal": False}, "mixer 'hippo' sees the past alone"),
    ):
        with pytest.raises(ValueError, match=words):
            mixers.build("hippo", dim=4, **options)
