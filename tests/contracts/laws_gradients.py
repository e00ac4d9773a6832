"""Law 9 of the mixer contract, gradients: of x, parameters and initial state (spec/mixers.md, section 2)."""

from collections.abc import Sequence

import torch
from laws import Contract, State, assert_close, in_form, in_pieces
from torch import Tensor


def weighted(tensors: Sequence[Tensor]) -> Tensor:
    """A generic linear loss: fixed random weights on every real number of `tensors`."""
    generator = torch.Generator().manual_seed(11)
    total = torch.zeros((), dtype=torch.float64)
    for tensor in tensors:
        if tensor.is_floating_point():
            weight = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            total = total + (tensor.double() * weight).sum()
    return total


def with_gradient(state: State) -> State:
    """A copy of `state` whose real tensors are leaves that ask for a gradient."""
    leaves = (tensor.detach().clone() for tensor in state)
    return type(state)(*(leaf.requires_grad_() if leaf.is_floating_point() else leaf for leaf in leaves))


def gradients(
    mixer: Contract, x: Tensor, state: State, loss_on: str, sizes: Sequence[int] | None = None
) -> dict[str, Tensor]:
    """Gradients of a loss on the outputs, the final state or both, by name; 0 where nothing arrives."""
    leaf, initial = x.clone().requires_grad_(), with_gradient(state)
    y, final = in_pieces(mixer, leaf, sizes or [x.shape[1]], initial)
    loss = weighted({"outputs": [y], "state": list(final), "both": [y, *final]}[loss_on])
    sources = {"x": leaf, **dict(mixer.named_parameters())}
    for index, tensor in enumerate(initial):
        if tensor.is_floating_point():
            sources[f"initial state tensor {index}"] = tensor
    found = torch.autograd.grad(loss, list(sources.values()), allow_unused=True)
    return {
        name: torch.zeros_like(source) if grad is None else grad
        for (name, source), grad in zip(sources.items(), found, strict=True)
    }


def assert_gradients(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float, what: str) -> None:
    """Every gradient agrees, each relative to its own size but not below 1e-6 of the largest."""
    assert got.keys() == want.keys()
    floor = 1e-6 * max(grad.double().square().mean().sqrt().item() for grad in want.values())
    for name in want:
        assert torch.isfinite(want[name]).all(), f"{what}: the gradient of {name} is not finite"
        if want[name].double().square().mean().sqrt() > floor:
            assert_close(got[name], want[name], tolerance, f"{what}: gradient of {name}")
        else:
            error = (got[name] - want[name]).abs().max().item()
            assert error <= max(tolerance * floor / 1e-6, tolerance), (
                f"{what}: gradient of {name} off by {error:.3g}"
            )


def form_gradient_law(mixer: Contract, x: Tensor, state: State, tolerance: float) -> None:
    """All forms have the naive form's gradients, for a loss on outputs, on the final state and on both."""
    for loss_on in ("outputs", "state", "both"):
        with in_form(mixer, "naive"):
            want = gradients(mixer, x, state, loss_on)
        for form in mixer.forms:
            with in_form(mixer, form):
                assert_gradients(
                    gradients(mixer, x, state, loss_on), want, tolerance, f"form {form}, loss on {loss_on}"
                )


def carried_gradient_law(
    mixer: Contract, x: Tensor, state: State, sizes: Sequence[int], tolerance: float
) -> None:
    """The gradient through a carried state is the whole run's: nothing detaches."""
    for loss_on in ("outputs", "state", "both"):
        want = gradients(mixer, x, state, loss_on)
        got = gradients(mixer, x, state, loss_on, sizes)
        assert_gradients(got, want, tolerance, f"pieces {tuple(sizes)}, loss on {loss_on}")


def initial_state_matters_law(mixer: Contract, x: Tensor, state: State) -> None:
    """The outputs have a gradient in the initial state: it is used, in every form."""
    for form in mixer.forms:
        with in_form(mixer, form):
            found = gradients(mixer, x, state, "outputs")
        given = [grad for name, grad in found.items() if name.startswith("initial state")]
        assert given, "the state holds no real number"
        smallest = min(grad.abs().max().item() for grad in given)
        assert smallest > 1e-9, f"form {form} ignores its initial state"


def gradcheck_law(mixer: Contract, x: Tensor, state: State, lengths: Tensor | None) -> None:
    """Autograd agrees with finite differences in float64, in every form (along random directions)."""
    leaf, initial = x.clone().requires_grad_(), with_gradient(state)
    names = [name for name, _ in mixer.named_parameters()]

    def call(x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = type(state)(*tensors[: len(state)])
        y, final = torch.func.functional_call(
            mixer, dict(zip(names, tensors[len(state) :], strict=True)), (x, given, lengths)
        )
        return (y, *(tensor for tensor in final if tensor.is_floating_point()))

    for form in mixer.forms:
        with in_form(mixer, form):
            assert torch.autograd.gradcheck(call, (leaf, *initial, *mixer.parameters()), fast_mode=True)
