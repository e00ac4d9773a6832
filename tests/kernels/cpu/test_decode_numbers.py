"""The compiled step where numbers are very large, very small or nearly equal."""

import copy

import pytest
import torch
from decode_cases import CLOSE, assert_follows, error, mixers_of, own_step, tokens_model

from linsight import kernels
from linsight.models.sequence import Steps

LEVELS = kernels.cpu.levels()
pytestmark = pytest.mark.skipif(not LEVELS, reason=f"no library: {kernels.cpu.why_not()}")


@pytest.mark.parametrize("level", LEVELS)
def test_the_softplus_of_steps_is_exact_at_every_size(level: str) -> None:
    """Steps from e^-60 to 200: what a scan writes into an empty state, times B x, is the step itself."""
    x = torch.cat([torch.linspace(-60, 60, 499), torch.tensor([200.0])])
    channels = len(x)
    model = tokens_model(kind="mamba", dim=channels // 2, states=1, step_rank=1, layers=1, previous=0)
    mixer = mixers_of(model)[0]
    for parameter, value in (
        (mixer.in_proj.weight, 0.0),
        (mixer.conv1d.weight, 0.0),
        (mixer.conv1d.bias, 1e3),
    ):
        parameter.data.fill_(value)
    mixer.x_proj.weight.data.zero_()[1, 0] = 1.0
    mixer.dt_proj.weight.data.zero_()
    mixer.dt_proj.bias.data.copy_(x)
    with kernels.cpu.at_level(level):
        _, state = Steps(model)(torch.tensor([1]))
    found = state.layers[0].memory.flatten().double() / 1e6
    exact = torch.nn.functional.softplus(x.double(), threshold=1000)
    assert ((found - exact).abs() / exact).max() < 4e-7


@pytest.mark.parametrize("level", LEVELS)
def test_the_tangent_of_projections_is_exact_at_every_size(level: str) -> None:
    """Of 1e-9 to 30: by the share of the token before, here all there is of a key, into an empty state."""
    x = torch.cat([torch.linspace(-2, 2, 201), torch.logspace(-9, 1.5, 99)])
    dim = len(x)
    model = tokens_model(kind="rwkv6", dim=dim, heads=dim, mix_rank=dim, layers=1, previous=0, outputs=1)
    mixer = mixers_of(model)[0]
    for parameter in (*model.embedding.parameters(), mixer.time_maa_w1):
        parameter.data.zero_()
    mixer.time_maa_w1.data[:, dim : 2 * dim] = x.diag()
    for matrix in (mixer.time_maa_w2.data[1], mixer.key.weight.data, mixer.value.weight.data):
        matrix.copy_(torch.eye(dim))
    for share, value in ((mixer.time_maa_x, 1), (mixer.time_maa_k, 0), (mixer.time_maa_v, 1)):
        share.data.fill_(value)
    mixer.time_maa_w2.data[2] = 0
    with kernels.cpu.at_level(level):
        steps = Steps(model)
        _, state = steps(torch.tensor([1]))
        state.layers[0].shift.fill_(1)
        state.layers[0].memory.zero_()
        _, state = steps(torch.tensor([1]), state)
    found, exact = state.layers[0].memory.flatten().double(), x.double().tanh()
    assert ((found - exact).abs() / exact.abs().clamp(min=1e-30)).max() < 4e-7


@pytest.mark.parametrize("kernel", ["exp", "hyperbolic", "relu"])
def test_random_features_of_any_size_are_relative_to_the_largest(kernel: str) -> None:
    """Of e^-50 and less at first: the largest key rises again and again, or makes all others fade."""
    model = tokens_model(kind="performer", heads=2, layers=1, kernel=kernel)
    mixers_of(model)[0].qkv.weight.data.mul_(15)
    tokens = torch.randint(7, (51, 6))
    _, state = own_step(model, tokens[:, 0], None)
    assert kernel == "relu" or state.layers[0].peak.min() < -50
    assert_follows(model, tokens)


def test_large_activations_saturate_as_the_model_does() -> None:
    """Gates and features far beyond where an exponential of float32 ends, on both sides."""
    model = tokens_model(layers=1)
    for name, parameter in model.named_parameters():
        parameter.data.mul_({"gate_value": 300.0, "qkv": 100.0}.get(name.split(".")[-2], 1.0))
    assert_follows(model, torch.randint(7, (9, 2)))


@pytest.mark.parametrize("level", LEVELS)
def test_fading_states_cost_no_denormal_numbers(level: str) -> None:
    """They are 0 inside, and the processor's mode is put back."""
    model = tokens_model()
    with kernels.cpu.at_level(level):
        steps = Steps(model)
        _, state = steps(torch.tensor([1]))
        state.layers[0].memory.fill_(1e-40)
        logits, _ = steps(torch.tensor([1]), state)
    assert logits.isfinite().all()
    assert (torch.tensor([1e-40]) * 0.5).item() > 0


def test_small_features_of_elu_keep_their_digits() -> None:
    """Of 1e-4 and less, where e^x - 1 as a difference keeps four."""
    model = tokens_model(kind="norm_attention", heads=2, variant="t1", layers=1)
    mixers_of(model)[0].qkv.weight.data.mul_(1e-4)
    assert_follows(model, torch.randint(7, (9, 3)))


def test_a_key_of_zero_removes_nothing() -> None:
    """A head's, which has no direction; to make it of length 1 is not to divide by 0."""
    model = tokens_model(kind="rwkv7", heads=2)
    mixers_of(model)[1].key.weight.data[:10] = 0
    assert_follows(model, torch.randint(7, (9, 3)))


@pytest.mark.parametrize("level", LEVELS)
def test_a_query_that_meets_only_keys_that_faded_reads_zero(level: str) -> None:
    """Keys e^-1000 times as large as the largest so far, of which nothing is left either."""
    model, tokens = tokens_model(kind="performer", heads=2, layers=1), torch.tensor([1, 2])
    with kernels.cpu.at_level(level):
        steps = Steps(model)
        _, state = steps(tokens)
        state.layers[0].memory.zero_()
        state.layers[0].peak.fill_(1000)
        expected, _ = own_step(model, tokens, copy.deepcopy(state))
        logits, state = steps(tokens, state)
    assert error(logits, expected) < CLOSE
    assert not state.layers[0].memory.any()
