"""What compiled steps are made of: the embeddings and blocks that they know, as tables of weights."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linsight import kernels
from linsight.kernels.cpu import BlockState, DecodedBlock, DecodedEmbedding, Decoder
from linsight.mixers.linear import LinearAttention
from linsight.mixers.mamba2 import Mamba2
from linsight.mixers.rwkv7 import RWKV7
from linsight.models.sequence.decoded_mixers import MIXERS
from linsight.models.sequence.embedding import RasterEmbedding, TokenEmbedding
from linsight.models.sequence.model import Head, SequenceModel
from linsight.models.sequence.stack import Block, Stack
from linsight.nn import GatedMLP, GatedRMSNorm, LayerNorm, RandomProjection, ShortConvolution

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
    mixers = module.mixers if isinstance(module, Stack) else ()
    relays = [mixer.first for mixer in mixers if isinstance(mixer, RWKV7)]
    if relays and not relays[0]:
        return "reads values of a first layer that it has not"
    if isinstance(module, RandomProjection) and module.training and module.redraw_every is not None:
        return "draws its features anew in training"
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


KNOWN = (
    *(SequenceModel, TokenEmbedding, RasterEmbedding, Stack, Block, GatedMLP, Head, *MIXERS),
    *(nn.Linear, nn.Embedding, LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.ModuleList),
    *(ShortConvolution, GatedRMSNorm, RandomProjection),
)
"""What the compiled step computes as they do. Exact types: it cannot know what a subclass changes."""
