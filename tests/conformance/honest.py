"""The honest mixers under their names, with the parts and options of each that laws can test."""

import torch
from honest_attention import Honest, Stabilised, orthogonal_features
from honest_recurrent import Convolved, Decayed
from torch import Tensor

from linsight.conformance import Subject


def discretise(modes: Tensor, step: float) -> Tensor:
    """The bilinear step of a diagonal system: (1 + step A / 2) / (1 - step A / 2)."""
    return (1 + step * modes / 2) / (1 - step * modes / 2)


MISTAKES = {
    "x": lambda mixer: mixer(torch.ones(2, 3, mixer.dim + 1)),
    "state": lambda mixer: mixer(torch.ones(2, 3, mixer.dim), mixer.initial_state(1)),
    "lengths": lambda mixer: mixer(torch.ones(2, 3, mixer.dim), None, torch.tensor([1])),
}


def mistakes(make):
    """What is refused, by the argument that the refusal must name."""
    return {name: lambda call=call: call(make()) for name, call in MISTAKES.items()}


HONEST = {
    subject.name: subject
    for subject in (
        Subject(
            "Honest", Honest, options={"frequency": lambda: Honest(frequency=0.1)}, mistakes=mistakes(Honest)
        ),
        Subject("Decayed", Decayed, mistakes=mistakes(Decayed)),
        Subject("Convolved", Convolved, discretise=discretise, mistakes=mistakes(Convolved)),
        Subject(
            "Stabilised",
            Stabilised,
            features=lambda: orthogonal_features(16, 8),
            mistakes=mistakes(Stabilised),
        ),
    )
}
