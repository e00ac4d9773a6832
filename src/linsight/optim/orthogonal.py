"""Muon with its iterations in a precision that the processor has instructions for."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["OrthogonalSteps", "orthogonal"]


def orthogonal(
    matrix: Tensor, coefficients: tuple[float, float, float], iterations: int, eps: float, dtype: torch.dtype
) -> Tensor:
    """The matrix with all its singular values made about 1, by Newton-Schulz iterations (Jordan et al. 2024).

    With X = matrix / max(eps, norm of matrix), `iterations` times

        X <- a X + (b A + c A A) X ,   A = X X^T

    which keeps the singular vectors and sends each singular value s to a s + b s^3 + c s^5. In float32 and
    bfloat16 alike the values end between about 0.7 and 1.2, where they were not near 0.

    Args:
        matrix: Of any size; its shorter side becomes the rows of X.
        coefficients: a, b, c.
        iterations: How often, at least once.
        eps: Least norm that is divided by.
        dtype: In which all of it is computed, and the result is returned.

    Cost: r^2 (2 c + r) multiplications for each iteration on r rows and c >= r columns; with c >= 2 r, other
    than in bfloat16, 4 r^3 for each and 2 r^2 c for all. On a processor without bfloat16 instructions, in
    bfloat16, fifteen times the seconds of float32.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(dtype, copy=True)
    x = x.T if tall else x
    x.div_(x.norm().clamp(min=eps))
    narrow = x.shape[1] < 2 * x.shape[0]
    iterate = _stepwise if narrow or dtype == torch.bfloat16 else _by_products
    with torch.autocast(x.device.type, enabled=False):  # trainers may step where they compute the loss
        x = iterate(x, coefficients, iterations)
    return x.T if tall else x


def _stepwise(x: Tensor, coefficients: tuple[float, float, float], iterations: int) -> Tensor:
    """As torch does it, to the bit in bfloat16."""
    a, b, c = coefficients
    for _ in range(iterations):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _by_products(x: Tensor, coefficients: tuple[float, float, float], iterations: int) -> Tensor:
    """The same, P_n ... P_1 X, by squares alone: with P = a + b A + c A A the next A is P A P.

    All of them are polynomials in the first A, so they commute. Squares of singular values need the digits
    that bfloat16 has not.
    """
    gram = x @ x.T
    total = factor = _polynomial(gram, coefficients)
    for _ in range(iterations - 1):
        gram = factor @ gram @ factor
        factor = _polynomial(gram, coefficients)
        total = factor @ total
    return total @ x


def _polynomial(gram: Tensor, coefficients: tuple[float, float, float]) -> Tensor:
    a, b, c = coefficients
    factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal().add_(a)
    return factor


class OrthogonalSteps(torch.optim.Muon):
    """`torch.optim.Muon`, its groups and its state, stepping in a precision of choice; torch has bfloat16.

    It takes kernels of convolutions `(out, in, *size)` too, which torch's refuses: as matrices
    `(out, in * size)`.
    """

    def __init__(self, params: Any, *, dtype: torch.dtype, **options: Any) -> None:
        # torch's constructor checks the number of axes, and would set these values.
        flat = torch.nn.Parameter(torch.empty(0, 0))
        defaults = torch.optim.Muon([flat], **options).defaults
        torch.optim.Optimizer.__init__(self, params, defaults)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(grad)
        average = state["momentum_buffer"].lerp_(grad, 1 - group["momentum"])
        update = grad.lerp(average, group["momentum"]) if group["nesterov"] else average
        options = (group["ns_coefficients"], group["ns_steps"], group["eps"], self.dtype)
        update = orthogonal(update.flatten(1), *options)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        scale = _scale(update, group["adjust_lr_fn"])
        parameter.add_(update.view_as(parameter), alpha=-group["lr"] * scale)


def _scale(matrix: Tensor, adjustment: str) -> float:
    rows, columns = matrix.shape
    if adjustment == "original":
        return math.sqrt(max(1, rows / columns))
    return 0.2 * math.sqrt(max(rows, columns))
