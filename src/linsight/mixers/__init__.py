"""Token mixers: one contract, `y, state = mixer(x, state=None, lengths=None)`."""

from linsight.mixers.across import across
from linsight.mixers.base import Cost, Mixer, MixerConfig
from linsight.mixers.build import AnyMixerConfig, build, config, kinds
from linsight.mixers.relay import RelayMixer

__all__ = [
    "AnyMixerConfig",
    "Cost",
    "Mixer",
    "MixerConfig",
    "RelayMixer",
    "across",
    "build",
    "config",
    "kinds",
]
