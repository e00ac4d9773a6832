"""A stack of pre-norm blocks, each a token mixer and a gated feed-forward network."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from linsight.config import Config
from linsight.mixers import AnyMixerConfig, Mixer, MixerConfig, RelayMixer, config
from linsight.nn import AcrossRanks, GatedMLP, LayerNorm

__all__ = ["Block", "SequenceConfig", "Stack", "stacks_in", "with_stacks"]


@dataclass(frozen=True)
class SequenceConfig(Config):
    """Width, depth and mixers of a stack."""

    dim: int = 128
    layers: int = 4
    mlp_dim: int = 256
    """Gated width of the feed-forward networks; blocks of mixers that replace it have none."""
    mixers: tuple[AnyMixerConfig, ...] = (config("linear"),)
    arrangement: Literal["cycle", "runs"] = "cycle"
    """Over the layers, several mixers take turns (`cycle`), or each has one run of layers (`runs`)."""
    norm: Literal["layer", "rms"] = "layer"
    """Layer norm without a bias, or RMS norm, as published state space models have it; eps 1e-5."""

    def __post_init__(self) -> None:
        """Refuse what no stack can be built of."""
        for name in ("dim", "layers", "mlp_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.arrangement not in ("cycle", "runs"):
            raise ValueError(f"arrangement: expected 'cycle' or 'runs', got {self.arrangement!r}")
        if self.norm not in NORMS:
            raise ValueError(f"norm: expected 'layer' or 'rms', got {self.norm!r}")
        if not self.mixers:
            raise ValueError("mixers: expected at least one mixer configuration, got none")

    def mixer_of_layer(self, layer: int) -> MixerConfig:
        """The configuration of the mixer in this layer, which knows its place among those of its kind."""
        chosen = [self._mixer(number) for number in range(self.layers)]
        kind = type(chosen[layer])
        before, whole = (sum(type(one) is kind for one in part) for part in (chosen[:layer], chosen))
        return chosen[layer].at(before, whole)

    def _mixer(self, layer: int) -> MixerConfig:
        kinds = len(self.mixers)
        return self.mixers[layer % kinds if self.arrangement == "cycle" else layer * kinds // self.layers]


# Layer norm is fused on the CPU: 0.7 ms forward and backward where RMSNorm takes 15 (64 x 98 x 128).
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": partial(LayerNorm, bias=False),
    "rms": partial(nn.RMSNorm, eps=1e-5),
}


def stacks_in(config: Any) -> Iterator[SequenceConfig]:
    """The stacks that a configuration describes, at any depth."""
    if isinstance(config, SequenceConfig):
        yield config
    elif isinstance(config, tuple):
        for part in config:
            yield from stacks_in(part)
    elif is_dataclass(config):
        for part in fields(config):
            yield from stacks_in(getattr(config, part.name))


def with_stacks(config: Any, change: Callable[[SequenceConfig], SequenceConfig]) -> Any:
    """The configuration with every stack that it describes changed."""
    if isinstance(config, SequenceConfig):
        return change(config)
    if isinstance(config, tuple):
        return tuple(with_stacks(part, change) for part in config)
    parts = {part.name: getattr(config, part.name) for part in fields(config)}
    inner = {
        name: with_stacks(part, change)
        for name, part in parts.items()
        if is_dataclass(part) or (isinstance(part, tuple) and any(map(is_dataclass, part)))
    }
    return replace(config, **inner)


class Block(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x)) unless the mixer is a block of its own (`mlp_dim` None)."""

    def __init__(self, dim: int, mlp_dim: int | None, mixer: Mixer, norm: str = "layer") -> None:
        super().__init__()
        self.mixer_norm = NORMS[norm](dim)
        self.mixer = mixer
        if mlp_dim is not None:
            self.mlp_norm = NORMS[norm](dim)
            self.mlp = GatedMLP(dim, mlp_dim)
        self.has_mlp = mlp_dim is not None

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        state: Any = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch length dim"], Any]:
        """One block; `state` and `lengths` are the mixer's."""
        return self.relay(x, state, lengths)[:2]

    def relay(
        self,
        x: Float[Tensor, "batch length dim"],
        state: Any = None,
        lengths: Int[Tensor, " batch"] | None = None,
        v_first: Float[Tensor, "batch length dim"] | None = None,
    ) -> tuple[Float[Tensor, "batch length dim"], Any, Float[Tensor, "batch length dim"] | None]:
        """One block, and what a `RelayMixer` hands on to the next."""
        u = self.mixer_norm(x)
        if isinstance(self.mixer, RelayMixer):
            mixed, state, v_first = self.mixer.relay(u, state, lengths, v_first=v_first)
        else:
            mixed, state = self.mixer(u, state, lengths)
        x = x + mixed
        return (x + self.mlp(self.mlp_norm(x)) if self.has_mlp else x), state, v_first


class Stack(AcrossRanks, nn.Module):
    """Blocks in a row and a last norm, under the split law: `h, state = stack(x, state=None, lengths=None)`.

    The state is a tuple with the mixers' states in order. `causal=False` makes every mixer see all tokens;
    the states are then None. At padded places the output is of no meaning.

    Over ranks (`mixers.across(stack, group)`) every rank gives and gets whole rows, and computes a contiguous
    piece of them, all but equal in length: x is cut at the entry, h gathered at the exit, states are the
    whole row's. So what stands before and after a stack is the same on every rank. Where all ranks have the
    same loss, the average over ranks of a parameter's gradients (what DDP takes) is its gradient, inside the
    stack, where a rank's own is `ranks` times its tokens' part, and outside.

    Raises:
        ValueError: A state of another depth; fewer tokens than ranks; what the mixers refuse.
    """

    def __init__(self, config: SequenceConfig, *, causal: bool = True) -> None:
        super().__init__()
        blocks = []
        for layer in range(config.layers):
            mixer = config.mixer_of_layer(layer)
            mlp_dim = None if mixer.replaces_mlp else config.mlp_dim
            blocks.append(Block(config.dim, mlp_dim, mixer.build(config.dim, causal=causal), config.norm))
        self.blocks = nn.ModuleList(blocks)
        self.norm = NORMS[config.norm](config.dim)
        # Residual branches start small enough that the stack's output does not grow with its depth.
        scale = (2 * config.layers) ** -0.5
        with torch.no_grad():
            for block in blocks:
                block.mixer.scale_output(scale)
                if block.has_mlp:
                    block.mlp.out.weight.mul_(scale)

    def state_size(self, length: int) -> int:
        """Bytes of all mixers' states per sequence after `length` tokens; 0 where they see all tokens."""
        return sum(mixer.state_size(length) for mixer in self.mixers)

    @property
    def state_grows(self) -> bool:
        """Whether any mixer's state grows with the tokens seen."""
        return any(mixer.state_grows for mixer in self.mixers)

    @property
    def mixers(self) -> tuple[Mixer, ...]:
        """The mixers in the order of the layers."""
        return tuple(cast(Block, block).mixer for block in self.blocks)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        state: tuple | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch length dim"], tuple]:
        """Run all blocks, carrying each mixer's state."""
        states = (None,) * len(self.blocks) if state is None else state
        if len(states) != len(self.blocks):
            raise ValueError(f"state: expected one for each of {len(self.blocks)} layers, got {len(states)}")
        length = x.shape[1]
        if self.group is not None:
            x, lengths = self.group.own(x, lengths)
        carried, v_first = [], None
        for block, block_state in zip(self.blocks, states, strict=True):
            x, block_state, v_first = cast(Block, block).relay(x, block_state, lengths, v_first)
            carried.append(block_state)
        h = self.norm(x)
        return (h if self.group is None else self.group.whole(h, length)), tuple(carried)
