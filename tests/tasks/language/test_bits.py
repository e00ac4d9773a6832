"""Every byte of a text is predicted once, from the context that is promised."""

from math import log

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from linsight.mixers import config as mixer
from linsight.models.sequence import SequenceConfig, TokenModelConfig
from linsight.tasks.language import bits
from linsight.tasks.language.bits import carried_nats, windowed_nats


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    sequence = SequenceConfig(dim=8, layers=1, mlp_dim=8, mixers=(mixer("linear", heads=2),))
    built = TokenModelConfig(sequence=sequence).build().eval()
    nn.init.normal_(built.head.weight)
    return built


def text(length):
    return bytes(torch.randint(97, 105, (length,), generator=torch.Generator().manual_seed(length)).tolist())


def nats_of(model, content, place, context):
    """-log p of one byte, given exactly `context` bytes before it."""
    tokens = torch.tensor([list(content[place - context : place])])
    with torch.no_grad():
        logits = model(tokens)[0][0, -1].double()
    return F.cross_entropy(logits, torch.tensor(content[place])).item()


@pytest.mark.parametrize("window", [2, 7, 8])
@pytest.mark.parametrize("length", [1, 2, 8, 9, 10, 13, 30, 31])
def test_windows_give_each_byte_the_context_that_they_promise(model, length, window):
    content, stride = text(length), window // 2
    found = windowed_nats(model, content, window=window)
    assert found.shape == (length,)
    assert found[0] == pytest.approx(log(256))
    for place in range(1, length):
        # The first window that has the byte in its second half; at the end one that ends with the text.
        if place <= window:
            start = 0
        else:
            start = -(-(place - window) // stride) * stride
            start = min(start, length - 1 - window)
        assert found[place] == pytest.approx(nats_of(model, content, place, place - start), rel=1e-5)


@pytest.mark.parametrize("length", [1, 2, 9, 10, 11, 25])
def test_a_carried_state_gives_each_byte_all_that_went_before(model, length, monkeypatch):
    monkeypatch.setattr(bits, "_PIECE", 9)
    content = text(length)
    found = carried_nats(model, content)
    expected = [log(256)] + [nats_of(model, content, place, place) for place in range(1, length)]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)
