"""A classifier of sequences: tokens or pixels in, a stack with any mixer, one vector per row, classes out."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from linsight.config import Config
from linsight.models.sequence.embedding import TokenEmbedding
from linsight.models.sequence.model import Head
from linsight.models.sequence.stack import SequenceConfig, Stack

__all__ = ["ClassifierConfig", "SequenceClassifier"]


@dataclass(frozen=True)
class ClassifierConfig(Config):
    """What a sequence is made of, how it becomes one vector, and the network between."""

    kind: Literal["classifier"] = "classifier"
    vocabulary: int | None = None
    """Number of token ids, padding included; None: the sequence is one of numbers (pixels)."""
    patch: int = 1
    """Numbers in a token, in the order of the sequence; 1 is the setting of published figures."""
    max_length: int | None = 784
    """Tokens that have a learned position; None: no positions, and any length."""
    classes: int = 10
    causal: bool = True
    """False: every token sees all; a mixer that does not know of places then needs learned positions."""
    pooling: Literal["mean", "last"] = "mean"
    """The vector of a row: the mean over its tokens, or its last token's."""
    sequence: SequenceConfig = field(default_factory=SequenceConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        for name, least in (("vocabulary", 1), ("patch", 1), ("max_length", 1), ("classes", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}: expected at least {least}, got {value}")
        if self.vocabulary is not None and self.patch != 1:
            raise ValueError(f"patch: expected 1 where the sequence is of token ids, got {self.patch}")
        if self.pooling not in ("mean", "last"):
            raise ValueError(f"pooling: expected 'mean' or 'last', got {self.pooling!r}")

    def build(self) -> "SequenceClassifier":
        """The classifier."""
        return SequenceClassifier(self)


class SequenceClassifier(nn.Module):
    """log p(y | x) of a sequence x: `logits = classifier(x, lengths=None)`.

    The stack's outputs h_t are pooled over the row's own tokens, mean_t h_t or the last h_t, and the head
    makes logits of them, all 0 at first. What padding holds changes nothing.

    Args:
        config: See `ClassifierConfig`.

    Example:
        >>> model = ClassifierConfig(patch=28, max_length=28).build()
        >>> model(torch.rand(2, 784)).shape
        torch.Size([2, 10])
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        if config.vocabulary is None:
            self.embedding = PatchEmbedding(config.patch, config.sequence.dim, config.max_length)
        else:
            self.embedding = TokenEmbedding(
                config.vocabulary, config.sequence.dim, max_length=config.max_length
            )
        self.stack = Stack(config.sequence, causal=config.causal)
        self.head = Head(config.sequence.dim, config.classes)

    def forward(
        self, x: Tensor, lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Logits `(batch, classes)`.

        Args:
            x: `(batch, length)` token ids; or `(batch, length * patch)` numbers, which are cut into tokens.
            lengths: `(batch,)` from 1 to length: tokens in each row, the rest being padding. None: all.

        Raises:
            ValueError: A row without a token; numbers that do not make whole tokens; more tokens than
                positions; ids outside the vocabulary.
        """
        # Reading the values would break tracing; they are checked where they can be read.
        if lengths is not None and not torch.compiler.is_compiling() and (lengths < 1).any():
            raise ValueError(f"lengths: expected at least 1 token in every row, got {lengths.tolist()}")
        u, _ = self.embedding(x, None, lengths)
        h, _ = self.stack(u, None, lengths)
        return self.head(self._pool(h, lengths))

    def _pool(
        self, h: Float[Tensor, "batch length dim"], lengths: Int[Tensor, " batch"] | None
    ) -> Float[Tensor, "batch dim"]:
        if lengths is None:
            return h.mean(1) if self.config.pooling == "mean" else h[:, -1]
        if self.config.pooling == "last":
            return h.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, h.shape[2]))[:, 0]
        valid = torch.arange(h.shape[1], device=h.device) < lengths[:, None]
        return torch.where(valid[..., None], h, 0).sum(1) / lengths[:, None]


class PatchEmbedding(nn.Module):
    """u_t = W x_(patch t .. patch (t + 1) - 1) + b (+ P[t] when `max_length` is given)."""

    def __init__(self, patch: int, dim: int, max_length: int | None) -> None:
        super().__init__()
        self.patch = patch
        self.values = nn.Linear(patch, dim)
        nn.init.normal_(self.values.weight, std=(5 / patch) ** 0.5)
        nn.init.zeros_(self.values.bias)
        self.positions = None if max_length is None else nn.Embedding(max_length, dim)
        if self.positions is not None:
            nn.init.normal_(self.positions.weight, std=0.5)

    def forward(
        self, x: Float[Tensor, "batch values"], context: None = None, lengths: Tensor | None = None
    ) -> tuple[Float[Tensor, "batch length dim"], None]:
        """Embed numbers `(batch, length * patch)`, called as `TokenEmbedding` is; padding is taken for 0."""
        if x.shape[1] == 0 or x.shape[1] % self.patch:
            raise ValueError(
                f"x: expected a multiple of patch {self.patch} numbers in each row, got {x.shape[1]}"
            )
        x = x.unflatten(1, (-1, self.patch))
        if lengths is not None:
            x = torch.where((torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None], x, 0)
        u = self.values(x)
        if self.positions is None:
            return u, None
        if u.shape[1] > self.positions.num_embeddings:
            raise ValueError(
                f"x: the model has positions for {self.positions.num_embeddings} tokens, got {u.shape[1]}"
            )
        return u + self.positions.weight[: u.shape[1]], None
