"""An autoregressive model: embedding, stack, head; `logits, state = model(tokens, state, lengths)`."""

from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from linsight.models.sequence.embedding import Context, RasterEmbedding, TokenEmbedding
from linsight.models.sequence.stack import SequenceConfig, Stack
from linsight.nn import Hinted

__all__ = ["Head", "SequenceModel", "SequenceState"]

EVERY = slice(None)


class SequenceState(NamedTuple):
    """The state of a sequence model: what the embedding looks back to, and the mixers' states."""

    context: Context
    layers: tuple


class SequenceModel(nn.Module):
    """p(token_t | tokens before t), under the split law.

    Training is the whole call, prefill a long one, decoding the same call with length 1.

    Args:
        embedding: Tokens to vectors, `u, context = embedding(tokens, context, lengths)`.
        config: The stack.
        num_outputs: The size of the head's vocabulary.
        features: `(values, features)` of the first outputs, where those have any; see `Head`.

    Raises:
        ValueError: More tokens than the embedding has positions for.
    """

    def __init__(
        self,
        embedding: TokenEmbedding | RasterEmbedding,
        config: SequenceConfig,
        num_outputs: int,
        *,
        features: Float[Tensor, "values features"] | None = None,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.stack = Stack(config, causal=True)
        self.head = Head(config.dim, num_outputs, features)

    @property
    def max_length(self) -> int | None:
        """The most tokens of a row; None for any number."""
        return self.embedding.max_length

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        state: SequenceState | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch length outputs"], SequenceState]:
        """Logits of the token after each of `tokens` `(batch, length)`, and the state after the last."""
        h, state = self.hidden(tokens, state, lengths)
        return self.head(h), state

    def hidden(
        self,
        tokens: Int[Tensor, "batch length"],
        state: SequenceState | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch length dim"], SequenceState]:
        """What the head reads, and the state: for who wants some outputs at some tokens alone."""
        context, layers = (None, None) if state is None else state
        u, context = self.embedding(tokens, context, lengths)
        h, layers = self.stack(u, layers, lengths)
        return h, SequenceState(context, layers)


class Head(Hinted, nn.Linear):
    """Logits W h + b of every output, and F B h more for outputs that have features F.

    All weights start at 0, so the first logits are the bias. With features (the pixels of a patch) outputs
    that resemble each other are learnt together, as in `RasterEmbedding`.

    Args:
        dim: Width of h.
        num_outputs: Number of logits.
        features: `(values, features)`, fixed, of the first `values` outputs; the others have none.
    """

    features: Tensor

    def __init__(
        self, dim: int, num_outputs: int, features: Float[Tensor, "values features"] | None = None
    ) -> None:
        super().__init__(dim, num_outputs)
        self.to_features = None
        if features is not None:
            padded = F.pad(features, (0, 0, 0, num_outputs - len(features)))
            self.register_buffer("features", padded, persistent=False)
            self.to_features = nn.Linear(dim, features.shape[1], bias=False)
            nn.init.zeros_(self.to_features.weight)
            self.hint("to_features.weight", output=True)
        nn.init.zeros_(self.weight)
        self.hint("weight", output=True)
        nn.init.zeros_(self.bias)

    def forward(
        self, input: Float[Tensor, "*axes dim"], outputs: slice = EVERY
    ) -> Float[Tensor, "*axes outputs"]:
        """The logits, of all outputs or of some.

        W + F B is one small matrix: its product with h is the only one that has a row for every token.
        """
        return F.linear(input, self.joint_weight[outputs], self.bias[outputs])

    @property
    def joint_weight(self) -> Float[Tensor, "outputs dim"]:
        """W + F B, or W where no output has features."""
        return (
            self.weight if self.to_features is None else self.weight + self.features @ self.to_features.weight
        )
