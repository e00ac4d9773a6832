"""A gated convolution with one defect each: the window that it carries, its step, its padding."""

from typing import Any

import torch
from honest_recurrent import Convolved, Window
from torch import Tensor, nn

Result = tuple[Tensor, Any]


class ActivationsKept(Convolved):
    """Carries the activations after the convolution in place of its inputs."""

    def convolve(self, u: Tensor, before: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        y, _ = super().convolve(u, before, valid)
        return y, super().convolve(y, before, valid)[1]


class BriefWindow(Convolved):
    """A call shorter than the window fills it up with zeros: the inputs before the call are gone."""

    def convolve(self, u: Tensor, before: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        return super().convolve(u, before, valid)[0], super().convolve(u, 0 * before, valid)[1]


class ShortWindow(Convolved):
    """Carries the last three inputs of the call, and fewer if it has fewer."""

    def convolve(self, u: Tensor, before: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        missing = nn.functional.pad(before, (0, 0, self.kernel - 1 - before.shape[1], 0))
        return super().convolve(u, missing, valid)[0], u[:, 1 - self.kernel :]


class WindowOfPadding(Convolved):
    """Carries the last columns of the batch, which in a short row are padding."""

    def convolve(self, u: Tensor, before: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        return super().convolve(u, before, torch.ones_like(valid))


class Centred(Convolved):
    """Pads the convolution on both sides, so that it sees one token ahead."""

    def convolve(self, u: Tensor, before: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        _, inputs = super().convolve(u, before, valid)
        ahead = nn.functional.pad(u, (0, 0, 0, 1))
        return super().convolve(ahead[:, 1:], torch.cat([before[:, 1:], u[:, :1]], dim=1), valid)[0], inputs


class FlippedTaps(Convolved):
    """The step applies the taps from the other end: a convolution for a correlation."""

    def convolve(self, u: Tensor, before: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        if u.shape[1] > 1:
            return super().convolve(u, before, valid)
        window = torch.cat([before, u], dim=1)
        y = nn.functional.silu((window * self.taps.to(self.wide).flip(0)).sum(1, keepdim=True))
        return y, super().convolve(u, before, valid)[1]


class BiasTwice(Convolved):
    """The step adds the bias of dt, and the function that it calls adds it again."""

    def step_size(self, u: Tensor) -> Tensor:
        twice = self.bias if u.shape[1] == 1 else 0
        return nn.functional.softplus(u @ self.rate.to(self.wide) + self.bias + twice)


class SteppingPadding(Convolved):
    """dt is not 0 at padding: softplus(bias) lets the state decay and the window's rest come in."""

    def mix(self, x: Tensor, valid: Tensor, state: Window) -> Result:
        y, final = super().mix(x, torch.ones_like(valid), state)
        return y, final._replace(inputs=super().mix(x, valid, state)[1].inputs)


class RolledInPlace(Convolved):
    """Rolls the window that it was given, as `conv_state.copy_` does."""

    def convolve(self, u: Tensor, before: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        y, inputs = super().convolve(u, before.clone(), valid)
        before.data.copy_(inputs)
        return y, inputs


class DetachedWindow(Convolved):
    """The window is carried without its gradient, the hidden state with it."""

    def convolve(self, u: Tensor, before: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        y, inputs = super().convolve(u, before, valid)
        return y, inputs.detach()


class HiddenOfTheWeights(Convolved):
    """Keeps the hidden state in the dtype of the weights."""

    def mix(self, x: Tensor, valid: Tensor, state: Window) -> Result:
        y, final = super().mix(x, valid, state)
        return y, final._replace(hidden=final.hidden.to(self.weights.dtype))


class WindowlessForm(Convolved):
    """One form begins its recurrence at 0 whatever state it is given."""

    def run_naive(self, u: Tensor, g: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        return super().run_naive(u, g, torch.zeros_like(hidden))


class CachedDecay(Convolved):
    """Keeps the rates that it computed at its first call without gradients: new weights do not reach them."""

    cached: Tensor | None = None

    def log_decay(self, dt: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return super().log_decay(dt)
        if self.cached is None:
            self.cached = self.log_a.to(self.wide).exp()
        return -dt * self.cached
