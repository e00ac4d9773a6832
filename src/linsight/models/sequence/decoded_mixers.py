"""What compiled steps make of mixers: their weights as tables, and the parts of their states."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from linsight.kernels.cpu import BlockState, DecodedConvolution, DecodedMixer, DecodedProjection
from linsight.mixers.gated_delta import GatedDeltaNet
from linsight.mixers.heads import HeadedMixer
from linsight.mixers.linear import LinearAttention
from linsight.mixers.mamba import Mamba
from linsight.mixers.mamba2 import Mamba2
from linsight.mixers.norm_attention import NormAttention
from linsight.mixers.performer import Performer
from linsight.mixers.retnet import RetNet
from linsight.mixers.rwkv6 import RWKV6
from linsight.mixers.rwkv7 import RWKV7
from linsight.nn import ShortConvolution

__all__ = ["MIXERS"]


def _linear(mixer: LinearAttention) -> DecodedMixer:
    return _headed(mixer, feature_map=mixer.config.feature_map, normalise=mixer.normalise)


def _norm_attention(mixer: NormAttention) -> DecodedMixer:
    feature_map = {"t1": "elu", "t2": "elu1"}[mixer.config.variant]
    return _headed(mixer, feature_map=feature_map, norm_groups=1, norm_eps=mixer.config.eps)


def _performer(mixer: Performer) -> DecodedMixer:
    return _headed(
        mixer,
        keys=mixer.num_features,
        normalise=True,
        features=mixer.projection.weight * mixer.head_dim**-0.25,
        kernel=mixer.config.kernel,
        draw=int(mixer.projection.draw),
    )


def _headed(mixer: HeadedMixer, *, keys: int | None = None, **options: Any) -> DecodedMixer:
    """Of one projection to queries, keys and values of as many heads; `keys` where features are more."""
    return DecodedMixer(
        project=[DecodedProjection(weight=mixer.qkv.weight)],
        out=mixer.out.weight,
        heads=mixer.heads,
        keys=mixer.head_dim if keys is None else keys,
        values=mixer.head_dim,
        q=0,
        k=mixer.dim,
        v=2 * mixer.dim,
        **options,
    )


def _retnet(mixer: RetNet) -> DecodedMixer:
    half = mixer.head_dim // 2
    wide = mixer.widths[2]
    return DecodedMixer(
        project=[DecodedProjection(weight=mixer.project.weight)],
        out=mixer.out.weight,
        heads=mixer.heads,
        keys=mixer.head_dim,
        values=wide // mixer.heads,
        q=0,
        k=mixer.dim,
        v=2 * mixer.dim,
        gate=2 * mixer.dim + wide,
        scale=mixer.head_dim**-0.5,
        frequencies=10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half),
        constant=mixer.log_decay(torch.float64).exp().float(),
        norm_groups=mixer.heads,
        norm_eps=mixer.config.eps,
    )


def _mamba2(mixer: Mamba2) -> DecodedMixer:
    channels, shared, _ = mixer.convolved
    return DecodedMixer(
        project=[DecodedProjection(weight=mixer.in_proj.weight)],
        out=mixer.out_proj.weight,
        heads=mixer.heads,
        groups=mixer.config.groups,
        keys=mixer.config.states,
        values=mixer.head_dim,
        gate=0,
        v=channels,
        k=2 * channels,
        q=2 * channels + shared,
        step=2 * channels + 2 * shared,
        convolutions=(_convolution(channels, mixer.conv1d),),
        rate=-mixer.A_log.exp(),
        step_bias=mixer.dt_bias,
        skip=mixer.D,
        norm=mixer.norm.weight,
        norm_groups=mixer.norm.groups,
        norm_eps=mixer.norm.eps,
        gate_first=not mixer.norm.before_gate,
    )


def _gated_delta(mixer: GatedDeltaNet) -> DecodedMixer:
    maps = [mixer.q_proj, mixer.k_proj, mixer.v_proj, mixer.g_proj, mixer.a_proj, mixer.b_proj]
    q, k, v, gate, step, beta = _places([len(one.weight) for one in maps])
    convolutions = zip((q, k, v), (mixer.q_conv1d, mixer.k_conv1d, mixer.v_conv1d), strict=True)
    return DecodedMixer(
        project=[DecodedProjection(weight=torch.cat([one.weight for one in maps]))],
        out=mixer.o_proj.weight,
        heads=mixer.heads,
        keys=mixer.key_width,
        values=mixer.value_width,
        q=q,
        k=k,
        v=v,
        gate=gate,
        step=step,
        beta=beta,
        unit=True,
        scale=mixer.key_width**-0.5,
        convolutions=tuple(_convolution(*one) for one in convolutions),
        rate=-mixer.A_log.exp(),
        step_bias=mixer.dt_bias,
        largest=2.0 if mixer.config.allow_neg_eigval else 1.0,
        norm=mixer.o_norm.weight.repeat(mixer.heads),
        norm_groups=mixer.heads,
        norm_eps=mixer.o_norm.eps,
    )


def _mamba(mixer: Mamba) -> DecodedMixer:
    channels, states = mixer.A_log.shape
    rank = mixer.widths[0]
    project = _Projections()
    x = project.add(mixer.in_proj.weight)
    selected = project.add(mixer.x_proj.weight, input=x)
    step = project.add(mixer.dt_proj.weight, input=selected)
    return DecodedMixer(
        project=project,
        out=mixer.out_proj.weight,
        heads=channels,
        keys=states,
        values=1,
        v=x,
        gate=channels,
        k=selected + rank,
        q=selected + rank + states,
        step=step,
        convolutions=(_convolution(x, mixer.conv1d),),
        step_bias=mixer.dt_proj.bias,
        skip=mixer.D,
        rates=-mixer.A_log.exp(),
    )


def _rwkv6(mixer: RWKV6) -> DecodedMixer:
    """How much of the token before there is in each input is itself made of the token."""
    project = _Projections()
    rank = mixer.time_maa_w2.shape[1]
    low = project.add(mixer.time_maa_w1.mT, share=mixer.time_maa_x.flatten(), function="tanh")
    fixed = (mixer.time_maa_w, mixer.time_maa_k, mixer.time_maa_v, mixer.time_maa_r, mixer.time_maa_g)
    w, k, v, r, g = (
        project.add(second.mT, input=low + number * rank, bias=share.flatten())
        for number, (second, share) in enumerate(zip(mixer.time_maa_w2, fixed, strict=True))
    )
    low = project.add(mixer.time_decay_w1.mT, share=w, function="tanh")
    bias = mixer.time_decay.flatten()
    return DecodedMixer(
        project=project,
        out=mixer.output.weight,
        heads=mixer.heads,
        keys=mixer.head_dim,
        values=mixer.head_dim,
        q=project.add(mixer.receptance.weight, share=r),
        k=project.add(mixer.key.weight, share=k),
        v=project.add(mixer.value.weight, share=v),
        gate=project.add(mixer.gate.weight, share=g),
        decay=project.add(mixer.time_decay_w2.mT, input=low, bias=bias, function="exp"),
        rate=-torch.ones(mixer.heads),
        bonus=mixer.time_faaaa,
        norm=mixer.ln_x.weight,
        norm_bias=mixer.ln_x.bias,
        norm_groups=mixer.heads,
        norm_eps=mixer.eps,
    )


def _rwkv7(mixer: RWKV7) -> DecodedMixer:
    project = _Projections()

    def share(name: str) -> Tensor:
        return mixer.get_parameter(f"x_{name}").flatten()

    def low_rank(name: str, between: str = "identity", **options: Any) -> int:
        first, second = (mixer.get_parameter(f"{name}{number}").mT for number in (1, 2))
        return project.add(second, input=project.add(first, share=share(name), function=between), **options)

    return DecodedMixer(
        project=project,
        out=mixer.output.weight,
        heads=mixer.heads,
        keys=mixer.head_dim,
        values=mixer.head_dim,
        q=project.add(mixer.receptance.weight, share=share("r")),
        k=project.add(mixer.key.weight, share=share("k")),
        v=project.add(mixer.value.weight, share=share("v")),
        gate=low_rank("g", "sigmoid"),
        gate_function="identity",
        decay=low_rank("w", "tanh", bias=mixer.w0.flatten(), function="sigmoid"),
        rate=torch.full((mixer.heads,), -math.exp(-0.5)),
        learning=low_rank("a", bias=mixer.a0.flatten(), function="sigmoid"),
        removal=mixer.k_k,
        replacement=mixer.k_a,
        own=mixer.r_k,
        relays=mixer.first,
        residual=None if mixer.first else low_rank("v", bias=mixer.v0.flatten(), function="sigmoid"),
        norm=mixer.ln_x.weight,
        norm_bias=mixer.ln_x.bias,
        norm_groups=mixer.heads,
        norm_eps=mixer.eps,
    )


class _Projections(list[DecodedProjection]):
    """Projections in their order."""

    def add(self, weight: Tensor, **options: Any) -> int:
        """One more; the place of its first number."""
        place = sum(len(one.weight) for one in self)
        self.append(DecodedProjection(weight=weight, **options))
        return place


def _convolution(first: int, convolution: ShortConvolution) -> DecodedConvolution:
    return DecodedConvolution(first, convolution.weight[:, 0].mT, convolution.bias)


def _places(widths: list[int]) -> list[int]:
    """Where each part begins."""
    return [sum(widths[:part]) for part in range(len(widths))]


class _Known(NamedTuple):
    """How a mixer is told to the compiled step, and what its state is there."""

    mixer: Callable[[Any], DecodedMixer]
    parts: Callable[[Any], BlockState]


MIXERS: dict[type, _Known] = {
    LinearAttention: _Known(_linear, lambda state: BlockState(state.memory)),
    NormAttention: _Known(_norm_attention, lambda state: BlockState(state.memory)),
    Performer: _Known(_performer, lambda state: BlockState(state.memory, peak=state.peak, draw=state.draw)),
    RetNet: _Known(_retnet, lambda state: BlockState(state.memory, (), state.position)),
    Mamba2: _Known(_mamba2, lambda state: BlockState(state.memory, (state.inputs,))),
    Mamba: _Known(_mamba, lambda state: BlockState(state.memory, (state.inputs,))),
    GatedDeltaNet: _Known(_gated_delta, lambda state: BlockState(state.memory, (state.q, state.k, state.v))),
    RWKV6: _Known(_rwkv6, lambda state: BlockState(state.memory, shift=state.shift)),
    RWKV7: _Known(_rwkv7, lambda state: BlockState(state.memory, shift=state.shift)),
}
"""By exact type: a subclass may compute something else."""
