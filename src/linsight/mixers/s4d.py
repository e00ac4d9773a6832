"""S4D: a state space of a diagonal matrix for every channel."""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from linsight import ops
from linsight.mixers.base import Cost, Form, MixerConfig
from linsight.mixers.recurrence import log_uniform
from linsight.mixers.state_space import FORMS, StateSpaceMixer, check_states, check_steps, single
from linsight.nn import normal_low_rank

__all__ = ["S4D", "S4DConfig", "S4DState"]

INITS = ("lin", "inv", "legs", "real")


@dataclass(frozen=True)
class S4DConfig(MixerConfig):
    """S4D: its states, where their eigenvalues begin, and how time is cut into steps."""

    directions: ClassVar[tuple[bool, ...]] = (True,)
    replaces_mlp: ClassVar[bool] = True

    kind: Literal["s4d"] = "s4d"
    states: int = 64
    """N of each channel, in conjugate pairs: N / 2 complex numbers."""
    init: Literal["lin", "inv", "legs", "real"] = "lin"
    """Eigenvalues -1/2 + i pi n; -1/2 + i (N / pi) (N / (2n+1) - 1); those of LegS's normal part; -(n+1)."""
    discretisation: Literal["zoh", "bilinear"] = "zoh"
    dt_min: float = 1e-3
    dt_max: float = 0.1
    """Steps of the channels, drawn log-uniform between the two: a channel remembers about 1 / dt tokens."""
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        check_states(self.kind, self.states)
        if self.init not in INITS:
            raise ValueError(f"mixer 's4d': expected init one of {', '.join(INITS)}, got {self.init!r}")
        if self.discretisation not in ("zoh", "bilinear"):
            raise ValueError(
                f"mixer 's4d': expected discretisation zoh or bilinear, got {self.discretisation!r}"
            )
        check_steps(self.kind, self.dt_min, self.dt_max)

    def build(self, dim: int, *, causal: bool = True) -> "S4D":
        """The mixer for tokens of width `dim`."""
        return S4D(dim, self, causal=causal)


class S4DState(NamedTuple):
    """sum_j A_bar^(t-j) u_j, by channel and pair: `(batch, dim, N / 2, 2)`, real and imaginary, float32.

    Bytes per sequence: 4 * dim * N, whatever the length.
    """

    h: Float[Tensor, "batch dim pairs 2"]


class S4D(StateSpaceMixer):
    """x' = A x + B u and y = C x + D u in every channel, A diagonal and complex, in steps of dt.

        y_t = 2 Re sum_(n < N/2) C_n B_bar_n h_t,n + D u_t,    h_t,n = A_bar_n h_(t-1),n + u_t

    then GELU, a linear map to twice the width, and a gate. The states are pairs of conjugates, of which one
    is kept: hence the 2.

    Gu, Gupta, Goel, Re 2022, arXiv 2206.11893. Real parts of A are -exp of a parameter, so that no state can
    grow. With `init="real"` the states begin without imaginary parts, and may learn them.

    Args:
        dim: Width of the tokens.
        config: States, init, discretisation, steps, form.
        causal: True; a wrapper runs any causal mixer both ways.

    Cost per channel: O(T N) for `recurrent`, O(T (N + log T)) for `parallel` (Fourier), O(T (N + C)) for
    `chunk` with C of 16 to 64. Everything of A and dt is float64, and 2 N sqrt(T) exponentials in all.

    Parameters of A, B and dt have no weight decay and a learning rate of at most 1e-3.

    Raises:
        ValueError: an odd number of states; an init, discretisation or steps that do not exist.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("s4d", dim=16, states=8)
        >>> x = torch.randn(1, 5, 16)
        >>> whole, _ = mixer(x)
        >>> first, state = mixer(x[:, :3])
        >>> second, state = mixer(x[:, 3:], state)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-5)
        True
    """

    spreads = True

    def __init__(self, dim: int, config: S4DConfig | None = None, *, causal: bool = True) -> None:
        config = config or S4DConfig()
        pairs = config.states // 2
        super().__init__("s4d", dim, (dim, pairs), causal=causal, forms=FORMS, form=config.form)
        A, B = initial_system(config.init, config.states)
        self.log_dt = single(log_uniform(dim, config.dt_min, config.dt_max))
        self.log_A_real = single((-A.real).log().expand(dim, -1).clone())
        self.A_imag = single(A.imag.expand(dim, -1).clone())
        self.B = single(torch.view_as_real(B.expand(dim, -1).clone()))
        self.slow("log_dt", "log_A_real", "A_imag", "B")
        self.C = nn.Parameter(torch.randn(dim, pairs, 2) / math.sqrt(2))
        self.config = config

    def mix(self, x, state, valid):
        """Discretise, recur, finish."""
        log_decay, read = self.discretised()
        self.last_form = ops.diagonal_space_plan(x, form=self.form).form
        lengths = None if valid is None else valid.sum(1)
        y, h = self.recur(
            partial(ops.diagonal_space, x, log_decay, read, lengths=lengths, form=self.form),
            self.complex_state(state and state.h),
            lambda: ops.diagonal_space_piece(x, log_decay, lengths=lengths),
        )
        return self.finish(x, y), S4DState(torch.view_as_real(h))

    def discretised(self) -> tuple[Tensor, Tensor]:
        """The logarithm of A_bar and 2 C B_bar, complex128 `(dim, N / 2)`."""
        A = torch.complex(-self.log_A_real.double().exp(), self.A_imag.double())
        method = self.config.discretisation
        log_decay, factor = ops.discretise_diagonal(A, self.log_dt.double().exp(), method)
        B, C = (torch.view_as_complex(weight.double()) for weight in (self.B, self.C))
        return log_decay, 2 * C * B * factor

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros."""
        return S4DState(self.zeros(batch, dtype, device))

    def cost(self, length):
        """Multiplications of the states in each form, beside the transform and the triangle."""
        channels, pairs = self.shape
        states, token = channels * pairs, 4 * channels * length
        transform = 15 * max(length, 2) * math.log2(2 * max(length, 2))
        return {
            "parallel": Cost(int(4 * states * length + channels * transform), 6 * token),
            "chunk": Cost(length * (16 * states + 2 * 64 * channels), 2 * token + token * pairs // 32),
            "recurrent": Cost(12 * states * length, 8 * states),
        }


def initial_system(init: str, states: int) -> tuple[Tensor, Tensor]:
    """A and B of the first of each conjugate pair, complex128 `(N / 2,)`; see `S4DConfig.init`."""
    n = torch.arange(states // 2, dtype=torch.float64)
    if init == "legs":
        system = normal_low_rank("legs", states)
        return system.values[: states // 2], system.B[: states // 2]
    real = -(n + 1) if init == "real" else torch.full_like(n, -0.5)
    if init == "lin":
        imag = math.pi * n
    elif init == "inv":
        imag = states / math.pi * (states / (2 * n + 1) - 1)
    else:
        imag = torch.zeros_like(n)
    A = torch.complex(real, imag)
    return A, torch.ones_like(A)
