"""RWKV-6 and RWKV-7 as published: whole language models whose checkpoints load as they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from linsight.config import Config
from linsight.mixers import Mixer, RelayMixer, config
from linsight.mixers.rwkv import RWKVConfig
from linsight.models.sequence.channel_mix import ChannelMix6, ChannelMix7
from linsight.models.sequence.embedding import check_lengths, check_values
from linsight.nn import Hinted, LayerNorm

__all__ = ["RWKVLayerState", "RWKVModel", "RWKVModelConfig", "rwkv_from_published"]

RANKS = {
    "rwkv6": {"mix_rank": "time_maa_w2", "decay_rank": "time_decay_w2"},
    "rwkv7": {"decay_rank": "w2", "rate_rank": "a2", "value_rank": "v2", "gate_rank": "g2"},
}
"""The option of every low-rank product, and its second factor, which has rank rows."""


@dataclass(frozen=True)
class RWKVModelConfig(Config):
    """An RWKV language model; ranks that are None, or are not of this version, are the mixer's own."""

    kind: Literal["rwkv"] = "rwkv"
    version: Literal["rwkv6", "rwkv7"] = "rwkv7"
    vocabulary: int = 65536
    dim: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072
    """Width of the feed-forward networks."""
    mix_rank: int | None = None
    decay_rank: int | None = None
    rate_rank: int | None = None
    value_rank: int | None = None
    gate_rank: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no model can have."""
        if self.version not in RANKS:
            raise ValueError(f"version: expected one of {', '.join(RANKS)}, got {self.version!r}")
        for name in ("vocabulary", "dim", "layers", "heads", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")

    def mixer_of_layer(self, layer: int) -> RWKVConfig:
        """The configuration of the mixer in this layer."""
        ranks = {name: getattr(self, name) for name in RANKS[self.version]}
        chosen = {name: rank for name, rank in ranks.items() if rank is not None}
        return config(self.version, heads=self.heads, layer=layer, num_layers=self.layers, **chosen)

    def build(self) -> "RWKVModel":
        """The model, with the original's initial values."""
        return RWKVModel(self)


class RWKVLayerState(NamedTuple):
    """The mixer's state, and the last token that the feed-forward network saw, `(batch, dim)`."""

    att: Any
    ffn: Float[Tensor, "batch dim"]


class RWKVBlock(nn.Module):
    """x + att(ln1(x)), then x + ffn(ln2(x)); before the first, ln0(x)."""

    def __init__(self, model: RWKVModelConfig, layer: int) -> None:
        super().__init__()
        place = model.mixer_of_layer(layer)
        if layer == 0:
            self.ln0 = LayerNorm(model.dim)
        self.ln1 = LayerNorm(model.dim)
        self.ln2 = LayerNorm(model.dim)
        self.att: Mixer = place.build(model.dim)
        self.ffn = (ChannelMix6 if model.version == "rwkv6" else ChannelMix7)(model.dim, model.hidden, place)
        self.first = layer == 0

    def forward(self, x, state, lengths, valid, v_first):
        """The block, its state, and v_first to hand on (None in RWKV-6)."""
        att, ffn = (None, None) if state is None else state
        x = self.ln0(x) if self.first else x
        if isinstance(self.att, RelayMixer):
            y, att, v_first = self.att.relay(self.ln1(x), att, lengths, v_first=v_first)
        else:
            y, att = self.att(self.ln1(x), att, lengths)
        x = x + y
        y, ffn = self.ffn(self.ln2(x), ffn, valid)
        return x + y, RWKVLayerState(att, ffn), v_first


class RWKVModel(Hinted):
    """p(token_t | tokens before t) under the split law: `logits, state = model(tokens, state, lengths)`.

    Peng et al. 2024, arXiv 2404.05892, and 2025, arXiv 2503.14456. Parameters have the names and shapes of
    the published checkpoints: `emb.weight`, `blocks.{i}.{ln1,att,ln2,ffn}`, `blocks.0.ln0`, `ln_out` and
    `head.weight`; `load_state_dict(checkpoint, strict=True)` takes one. `rwkv_from_published` reads the sizes
    from it too. Deviation: of RWKV-6, square matrices start as `torch.nn.Linear`'s.

    The state is a tuple of `RWKVLayerState`, one for each layer, whatever the number of tokens.

    Example:
        >>> sizes = {"vocabulary": 7, "dim": 8, "layers": 2, "heads": 2, "hidden": 16}
        >>> model = RWKVModelConfig(**sizes).build()
        >>> logits, state = model(torch.tensor([[3, 1, 4]]))
        >>> logits, state = model(torch.tensor([[1]]), state)
        >>> logits.shape
        torch.Size([1, 1, 7])
    """

    def __init__(self, config: RWKVModelConfig) -> None:
        super().__init__()
        self.config = config
        self.emb = nn.Embedding(config.vocabulary, config.dim)
        self.blocks = nn.ModuleList(RWKVBlock(config, layer) for layer in range(config.layers))
        self.ln_out = LayerNorm(config.dim)
        self.head = nn.Linear(config.dim, config.vocabulary, bias=False)
        nn.init.uniform_(self.emb.weight, -1e-4, 1e-4)
        gain = 0.5 * max(config.vocabulary / config.dim, 1) ** 0.5
        nn.init.orthogonal_(self.head.weight, gain=gain)
        self.hint("head.weight", output=True)

    @property
    def max_length(self) -> int | None:
        """The most tokens of a row: any number."""
        return None

    def state_size(self, length: int) -> int:
        """Bytes of the state per sequence, independent of `length`."""
        last = self.config.dim * self.emb.weight.dtype.itemsize
        return sum(cast(RWKVBlock, block).att.state_size(length) + last for block in self.blocks)

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        state: tuple | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch length vocabulary"], tuple]:
        """Logits of the token after each of `tokens`, and the state after the last.

        Raises:
            ValueError: A token outside of the vocabulary; lengths or a state that do not fit.
        """
        states = (None,) * len(self.blocks) if state is None else state
        if len(states) != len(self.blocks):
            raise ValueError(f"state: expected one for each of {len(self.blocks)} layers, got {len(states)}")
        valid = None
        if lengths is not None:
            check_lengths(lengths, *tokens.shape)
            valid = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
            tokens = torch.where(valid, tokens, 0)
        check_values(tokens, 0, self.config.vocabulary, "")
        x, v_first, carried = self.emb(tokens), None, []
        for block, block_state in zip(self.blocks, states, strict=True):
            x, block_state, v_first = block(x, block_state, lengths, valid, v_first)
            carried.append(block_state)
        return self.head(self.ln_out(x)), tuple(carried)


def rwkv_from_published(weights: Mapping[str, Tensor]) -> tuple[RWKVModelConfig, RWKVModel]:
    """A published RWKV-6 or RWKV-7 language model: its configuration, every size read, and itself.

    Args:
        weights: The checkpoint, under the authors' names. Copied, half precision to float32.

    Raises:
        ValueError: No tensor that tells a size; a name too many, one too few, or sizes that do not fit.
    """
    version = "rwkv7" if "blocks.0.att.r_k" in weights else "rwkv6"
    heads = "r_k" if version == "rwkv7" else "time_faaaa"

    def shape(name: str) -> torch.Size:
        if name not in weights:
            raise ValueError(f"weights: no tensor {name!r}; expected an RWKV-6 or RWKV-7 checkpoint")
        return weights[name].shape

    blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
    vocabulary, dim = shape("emb.weight")
    ranks = {}
    for option, factor in RANKS[version].items():
        held = [
            weights[name] for block in sorted(blocks) if (name := f"blocks.{block}.att.{factor}") in weights
        ]
        ranks[option] = held[-1].shape[-2] if held else None
    described = RWKVModelConfig(
        version=version,
        vocabulary=vocabulary,
        dim=dim,
        layers=len(blocks),
        heads=shape(f"blocks.0.att.{heads}")[0],
        hidden=shape("blocks.0.ffn.key.weight")[0],
        **ranks,
    )
    with torch.random.fork_rng(devices=[]):  # the initial values are overwritten
        model = described.build()
    try:
        model.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        raise ValueError(f"weights: {' '.join(str(error).split())}") from None
    return described, model
