"""A sequence model obeys the split law from tokens to logits, under any pattern of mixers."""

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from linsight.models.sequence import RasterEmbedding, SequenceModel, TokenEmbedding, TokenModelConfig
from linsight.models.sequence.model import Head

ANY_SPLIT = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _leaves(state) -> list[torch.Tensor]:
    return [state] if isinstance(state, torch.Tensor) else [leaf for part in state for leaf in _leaves(part)]


def _raster_model(sequence_config: Callable, pattern: str) -> SequenceModel:
    embedding = RasterEmbedding(5, 2, (3, 4), 8, neighbours=((0, -1), (-1, 1), (-2, 0)), extra_steps=1)
    model = SequenceModel(embedding, sequence_config(pattern), 5).double()
    nn.init.normal_(model.head.weight)
    return model


@given(cuts=st.sets(st.integers(1, 12), max_size=12))
@ANY_SPLIT
def test_pieces_with_the_state_carried_are_the_whole(sequence_config, pattern: str, cuts: set[int]) -> None:
    torch.manual_seed(0)
    model = _raster_model(sequence_config, pattern)
    tokens = torch.randint(5, (2, 13))
    tokens[:, 0] = torch.tensor([5, 6])
    whole, final = model(tokens)
    state, logits, edges = None, [], [0, *sorted(cuts), 13]
    for first, last in itertools.pairwise(edges):
        part, state = model(tokens[:, first:last], state)
        logits.append(part)
    torch.testing.assert_close(torch.cat(logits, dim=1), whole, rtol=1e-10, atol=1e-11)
    for found, expected in zip(_leaves(state), _leaves(final), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)


@given(lengths=st.lists(st.integers(1, 8), min_size=3, max_size=3), more=st.integers(1, 4))
@ANY_SPLIT
def test_ragged_rows_are_the_rows_alone_and_go_on_alone(token_model, pattern: str, lengths, more) -> None:
    torch.manual_seed(0)
    model = token_model(pattern, max_length=12)
    tokens, tail = torch.randint(7, (3, 8)), torch.randint(7, (3, more))
    together, state = model(tokens, None, torch.tensor(lengths))
    continued, _ = model(tail, state)
    for row, length in enumerate(lengths):
        alone, own = model(tokens[row : row + 1, :length])
        torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-10, atol=1e-11)
        own_tail, _ = model(tail[row : row + 1], own)
        torch.testing.assert_close(continued[row], own_tail[0], rtol=1e-10, atol=1e-11)


def test_logits_depend_on_tokens_up_to_their_own_alone(token_model, pattern: str) -> None:
    model = token_model(pattern)
    tokens = torch.randint(7, (1, 10))
    other = tokens.clone()
    other[:, 6:] = (tokens[:, 6:] + 1) % 7
    first, second = model(tokens)[0], model(other)[0]
    assert torch.equal(first[:, :6], second[:, :6])
    assert ((first[:, 6:] - second[:, 6:]).abs().amax(-1) > 1e-6).all()


def test_a_state_may_be_continued_twice(token_model, pattern: str) -> None:
    model = token_model(pattern)
    with torch.no_grad():
        _, state = model(torch.randint(7, (2, 5)))
        kept = [leaf.clone() for leaf in _leaves(state)]
        once, _ = model(torch.tensor([[1], [2]]), state)
        model(torch.tensor([[3], [4]]), state)
        again, _ = model(torch.tensor([[1], [2]]), state)
    assert torch.equal(once, again)
    assert all(torch.equal(before, after) for before, after in zip(kept, _leaves(state), strict=True))


@pytest.mark.parametrize("valued", [0, 3, 5])
def test_the_head_adds_what_the_features_of_its_first_outputs_say(valued: int) -> None:
    """W h + b, and F B h where there are features; outputs without any add nothing."""
    features = torch.randn(valued, 2) if valued else None
    head = Head(4, 5, features).double()
    assert torch.equal(head(torch.randn(2, 4).double()), torch.zeros(2, 5).double())
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    h = torch.randn(3, 7, 4, dtype=torch.float64)
    expected = h @ head.weight.T + head.bias
    if features is not None:
        expected[..., :valued] += h @ head.to_features.weight.T @ features.double().T
    torch.testing.assert_close(head(h), expected, rtol=1e-12, atol=1e-12)
    some = slice(1, 4)
    torch.testing.assert_close(head(h, some), expected[..., some], rtol=1e-12, atol=1e-12)
    assert set(head.state_dict()) <= {"weight", "bias", "to_features.weight"}, (
        "features are derived, not saved"
    )


def test_an_untrained_model_holds_all_tokens_equally_likely(sequence_config) -> None:
    model = SequenceModel(TokenEmbedding(7, 8), sequence_config(), 7)
    assert torch.equal(model(torch.randint(7, (2, 4)))[0], torch.zeros(2, 4, 7))


def test_every_parameter_receives_a_finite_gradient(token_model, pattern: str) -> None:
    model = token_model(pattern, max_length=6)
    logits, _ = model(torch.randint(7, (8, 6)))
    logits.log_softmax(-1)[..., 0].sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_a_tied_head_reads_by_the_tokens_vectors() -> None:
    """One tensor of two names, small enough for first logits of about 1, after `.double()` too."""
    model = TokenModelConfig(vocabulary=50, tied=True).build().double()
    assert model.head.weight is model.embedding.tokens.weight
    h = torch.randn(200, 128, dtype=torch.float64)
    assert torch.equal(model.head(h), h @ model.embedding.tokens.weight.T)
    assert 0.8 < model.head(h).std().item() < 1.25
    assert TokenModelConfig(vocabulary=50).build().head.weight.any().item() is False
