"""The task: keys and values in, asked keys answered; accuracy against the bytes that remember."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from linsight.data import IGNORED, RecallData, generated_fingerprint, recall
from linsight.mixers import config as mixer
from linsight.models.sequence import SequenceConfig, SequenceModel, TokenModelConfig
from linsight.tasks.base import Batch, ComparedConfig, Progress, Split, Task
from linsight.tasks.exhibits import Evaluation
from linsight.tasks.recall.evaluation import evaluate_recall

__all__ = ["RecallConfig", "RecallTask"]


def _small() -> TokenModelConfig:
    sequence = SequenceConfig(dim=64, layers=2, mlp_dim=128, mixers=(mixer("linear", heads=2),))
    return TokenModelConfig(vocabulary=65, previous=1, sequence=sequence)


@dataclass(frozen=True)
class RecallConfig(ComparedConfig):
    """Associative recall, drawn anew at every visit.

    Args:
        data: The sequences.
        model: The model; its vocabulary is that of the data. Each token's vector knows the token before it,
            by which a value is bound to its key in the first layer, and the mixer has but to look keys up;
            the models of Arora et al. have a short convolution there. Without it two layers must first grow
            a head that looks back by one, which 3,000 steps do not reach.
        num_examples: Sequences of an epoch; every epoch draws others.
        validate_sequences, test_sequences: How many are looked at during training, and in an evaluation.
    """

    headline: ClassVar[str] = "accuracy"
    headline_falls: ClassVar[bool] = False

    kind: Literal["recall"] = "recall"
    data: RecallData = field(default_factory=RecallData)
    model: TokenModelConfig = field(default_factory=_small)
    num_examples: int = 20_000
    validate_sequences: int = 200
    test_sequences: int = 1000

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        self.require_some("num_examples", "validate_sequences", "test_sequences")

    @property
    def num_tokens(self) -> int:
        """Tokens of an example."""
        return self.data.length

    def build(self) -> "RecallTask":
        """The task."""
        return RecallTask(self)


class RecallTask(Task[SequenceModel]):
    """Cross-entropy of the answers alone, and how many of them are right."""

    def __init__(self, config: RecallConfig) -> None:
        self.config = config
        data, model = config.data, config.model
        if model.vocabulary != data.vocabulary:
            raise ValueError(
                f"model.vocabulary: the data has {data.vocabulary} tokens (data.num_fillers + data.num_keys "
                f"+ data.num_values), got {model.vocabulary}; set it to {data.vocabulary}"
            )
        if model.max_length is not None and model.max_length < data.length:
            raise ValueError(
                f"model.max_length: the sequences have {data.length} tokens, got {model.max_length}; "
                f"set it to {data.length}, or to none"
            )

    @property
    def num_examples(self) -> int:
        """Sequences of an epoch."""
        return self.config.num_examples

    @property
    def fingerprint(self) -> str:
        """Of the sequences' description, and of the first of them."""
        data = self.config.data
        return generated_fingerprint(data, recall(data, np.arange(8), split="train").tokens)

    def build_model(self) -> SequenceModel:
        """A fresh model."""
        return self.config.model.build()

    def batch(self, indices: np.ndarray, *, seed: int, epoch: int) -> Batch:
        """Sequences number epoch * num_examples + index: no epoch repeats another's."""
        items = epoch * self.config.num_examples + np.asarray(indices)
        drawn = recall(self.config.data, items, split="train", seed=seed)
        return {"tokens": torch.from_numpy(drawn.tokens), "targets": torch.from_numpy(drawn.targets)}

    def loss(self, model: SequenceModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """-log p(value | key, what came before) in nats per question."""
        logits, _ = model(batch["tokens"])
        asked = batch["targets"] != IGNORED
        answers, targets = logits[asked].float(), batch["targets"][asked]
        loss = F.cross_entropy(answers, targets)
        return loss, {"accuracy": (answers.argmax(-1) == targets).float().mean().detach()}

    def validate(self, model: SequenceModel) -> dict[str, float]:
        """Accuracy on the first validation sequences."""
        found = evaluate_recall(model, self.config.data, "valid", self.config.validate_sequences)
        return {"accuracy": found.metrics["accuracy"]}

    def evaluate(
        self, model: SequenceModel, split: Split, *, device: torch.device, progress: Progress | None = None
    ) -> Evaluation:
        """Accuracy, alone and against the distance of the answer; some questions; the state's bytes."""
        return evaluate_recall(
            model.to(device).eval(), self.config.data, split, self.config.test_sequences, progress=progress
        )
