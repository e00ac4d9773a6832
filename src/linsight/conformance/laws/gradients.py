"""Laws of gradients: every form has the same, nothing detaches, and finite differences agree."""

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from linsight.conformance.adapter import Adapter
from linsight.conformance.law import law
from linsight.conformance.needs import double, piecewise
from linsight.conformance.runs import after
from linsight.conformance.runs import gradients as gradients_of
from linsight.conformance.subject import Subject
from linsight.conformance.tolerances import GRADIENTS
from linsight.conformance.trial import Trial

__all__ = ["carried_gradients", "gradcheck", "gradients", "state_gradients"]

LOSSES = ("outputs", "state", "both")


@law(
    statement="All forms have the gradients of the first, for x, every parameter and the initial state, "
    "with a loss on the outputs, on the final state and on both; and float32 has those of float64.",
    reason="Training uses one form and evaluation another; what is trained is the function both compute.",
    breach="A term missing from a written-out backward: training goes somewhere else, slowly, unseen.",
    inputs="Two rows of 7 and C + 1 normal tokens from a state; every form in float64, and the last in "
    "float32.",
    tolerance="GRADIENTS: sums in two orders through one derivative, 1e-9 in float64, 1e-3 in float32, "
    "relative to each gradient's own RMS, but not below a millionth of the largest.",
)
def gradients(subject: Subject, trial: Trial) -> None:
    """Compare the gradients of every form with the first form's in the most precise dtype."""
    adapter = subject.build()
    for length in (7,) if trial.quick else (7, adapter.chunk + 1):
        x, state = trial.tokens(adapter, 2, length), None
        if adapter.pieces == "any":
            state = after(adapter, trial.tokens(adapter, 2, 5))
        for loss in LOSSES if adapter.pieces == "any" else LOSSES[:1]:
            with trial.saying(f"{length} tokens, loss on {loss}"):
                _all_forms(subject, adapter, trial, x, state, loss)


@law(
    statement="The gradient through a carried state is the whole run's: truncated calls without detaching "
    "truncate nothing.",
    reason="The state is a differentiable function of all tokens before it.",
    breach="Backpropagation through time stops at call boundaries, and long dependencies are never learned.",
    inputs="Two rows in pieces of 1 + 1 + 1, 3 + 1 + 9 and C + 6 from a state; every form; loss on the "
    "outputs, on the final state, on both.",
    tolerance="GRADIENTS: sums in two orders through one derivative, 1e-9 in float64, 1e-3 in float32.",
    needs=(piecewise,),
)
def carried_gradients(subject: Subject, trial: Trial) -> None:
    """Compare gradients in pieces with the whole's."""
    adapter = subject.build()
    for form in adapter.in_each_form():
        for sizes in ((3, 1, 9),) if trial.quick else ((1, 1, 1), (3, 1, 9), (adapter.chunk, 6)):
            x = trial.tokens(adapter, 2, sum(sizes))
            state = after(adapter, trial.tokens(adapter, 2, 5))
            for loss in LOSSES:
                with trial.saying(form), trial.saying(f"pieces {sizes}, loss on {loss}"):
                    want = gradients_of(adapter, x, state, loss)
                    _agree(
                        trial, gradients_of(adapter, x, state, loss, sizes), want, GRADIENTS[adapter.dtype]
                    )


@law(
    statement="The outputs have a gradient in every real number of the initial state, in every form.",
    reason="A state that outputs do not depend on is no state; a learned initial state needs the gradient.",
    breach="One form begins anew at every call without anybody noticing.",
    inputs="Two rows of 9 normal tokens from the state after 5.",
    tolerance="Above 1e-9 for each tensor of the state: a form that ignores it has exactly 0.",
    needs=(piecewise,),
)
def state_gradients(subject: Subject, trial: Trial) -> None:
    """Look for a gradient."""
    adapter = subject.build()
    x, state = trial.tokens(adapter, 2, 9), after(adapter, trial.tokens(adapter, 2, 5))
    for form in adapter.in_each_form():
        found = gradients_of(adapter, x, state)
        given = {name: value for name, value in found.items() if name.startswith("initial state")}
        with trial.saying(form):
            trial.holds(bool(given), "the state holds no real number")
            for name, value in given.items():
                trial.holds(value.abs().max().item() > 1e-9, f"the outputs do not depend on the {name}")


@law(
    statement="Autograd agrees with finite differences, in every form, for x, state and parameters.",
    reason="The definition of a derivative.",
    breach="A wrong backward that every form shares: nothing else shows it.",
    inputs="Two rows of 3 normal tokens from a state, whole and with lengths 3 and 1, in float64, along a "
    "random direction (torch.autograd.gradcheck, fast mode).",
    tolerance="gradcheck's: 1e-5 absolute and 1e-3 relative at steps of 1e-6, the truncation error of a "
    "difference of smooth functions being 1e-12.",
    needs=(double,),
    quick=False,
)
def gradcheck(subject: Subject, trial: Trial) -> None:
    """Ask torch."""
    adapter = subject.build(torch.float64)
    x, state = trial.tokens(adapter, 2, 3), None
    if adapter.pieces == "any":
        state = after(adapter, trial.tokens(adapter, 2, 2))
    for form in adapter.in_each_form():
        for lengths in (None, torch.tensor([3, 1])) if adapter.takes_lengths else (None,):
            with trial.saying(form), trial.saying("" if lengths is None else "padded"):
                _differences_agree(adapter, trial, x, state, lengths)


def _all_forms(subject: Subject, adapter: Adapter, trial: Trial, x: Tensor, state, loss: str) -> None:
    want = None
    for form in adapter.in_each_form():
        got = gradients_of(adapter, x, state, loss)
        with trial.saying(form):
            for name, gradient in got.items():
                trial.finite(gradient, f"gradient of {name}")
            want = got if want is None else want
            _agree(trial, got, want, GRADIENTS[adapter.dtype])
    if want is not None and adapter.dtype == torch.float64:
        for single in subject.in_dtypes(torch.float32):
            narrowed = None if state is None else single.map_state(_narrow, state)
            got = gradients_of(single, x.float(), narrowed, loss)
            with trial.saying("in float32"):
                _agree(trial, {name: g.double() for name, g in got.items()}, want, GRADIENTS[torch.float32])


def _agree(trial: Trial, got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float) -> None:
    """Each gradient relative to its own size, or to a millionth of the largest where that is more."""
    trial.holds(got.keys() == want.keys(), f"gradients of {sorted(got)} where {sorted(want)} were expected")
    sizes = {name: gradient.double().square().mean().sqrt().item() for name, gradient in want.items()}
    floor = 1e-6 * max(sizes.values())
    for name, gradient in want.items():
        if sizes[name] > floor:
            trial.close(got[name], gradient, tolerance, f"gradient of {name}")
        else:
            error = (got[name] - gradient).double().square().mean().sqrt().item()
            trial.below(error, max(tolerance * floor * 1e6, tolerance), f"gradient of {name}, nearly 0")


def _differences_agree(adapter: Adapter, trial: Trial, x: Tensor, state, lengths) -> None:
    names, parameters = zip(*adapter.named_parameters(), strict=True)
    leaf = x.clone().requires_grad_()
    tensors: list[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        copy = tensor.detach().clone()
        tensors.append(copy.requires_grad_() if copy.is_floating_point() else copy)
        return tensor

    adapter.map_state(collect, state)

    def call(x: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        rest = iter(given)
        begun = None if state is None else adapter.map_state(lambda _: next(rest), state)
        weights = dict(zip(names, given[len(tensors) :], strict=True))
        y, final = torch.func.functional_call(adapter, weights, (x, begun, lengths))
        return (y, *(t for t in adapter.tensors(final).values() if t.is_floating_point()))

    try:
        torch.autograd.gradcheck(call, (leaf, *tensors, *parameters), fast_mode=True)
    except GradcheckError as error:
        trial.holds(False, " ".join(str(error).split())[:200])


def _narrow(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
