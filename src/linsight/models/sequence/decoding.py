"""Steps of one token for loops that draw: one compiled call where a model allows it, else its own."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from linsight import kernels
from linsight.kernels.cpu import DecodedBlock, DecodedEmbedding, Decoder
from linsight.mixers.linear import LinearAttention, LinearAttentionState
from linsight.models.sequence.embedding import Context, RasterEmbedding, TokenEmbedding
from linsight.models.sequence.model import Head, SequenceModel, SequenceState
from linsight.models.sequence.stack import Block, Stack
from linsight.nn import GatedMLP

__all__ = ["Steps", "why_eager"]

KNOWN = (
    *(SequenceModel, TokenEmbedding, RasterEmbedding, Stack, Block, LinearAttention, GatedMLP, Head),
    *(nn.Linear, nn.Embedding, nn.LayerNorm, nn.RMSNorm, nn.ModuleList),
)
"""What the compiled step computes as they do. Exact types: it cannot know what a subclass changes."""


class Steps:
    """`logits, state = steps(tokens, state)`: the model's call of length 1, which uses up the state.

    For a loop that drops each state as it takes the next one: a state that is handed over may be changed in
    place, and is not to be read or continued again. States are those of the model itself, so that a loop may
    begin with one of a long call.

    Compiled, a step is one call of `kernels.cpu.Decoder`, made of the weights as they are now, which may not
    change while it is in use; its logits differ from the model's by rounding, some 1e-7 of their size.
    `reason` says why the model's own call runs in its place: see `why_eager`.

    Args:
        model: The sequence model; any other module is called as it is.
        half: Keep the blocks' matrices in bfloat16, rounded to nearest, and compute in float32: half the
            memory to read at small batches. Refused where the step is not compiled.

    Cost: copying the weights once, 2 ms for 0.7 M; then 2 operations a weight, row and step.

    Raises:
        ValueError: `half` where the step is not compiled, with the reason.

    Example:
        >>> from linsight.models.sequence import TokenModelConfig
        >>> model = TokenModelConfig(vocabulary=5).build()
        >>> tokens = torch.tensor([[1, 2], [3, 4]])
        >>> with torch.no_grad():
        ...     steps, (_, state) = Steps(model), model(tokens[:, :1])
        ...     logits, state = steps(tokens[:, 1], state)
        ...     torch.allclose(logits, model(tokens)[0][:, 1], atol=1e-5)
        True
    """

    def __init__(self, model: nn.Module, *, half: bool = False) -> None:
        self.model, self.reason = model, why_eager(model)
        if half and self.reason:
            raise ValueError(f"half: only the compiled step has it, and here it does not run: {self.reason}")
        self._decoder = None if self.reason else _decoder(cast(SequenceModel, model), half)

    def __call__(
        self, tokens: Int[Tensor, " batch"], state: Any = None
    ) -> tuple[Float[Tensor, "batch outputs"], Any]:
        """Logits of what follows `tokens`, one of each row, and the state after them."""
        if self._decoder is None:
            logits, state = self.model(tokens[:, None], state)
            return logits[:, 0], state
        state = _writable(self._begun(tokens) if state is None else state)
        start, recent, position = state.context
        memories = [layer.memory for layer in state.layers]
        try:
            logits = self._decoder.step(tokens, start, recent, position, memories)
        except ValueError:
            cast(Any, self.model).embedding(tokens[:, None], state.context)  # says which, and what it expects
            raise
        return logits, state

    def _begun(self, tokens: Tensor) -> SequenceState:
        batch, model = len(tokens), cast(SequenceModel, self.model)
        recent = tokens.new_full((batch, self._decoder.window if self._decoder else 0), -1)
        context = Context(tokens.clone(), recent, tokens.new_zeros(batch))
        return SequenceState(context, tuple(mixer.initial_state(batch) for mixer in model.stack.mixers))


def why_eager(model: nn.Module) -> str | None:
    """Why this model's steps are its own calls, in a few words; None where they are compiled.

    They are where `linsight doctor` says so of `decode`, for a `SequenceModel` of float32 on the CPU whose
    mixers are all `linear`, with a feature map in `kernels.cpu.MAPS` and `form="auto"`, without hooks,
    autocast and gradients.
    """
    weight = next(model.parameters(), None)
    if type(model) is not SequenceModel or weight is None:
        return f"there is no compiled step of {type(model).__name__}"
    choice = kernels.choose("decode", weight.device, weight.dtype)
    if choice.engine != "compiled":
        return choice.passed_over["compiled"]
    for name, module in model.named_modules():
        if reason := _own_way(module):
            return f"{name or 'the model'} {reason}"
    if any(p.dtype != weight.dtype or p.device != weight.device for p in model.parameters()):
        return "its weights have several dtypes or devices"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on"
    if torch.is_grad_enabled() and any(p.requires_grad for p in model.parameters()):
        return "gradients are recorded"
    return None


def _own_way(module: nn.Module) -> str | None:
    """What the compiled step would not notice."""
    if type(module) not in KNOWN:
        return f"is of type {type(module).__name__}"
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        return "has a hook"
    if isinstance(module, Stack) and module.group is not None:
        return "is spread over ranks"
    if isinstance(module, LinearAttention):
        if module.form != "auto":
            return f"has form {module.form!r}"
        if module.config.feature_map not in kernels.cpu.MAPS:
            return f"has feature map {module.config.feature_map!r}"
    return None


def _decoder(model: SequenceModel, half: bool) -> Decoder:
    raster = isinstance(model.embedding, RasterEmbedding)
    with torch.no_grad():
        return Decoder(
            _raster(cast(RasterEmbedding, model.embedding))
            if raster
            else _tokens(cast(TokenEmbedding, model.embedding)),
            [_block(cast(Block, block)) for block in model.stack.blocks],
            cast(nn.LayerNorm, model.stack.norm).weight,
            _head(model.head),
            rms=isinstance(model.stack.norm, nn.RMSNorm),
            half=half,
        )


def _block(block: Block) -> DecodedBlock:
    mixer = cast(LinearAttention, block.mixer)
    mlp = (
        (block.mlp_norm.weight, block.mlp.gate_value.weight, block.mlp.out.weight) if block.has_mlp else None
    )
    return DecodedBlock(
        norm=cast(nn.LayerNorm, block.mixer_norm).weight,
        project=mixer.qkv.weight,
        out=mixer.out.weight,
        heads=mixer.heads,
        keys=mixer.head_dim,
        values=mixer.head_dim,
        feature_map=mixer.config.feature_map,
        normalise=mixer.normalise,
        mlp=cast(Any, mlp),
    )


def _head(head: Head) -> tuple[Tensor, Tensor]:
    """W h + b + F B h = (W + F B) h + b."""
    weight = (
        head.weight if head.to_features is None else head.weight + head.features @ head.to_features.weight
    )
    return weight, head.bias


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


def _writable(state: SequenceState) -> SequenceState:
    """With tensors that lie side by side: none is then a view that repeats its rows."""
    context = Context(*(x.contiguous() for x in state.context))
    return SequenceState(
        context, tuple(LinearAttentionState(layer.memory.contiguous()) for layer in state.layers)
    )
