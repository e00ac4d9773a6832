"""Reformer: attention to the tokens that hash to the same bucket."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from linsight import ops
from linsight.mixers.base import Cost, Form, Mixer, MixerConfig
from linsight.mixers.heads import head_width

__all__ = ["Reformer", "ReformerConfig", "ReformerState"]


@dataclass(frozen=True)
class ReformerConfig(MixerConfig):
    """Reformer: `heads`, rounds of hashing, buckets of a round, and tokens of a bucket that are seen."""

    kind: Literal["reformer"] = "reformer"
    heads: int = 4
    rounds: int = 2
    buckets: int = 16
    size: int = 32
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse what cannot be hashed."""
        if self.rounds < 1:
            raise ValueError(f"mixer 'reformer': expected rounds of at least 1, got {self.rounds}")
        if self.buckets != 1 and (self.buckets < 1 or self.buckets % 2):
            raise ValueError(
                f"mixer 'reformer': expected an even number of buckets, or 1, got {self.buckets}"
            )
        if self.size < 1:
            raise ValueError(f"mixer 'reformer': expected size of at least 1, got {self.size}")

    def build(self, dim: int, *, causal: bool = True) -> "Reformer":
        """The mixer for tokens of width `dim`."""
        return Reformer(dim, self, causal=causal)


class ReformerState(NamedTuple):
    """The last `size` tokens of every bucket of every round, a ring each: `linsight.ops.Rings`.

    `keys` and `values` `(batch, heads, rounds, buckets, size, head_dim)` in the dtype of the tokens, `places`
    `(batch, heads, rounds, buckets, size, rounds)` and `counts` `(batch, heads, rounds, buckets)` int64.
    """

    keys: Float[Tensor, "batch heads rounds buckets size dim"]
    values: Float[Tensor, "batch heads rounds buckets size dim"]
    places: Int[Tensor, "batch heads rounds buckets size rounds"]
    counts: Int[Tensor, "batch heads rounds buckets"]


class Reformer(Mixer):
    """Softmax over the tokens that share a bucket with the query in any of several rounds of hashing.

        o_i = sum_j softmax_j(q_i . k_j) v_j,   k_j = q_j / |q_j|,   h_r(x) = argmax([x W_r ; -x W_r])

    Kitaev, Kaiser, Levskaya 2020, arXiv 2001.04451. A token attends to itself only where it finds nothing
    else. The matrices W_r `(rounds, head_dim, buckets / 2)` are normal, drawn from torch's generator when the
    mixer is built, and saved with the weights; all heads share them.

    Deviation: the causal form keeps for each bucket its last `size` tokens (`ops.ring_attention`) instead of
    cutting the sorted sequence into chunks, so that no token's keys depend on later tokens and decoding is
    the same function. With `causal=False` it is the paper's form: chunks of `size` sorted tokens, each
    attending to the own, the last and the next chunk (`ops.bucket_attention`). Buckets are computed in
    float32 at least, whatever the dtype: a hash that is rounded is another bucket.

    Cost per head: O(rounds (T + buckets size) size K) and a sort. A step reads rounds * size keys, and copies
    the state. State: rounds * buckets * size tokens, whatever the length.

    Args:
        dim: Width of the tokens; `heads` must divide it.
        config: Heads, rounds, buckets, size, form.
        causal: Whether token t sees the tokens up to t alone.

    Raises:
        ValueError: `heads` does not divide `dim`; rounds or size below 1; an odd number of buckets.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("reformer", dim=16, heads=2, buckets=4, size=8)
        >>> y, state = mixer(torch.randn(1, 30, 16))
        >>> state.counts.sum(-1)[0]
        tensor([[30, 30],
                [30, 30]])
    """

    keeps = ("keys", "values")
    rotations: Tensor

    def __init__(self, dim: int, config: ReformerConfig | None = None, *, causal: bool = True) -> None:
        config = config or ReformerConfig()
        super().__init__(dim, causal=causal, forms=("naive", "chunk"), form=config.form)
        self.config = config
        self.period = config.size
        self.heads = config.heads
        self.head_dim = head_width("reformer", dim, config.heads)
        self.qk = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        drawn = torch.randn(config.rounds, self.head_dim, config.buckets // 2)
        self.register_buffer("rotations", drawn)

    def mix(self, x, state, valid):
        """Project, hash, attend in the buckets, project."""
        q, v = (linear(x).unflatten(-1, (self.heads, self.head_dim)) for linear in (self.qk, self.value))
        sizes = self.config.buckets, self.config.size
        buckets = self._hash(x, q)
        if not self.causal:
            self.last_form = form = "naive" if self.form == "naive" else "chunk"
            o = ops.bucket_attention(q, v, buckets, *sizes, valid=valid, form=form)
            return self.out(o.flatten(2)), None
        # One token is one update of the rings, which is the definition.
        one = self.form == "auto" and x.shape[1] == 1
        self.last_form = form = "naive" if self.form == "naive" or one else "chunk"
        rings = None if state is None else ops.Rings(*state)
        o, rings = ops.ring_attention(q, v, buckets, *sizes, initial_state=rings, valid=valid, form=form)
        return self.out(o.flatten(2)), ReformerState(*rings)

    def _hash(self, x, q):
        exact = ops.accumulator_dtype(x.dtype)
        if q.dtype != exact:
            with torch.no_grad(), ops.without_autocast(x.device):
                q = F.linear(x.to(exact), self.qk.weight.to(exact)).view_as(q)
        return ops.angular_buckets(q, self.rotations)

    def initial_state(self, batch, *, dtype=None, device=None):
        """Empty rings."""
        if not self.causal:
            return None
        weight = self.qk.weight
        dtype, device = dtype or weight.dtype, device or weight.device
        shape = (batch, self.heads, self.config.rounds, self.config.buckets, self.config.size)
        tokens = torch.zeros(*shape, self.head_dim, dtype=dtype, device=device)
        places = torch.zeros(*shape, self.config.rounds, dtype=torch.int64, device=device)
        return ReformerState(tokens, tokens.clone(), places, torch.zeros_like(places[..., 0, 0]))

    def state_size(self, length):
        """Independent of `length`."""
        config, itemsize = self.config, self.qk.weight.dtype.itemsize
        rings = self.heads * config.rounds * config.buckets
        token = 2 * self.head_dim * itemsize + 8 * config.rounds
        return rings * (config.size * token + 8) if self.causal else 0

    def cost(self, length):
        """Pieces of `size` queries against two or three pieces of keys, in every round."""
        config, pieces = self.config, 2 if self.causal else 3
        pairs = config.rounds * length * pieces * config.size
        hashing = 2 * length * config.rounds * config.buckets // 2 * self.dim
        return {"chunk": Cost(4 * pairs * self.dim + hashing, 4 * self.heads * pairs)}
