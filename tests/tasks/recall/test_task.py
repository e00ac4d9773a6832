"""The recall task: what is scored, what an untrained and a perfect model get, and what it refuses."""

from math import log

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from linsight.data import IGNORED, RecallData, recall
from linsight.mixers import config as mixer
from linsight.models.sequence import SequenceConfig, SequenceModel, TokenEmbedding, TokenModelConfig
from linsight.tasks.recall import RecallConfig
from linsight.tasks.recall.evaluation import evaluate_recall

DATA = RecallData(length=20, num_pairs=4, num_keys=8, num_values=8)


def task(kind="linear", data=DATA, **options):
    sequence = SequenceConfig(dim=16, layers=2, mlp_dim=32, mixers=(mixer(kind, heads=2),))
    model = TokenModelConfig(vocabulary=data.vocabulary, max_length=data.length, sequence=sequence)
    return RecallConfig(data=data, model=model, num_examples=50, **options).build()


def awake(model):
    """The model with a head that is not 0."""
    nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    return model


class Remembers(SequenceModel):
    """The model that this task asks for, by hand: the value that last followed the same token."""

    def forward(self, tokens, state=None, lengths=None):
        logits = torch.zeros(*tokens.shape, self.head.out_features)
        for row, sequence in enumerate(tokens.tolist()):
            followed = {}
            for place, token in enumerate(sequence):
                logits[row, place, followed.get(token, 0)] = 50.0
                if place:
                    followed[sequence[place - 1]] = token
        return logits, None


def test_an_untrained_model_costs_the_logarithm_of_the_vocabulary():
    built = task()
    torch.manual_seed(0)
    found = evaluate_recall(built.build_model(), DATA, "test", 30)
    assert found.metrics["answer_nats"] == pytest.approx(log(DATA.vocabulary), rel=1e-5)
    assert found.metrics["accuracy"] <= 2 / DATA.vocabulary  # all answers are one and the same token


def test_a_model_that_remembers_is_right_everywhere():
    model = Remembers(TokenEmbedding(DATA.vocabulary, 4), SequenceConfig(dim=4), DATA.vocabulary)
    found = evaluate_recall(model, DATA, "test", 30)
    assert found.metrics["accuracy"] == 1
    assert found.metrics["sequences_solved"] == 1
    assert found.metrics["accuracy_standard_error"] == 0
    assert found.metrics["answer_nats"] == pytest.approx(0, abs=1e-6)
    _, curve, questions = found.exhibits
    assert set(curve.series["this run"][1]) == {1.0}
    assert all(row[2] == row[3] and row[4] == "yes" for row in questions.rows)


def test_the_loss_is_that_of_the_answers_alone():
    built = task()
    torch.manual_seed(0)
    model = awake(built.build_model())
    batch = built.batch(np.arange(6), seed=0, epoch=0)
    loss, logs = built.loss(model, batch)
    logits, targets = model(batch["tokens"])[0], batch["targets"]
    nats, hits = [], []
    for row, place in (targets != IGNORED).nonzero().tolist():
        nats.append(F.cross_entropy(logits[row, place], targets[row, place]))
        hits.append(logits[row, place].argmax() == targets[row, place])
    assert len(nats) == 6 * DATA.queries
    torch.testing.assert_close(loss, torch.stack(nats).mean())
    assert logs["accuracy"] == torch.stack(hits).float().mean()


def test_no_epoch_repeats_a_sequence_and_a_batch_is_a_function_of_its_indices():
    built = task()
    one, two = (built.batch(np.arange(50), seed=0, epoch=epoch)["tokens"] for epoch in (0, 1))
    assert len({row.numpy().tobytes() for row in torch.cat([one, two])}) == 100
    assert (built.batch(np.array([7]), seed=0, epoch=1)["tokens"] == two[7]).all()
    expected = recall(DATA, np.array([57]), split="train").tokens
    assert (two[7].numpy() == expected[0]).all()


@pytest.mark.parametrize("kind", ["linear", "softmax"])
def test_the_state_bytes_are_those_of_a_state(kind):
    built = task(kind)
    model = built.build_model()
    _, state = model(torch.zeros(1, DATA.length, dtype=torch.int64))
    carried = sum(tensor.nbytes for layer in state.layers for tensor in layer)
    found = evaluate_recall(model, DATA, "test", 2).metrics["state_bytes"]
    assert found == model.stack.state_size(DATA.length)
    assert found <= carried  # a cache is allocated in advance


def test_training_on_one_batch_learns_it():
    built = task()
    torch.manual_seed(0)
    model = built.build_model()
    batch = built.batch(np.arange(8), seed=0, epoch=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        loss, logs = built.loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert logs["accuracy"] > 0.9


def test_the_fingerprint_is_that_of_the_sequences():
    assert task().fingerprint == task(validate_sequences=3).fingerprint
    other = RecallData(length=21, num_pairs=4, num_keys=8, num_values=8)
    assert task().fingerprint != task(data=other).fingerprint


def test_the_validation_is_that_of_the_validation_split():
    built = task(validate_sequences=20)
    model = awake(built.build_model())
    assert built.validate(model) == {
        "accuracy": evaluate_recall(model, DATA, "valid", 20).metrics["accuracy"]
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_examples": 0}, "num_examples: expected at least 1, got 0"),
        ({"test_sequences": 0}, "test_sequences: expected at least 1, got 0"),
        ({"model": TokenModelConfig(vocabulary=9)}, r"model.vocabulary: the data has 65 .* set it to 65"),
        (
            {"model": TokenModelConfig(vocabulary=65, max_length=63)},
            r"model.max_length: the sequences have 64 tokens, got 63",
        ),
    ],
)
def test_what_no_run_can_have_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RecallConfig(**options).build()
