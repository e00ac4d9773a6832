"""The sequence model of plain tokens, as a configuration."""

from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from linsight.config import Config
from linsight.models.sequence.embedding import TokenEmbedding
from linsight.models.sequence.model import SequenceModel
from linsight.models.sequence.stack import SequenceConfig

__all__ = ["TokenModelConfig"]


@dataclass(frozen=True)
class TokenModelConfig(Config):
    """p(next token | tokens so far): an embedding, a stack, a head.

    Args:
        vocabulary: Number of tokens.
        max_length: Learned positions for so many tokens; None for none, and then of any length.
        previous: How many tokens before its own a step's vector is made from too.
        tied: Whether the head's weights are the tokens' vectors, which then begin small (dim^-1/2).
        sequence: The stack.

    Raises:
        ValueError: A size below 1; a negative `previous`.
    """

    kind: Literal["token_model"] = "token_model"
    vocabulary: int = 256
    max_length: int | None = None
    previous: int = 0
    tied: bool = False
    sequence: SequenceConfig = field(default_factory=SequenceConfig)

    def __post_init__(self) -> None:
        """Refuse what no model can have."""
        for name in ("vocabulary", "max_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if self.previous < 0:
            raise ValueError(f"previous: expected at least 0, got {self.previous}")

    def build(self) -> SequenceModel:
        """The model."""
        embedding = TokenEmbedding(
            self.vocabulary, self.sequence.dim, max_length=self.max_length, previous=self.previous
        )
        model = SequenceModel(embedding, self.sequence, self.vocabulary)
        if self.tied:
            nn.init.normal_(embedding.tokens.weight, std=self.sequence.dim**-0.5)
            model.head.weight = embedding.tokens.weight
        return model
