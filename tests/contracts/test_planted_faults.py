"""The laws themselves: an honest mixer passes each, and each catches the fault it is there for."""

from collections.abc import Callable

import faults
import laws
import laws_gradients
import laws_lengths
import poison
import pytest
import torch
from laws import Contract
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

DIM = 4
LENGTHS = torch.tensor([9, 4, 0, 1])
RAGGED = [torch.tensor(sizes) for sizes in ((3, 1, 2), (1, 0, 1), (2, 4, 1))]


def signal(batch: int, length: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, length, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def started(mixer: Contract, batch: int) -> laws.State:
    with torch.no_grad():
        return mixer(signal(batch, 3, seed=1))[1]


def long_sum(mixer: Contract) -> None:
    with torch.no_grad():
        laws.accumulation_law(mixer, signal(1, 1)[0, 0], signal(1, 1, seed=2)[0, 0], half=600, tolerance=1e-3)


LAWS: dict[str, Callable[[Contract], None]] = {
    "split": lambda mixer: laws.split_law(mixer, signal(2, 9), (1, 3, 5), 1e-10),
    "forms": lambda mixer: laws.form_law(mixer, signal(2, 9), 1e-10, started(mixer, 2)),
    "causality": lambda mixer: laws.causality_law(mixer, signal(2, 9), 5),
    "prefix": lambda mixer: laws.prefix_law(mixer, signal(2, 9), 5, 1e-10),
    "memory": lambda mixer: laws.memory_law(mixer, signal(2, 9)),
    "batch": lambda mixer: laws.batch_law(mixer, signal(3, 8), 1e-10),
    "fork": lambda mixer: laws.fork_law(mixer, signal(2, 5)),
    "state": lambda mixer: laws.state_law(mixer, signal(2, 5), torch.float64),
    "size": lambda mixer: laws.size_law(mixer, signal(2, 70)),
    "accumulation": long_sum,
    "lengths": lambda mixer: laws_lengths.lengths_law(mixer, signal(4, 9), LENGTHS, 1e-10, started(mixer, 4)),
    "ragged": lambda mixer: laws_lengths.ragged_law(mixer, signal(3, 8), RAGGED, 1e-10),
    "padding gradient": lambda mixer: laws_lengths.padding_gradient_law(mixer, signal(4, 9), LENGTHS, 1e-9),
    "form gradients": lambda mixer: laws_gradients.form_gradient_law(
        mixer, signal(2, 5), started(mixer, 2), 1e-9
    ),
    "carried gradients": lambda mixer: laws_gradients.carried_gradient_law(
        mixer, signal(2, 6), started(mixer, 2), (2, 1, 3), 1e-9
    ),
    "state gradients": lambda mixer: laws_gradients.initial_state_matters_law(
        mixer, signal(2, 5), started(mixer, 2)
    ),
    "gradcheck": lambda mixer: laws_gradients.gradcheck_law(
        mixer, signal(2, 3), started(mixer, 2), torch.tensor([3, 1])
    ),
    "poison": lambda mixer: poison.poison_law(mixer, signal(4, 9), LENGTHS),
}

CAUGHT = [
    (faults.LeakyFuture, "causality"),
    (faults.LeakyFuture, "split"),
    (faults.LengthNormaliser, "prefix"),
    (faults.UnmaskedKey, "lengths"),
    (faults.MaskedValueOnly, "lengths"),
    (faults.MultipliedMask, "lengths"),
    (faults.MultipliedMask, "padding gradient"),
    (faults.PaddedGradient, "padding gradient"),
    (faults.StateAtTheEnd, "lengths"),
    (faults.StateAtTheEnd, "ragged"),
    (faults.LostPosition, "split"),
    (faults.LostPosition, "ragged"),
    (faults.SharedPosition, "ragged"),
    (faults.ReadBeforeWrite, "forms"),
    (faults.DeafForm, "forms"),
    (faults.DeafForm, "form gradients"),
    (faults.DeafForm, "state gradients"),
    (faults.SilentFallback, "forms"),
    (faults.HalfState, "state"),
    (faults.RoundedState, "accumulation"),
    (faults.RoundedState, "split"),
    (faults.InPlace, "fork"),
    (faults.Detached, "carried gradients"),
    (faults.BatchNormed, "batch"),
    (faults.Uninitialised, "poison"),
    (faults.Underweight, "size"),
    (faults.WrongBackward, "gradcheck"),
    (faults.Forgetful, "memory"),
]


@pytest.mark.parametrize("law", LAWS)
def test_an_honest_mixer_passes(law):
    LAWS[law](faults.Honest(DIM))


@pytest.mark.parametrize(("fault", "law"), CAUGHT, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_is_caught(fault, law):
    with pytest.raises((AssertionError, GradcheckError)):
        LAWS[law](fault(DIM))


def test_every_law_catches_something():
    assert set(LAWS) == {law for _, law in CAUGHT}


def test_a_fault_that_only_a_prefix_shows_is_missed_by_perturbation():
    """Why there are two causality laws."""
    LAWS["causality"](faults.LengthNormaliser(DIM))
