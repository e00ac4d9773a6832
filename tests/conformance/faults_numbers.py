"""Linear attention with one defect each, in numbers and artefacts: dtypes, gradients, memory, compilers."""

from typing import Any

import torch
from honest_attention import Honest, Sums, phi
from torch import Tensor, nn

Result = tuple[Tensor, Any]


class HalfPositions(Honest):
    """Computes the phase of a position in the dtype of the tokens, as rotary tables in bfloat16 do."""

    def wave(self, place: Tensor) -> Tensor:
        dtype = self.weights.dtype
        return torch.sin(place.to(dtype)[..., None] * self.frequency + torch.arange(self.dim, dtype=dtype))


class CountedInHalf(Honest):
    """Counts positions in the dtype of the tokens: right up to 256 in bfloat16, and to 2,048 in float16."""

    def wave(self, place: Tensor) -> Tensor:
        return super().wave(place.to(self.weights.dtype))


class CoarseStep(Honest):
    """The step for a single token computes in bfloat16, as fused decoding does."""

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        return super().mix(x if x.shape[1] > 1 else x.bfloat16().to(x.dtype), valid, state)


class WideOutput(Honest):
    """Returns float32 for tokens of half the width."""

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> Result:
        y, final = super().forward(x, state, lengths)
        return y.to(self.wide), final


class CoarseProducts(Honest):
    """One form rounds float32 factors to ten bits, as TensorFloat-32 does: right in float64."""

    def run_parallel(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        coarse = [z.half().float() if z.dtype == torch.float32 else z for z in (q, k, v)]
        return super().run_parallel(*coarse, state)


class RareOverflow(Honest):
    """Scales the queries in the dtype of the tokens, and back: one token in fifty passes 65504."""

    def project(self, x: Tensor, place: Tensor) -> tuple[Tensor, ...]:
        q, k, v = super().project(x, place)
        scaled = q.to(self.weights.dtype) * 2**14
        return scaled.to(self.wide) / 2**14, k, v


class _CrookedTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad * (1 - ctx.saved_tensors[0].tanh())


class WrongBackward(Honest):
    """Every form shares one wrong derivative: 1 - tanh where 1 - tanh^2 was meant."""

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return super().keys(_CrookedTanh.apply(k), valid)


class _HalfGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad.bfloat16().to(grad.dtype)


class HalfGradient(Honest):
    """Its backward pass rounds to bfloat16 in a float32 module, as a kernel with half accumulators does."""

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return super().keys(_HalfGradient.apply(k) if k.dtype == torch.float32 else k, valid)


class LostParameter(Honest):
    """No form hands the query weights' gradient on: they stay as they were drawn."""

    def project(self, x: Tensor, place: Tensor) -> tuple[Tensor, ...]:
        q, k, v = super().project(x, place)
        return q.detach() + 0 * q, k, v


class EmptyBatch(Honest):
    """Flattens with an inferred size, which a batch of no rows leaves undetermined."""

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        return super().mix(x.reshape(len(x), -1).reshape(x.shape), valid, state)


class Uninitialised(Honest):
    """Adds memory that nobody has written (usually zeros, so that all else passes)."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        noise = torch.empty_like(state.weight)
        weight = state.weight + torch.where(noise.isnan(), noise, 0.0)
        return super().finish(state._replace(weight=weight), valid)


class UnwrittenRow(Honest):
    """Allocates the final state and writes the rows that have tokens."""

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        written = torch.where(valid.any(1)[:, None], state.weight, torch.empty_like(state.weight))
        return super().finish(state._replace(weight=written), valid)


class OverwrittenInput(Honest):
    """Writes into the tokens that it was given, where no gradient forbids it."""

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> Result:
        y, final = super().forward(x, state, lengths)
        if not torch.is_grad_enabled():
            x.add_(0.1)
        return y, final


class AlwaysDropped(Honest):
    """Drops out in evaluation too: the function's `training` is True unless it is told."""

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        y, final = super().mix(x, valid, state)
        return nn.functional.dropout(y, 0.1), final


class TrainingStatistics(Honest):
    """Centres the keys by this call's mean in training, and by the recorded one in evaluation."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__(dim)
        self.register_buffer("mean", torch.zeros(dim))

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return super().keys(k - (k.mean((0, 1)) if self.training else self.mean), valid)


class NoStateInTraining(Honest):
    """Does not keep its state in training, as `use_cache` defaults to: truncated backpropagation restarts."""

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> Result:
        y, final = super().mix(x, valid, state)
        return y, self.initial_state(len(x)) if self.training else final


class OtherWithoutGradient(Honest):
    """A fast path for inference, which nobody compared with the first: its eps is larger."""

    def divide(self, above: Tensor, below: Tensor) -> Tensor:
        return above / (below + (1e-6 if torch.is_grad_enabled() else 1e-2))


class PythonBranch(Honest):
    """A shortcut for silence decided in Python: it changes nothing, and cannot be exported."""

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        k = super().keys(k, valid)
        return torch.zeros_like(k) if float(k.detach().sum()) == 0 else k


class LateBuffer(Honest):
    """Registers a table at the first call: the state dict of a used module does not fit a new one."""

    def wave(self, place: Tensor) -> Tensor:
        if not hasattr(self, "offsets"):
            self.register_buffer("offsets", torch.arange(self.dim))
        return super().wave(place)


@torch.library.custom_op("planted::phi", mutates_args=())
def opaque_phi(x: Tensor) -> Tensor:
    """An operation that does not say which shape it returns."""
    return phi(x)


opaque_phi.register_autograd(
    lambda ctx, grad: grad * torch.where(ctx.saved_tensors[0] > 0, 1.0, ctx.saved_tensors[0].exp()),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


class ShapelessOperation(Honest):
    """Calls an operation without a fake implementation: right, and beyond the reach of every compiler."""

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return opaque_phi(k) * valid[..., None]


class OtherWhenCompiled(Honest):
    """Another path under the compiler, which nobody compared with the first: its eps is larger."""

    def divide(self, above: Tensor, below: Tensor) -> Tensor:
        return above / (below + (1e-2 if torch.compiler.is_dynamo_compiling() else 1e-6))


class Loud(Honest):
    """Weights drawn with the wrong scale: the branch drowns the residual (FLASH-pytorch, factor 33)."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__(dim)
        with torch.no_grad():
            self.qkv.mul_(40)
