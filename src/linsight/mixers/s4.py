"""S4: a state space whose matrix is LegS itself, diagonal less one of rank 1."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from linsight import ops
from linsight.mixers.base import Cost, Form, MixerConfig
from linsight.mixers.recurrence import log_uniform
from linsight.mixers.state_space import FORMS, StateSpaceMixer, check_states, check_steps, single
from linsight.nn import normal_low_rank

__all__ = ["S4", "S4Config", "S4State"]


@dataclass(frozen=True)
class S4Config(MixerConfig):
    """S4: its states, and the range of its steps."""

    directions: ClassVar[tuple[bool, ...]] = (True,)
    replaces_mlp: ClassVar[bool] = True

    kind: Literal["s4"] = "s4"
    states: int = 64
    """N of each channel, in conjugate pairs: N / 2 complex numbers."""
    dt_min: float = 1e-3
    dt_max: float = 0.1
    """Steps of the channels, drawn log-uniform between the two: a channel remembers about 1 / dt tokens."""
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        check_states(self.kind, self.states)
        check_steps(self.kind, self.dt_min, self.dt_max)

    def build(self, dim: int, *, causal: bool = True) -> "S4":
        """The mixer for tokens of width `dim`."""
        return S4(dim, self, causal=causal)


class S4State(NamedTuple):
    """The states, one of each conjugate pair: `(batch, dim, N / 2, 2)`, real and imaginary part, float32.

    Bytes per sequence: 4 * dim * N, whatever the length.
    """

    h: Float[Tensor, "batch dim pairs 2"]


class S4(StateSpaceMixer):
    """x' = (Lambda - P P^*) x + B u and y = 2 Re C x + D u in every channel, by bilinear steps of dt.

    It begins as HiPPO-LegS, seen in the basis in which the normal part of its matrix is diagonal; then
    Lambda, P, B, C and dt are learnt. After the state space: GELU, a linear map to twice the width, a gate.

    Gu, Goel, Re 2022, arXiv 2111.00396. Real parts of Lambda are -exp of a parameter and P stands on both
    sides, so that no state can grow (Goel, Gu, Donahue, Re 2022, arXiv 2202.09729). Deviation: C is learnt
    itself and not C (1 - A_bar^L), so that the mixer is the same function at every length.

    Args:
        dim: Width of the tokens.
        config: States, steps, form.
        causal: True; a wrapper runs any causal mixer both ways.

    Cost per channel: O(T N) for `recurrent`, by Woodbury's identity; O(T (N + C + N^2 / C)) for `chunk` with
    C of 16 to 64, and O(N^3) once a call; `parallel` is the paper's: Cauchy sums and a Fourier convolution.

    Parameters of Lambda, P, B and dt have no weight decay and a learning rate of at most 1e-3.

    Raises:
        ValueError: an odd number of states; steps that do not exist.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("s4", dim=16, states=8)
        >>> x = torch.randn(1, 5, 16)
        >>> whole, _ = mixer(x)
        >>> first, state = mixer(x[:, :3])
        >>> second, state = mixer(x[:, 3:], state)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-5)
        True
    """

    def __init__(self, dim: int, config: S4Config | None = None, *, causal: bool = True) -> None:
        config = config or S4Config()
        pairs = config.states // 2
        super().__init__("s4", dim, (dim, pairs), causal=causal, forms=FORMS, form=config.form)
        values, P, B, _ = normal_low_rank("legs", config.states)
        self.log_dt = single(log_uniform(dim, config.dt_min, config.dt_max))
        self.log_A_real = single((-values.real[:pairs]).log().expand(dim, -1).clone())
        self.A_imag = single(values.imag[:pairs].expand(dim, -1).clone())
        self.P = single(torch.view_as_real(P[:pairs, 0].expand(dim, -1).clone()))
        self.B = single(torch.view_as_real(B[:pairs].expand(dim, -1).clone()))
        self.slow("log_dt", "log_A_real", "A_imag", "P", "B")
        self.C = nn.Parameter(torch.randn(dim, pairs, 2) / math.sqrt(2))
        self.config = config

    def mix(self, x, state, valid):
        """Recur, finish."""
        self.last_form = ops.low_rank_space_plan(x, form=self.form).form
        y, h = ops.low_rank_space(
            x,
            self.system(),
            initial_state=self.complex_state(state and state.h),
            lengths=None if valid is None else valid.sum(1),
            form=self.form,
        )
        return self.finish(x, y), S4State(torch.view_as_real(h))

    def system(self) -> ops.LowRankSystem:
        """The equation of every channel, in complex128."""
        values = torch.complex(-self.log_A_real.double().exp(), self.A_imag.double())
        P, B, C = (torch.view_as_complex(weight.double()) for weight in (self.P, self.B, self.C))
        return ops.LowRankSystem(values, P, B, C, self.log_dt.double().exp())

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros."""
        return S4State(self.zeros(batch, dtype, device))

    def cost(self, length):
        """Multiplications a token in each form, with blocks of 64; what a call costs once is left out."""
        channels, pairs = self.shape
        states, block, token = 2 * pairs, 64, 4 * channels * length
        between = 4 * states + 2 * states * states / block
        transform = 15 * math.log2(2 * max(length, 2)) + 8 * states
        return {
            "parallel": Cost(int(channels * length * (between + transform)), 6 * token),
            "chunk": Cost(
                int(channels * length * (between + 2 * block)), 2 * token + token * states // block
            ),
            "recurrent": Cost(10 * channels * length * states, 4 * channels * states),
        }
