"""The subjects of our own: every mixer in the variants that matter, and the ops they stand on."""

from functools import partial
from typing import Any, Literal

from linsight import mixers, ops
from linsight.conformance.formed import Attention
from linsight.conformance.subject import Subject, kind_subject

__all__ = ["our_subjects"]

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "linear": [
        *({"feature_map": name} for name in ("relu", "relu2", "identity", "softmax", "taylor2", "dpfp")),
        {"normalise": False},
    ],
    "softmax": [{"positions": "rotary"}],
}
"""Options of a kind, beside its default, that compute something else."""

Decay = Literal["head", "token", "feature"]
UNDIVIDED = {"scale": "sums that are not divided by their weights grow with the number of tokens"}

FORMS = ("naive", "parallel", "chunk", "recurrent")
DECAYS: tuple[Decay | None, ...] = (None, "head", "token", "feature")


def our_subjects() -> dict[str, Subject]:
    """Name -> subject, for every registered kind, causal and bidirectional, and for the ops."""
    subjects = [
        kind_subject(kind, heads=2, causal=causal, unpromised=_unpromised(options), **options)
        for kind in mixers.kinds()
        for options in ({}, *VARIANTS.get(kind, []))
        for causal in (True, False)
    ]
    subjects += [_linear_attention(decay) for decay in DECAYS]
    return {subject.name: subject for subject in subjects}


def _unpromised(options: dict[str, Any]) -> dict[str, str]:
    divided = options.get("normalise", True) and options.get("feature_map") != "identity"
    return {} if divided else UNDIVIDED


def _linear_attention(decay: Decay | None) -> Subject:
    functions = {form: partial(ops.linear_attention, form=form) for form in FORMS}
    words = "without decay" if decay is None else f"with a decay by {decay}"
    return Subject(f"ops.linear_attention {words}", lambda: Attention(functions, decay=decay))
