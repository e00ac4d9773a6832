"""Reassembly: every pixel of a finer grid as its own weighted sum over a window of a coarser map."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from linsight.ops.linear import accumulator_dtype, without_autocast

__all__ = ["reassemble"]


def reassemble(x: Tensor, weights: Tensor) -> Float[Tensor, "batch channels height width"]:
    """Sum windows of x with weights that belong to the pixel of the output.

        y[c, i, j] = sum_(m, n) weights[m k + n, i, j] x[c, i // r + m - k // 2, j // r + n - k // 2]

    Wang, Chen, Xu, Liu, Loy, Lin 2019, arXiv 1905.02188, equation 2. x is 0 outside its grid.

    Args:
        x: `(batch, channels, H, W)`.
        weights: `(batch, k^2, r H, r W)` for an odd k and an integer r >= 1, both read off the shapes; all
            channels share them.

    Returns:
        y `(batch, channels, r H, r W)` in x's dtype; sums are float32 (float64 if any input is).

    Cost: O(channels k^2 r^2 H W) time. Memory is that of x, weights and y, as small products of the k rows of
    a window, which overlap in place: the k^2 shifted copies of x are never made. No second derivative.

    Raises:
        TypeError: Inputs that are not floating point.
        ValueError: Shapes that do not fit.

    Example:
        >>> import torch
        >>> x = torch.arange(4.0).view(1, 1, 1, 4)
        >>> weights = torch.zeros(1, 9, 1, 4)
        >>> weights[:, 5] = 1  # of 3 x 3 windows: the neighbour on the right
        >>> reassemble(x, weights)
        tensor([[[[1., 2., 3., 0.]]]])
    """
    window, scale = _check(x, weights)
    if x.shape[0] == 0:
        return x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    exact = accumulator_dtype(x.dtype, weights.dtype)
    with without_autocast(x.device):
        return _Reassembly.apply(x.to(exact), weights.to(exact), window, scale).to(x.dtype)


def _check(x: Tensor, weights: Tensor) -> tuple[int, int]:
    """The window's side and the scale."""
    for name, tensor in (("x", x), ("weights", weights)):
        if not tensor.is_floating_point():
            raise TypeError(f"{name}: expected floating point, got {tensor.dtype}")
        if tensor.ndim != 4 or 0 in tensor.shape[1:]:
            raise ValueError(
                f"{name}: expected 4 axes (batch, channels, height, width), got {tuple(tensor.shape)}"
            )
    window = round(weights.shape[1] ** 0.5)
    if window**2 != weights.shape[1] or window % 2 == 0:
        raise ValueError(f"weights: expected the square of an odd window on axis 1, got {weights.shape[1]}")
    scale = weights.shape[2] // x.shape[2]
    expected = (x.shape[0], window**2, scale * x.shape[2], scale * x.shape[3])
    if scale < 1 or tuple(weights.shape) != expected:
        raise ValueError(
            f"weights: expected x's batch {x.shape[0]} and an integer multiple of x's grid "
            f"{tuple(x.shape[2:])}, got {tuple(weights.shape)}"
        )
    return window, scale


class _Reassembly(torch.autograd.Function):
    """On maps laid out as rows of pixels, channels last, with the window's margin around.

    Pixel p of the padded map is row p, and its window's row m is the rows p + m pitch .. + window - 1, one
    matrix that overlaps that of pixel p + 1. So a window row of all pixels is one batch of small products.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, x: Tensor, weights: Tensor, window: int, scale: int
    ) -> Tensor:
        ctx.save_for_backward(x, weights)
        ctx.sizes = window, scale
        grid = _Grid(x, window, scale)
        rows, kernels = grid.rows_of(x), grid.kernels_of(weights)
        y = rows.new_zeros(grid.pixels, scale**2, x.shape[1])
        for m in range(window):
            y.baddbmm_(kernels[m], grid.window_row(rows, m).mT)
        return grid.map_of(y)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, weights = ctx.saved_tensors
        window, scale = ctx.sizes
        grid = _Grid(x, window, scale)
        outs = grid.phases_of(dy)
        dx = dweights = None
        if ctx.needs_input_grad[1]:
            rows = grid.rows_of(x)
            own = outs[grid.margin :]
            products = [own @ grid.window_row(rows, m) for m in range(window)]
            dweights = grid.weights_of(torch.stack(products))
        if ctx.needs_input_grad[0]:
            kernels = grid.kernels_of(weights)
            sums = x.new_zeros(grid.pixels, 1, x.shape[1])
            for m in range(window):
                sums.baddbmm_(grid.seen_by(kernels[m], m), grid.outputs_row(outs, m).mT)
            dx = grid.core_of(sums[:, 0])
        return dx, dweights, None, None


class _Grid:
    """The index arithmetic of one call."""

    def __init__(self, x: Tensor, window: int, scale: int) -> None:
        self.batch, self.channels, self.height, self.width = x.shape
        self.window, self.scale, self.half = window, scale, window // 2
        self.pitch = self.width + 2 * self.half
        self.padded = self.height + 2 * self.half
        self.pixels = self.batch * self.padded * self.pitch
        self.margin = (window - 1) * (self.pitch + 1)

    def rows_of(self, x: Tensor) -> Tensor:
        """x as rows `(pixels + margin, channels)`, zeros around."""
        rows = x.new_zeros(self.pixels + self.margin, self.channels)
        inner = slice(self.half, self.half + self.height), slice(self.half, self.half + self.width)
        self._padded(rows[: self.pixels])[:, inner[0], inner[1]] = x.permute(0, 2, 3, 1)
        return rows

    def kernels_of(self, weights: Tensor) -> Tensor:
        """Weights as `(window row, pixels, phases, window column)`, a window beginning at its first pixel."""
        k, r = self.window, self.scale
        kernels = weights.new_zeros(k, self.batch, self.padded, self.pitch, r * r, k)
        parts = weights.reshape(self.batch, k, k, self.height, r, self.width, r)
        kernels[:, :, : self.height, : self.width].unflatten(-2, (r, r)).copy_(
            parts.permute(1, 0, 3, 5, 4, 6, 2)
        )
        return kernels.view(k, self.pixels, r * r, k)

    def weights_of(self, kernels: Tensor) -> Tensor:
        """The inverse of `kernels_of`."""
        k, r = self.window, self.scale
        parts = kernels.view(k, self.batch, self.padded, self.pitch, r, r, k)
        parts = parts[:, :, : self.height, : self.width].permute(1, 0, 6, 2, 4, 3, 5)
        return parts.reshape(self.batch, k * k, r * self.height, r * self.width)

    def window_row(self, rows: Tensor, m: int) -> Tensor:
        """Row m of every pixel's window, `(pixels, channels, window)`, in place."""
        start = m * self.pitch
        return rows[start : start + self.pixels + self.window - 1].unfold(0, self.window, 1)

    def map_of(self, y: Tensor) -> Tensor:
        """`(pixels, phases, channels)` as a map."""
        r = self.scale
        y = y.view(self.batch, self.padded, self.pitch, r, r, self.channels)[:, : self.height, : self.width]
        y = y.permute(0, 5, 1, 3, 2, 4)
        return y.reshape(self.batch, self.channels, r * self.height, r * self.width)

    def phases_of(self, y: Tensor) -> Tensor:
        """A map as `(margin + pixels, phases, channels)`, the margin in front."""
        r = self.scale
        outs = y.new_zeros(self.margin + self.pixels, r * r, self.channels)
        parts = y.reshape(self.batch, self.channels, self.height, r, self.width, r)
        inner = self._padded(outs[self.margin :])[:, : self.height, : self.width]
        inner.unflatten(-2, (r, r)).copy_(parts.permute(0, 2, 4, 3, 5, 1))
        return outs

    def outputs_row(self, outs: Tensor, m: int) -> Tensor:
        """The outputs whose windows' row m holds a pixel: `(pixels, channels, window * phases)`, in place.

        Those at p - m pitch - n for n = window - 1 .. 0, in this order.
        """
        phases = self.scale**2
        start = self.margin - m * self.pitch - (self.window - 1)
        flat = outs.flatten(0, 1)[start * phases : (start + self.pixels + self.window - 1) * phases]
        return flat.unfold(0, self.window * phases, phases)

    def seen_by(self, kernels: Tensor, m: int) -> Tensor:
        """With what weights: `(pixels, 1, window * phases)`, in the order of `outputs_row`."""
        phases, k = self.scale**2, self.window
        mirrored = kernels.flip(-1).transpose(1, 2)
        padded = F.pad(mirrored, (0, 0, 0, 0, self.margin, 0)).flatten(1)
        start = self.margin - m * self.pitch - (k - 1)
        # Column n of the window belongs to the n-th of the pixels that follow: a diagonal.
        pixel = k * phases
        diagonal = padded.as_strided(
            (self.pixels, k, phases), (pixel, pixel + phases, 1), start * pixel + padded.storage_offset()
        )
        return diagonal.reshape(self.pixels, 1, pixel)

    def core_of(self, rows: Tensor) -> Tensor:
        """Rows of pixels as a map without its margin."""
        inner = self._padded(rows)[:, self.half : self.half + self.height, self.half : self.half + self.width]
        return inner.permute(0, 3, 1, 2).contiguous()

    def _padded(self, rows: Tensor) -> Tensor:
        return rows.view(self.batch, self.padded, self.pitch, *rows.shape[1:])
