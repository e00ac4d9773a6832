"""The table of mixers and the short way to build one."""

from dataclasses import fields
from typing import Any

from linsight.mixers.base import Mixer, MixerConfig
from linsight.mixers.diag_attention import DiagAttentionConfig
from linsight.mixers.efficient import EfficientAttentionConfig
from linsight.mixers.fixed import FixedAttentionConfig
from linsight.mixers.flash import FlashConfig
from linsight.mixers.gau import GatedAttentionConfig
from linsight.mixers.linear import LinearAttentionConfig
from linsight.mixers.linformer import LinformerConfig
from linsight.mixers.local import LocalAttentionConfig
from linsight.mixers.norm_attention import NormAttentionConfig
from linsight.mixers.performer import PerformerConfig
from linsight.mixers.reformer import ReformerConfig
from linsight.mixers.softmax import SoftmaxAttentionConfig
from linsight.mixers.strided import StridedAttentionConfig

__all__ = ["AnyMixerConfig", "build", "config", "kinds"]

AnyMixerConfig = (
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
)
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
}


def kinds() -> tuple[str, ...]:
    """The names of all mixers."""
    return tuple(_CONFIGS)


def config(kind: str, **options: Any) -> Any:
    """The configuration of the mixer of this name.

    Raises:
        ValueError: An unknown kind, or an option that this kind does not have.
    """
    if kind not in _CONFIGS:
        raise ValueError(f"mixer {kind!r} is not known; choose one of {', '.join(_CONFIGS)}")
    known = [field.name for field in fields(_CONFIGS[kind]) if field.name != "kind"]
    for option in options:
        if option not in known:
            raise ValueError(f"mixer {kind!r} has no option {option!r}; it has {', '.join(known)}")
    return _CONFIGS[kind](**options)


def build(kind: str, *, dim: int, causal: bool = True, **options: Any) -> Mixer:
    """The mixer of this name for tokens of width `dim`; `options` are the fields of its configuration.

    Example:
        >>> build("linear", dim=64, heads=4)
        LinearAttention(...)
    """
    return config(kind, **options).build(dim, causal=causal)
