"""Models that have a compiled step, and how closely it follows them."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from linsight import kernels
from linsight.mixers import config
from linsight.models.sequence import (
    RasterEmbedding,
    SequenceConfig,
    SequenceModel,
    SequenceState,
    Steps,
    TokenEmbedding,
)

__all__ = [
    "CLOSE",
    "KINDS",
    "assert_follows",
    "awake",
    "error",
    "mixers_of",
    "own_step",
    "raster_model",
    "tokens_model",
    "walk",
]

CLOSE = 1e-6
"""Relative, of logits and states after some steps; where a small model magnifies its own rounding, as layer
norm does with three numbers, and similarities of relu near 0, three times what its own step is off."""

KINDS: dict[str, dict] = {
    "linear": {},
    "retnet": {"heads": 2},
    "mamba2": {"states": 5, "head_dim": 10, "groups": 2},
    "gated_delta": {"heads": 2},
    "mamba": {},
    "rwkv6": {"heads": 2},
    "rwkv7": {"heads": 2},
    "performer": {"heads": 2},
    "norm_attention": {"heads": 2},
}


def awake(model: SequenceModel) -> SequenceModel:
    """Every weight matters; a model's heads begin at 0."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
        else:
            nn.init.normal_(parameter, mean=0.5, std=0.2)
    return model.eval().requires_grad_(False)


def mixers_of(model: SequenceModel) -> tuple[Any, ...]:
    """Its mixers, whatever their kinds."""
    return model.stack.mixers


def tokens_model(
    *,
    dim=20,
    layers=2,
    mlp_dim=27,
    norm: Literal["layer", "rms"] = "layer",
    previous=2,
    outputs=9,
    kind="linear",
    **mixer,
) -> SequenceModel:
    """Nothing in it is a multiple of a register's width unless it is asked for."""
    mixers = (config(kind, **mixer),)
    sequence = SequenceConfig(dim=dim, layers=layers, mlp_dim=mlp_dim, mixers=mixers, norm=norm)
    embedding = TokenEmbedding(7, dim, max_length=12, previous=previous)
    return awake(SequenceModel(embedding, sequence, outputs))


def raster_model(**options) -> SequenceModel:
    """Grid of 3 x 4 cells, two steps after it, neighbours that lie outside at every edge."""
    sequence = SequenceConfig(dim=24, layers=2, mlp_dim=10, mixers=(config("linear", heads=3),))
    features = torch.randn(4, 3) if options.pop("features", True) else None
    neighbours = ((0, -1), (-1, 0), (-1, 1), (0, -2), (-2, 0))
    embedding = RasterEmbedding(
        4, 3, (3, 4), 24, neighbours=neighbours, features=features, extra_steps=2, **options
    )
    return awake(SequenceModel(embedding, sequence, 6, features=features))


def error(found: Tensor, expected: Tensor) -> float:
    """Relative; 0 where there is nothing."""
    wrong = (found.double() - expected).norm() / expected.double().norm()
    return float(wrong) if expected.numel() else 0.0


def walk(step: Callable, tokens: Tensor) -> tuple[list[Tensor], SequenceState]:
    """The logits of every step from the beginning, and the last state."""
    state, found = None, []
    for column in tokens.unbind(1):
        logits, state = step(column, state)
        found.append(logits)
    assert state is not None
    return found, state


def own_step(model: SequenceModel, token: Tensor, state: SequenceState | None) -> tuple:
    """The model's call of length 1."""
    logits, state = model(token[:, None], state)
    return logits[:, 0], state


@torch.no_grad()
def assert_follows(
    model: SequenceModel, tokens: Tensor, exact: SequenceModel | None = None, **options
) -> None:
    """All steps at every level: logits, states and contexts are those of `exact` in float64."""
    eager, exact = exact or model, copy.deepcopy(exact or model).double()
    (expected, after), (rounded, own) = (walk(partial(own_step, one), tokens) for one in (exact, eager))
    for level in kernels.cpu.levels():
        with kernels.cpu.at_level(level):
            steps = Steps(model, **options)
            assert steps.reason is None
            found, state = walk(steps, tokens)
        for one, other, third in zip(found, expected, rounded, strict=True):
            assert error(one, other) <= max(CLOSE, 3 * error(third, other))
        for layer in zip(state.layers, after.layers, own.layers, strict=True):
            for one, other, third in zip(*layer, strict=True):
                assert error(one, other) <= max(CLOSE, 3 * error(third, other))
        assert all(torch.equal(one, other) for one, other in zip(state.context, after.context, strict=True))
