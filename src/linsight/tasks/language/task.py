"""The task: predict the next byte, and what that costs in bits."""

from dataclasses import dataclass, field
from math import log
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from linsight.data import SplitText, fingerprint, noise, read_text_split
from linsight.models.sequence import SequenceModel, TokenModelConfig
from linsight.tasks.base import Batch, ComparedConfig, Progress, Split, Task
from linsight.tasks.exhibits import Evaluation
from linsight.tasks.language.bits import windowed_nats
from linsight.tasks.language.evaluation import evaluate_language

__all__ = ["LanguageConfig", "LanguageTask"]


@dataclass(frozen=True)
class LanguageConfig(ComparedConfig):
    """Language modelling of bytes.

    Args:
        text: "shakespeare", a file, or a folder of `.txt` files.
        model: The model; its vocabulary is the 256 bytes.
        length: Bytes of a training window; every epoch cuts the text at other places.
        validate_bytes: How much of the validation split is looked at during training.
        sample_bytes: How much the report's samples have.
    """

    headline: ClassVar[str] = "bits_per_byte"
    headline_falls: ClassVar[bool] = True

    kind: Literal["language"] = "language"
    text: str = "shakespeare"
    model: TokenModelConfig = field(default_factory=TokenModelConfig)
    length: int = 256
    validate_bytes: int = 32_768
    sample_bytes: int = 600

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        for name in ("length", "validate_bytes", "sample_bytes"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name}: expected at least 2, got {getattr(self, name)}")
        if self.model.vocabulary != 256:
            raise ValueError(f"model.vocabulary: expected 256, the bytes, got {self.model.vocabulary}")
        if self.model.max_length is not None:
            raise ValueError(
                f"model.max_length: expected none, a text is read on and on, got {self.model.max_length}"
            )

    @property
    def num_tokens(self) -> int:
        """Tokens of an example."""
        return self.length

    def build(self) -> "LanguageTask":
        """The task."""
        return LanguageTask(self)


class LanguageTask(Task[SequenceModel]):
    """Maximum likelihood of the next byte."""

    def __init__(self, config: LanguageConfig) -> None:
        self.config = config
        self._splits: dict[Split, SplitText] = {}
        self.bytes = np.frombuffer(self.split("train").content, np.uint8)
        if len(self.bytes) < 2 * config.length + 1:
            raise ValueError(
                f"length: the training split has {len(self.bytes)} bytes, and two windows of {config.length} "
                "and the byte after them do not fit; use a shorter one"
            )

    @property
    def num_examples(self) -> int:
        """Windows that fit wherever the first one begins."""
        return (len(self.bytes) - 1) // self.config.length - 1

    @property
    def fingerprint(self) -> str:
        """Of the training bytes."""
        return fingerprint(self.bytes)

    def build_model(self) -> SequenceModel:
        """A fresh model."""
        return self.config.model.build()

    def batch(self, indices: np.ndarray, *, seed: int, epoch: int) -> Batch:
        """Windows and the byte after each place; the epoch's first window begins anywhere in the first."""
        length = self.config.length
        drawn = noise.uniform(noise.key(seed, "language/offset"), np.array([0]), 1, epoch=epoch)
        starts = int(drawn[0, 0] * length) + np.asarray(indices) * length
        windows = self.bytes[starts[:, None] + np.arange(length + 1)].astype(np.int64)
        return {"tokens": torch.from_numpy(windows)}

    def loss(self, model: SequenceModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Nats per byte."""
        logits, _ = model(batch["tokens"][:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1).float(), batch["tokens"][:, 1:].flatten())
        return loss, {"bits_per_byte": loss.detach() / log(2)}

    def validate(self, model: SequenceModel) -> dict[str, float]:
        """Bits per byte of the beginning of the validation split, read in windows."""
        content = self.split("valid").content[: self.config.validate_bytes]
        nats = windowed_nats(model, content, window=2 * self.config.length)
        return {"bits_per_byte": nats.mean().item() / log(2)}

    def evaluate(
        self, model: SequenceModel, split: Split, *, device: torch.device, progress: Progress | None = None
    ) -> Evaluation:
        """Bits per byte, beside those of counting and of compressors; samples; what context is worth."""
        return evaluate_language(
            model.to(device).eval(),
            self.split(split),
            training=self.split("train").content,
            split=split,
            length=self.config.length,
            sample_bytes=self.config.sample_bytes,
            progress=progress,
        )

    def split(self, split: Split) -> SplitText:
        """The bytes of a split, read once and kept."""
        if split not in self._splits:
            self._splits[split] = read_text_split(self.config.text, split)
        return self._splits[split]
