"""LRU: a linear recurrence of complex states, diagonal, between two dense maps."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor, nn

from linsight import ops
from linsight.mixers.base import Cost, Form, MixerConfig
from linsight.mixers.state_space import StateSpaceMixer, check_states, single

__all__ = ["LRU", "LRUConfig", "LRUState"]

NEAREST = 1e-6
"""How near to 0 and 1 the modulus of an eigenvalue may begin, and to 0 an angle: logarithms are learnt."""


@dataclass(frozen=True)
class LRUConfig(MixerConfig):
    """LRU: its states, and the ring in which their eigenvalues begin."""

    directions: ClassVar[tuple[bool, ...]] = (True,)
    replaces_mlp: ClassVar[bool] = True

    kind: Literal["lru"] = "lru"
    states: int | None = None
    """N complex states, shared by all channels; not conjugate pairs. None for as many as channels."""
    r_min: float = 0.0
    r_max: float = 1.0
    """Moduli of the eigenvalues, between these by area. Close to 1 for long memories."""
    max_phase: float = 6.28
    """Their angles, uniform from 0 to this."""
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse rings that are none."""
        if self.states is not None:
            check_states(self.kind, self.states, even=False)
        if not 0 <= self.r_min < self.r_max <= 1:
            raise ValueError(
                f"mixer 'lru': expected 0 <= r_min < r_max <= 1, got {self.r_min} and {self.r_max}"
            )
        if not 0 < self.max_phase <= 2 * math.pi:
            raise ValueError(f"mixer 'lru': expected max_phase in (0, 2 pi], got {self.max_phase}")

    def build(self, dim: int, *, causal: bool = True) -> "LRU":
        """The mixer for tokens of width `dim`."""
        return LRU(dim, self, causal=causal)


class LRUState(NamedTuple):
    """The complex states, real and imaginary part: `(batch, states, 2)`, float32.

    Bytes per sequence: 8 * states, whatever the length.
    """

    h: Float[Tensor, "batch states 2"]


class LRU(StateSpaceMixer):
    """h_t = lambda * h_(t-1) + gamma * (B x_t), y_t = Re(C h_t) + D * x_t, all of h complex.

    lambda = exp(-exp(nu_log) + i exp(theta_log)) is inside the unit circle whatever the parameters;
    gamma = exp(gamma_log), a parameter of its own, begins at sqrt(1 - |lambda|^2), so that a white input
    gives every state the same variance. The states are not pairs of conjugates, and nothing is doubled. Then
    GELU, a linear map to twice the width, and a gate.

    Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu, De 2023, arXiv 2303.06349. Deviation: moduli begin at
    least 1e-6 away from 0 and from 1, and angles from 0, whose logarithms are the parameters.

    Args:
        dim: Width of the tokens.
        config: States, ring of the eigenvalues, form.
        causal: True; a wrapper runs any causal mixer both ways.

    Cost: O(T N dim) for the maps; the recurrence is O(T N) in `recurrent` and O(T N C) in `chunk`, C = 32.

    nu_log, theta_log and gamma_log have no weight decay and a learning rate of at most 1e-3.

    Raises:
        ValueError: no states; a ring or a phase that is none.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("lru", dim=16, states=8)
        >>> x = torch.randn(1, 5, 16)
        >>> whole, _ = mixer(x)
        >>> first, state = mixer(x[:, :3])
        >>> second, state = mixer(x[:, 3:], state)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-5)
        True
    """

    def __init__(self, dim: int, config: LRUConfig | None = None, *, causal: bool = True) -> None:
        config = config or LRUConfig()
        forms: tuple[Form, ...] = ("naive", "chunk", "recurrent")
        states = dim if config.states is None else config.states
        super().__init__("lru", dim, (states,), causal=causal, forms=forms, form=config.form)
        modulus, angle = drawn_ring(states, config)
        self.nu_log = single((-modulus.log()).log())
        self.theta_log = single(angle.log())
        self.gamma_log = single((1 - modulus.square()).log() / 2)
        self.slow("nu_log", "theta_log", "gamma_log")
        self.B_re, self.B_im = (nn.Parameter(torch.randn(states, dim) / (2 * dim) ** 0.5) for _ in range(2))
        self.C_re, self.C_im = (nn.Parameter(torch.randn(dim, states) / states**0.5) for _ in range(2))
        self.config = config

    def mix(self, x, state, valid):
        """Into the states, recur, out of them, finish."""
        exact = ops.accumulator_dtype(x.dtype)
        real, imag = F.linear(x, torch.cat([self.B_re, self.B_im])).to(exact).chunk(2, -1)
        taken = torch.complex(real, imag) * self.gamma_log.to(exact).exp()
        self.last_form = ops.diagonal_recurrence_plan(taken, form=self.form).form
        h, final = ops.diagonal_recurrence(
            taken,
            self.log_decay(),
            initial_state=self.complex_state(state and state.h),
            lengths=None if valid is None else valid.sum(1),
            form=self.last_form,
        )
        parts = torch.cat([h.real, h.imag], -1).to(x.dtype)
        y = F.linear(parts, torch.cat([self.C_re, -self.C_im], 1))
        return self.finish(x, y.to(x.dtype)), LRUState(torch.view_as_real(final))

    def log_decay(self) -> Complex[Tensor, "states"]:
        """log lambda, complex128."""
        return torch.complex(-self.nu_log.double().exp(), self.theta_log.double().exp())

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros."""
        return LRUState(self.zeros(batch, dtype, device))

    def cost(self, length):
        """The recurrence alone: a complex product a state and token, or 32 of them in matrix products."""
        states = self.shape[0]
        return {
            "chunk": Cost(8 * 32 * states * length, 24 * states * length),
            "recurrent": Cost(8 * states * length, 16 * states),
        }


def drawn_ring(states: int, config: LRUConfig) -> tuple[Float[Tensor, "{states}"], Float[Tensor, "{states}"]]:
    """Moduli uniform by area of the ring r_min..r_max, and angles uniform in 0..max_phase; float64."""
    area, turn = torch.rand(2, states, dtype=torch.float64)
    modulus = (area * (config.r_max**2 - config.r_min**2) + config.r_min**2).sqrt()
    return modulus.clamp(NEAREST, 1 - NEAREST), (config.max_phase * turn).clamp(min=NEAREST)
