"""The table of mixers and the short way to build one."""

from dataclasses import fields
from typing import Any

from linsight.mixers.base import Mixer, MixerConfig
from linsight.mixers.linear import LinearAttentionConfig
from linsight.mixers.softmax import SoftmaxAttentionConfig

__all__ = ["AnyMixerConfig", "build", "config", "kinds"]

AnyMixerConfig = LinearAttentionConfig | SoftmaxAttentionConfig
"""Any mixer's configuration, told apart by `kind`."""

_CONFIGS: dict[str, type[MixerConfig]] = {
    "linear": LinearAttentionConfig,
    "softmax": SoftmaxAttentionConfig,
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
