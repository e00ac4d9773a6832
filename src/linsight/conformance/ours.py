"""The subjects of our own: every mixer in the variants that matter, and the ops they stand on."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch

from linsight import mixers, ops
from linsight.conformance.formed import Attention
from linsight.conformance.subject import Subject, kind_subject
from linsight.nn import orthogonal_gaussian

__all__ = ["our_subjects", "small_options"]

SMALL: dict[str, dict[str, Any]] = {
    "local": {"heads": 2, "window": 10},
    "strided": {"heads": 2, "stride": 9},
    "fixed": {"heads": 2, "stride": 10, "columns": 2},
    "reformer": {"heads": 2, "rounds": 3, "buckets": 2, "size": 6},
    "diag_attention": {"heads": 2, "block": 16},
    "gau": {"key_dim": 4, "chunk": 6},
    "flash": {"key_dim": 4, "chunk": 6},
    "bidirectional": {"mixer": mixers.config("linear", heads=2)},
    "hippo": {"order": 6, "memories": 2},
    "lru": {},
    "s4": {"states": 8},
    "s4d": {"states": 8},
    "mamba": {"states": 5},
    "mamba2": {"states": 5, "head_dim": 4, "groups": 2},
}
"""Options that make a kind fit tokens of width 8 and put many blocks into a short sequence, where two heads
alone do not."""

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "linear": [
        *({"feature_map": name} for name in ("relu", "relu2", "identity", "softmax", "taylor2", "dpfp")),
        {"normalise": False},
    ],
    "softmax": [{"positions": "rotary"}],
    "local": [{"positions": "rotary"}],
    "strided": [{"combine": "heads"}],
    "fixed": [{"combine": "heads"}, {"positions": "rotary"}],
    "norm_attention": [{"variant": "t1"}],
    "performer": [{"kernel": "hyperbolic"}, {"kernel": "relu"}],
    "diag_attention": [{"variant": "t1"}],
    "gau": [{"kernel": "laplace"}, {"norm": "position"}],
    "flash": [{"kernel": "laplace"}],
    "bidirectional": [{"shared": True}],
    "hippo": [{"discretisation": "zoh"}],
    "s4d": [{"init": "legs", "discretisation": "bilinear"}, {"init": "real"}],
    "gated_delta": [{"allow_neg_eigval": True}],
    "mamba2": [{"norm_before_gate": True, "groups": 1}],
}
"""Options of a kind, beside its default, that compute something else."""

STEPS: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "s4d": lambda A, dt: ops.discretise_diagonal(A, torch.tensor(dt))[0].exp()
}
"""How a kind takes a diagonal system into steps."""

FEATURES: dict[str, Callable[[], torch.Tensor]] = {"performer": partial(orthogonal_gaussian, 20, 8)}
"""Random features that a kind draws."""

Decay = Literal["head", "token", "feature"]
UNDIVIDED = {"scale": "sums that are not divided by their weights grow with the number of tokens"}

FORMS = ("naive", "parallel", "chunk", "recurrent")
DECAYS: tuple[Decay | None, ...] = (None, "head", "token", "feature")


def our_subjects() -> dict[str, Subject]:
    """Name -> subject, for every registered kind, causal and bidirectional, and for the ops."""
    subjects = [
        _of_kind(kind, options, causal=causal)
        for kind in mixers.kinds()
        for options in ({}, *VARIANTS.get(kind, []))
        for causal in mixers.config(kind).directions
    ]
    subjects += [_linear_attention(decay) for decay in DECAYS]
    subjects += [_delta_rule(decay) for decay in DECAYS if decay != "head"]
    return {subject.name: subject for subject in subjects}


def small_options(kind: str) -> dict[str, Any]:
    """The options with which a kind of mixer is put under the laws, beside those it is told."""
    return dict(SMALL.get(kind, {"heads": 2}))


def _of_kind(kind: str, options: dict[str, Any], *, causal: bool) -> Subject:
    small, unpromised = small_options(kind), _unpromised(options)
    subject = kind_subject(kind, causal=causal, unpromised=unpromised, small=small, **options)
    return replace(subject, features=FEATURES.get(kind), discretise=STEPS.get(kind))


def _unpromised(options: dict[str, Any]) -> dict[str, str]:
    divided = options.get("normalise", True) and options.get("feature_map") != "identity"
    return {} if divided else UNDIVIDED


def _linear_attention(decay: Decay | None) -> Subject:
    functions = {form: partial(ops.linear_attention, form=form) for form in FORMS}
    words = "without decay" if decay is None else f"with a decay by {decay}"
    return Subject(f"ops.linear_attention {words}", lambda: Attention(functions, decay=decay))


def _delta_rule(decay: Decay | None) -> Subject:
    functions = {form: partial(_corrected, form) for form in FORMS if form != "parallel"}
    words = "without decay" if decay is None else f"with a decay by {decay}"
    return Subject(f"ops.delta_rule {words}", lambda: Attention(functions, decay=decay))


def _corrected(form, q, k, v, log_decay=None, *, initial_state=None):
    beta = k.mean(-1).sigmoid()
    k = torch.nn.functional.normalize(k, dim=-1)
    return ops.delta_rule(q, k, v, beta, log_decay, initial_state=initial_state, form=form)
