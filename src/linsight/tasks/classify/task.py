"""The task: a whole sequence in, its class out; accuracy on a split, and what was mistaken for what."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from linsight.data import fingerprint
from linsight.metrics import accuracy_compute, accuracy_update, class_nll_update, nll_compute
from linsight.models.sequence import ClassifierConfig, SequenceClassifier
from linsight.tasks.base import Batch, ComparedConfig, Progress, Split, Task
from linsight.tasks.classify.evaluation import classification_exhibits, score
from linsight.tasks.classify.sources import NAMES, source
from linsight.tasks.exhibits import Evaluation

__all__ = ["ClassifyConfig", "ClassifyTask"]


@dataclass(frozen=True)
class ClassifyConfig(ComparedConfig):
    """The class of a sequence.

    Args:
        data: `smnist` or `pmnist` (784 pixels, in raster order or permuted), `listops-128`, `listops-2k`, or
            `pathfinder-{32,64,128}-{easy,hard}`.
        source: Where the digits of smnist and pmnist are from: "mnist", or a folder of IDX files.
        model: The classifier; its vocabulary, classes and positions are those of the data.
        num_examples: Of an epoch of generated data, each of which has others; not looked at with digits.
        validate_examples: How many validation examples are looked at during training.
        test_examples: How many of a split are looked at in an evaluation of generated data; digits are
            looked at all.
    """

    headline: ClassVar[str] = "accuracy"
    headline_falls: ClassVar[bool] = False

    kind: Literal["classify"] = "classify"
    data: str = "smnist"
    source: str = "mnist"
    model: ClassifierConfig = field(default_factory=ClassifierConfig)
    num_examples: int = 20_000
    validate_examples: int = 1000
    test_examples: int = 2000

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        if self.data not in NAMES:
            raise ValueError(f"data: expected one of {', '.join(map(repr, NAMES))}, got {self.data!r}")
        self.require_some("num_examples", "validate_examples", "test_examples")

    @property
    def num_tokens(self) -> int:
        """Tokens of an example, the longest where they differ."""
        return source(self.data, self.source).length // self.model.patch

    def build(self) -> "ClassifyTask":
        """The task."""
        return ClassifyTask(self)


class ClassifyTask(Task[SequenceClassifier]):
    """Cross-entropy of a sequence's class, and all that is asked of a classifier."""

    def __init__(self, config: ClassifyConfig) -> None:
        self.config = config
        self.source = source(config.data, config.source)
        self._check_model()

    @property
    def num_examples(self) -> int:
        """Training images, or the generated sequences of an epoch."""
        return self.source.count("train") or self.config.num_examples

    @property
    def fingerprint(self) -> str:
        """Of the training data, and of the size of an epoch, by which generated data are numbered."""
        return fingerprint(self.source.fingerprint.encode(), str(self.num_examples).encode())

    def build_model(self) -> SequenceClassifier:
        """A fresh classifier."""
        return self.config.model.build()

    def batch(self, indices: np.ndarray, *, seed: int, epoch: int) -> Batch:
        """x, y, and lengths of token ids; of generated data the seed's items epoch * num_examples + index."""
        generated = self.source.count("train") is None
        items = indices + epoch * self.num_examples if generated else indices
        return self.source.examples("train", items, seed=seed).batch()

    def loss(self, model: SequenceClassifier, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """-log p(y | x) in nats per sequence."""
        logits = model(batch["x"], batch.get("lengths"))
        loss = F.cross_entropy(logits, batch["y"])
        return loss, {"accuracy": (logits.detach().argmax(1) == batch["y"]).float().mean()}

    def validate(self, model: SequenceClassifier) -> dict[str, float]:
        """Accuracy and nats on the first validation examples."""
        scored = score(model, self.source, "valid", self._size("valid", self.config.validate_examples))
        accuracy = accuracy_compute(accuracy_update(scored.log_prob, scored.labels))
        nll = nll_compute(class_nll_update(scored.log_prob, scored.labels))
        return {"accuracy": accuracy.value.item(), "nll_nats": nll.value.item()}

    def evaluate(
        self,
        model: SequenceClassifier,
        split: Split,
        *,
        device: torch.device,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Accuracy, nats, calibration, what was mistaken for what, and examples.

        The model is left on `device`, in evaluation mode. Of generated data the items are those of seed 0.
        """
        model = model.to(device).eval()
        count = self.source.count(split) or self.config.test_examples
        scored = score(model, self.source, split, count, progress)
        metrics, exhibits = classification_exhibits(scored, self.source, split, self.config.model)
        return Evaluation(split, metrics, exhibits)

    def _size(self, split: Split, wanted: int) -> int:
        return min(wanted, self.source.count(split) or wanted)

    def _check_model(self) -> None:
        """The model is complete in the configuration, so it has to be the one that the data need."""
        model, data = self.config.model, self.source
        needed = {"vocabulary": data.vocabulary, "classes": len(data.classes)}
        for name, value in needed.items():
            if getattr(model, name) != value:
                raise ValueError(
                    f"model.{name}: the data {data.name!r} need {value}, got {getattr(model, name)}; "
                    f"set it to {str(value).lower()}"
                )
        if data.length % model.patch:
            raise ValueError(
                f"model.patch: {data.length} pixels of {data.name!r} are not divisible by {model.patch}"
            )
        tokens = data.length // model.patch
        if model.max_length is not None and model.max_length < tokens:
            raise ValueError(
                f"model.max_length: the sequences have up to {tokens} tokens, got {model.max_length}; "
                f"set it to {tokens}, or to none"
            )
