"""A causal convolution of a few taps, channel by channel, that carries its last inputs."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from linsight import kernels
from linsight.ops.forms import check_form
from linsight.ops.linear import accumulator_dtype
from linsight.ops.rows import take

__all__ = ["last_inputs", "short_convolution"]

OP = "short_convolution"
FORMS = ("naive", "compiled")


def short_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    initial_state: Tensor | None = None,
    lengths: Int[Tensor, "B"] | None = None,
    form: str = "auto",
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B held D"]]:
    """y_t = bias + sum_i weight_i x_(t - taps + 1 + i), channel by channel; x before the first is the state.

    Any of the sizes but taps may be 0, and any strides will do.

    Args:
        x: Inputs `(B, T, D)`.
        weight: `(D, taps)`, the last tap the token's own.
        bias: `(D,)`; None for 0.
        initial_state: The `taps - 1` inputs before x, oldest first, `(B, taps - 1, D)`; None for zeros.
        lengths: Tokens of each row, integers `(B,)`; y of what follows is free, and the final state is the
            row's own at its last token.
        form: How it is computed, never what: `naive` is the sum of shifted inputs; `compiled` is the kernel
            of `linsight.kernels.cpu`, float32 on a CPU; `auto` takes it from two tokens on where it runs.

    Returns:
        y in x's dtype, and the final state, of `initial_state`'s shape, in x's dtype.

    Sums are float32 (float64 if x is), whatever the autocast.

    Cost: O(T D taps) time. `naive` reads and writes T D numbers for every tap, `compiled` once; it has no
    second derivative.

    Raises:
        TypeError: an input that is not a floating-point tensor.
        ValueError: a shape or `form` that does not fit; `compiled` where it does not run, with the reason.

    Example:
        >>> x = torch.tensor([1.0, 0.0, 2.0]).reshape(1, 3, 1)
        >>> y, state = short_convolution(x, torch.tensor([[10.0, 1.0]]))
        >>> y.flatten().tolist(), state.flatten().tolist()
        ([1.0, 10.0, 2.0], [2.0])
    """
    _check(x, weight, bias, initial_state, lengths, form)
    exact, length = accumulator_dtype(x.dtype), x.shape[1]
    state = None if initial_state is None else initial_state.to(x.dtype)
    if length == 0 or (form == "auto" and (length == 1 or _engine(x.device, exact) != "compiled")):
        form = "naive"
    elif form != "naive":
        form = "compiled"
        kernels.require(OP, form, x.device, exact)
    call = kernels.cpu.short_convolution if form == "compiled" else _shifted
    rest = (None if y is None else y.to(exact) for y in (bias, state))
    y = call(x.to(exact), weight.to(exact), *rest)
    return y.to(x.dtype), last_inputs(x, state, weight.shape[1] - 1, lengths)


def _engine(device: torch.device, dtype: torch.dtype) -> str:
    return kernels.choose(OP, device, dtype).engine


def last_inputs(
    x: Float[Tensor, "B T D"],
    state: Float[Tensor, "B held D"] | None,
    held: int,
    lengths: Int[Tensor, "B"] | None = None,
) -> Float[Tensor, "B held D"]:
    """The last `held` inputs up to each row's last token; those before x are `state`, zeros for None."""
    length = x.shape[1]
    if lengths is None and length >= held:
        return x[:, length - held :].clone()  # a view would keep the whole row
    seen = _seen(x, state, held)
    if lengths is None:
        return seen[:, length:].clone()
    return take(seen, lengths[:, None] + torch.arange(held, device=x.device))


def _shifted(x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor | None) -> Tensor:
    """Products of shifted inputs, all in the sums' dtype: a third of the time of torch's `conv1d`."""
    taps, length = weight.shape[1], x.shape[1]
    seen = _seen(x, state, taps - 1)
    y = weight.new_zeros(()) if bias is None else bias
    for tap, column in enumerate(weight.mT.contiguous().unbind(0)):
        y = torch.addcmul(y, seen[:, tap : tap + length], column)
    return y


def _seen(x: Tensor, state: Tensor | None, held: int) -> Tensor:
    before = x.new_zeros(x.shape[0], held, x.shape[2]) if state is None else state
    return torch.cat([before, x], dim=1)


def _check(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    state: Tensor | None,
    lengths: Tensor | None,
    form: str,
) -> None:
    check_form(FORMS, form, None)
    for name, y, axes in (("x", x, 3), ("weight", weight, 2)):
        if not isinstance(y, Tensor) or not y.is_floating_point():
            kind = f"a tensor of {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
            raise TypeError(f"{name}: expected a floating-point tensor, got {kind}")
        if y.ndim != axes:
            raise ValueError(f"{name}: expected {axes} axes, got shape {tuple(y.shape)}")
    batch, _, channels = x.shape
    taps = weight.shape[1]
    if len(weight) != channels or taps < 1:
        raise ValueError(f"weight: expected shape ({channels}, taps >= 1), got {tuple(weight.shape)}")
    shapes = {"bias": (bias, (channels,)), "initial_state": (state, (batch, taps - 1, channels))}
    for name, (y, shape) in (shapes | {"lengths": (lengths, (batch,))}).items():
        if y is not None and y.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {tuple(y.shape)}")
