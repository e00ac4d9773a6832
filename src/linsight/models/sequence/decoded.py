"""What compiled steps are made of: the embeddings and mixers that they know, as tables of weights."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linsight import kernels
from linsight.kernels.cpu import (
    BlockState,
    DecodedBlock,
    DecodedConvolution,
    DecodedEmbedding,
    DecodedMixer,
    Decoder,
)
from linsight.mixers.gated_delta import GatedDeltaNet
from linsight.mixers.linear import LinearAttention
from linsight.mixers.mamba import Mamba
from linsight.mixers.mamba2 import Mamba2
from linsight.mixers.retnet import RetNet
from linsight.models.sequence.embedding import RasterEmbedding, TokenEmbedding
from linsight.models.sequence.model import Head, SequenceModel
from linsight.models.sequence.stack import Block, Stack
from linsight.nn import GatedMLP, GatedRMSNorm, LayerNorm, ShortConvolution

__all__ = ["block_states", "decoder", "uncovered"]


def uncovered(module: nn.Module) -> str | None:
    """What about this module the compiled step would not notice, in a few words; None where nothing is."""
    if type(module) not in KNOWN:
        return f"is of type {type(module).__name__}"
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        return "has a hook"
    if getattr(module, "group", None) is not None:
        return "is spread over ranks"
    form = getattr(module, "form", "auto")
    if form != "auto":
        return f"has form {form!r}"
    if isinstance(module, LinearAttention) and module.config.feature_map not in kernels.cpu.MAPS:
        return f"has feature map {module.config.feature_map!r}"
    if isinstance(module, Mamba2) and module.config.step_limits is not None:
        return "has limits of its steps"
    return None


@torch.no_grad()
def decoder(model: SequenceModel, *, half: bool) -> Decoder:
    """The compiled steps of a model of which nothing is uncovered."""
    embedding = model.embedding
    return Decoder(
        _raster(embedding) if isinstance(embedding, RasterEmbedding) else _tokens(embedding),
        [_block(cast(Block, block)) for block in model.stack.blocks],
        _weight(model.stack.norm),
        (model.head.joint_weight, model.head.bias),
        rms=isinstance(model.stack.norm, nn.RMSNorm),
        half=half,
    )


def block_states(model: SequenceModel, layers: tuple) -> list[BlockState]:
    """The parts of the mixers' states, as the compiled step takes them."""
    return [MIXERS[type(mixer)].parts(state) for mixer, state in zip(model.stack.mixers, layers, strict=True)]


def _block(block: Block) -> DecodedBlock:
    mlp = None
    if block.has_mlp:
        mlp = (_weight(block.mlp_norm), block.mlp.gate_value.weight, block.mlp.out.weight)
    return DecodedBlock(_weight(block.mixer_norm), MIXERS[type(block.mixer)].mixer(block.mixer), mlp)


def _weight(norm: nn.Module) -> Tensor:
    return cast(nn.LayerNorm, norm).weight


def _raster(embedding: RasterEmbedding) -> DecodedEmbedding:
    """Row and column of a place added up beforehand, and so are the vector of a value and its features'."""
    neighbours = len(embedding.distances)
    cells = embedding.cells.weight.unflatten(0, (neighbours, -1))
    if embedding.from_features is not None:
        maps = embedding.from_features.weight.unflatten(1, (neighbours, -1))
        cells = cells + torch.einsum("vf,dnf->nvd", embedding.features, maps)
    rows = embedding.rows(embedding.row_of_step)
    return DecodedEmbedding(
        cells=cells,
        distances=tuple(embedding.distances.tolist()),
        window=embedding.window,
        inside=embedding.inside,
        starts=embedding.starts.weight,
        positions=rows + embedding.columns(embedding.column_of_step),
    )


def _tokens(embedding: TokenEmbedding) -> DecodedEmbedding:
    """The token is a neighbour that is always there."""
    cells = F.pad(embedding.tokens.weight, (0, 0, 0, 1))[None]
    if embedding.earlier is not None:
        cells = torch.cat([cells, embedding.earlier.weight.unflatten(0, (embedding.previous, -1))])
    return DecodedEmbedding(
        cells=cells,
        distances=(1, *range(embedding.previous + 1, 1, -1)),
        window=embedding.previous,
        inside=None,
        starts=None,
        positions=None if embedding.positions is None else embedding.positions.weight,
    )


def _linear(mixer: LinearAttention) -> DecodedMixer:
    return DecodedMixer(
        project=mixer.qkv.weight,
        out=mixer.out.weight,
        heads=mixer.heads,
        keys=mixer.head_dim,
        values=mixer.head_dim,
        q=0,
        k=mixer.dim,
        v=2 * mixer.dim,
        feature_map=mixer.config.feature_map,
        normalise=mixer.normalise,
    )


def _retnet(mixer: RetNet) -> DecodedMixer:
    half = mixer.head_dim // 2
    wide = mixer.widths[2]
    return DecodedMixer(
        project=mixer.project.weight,
        out=mixer.out.weight,
        heads=mixer.heads,
        keys=mixer.head_dim,
        values=wide // mixer.heads,
        q=0,
        k=mixer.dim,
        v=2 * mixer.dim,
        gate=2 * mixer.dim + wide,
        scale=mixer.head_dim**-0.5,
        frequencies=10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half),
        constant=mixer.log_decay(torch.float64).exp().float(),
        norm_groups=mixer.heads,
        norm_eps=mixer.config.eps,
    )


def _mamba2(mixer: Mamba2) -> DecodedMixer:
    channels, shared, _ = mixer.convolved
    return DecodedMixer(
        project=mixer.in_proj.weight,
        out=mixer.out_proj.weight,
        heads=mixer.heads,
        groups=mixer.config.groups,
        keys=mixer.config.states,
        values=mixer.head_dim,
        gate=0,
        v=channels,
        k=2 * channels,
        q=2 * channels + shared,
        step=2 * channels + 2 * shared,
        convolutions=(_convolution(channels, mixer.conv1d),),
        rate=-mixer.A_log.exp(),
        step_bias=mixer.dt_bias,
        skip=mixer.D,
        norm=mixer.norm.weight,
        norm_groups=mixer.norm.groups,
        norm_eps=mixer.norm.eps,
        gate_first=not mixer.norm.before_gate,
    )


def _gated_delta(mixer: GatedDeltaNet) -> DecodedMixer:
    maps = [mixer.q_proj, mixer.k_proj, mixer.v_proj, mixer.g_proj, mixer.a_proj, mixer.b_proj]
    q, k, v, gate, step, beta = _places([len(one.weight) for one in maps])
    convolutions = zip((q, k, v), (mixer.q_conv1d, mixer.k_conv1d, mixer.v_conv1d), strict=True)
    return DecodedMixer(
        project=torch.cat([one.weight for one in maps]),
        out=mixer.o_proj.weight,
        heads=mixer.heads,
        keys=mixer.key_width,
        values=mixer.value_width,
        q=q,
        k=k,
        v=v,
        gate=gate,
        step=step,
        beta=beta,
        unit=True,
        scale=mixer.key_width**-0.5,
        convolutions=tuple(_convolution(*one) for one in convolutions),
        rate=-mixer.A_log.exp(),
        step_bias=mixer.dt_bias,
        largest=2.0 if mixer.config.allow_neg_eigval else 1.0,
        norm=mixer.o_norm.weight.repeat(mixer.heads),
        norm_groups=mixer.heads,
        norm_eps=mixer.o_norm.eps,
    )


def _mamba(mixer: Mamba) -> DecodedMixer:
    channels, states = mixer.A_log.shape
    rank = mixer.widths[0]
    return DecodedMixer(
        project=mixer.in_proj.weight,
        out=mixer.out_proj.weight,
        heads=channels,
        keys=states,
        values=1,
        v=0,
        gate=channels,
        k=rank,
        q=rank + states,
        convolutions=(_convolution(0, mixer.conv1d),),
        step_bias=mixer.dt_proj.bias,
        skip=mixer.D,
        select=mixer.x_proj.weight,
        spread=mixer.dt_proj.weight,
        rates=-mixer.A_log.exp(),
    )


def _convolution(first: int, convolution: ShortConvolution) -> DecodedConvolution:
    return DecodedConvolution(first, convolution.weight[:, 0].mT, convolution.bias)


def _places(widths: list[int]) -> list[int]:
    """Where each part begins."""
    return [sum(widths[:part]) for part in range(len(widths))]


class _Known(NamedTuple):
    """How a mixer is told to the compiled step, and what its state is there."""

    mixer: Callable[[Any], DecodedMixer]
    parts: Callable[[Any], BlockState]


MIXERS: dict[type, _Known] = {
    LinearAttention: _Known(_linear, lambda state: BlockState(state.memory)),
    RetNet: _Known(_retnet, lambda state: BlockState(state.memory, (), state.position)),
    Mamba2: _Known(_mamba2, lambda state: BlockState(state.memory, (state.inputs,))),
    Mamba: _Known(_mamba, lambda state: BlockState(state.memory, (state.inputs,))),
    GatedDeltaNet: _Known(_gated_delta, lambda state: BlockState(state.memory, (state.q, state.k, state.v))),
}
KNOWN = (
    *(SequenceModel, TokenEmbedding, RasterEmbedding, Stack, Block, GatedMLP, Head, *MIXERS),
    *(nn.Linear, nn.Embedding, LayerNorm, nn.RMSNorm, nn.ModuleList, ShortConvolution, GatedRMSNorm),
)
"""What the compiled step computes as they do. Exact types: it cannot know what a subclass changes."""
