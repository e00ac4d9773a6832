"""What a law can ask for: reasons why it says nothing about a module that lacks it."""

from typing import Any

import torch

from linsight.conformance.adapter import Adapter

__all__ = [
    "causal",
    "counts_tokens",
    "decays",
    "discretises",
    "double",
    "draws_features",
    "empty_state",
    "fixed_state",
    "forms",
    "half",
    "lengths",
    "long_rows",
    "mistakes",
    "options",
    "piecewise",
    "said_size",
    "state",
]


def causal(adapter: Adapter, subject: Any) -> str | None:
    """Outputs that see no later token."""
    return None if adapter.causal else "it is bidirectional"


def state(adapter: Adapter, subject: Any) -> str | None:
    """A state that calls hand over."""
    return "it has no state" if adapter.pieces == "none" else None


def empty_state(adapter: Adapter, subject: Any) -> str | None:
    """A state to begin decoding with."""
    return state(adapter, subject) or (None if adapter.starts_empty else "it has no state to begin with")


def piecewise(adapter: Adapter, subject: Any) -> str | None:
    """Calls of any length that continue a state."""
    why = state(adapter, subject)
    return why or (None if adapter.pieces == "any" else "its state is continued by single tokens alone")


def fixed_state(adapter: Adapter, subject: Any) -> str | None:
    """A state that adds up rather than keeps tokens."""
    return state(adapter, subject) or (
        "a cache keeps tokens and adds nothing up" if adapter.state_grows else None
    )


def said_size(adapter: Adapter, subject: Any) -> str | None:
    """A module that says how large its state is."""
    why = state(adapter, subject)
    return why or ("it does not say how large its state is" if adapter.state_size(1) is None else None)


def lengths(adapter: Adapter, subject: Any) -> str | None:
    """Padded rows."""
    return None if adapter.takes_lengths else "it takes no padded rows"


def forms(adapter: Adapter, subject: Any) -> str | None:
    """More than one way to compute the same."""
    return None if len(adapter.forms) > 1 else "it has one form"


def double(adapter: Adapter, subject: Any) -> str | None:
    """float64."""
    return None if torch.float64 in adapter.dtypes else "it does not compute in float64"


def half(adapter: Adapter, subject: Any) -> str | None:
    """bfloat16."""
    return None if torch.bfloat16 in adapter.dtypes else "it does not compute in bfloat16"


def decays(adapter: Adapter, subject: Any) -> str | None:
    """Decays that can be set."""
    return None if adapter.decay else "its decays cannot be set from outside"


def counts_tokens(adapter: Adapter, subject: Any) -> str | None:
    """A state that adds up, in bfloat16."""
    return long_rows(adapter, subject) or half(adapter, subject)


def long_rows(adapter: Adapter, subject: Any) -> str | None:
    """A state that adds up over rows of any length."""
    return fixed_state(adapter, subject) or piecewise(adapter, subject)


def draws_features(adapter: Adapter, subject: Any) -> str | None:
    """A matrix of random features."""
    return None if subject.features else "it draws no random features"


def discretises(adapter: Adapter, subject: Any) -> str | None:
    """A continuous system turned into steps."""
    return None if subject.discretise else "it discretises nothing"


def options(adapter: Adapter, subject: Any) -> str | None:
    """Options named by the subject."""
    return None if subject.options else "no option was named"


def mistakes(adapter: Adapter, subject: Any) -> str | None:
    """Mistakes named by the subject."""
    return None if subject.mistakes else "no mistake was named"
