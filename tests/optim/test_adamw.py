"""AdamW: fused where legal and honest about it, its state matched by name or refused."""

import copy
import math
import subprocess
import sys

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

from linsight.optim import AdamWConfig, Rule, WarmupCosineConfig, implementation, param_groups


def network(width: int = 5) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, width), nn.LayerNorm(width), nn.Linear(width, 3))


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.eigenvalues = nn.Parameter(torch.ones(3, 2, dtype=torch.complex64))
        self.project = nn.Linear(3, 3)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range, scale: float = 1.0) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in model.parameters():
            size = scale * 10.0 ** (step % 5 - 2)
            parameter.grad = size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        optimizer.step()


def distance(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max((p - q).abs().max().item() for p, q in pairs)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_fused_and_loop_agree_after_200_steps(dtype: torch.dtype, tolerance: float):
    fused, loop = network().to(dtype), network().to(dtype)
    fast = AdamWConfig(lr=1e-3, weight_decay=0.1).build(fused)
    slow = AdamWConfig(lr=1e-3, weight_decay=0.1, fused=False).build(loop)
    train(fused, fast, range(200))
    train(loop, slow, range(200))
    assert implementation(fast) == "adamw: fused"
    assert implementation(slow) == "adamw: loop (fused=False)"
    assert distance(fused, network().to(dtype)) > 0.01
    assert distance(fused, loop) <= tolerance


def test_the_update_is_the_one_of_the_docstring():
    """200 steps in float64 against the equation, in plain Python numbers."""
    model = nn.Linear(1, 1, bias=False).double()
    optimizer = AdamWConfig(lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3).build(model)
    p, m, v = model.weight.item(), 0.0, 0.0
    for t in range(1, 201):
        g = math.sin(t) * 10.0 ** (t % 5 - 2)
        model.weight.grad = torch.full((1, 1), g, dtype=torch.float64)
        optimizer.step()
        p *= 1 - 0.02 * 0.3
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
        p -= 0.02 * m / (1 - 0.8**t) / (math.sqrt(v / (1 - 0.95**t)) + 1e-6)
        assert model.weight.item() == pytest.approx(p, abs=1e-13)


def test_one_complex_parameter_gives_a_working_loop_and_says_so():
    model = Complex()
    optimizer = AdamWConfig(lr=0.1).build(model)
    assert implementation(optimizer) == "adamw: loop (complex parameters)"
    before = model.eigenvalues.detach().clone()
    train(model, optimizer, range(1))
    assert not torch.equal(model.eigenvalues, before)
    with pytest.raises(ValueError, match="fused: not possible with complex parameters; use fused='auto'"):
        AdamWConfig(fused=True).build(Complex())


def test_bfloat16_parameters_are_fused():
    assert implementation(AdamWConfig().build(network().bfloat16())) == "adamw: fused"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"betas": (0.9, 1.0)}, r"betas: expected two numbers in \[0, 1\), got \(0\.9, 1\.0\)"),
        ({"betas": (-0.1, 0.9)}, "betas"),
        ({"eps": 0.0}, "eps: expected a finite number > 0, got 0"),
        ({"lr": -1.0}, "lr: expected a finite number >= 0, got -1"),
        ({"lr": 1.0, "weight_decay": 1.0}, "decay below 1 a step"),
        ({"lr": 0.0, "wd_mode": "paper"}, "lr: expected > 0 in wd_mode 'paper'"),
    ],
)
def test_bad_numbers_are_refused_before_there_is_a_model(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        AdamWConfig(**options)


def test_the_configuration_survives_json_and_refuses_unknown_keys():
    adapter = TypeAdapter(AdamWConfig)
    for fused in (True, False, "auto"):
        config = AdamWConfig(lr=3e-3, fused=fused, wd_mode="paper", rules=(Rule("head.*", lr_scale=0.5),))
        assert adapter.validate_json(adapter.dump_json(config), strict=True) == config
    with pytest.raises(ValidationError, match="weight_dacay"):
        adapter.validate_json('{"weight_dacay": 0.1}')
    with pytest.raises(ValidationError, match="lr_scael"):
        adapter.validate_json('{"rules": [{"pattern": "x", "lr_scael": 0.1}]}')


def state_after(config: AdamWConfig, model: nn.Module, steps: int) -> dict:
    optimizer = config.build(model)
    train(model, optimizer, range(steps))
    return optimizer.state_dict()


def test_a_run_resumed_from_its_state_is_bit_equal_to_the_undisturbed_one():
    config = AdamWConfig(lr=0.01, weight_decay=0.1)
    whole, first, second = network(), network(), network()
    state_after(config, whole, 9)
    state = state_after(config, first, 4)
    second.load_state_dict(first.state_dict())
    optimizer = config.build(second)
    optimizer.load_state_dict(state)
    train(second, optimizer, range(4, 9))
    assert distance(whole, second) == 0


def test_the_state_follows_the_names_when_modules_are_reordered():
    """torch matches by position, and here every position holds another tensor of the same shape."""

    def make(order: str) -> nn.ModuleDict:
        return nn.ModuleDict({name: nn.Linear(3, 3) for name in order})

    config, model, turned = AdamWConfig(), make("abc"), make("cab")
    state = state_after(config, model, 3)
    optimizer = config.build(turned)
    optimizer.load_state_dict(state)
    fresh = {id(p): n for n, p in turned.named_parameters()}
    saved = {
        n: state["state"][i]
        for g in state["param_groups"]
        for n, i in zip(g["param_names"], g["params"], strict=True)
    }
    assert len(optimizer.state) == 6
    for parameter, moments in optimizer.state.items():
        assert torch.equal(moments["exp_avg"], saved[fresh[id(parameter)]]["exp_avg"])
    for group in optimizer.param_groups:
        assert [fresh[id(p)] for p in group["params"]] == group["param_names"]


@pytest.mark.parametrize(
    ("config", "model", "message"),
    [
        (
            AdamWConfig(rules=(Rule("0.weight", weight_decay=0.0),)),
            network(),
            r"parameter '0\.weight' is in group 'no_decay', but was saved in group 'decay'",
        ),
        (
            AdamWConfig(rules=(Rule("2.*", lr_scale=0.5),)),
            network(),
            r"parameter '2\.weight' is in group 'decay_lr_x0\.5', but was saved in group 'decay'",
        ),
        (
            AdamWConfig(weight_decay=0.2),
            network(),
            r"group 'decay' has weight_decay 0\.2, but was saved with 0\.01",
        ),
        (
            AdamWConfig(betas=(0.9, 0.95)),
            network(),
            r"group 'decay' has betas \(0\.9, 0\.95\), but was saved with",
        ),
        (AdamWConfig(), network().append(nn.Linear(3, 2)), r"nothing was saved for parameter '3\.weight'"),
        (
            AdamWConfig(),
            network()[:2],
            r"saved parameter '2\.weight' \(group 'decay'\) is not optimised here",
        ),
        (AdamWConfig(), network(width=6), r"of parameter '0\.weight' was saved with shape \(5, 4\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_by_its_first_difference(
    config: AdamWConfig, model: nn.Module, message: str
):
    state = state_after(AdamWConfig(), network(), 2)
    optimizer = config.build(model)
    with pytest.raises(RuntimeError, match=message):
        optimizer.load_state_dict(state)


def test_a_state_without_names_is_refused():
    model = network()
    plain = torch.optim.AdamW(model.parameters()).state_dict()
    optimizer = AdamWConfig().build(model)
    with pytest.raises(RuntimeError, match="no parameter names, so it cannot be matched safely"):
        optimizer.load_state_dict(plain)


def test_another_learning_rate_at_factor_1_is_refused_and_another_implementation_is_kept():
    def build(lr: float, fused: bool) -> torch.optim.Optimizer:
        optimizer = AdamWConfig(lr=lr, fused=fused).build(network())
        WarmupCosineConfig().build(optimizer, 100)
        return optimizer

    state = build(0.01, True).state_dict()
    with pytest.raises(RuntimeError, match=r"group 'decay' has initial_lr 0\.02, but was saved with 0\.01"):
        build(0.02, True).load_state_dict(state)
    loop = build(0.01, False)
    loop.load_state_dict(state)
    assert [group["fused"] for group in loop.param_groups] == [False, False]


def test_parameters_added_unfrozen_or_replaced_after_the_build_stop_the_first_step():
    for change in (
        lambda m: m.append(nn.Linear(3, 3)),
        lambda m: m[2].requires_grad_(True),
        lambda m: m[0].load_state_dict({k: v.clone() for k, v in m[0].state_dict().items()}, assign=True),
    ):
        model = network()
        model[2].requires_grad_(False)
        optimizer = AdamWConfig().build(model)
        change(model)
        with pytest.raises(
            RuntimeError, match=r"parameter '[023]\.weight' requires a gradient, but the optimiser lacks"
        ):
            optimizer.step()


def test_freezing_after_the_build_is_allowed_and_the_check_costs_one_step_only():
    model = network()
    optimizer = AdamWConfig().build(model)
    model[2].requires_grad_(False)
    train(model[:2], optimizer, range(2))
    model.append(nn.Linear(3, 3))
    train(model[:2], optimizer, range(2, 4))


def test_the_state_passes_through_torchs_distributed_checkpoint_helpers():
    config, model, other = AdamWConfig(lr=0.01), network(), network()
    optimizer, fresh = config.build(model), config.build(other)
    train(model, optimizer, range(3))
    state = copy.deepcopy(get_optimizer_state_dict(model, optimizer))
    set_optimizer_state_dict(other, fresh, state)
    other.load_state_dict(model.state_dict())
    train(model, optimizer, range(3, 6))
    train(other, fresh, range(3, 6))
    assert distance(model, other) == 0


def test_groups_of_the_optimiser_are_those_of_param_groups():
    model = network()
    built = AdamWConfig(lr=0.01, weight_decay=0.1).build(model).param_groups
    for group, expected in zip(built, param_groups(model, lr=0.01, weight_decay=0.1), strict=True):
        assert {key: group[key] for key in expected if key != "params"} == {
            key: value for key, value in expected.items() if key != "params"
        }


def test_importing_optim_imports_neither_torchmetrics_nor_lightning():
    code = "import sys, linsight.optim; print([m for m in ('torchmetrics', 'lightning') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
