"""Steps of one token for loops that draw: one compiled call where a model allows it, else its own."""

import contextlib
import copy
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from linsight import kernels
from linsight.mixers import config
from linsight.models.sequence.decoded import block_states, decoder, uncovered
from linsight.models.sequence.embedding import Context
from linsight.models.sequence.model import SequenceModel, SequenceState
from linsight.models.sequence.stack import SequenceConfig
from linsight.models.sequence.tokens import TokenModelConfig
from linsight.profiling import largest_error

__all__ = ["Steps", "decode_error", "why_eager"]


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
        self._decoder = None if self.reason else decoder(cast(SequenceModel, model), half=half)

    def __call__(
        self, tokens: Int[Tensor, " batch"], state: Any = None
    ) -> tuple[Float[Tensor, "batch outputs"], Any]:
        """Logits of what follows `tokens`, one of each row, and the state after them."""
        if self._decoder is None:
            logits, state = self.model(tokens[:, None], state)
            return logits[:, 0], state
        state = _writable(self._begun(tokens) if state is None else state)
        start, recent, position = state.context
        parts = block_states(cast(SequenceModel, self.model), state.layers)
        try:
            logits = self._decoder.step(tokens, start, recent, position, parts)
        except ValueError:
            with contextlib.suppress(RuntimeError):  # torch's words say less than those at hand
                self.model(tokens[:, None], state)  # refuses it too, and says what it expects
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
    mixers are all `linear` with a feature map in `kernels.cpu.MAPS`, `norm_attention`, `retnet`, `performer`
    that draws no new features, `gated_delta`, `rwkv6`, `rwkv7`, `mamba`, or `mamba2` without limits of its
    steps, with `form="auto"`, without hooks, autocast and gradients.
    """
    weight = next(model.parameters(), None)
    if type(model) is not SequenceModel or weight is None:
        return f"there is no compiled step of {type(model).__name__}"
    choice = kernels.choose("decode", weight.device, weight.dtype)
    if choice.engine != "compiled":
        return choice.passed_over["compiled"]
    for name, module in model.named_modules():
        if reason := uncovered(module):
            return f"{name or 'the model'} {reason}"
    if any(p.dtype != weight.dtype or p.device != weight.device for p in model.parameters()):
        return "its weights have several dtypes or devices"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on"
    if torch.is_grad_enabled() and any(p.requires_grad for p in model.parameters()):
        return "gradients are recorded"
    return None


@torch.inference_mode()
def decode_error() -> float:
    """The largest relative error of compiled steps to float64, of a small model with a mixer of each kind.

    Raises:
        ValueError: Steps are not compiled here, with the reason.
    """
    kinds = ("rwkv7", "linear", "retnet", "gated_delta", "mamba", "mamba2", "rwkv6", "performer")
    sequence = SequenceConfig(dim=16, layers=len(kinds), mlp_dim=16, mixers=tuple(map(config, kinds)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TokenModelConfig(vocabulary=5, sequence=sequence).build().eval().requires_grad_(False)
        nn.init.normal_(model.head.weight)
    steps, tokens = Steps(model), torch.tensor([[0, 1, 2], [3, 4, 0]])
    if steps.reason:
        raise ValueError(f"there is no compiled step: {steps.reason}")
    found, state = [], None
    for column in tokens.unbind(1):
        logits, state = steps(column, state)
        found.append(logits)
    return largest_error([torch.stack(found, 1)], [copy.deepcopy(model).double()(tokens)[0]])


def _writable(state: SequenceState) -> SequenceState:
    """With tensors that lie side by side: none is then a view that repeats its rows."""
    context, layers = state
    return SequenceState(
        Context(*(x.contiguous() for x in context)),
        tuple(type(layer)(*(x.contiguous() for x in layer)) for layer in layers),
    )
