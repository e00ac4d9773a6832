"""A classifier of sequences: its pooling by definition, padding without effect, and what it refuses."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from linsight.models.sequence import ClassifierConfig, SequenceClassifier, SequenceConfig


def _awake(model: SequenceClassifier) -> SequenceClassifier:
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.5)
    return model.double().eval()


@pytest.fixture
def classifier(sequence_config):
    def build(pattern: str = "linear", **options) -> SequenceClassifier:
        options = {"vocabulary": 7, "max_length": 12, "classes": 3, **options}
        return _awake(ClassifierConfig(sequence=sequence_config(pattern, 2), **options).build())

    return build


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("causal", [True, False])
def test_padding_changes_nothing(classifier, pattern: str, causal: bool, pooling: str) -> None:
    """Each row alone, without padding, is the same row in a ragged batch; tokens there may be anything."""
    model = classifier(pattern, causal=causal, pooling=pooling)
    tokens = torch.randint(7, (4, 9))
    lengths = torch.tensor([9, 1, 4, 6])
    found = model(tokens, lengths)
    alone = torch.cat([model(row[None, :n]) for row, n in zip(tokens, lengths.tolist(), strict=True)])
    torch.testing.assert_close(found, alone)
    other = torch.where(torch.arange(9) < lengths[:, None], tokens, 99)
    torch.testing.assert_close(model(other, lengths), found, rtol=0, atol=0)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_padding_of_numbers_changes_nothing_not_even_nan(classifier, pooling: str) -> None:
    model = classifier(vocabulary=None, patch=2, pooling=pooling)
    x = torch.randn(3, 10, dtype=torch.float64)
    lengths = torch.tensor([5, 2, 1])
    found = model(x, lengths)
    alone = torch.cat([model(row[None, : 2 * n]) for row, n in zip(x, lengths.tolist(), strict=True)])
    torch.testing.assert_close(found, alone)
    broken = torch.where(torch.arange(10) < 2 * lengths[:, None], x, torch.nan)
    again = model(broken, lengths)
    torch.testing.assert_close(again, found, rtol=0, atol=0)
    again.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_the_mean_and_the_last_are_of_the_stacks_outputs(classifier) -> None:
    tokens = torch.randint(7, (2, 6))
    for pooling in ("mean", "last"):
        model = classifier(pooling=pooling)
        u, _ = model.embedding(tokens)
        h, _ = model.stack(u)
        pooled = h.mean(1) if pooling == "mean" else h[:, 5]
        torch.testing.assert_close(model(tokens), model.head(pooled))


def test_a_causal_classifier_reads_its_last_token_and_a_bidirectional_one_from_anywhere(classifier) -> None:
    """`last` of the second token: only without causality does the sixth change h at the second."""
    tokens = torch.randint(7, (1, 6))
    changed = tokens.clone()
    changed[0, 5] = (tokens[0, 5] + 1) % 7
    for causal in (True, False):
        model = classifier(causal=causal)
        one, other = (model.stack(model.embedding(x)[0])[0][:, 1] for x in (tokens, changed))
        assert torch.allclose(one, other) is causal


def test_patches_are_runs_of_the_sequence(classifier) -> None:
    """A token sees its own `patch` numbers and no other's."""
    model = classifier(vocabulary=None, patch=3, max_length=None)
    x = torch.randn(1, 12, dtype=torch.float64)
    before, _ = model.embedding(x)
    assert before.shape == (1, 4, 8)
    for place in range(12):
        changed = x.clone()
        changed[0, place] += 1
        moved = (model.embedding(changed)[0] != before).any(dim=2)[0]
        assert moved.tolist() == [place // 3 == token for token in range(4)]


def test_learned_positions_are_optional_and_tell_places_apart(classifier) -> None:
    tokens = torch.tensor([[1, 2, 3, 4]])
    bag = classifier(causal=False, max_length=None)
    torch.testing.assert_close(bag(tokens), bag(tokens.flip(1)))
    assert bag(torch.randint(7, (1, 40))).shape == (1, 3)
    placed = classifier(causal=False)
    assert not torch.allclose(placed(tokens), placed(tokens.flip(1)))
    values = classifier(causal=False, vocabulary=None, max_length=4)
    x = torch.randn(1, 4, dtype=torch.float64)
    assert not torch.allclose(values(x), values(x.flip(1)))


def test_every_weight_is_learnt(classifier) -> None:
    for options in ({}, {"vocabulary": None, "patch": 2}):
        model = classifier(**options).train()
        x = torch.randint(7, (4, 12)) if not options else torch.randn(4, 24, dtype=torch.float64)
        nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 0])).backward()
        assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_fresh_classifier_says_that_all_classes_are_alike() -> None:
    model = ClassifierConfig(patch=28, max_length=28, sequence=SequenceConfig(dim=8, layers=1)).build()
    assert (model(torch.rand(2, 784)) == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary": 0}, "vocabulary: expected at least 1, got 0"),
        ({"patch": 0}, "patch: expected at least 1, got 0"),
        ({"vocabulary": 16, "patch": 2}, "patch: expected 1 where the sequence is of token ids, got 2"),
        ({"max_length": 0}, "max_length: expected at least 1, got 0"),
        ({"classes": 1}, "classes: expected at least 2, got 1"),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassifierConfig(**options)


def test_an_unknown_pooling_is_refused() -> None:
    """In another process: here the shape checks would catch it before the code a user runs does."""
    program = "from linsight.models.sequence import ClassifierConfig; ClassifierConfig(pooling='max')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ValueError: pooling: expected 'mean' or 'last', got 'max'" in done.stderr


def test_inputs_that_do_not_fit_are_refused(classifier) -> None:
    model = classifier()
    with pytest.raises(ValueError, match=r"lengths: expected at least 1 token in every row, got \[3, 0\]"):
        model(torch.zeros(2, 4, dtype=torch.int64), torch.tensor([3, 0]))
    with pytest.raises(ValueError, match="tokens: the model allows 12 steps in all, these would reach 13"):
        model(torch.zeros(2, 13, dtype=torch.int64))
    values = classifier(vocabulary=None, patch=2)
    with pytest.raises(ValueError, match="x: expected a multiple of patch 2 numbers in each row, got 5"):
        values(torch.zeros(1, 5, dtype=torch.float64))
    with pytest.raises(ValueError, match="x: the model has positions for 12 tokens, got 13"):
        values(torch.zeros(1, 26, dtype=torch.float64))
