"""The table of mixers and the short way to build one."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from linsight.config import of_kind
from linsight.mixers.base import Form, Mixer, MixerConfig
from linsight.mixers.bidirectional import Bidirectional
from linsight.mixers.diag_attention import DiagAttentionConfig
from linsight.mixers.efficient import EfficientAttentionConfig
from linsight.mixers.fixed import FixedAttentionConfig
from linsight.mixers.flash import FlashConfig
from linsight.mixers.gated_delta import GatedDeltaNetConfig
from linsight.mixers.gau import GatedAttentionConfig
from linsight.mixers.hippo import HippoRNNConfig
from linsight.mixers.linear import LinearAttentionConfig
from linsight.mixers.linformer import LinformerConfig
from linsight.mixers.local import LocalAttentionConfig
from linsight.mixers.lru import LRUConfig
from linsight.mixers.mamba import MambaConfig
from linsight.mixers.mamba2 import Mamba2Config
from linsight.mixers.norm_attention import NormAttentionConfig
from linsight.mixers.performer import PerformerConfig
from linsight.mixers.reformer import ReformerConfig
from linsight.mixers.retnet import RetNetConfig
from linsight.mixers.rwkv6 import RWKV6Config
from linsight.mixers.rwkv7 import RWKV7Config
from linsight.mixers.s4 import S4Config
from linsight.mixers.s4d import S4DConfig
from linsight.mixers.softmax import SoftmaxAttentionConfig
from linsight.mixers.strided import StridedAttentionConfig

__all__ = ["AnyMixerConfig", "BidirectionalConfig", "build", "config", "kinds"]

OneMixerConfig = (
    LinearAttentionConfig
    | SoftmaxAttentionConfig
    | EfficientAttentionConfig
    | NormAttentionConfig
    | PerformerConfig
    | LinformerConfig
    | DiagAttentionConfig
    | GatedAttentionConfig
    | FlashConfig
    | LocalAttentionConfig
    | StridedAttentionConfig
    | FixedAttentionConfig
    | ReformerConfig
    | RetNetConfig
    | HippoRNNConfig
    | LRUConfig
    | S4Config
    | S4DConfig
    | GatedDeltaNetConfig
    | MambaConfig
    | Mamba2Config
    | RWKV6Config
    | RWKV7Config
)
"""The configuration of one mixer, told apart by `kind`."""


@dataclass(frozen=True)
class BidirectionalConfig(MixerConfig):
    """Two passes of a causal mixer, one from each end: see `Bidirectional`."""

    directions: ClassVar[tuple[bool, ...]] = (False,)

    kind: Literal["bidirectional"] = "bidirectional"
    mixer: OneMixerConfig = field(default_factory=LinearAttentionConfig)
    """Of each pass; any kind that can be causal."""
    shared: bool = False
    """One set of weights for both passes, half as many parameters; False: each has its own."""
    form: Form = "auto"
    """Of both passes; auto: as the mixer's own configuration says."""

    def __post_init__(self) -> None:
        """Refuse a mixer without a direction."""
        if True not in self.mixer.directions:
            raise ValueError(f"mixer: expected a kind that can be causal, got {self.mixer.kind!r}")

    def build(self, dim: int, *, causal: bool = True) -> Bidirectional:
        """The mixer for tokens of width `dim`; `causal` must be False."""
        ahead = self.mixer.build(dim)
        if causal:
            raise ValueError("mixer 'bidirectional' sees all tokens: it needs causal=False")
        mixer = Bidirectional(ahead, None if self.shared else self.mixer.build(dim))
        if self.form != "auto":
            mixer.form = self.form
        return mixer


AnyMixerConfig = OneMixerConfig | BidirectionalConfig
"""Any mixer's configuration, told apart by `kind`."""

_CONFIGS: dict[str, type[MixerConfig]] = {
    "linear": LinearAttentionConfig,
    "softmax": SoftmaxAttentionConfig,
    "efficient": EfficientAttentionConfig,
    "norm_attention": NormAttentionConfig,
    "performer": PerformerConfig,
    "linformer": LinformerConfig,
    "diag_attention": DiagAttentionConfig,
    "gau": GatedAttentionConfig,
    "flash": FlashConfig,
    "local": LocalAttentionConfig,
    "strided": StridedAttentionConfig,
    "fixed": FixedAttentionConfig,
    "reformer": ReformerConfig,
    "retnet": RetNetConfig,
    "bidirectional": BidirectionalConfig,
    "hippo": HippoRNNConfig,
    "lru": LRUConfig,
    "s4": S4Config,
    "s4d": S4DConfig,
    "gated_delta": GatedDeltaNetConfig,
    "mamba": MambaConfig,
    "mamba2": Mamba2Config,
    "rwkv6": RWKV6Config,
    "rwkv7": RWKV7Config,
}


def kinds() -> tuple[str, ...]:
    """The names of all mixers."""
    return tuple(_CONFIGS)


def config(kind: str, **options: Any) -> Any:
    """The configuration of the mixer of this name.

    Raises:
        ValueError: An unknown kind, or an option that this kind does not have.
    """
    return of_kind("mixer", _CONFIGS, kind, options)


def build(kind: str, *, dim: int, causal: bool = True, **options: Any) -> Mixer:
    """The mixer of this name for tokens of width `dim`; `options` are the fields of its configuration.

    Example:
        >>> build("linear", dim=64, heads=4)
        LinearAttention(...)
    """
    return config(kind, **options).build(dim, causal=causal)
