"""Every registered mixer's gradients (spec/mixers.md, section 2: 9)."""

import laws
import laws_gradients
import pytest
import torch


@pytest.mark.parametrize("length", [1, 7, 65])
def test_all_forms_have_the_gradients_of_naive(case, signal, length):
    mixer = case()
    laws_gradients.form_gradient_law(mixer, signal(2, length), case.started(mixer, 2), 1e-9)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 1, 9), (64, 6)], ids=str)
def test_the_gradient_through_a_carried_state_is_the_whole_runs(case, signal, sizes):
    mixer = case()
    for form in mixer.forms:
        with laws.in_form(mixer, form):
            laws_gradients.carried_gradient_law(
                mixer, signal(2, sum(sizes)), case.started(mixer, 2), sizes, 1e-9
            )


def test_the_initial_state_gets_a_gradient_in_every_form(case, signal):
    mixer = case()
    laws_gradients.initial_state_matters_law(mixer, signal(2, 9), case.started(mixer, 2))


@pytest.mark.parametrize("lengths", [None, (3, 1)], ids=["whole", "padded"])
def test_gradients_agree_with_finite_differences(case, signal, lengths):
    mixer = case(dim=4)
    given = None if lengths is None else torch.tensor(lengths)
    laws_gradients.gradcheck_law(mixer, signal(2, 3, 4), case.started(mixer, 2, 2), given)


def test_every_parameter_gets_a_finite_gradient(case, signal):
    for causal in (True, False):
        mixer = case(causal=causal)
        mixer(signal(2, 9))[0].square().sum().backward()
        for name, parameter in mixer.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.any(), name


@pytest.mark.parametrize("scale", [0.0, 1e-6, 30.0], ids=["zeros", "tiny", "large"])
def test_extreme_inputs_keep_outputs_and_gradients_finite(case, signal, scale):
    """All-zero features, vanishing and large ones: 0 / 0 and overflow have no place."""
    mixer = case(torch.float32)
    for form in mixer.forms:
        with laws.in_form(mixer, form):
            x = (scale * signal(2, 20).float()).requires_grad_()
            y, _ = mixer(x)
            y.square().sum().backward()
            assert torch.isfinite(y).all()
            assert torch.isfinite(x.grad).all()
            assert all(torch.isfinite(parameter.grad).all() for parameter in mixer.parameters())
