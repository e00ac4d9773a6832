"""Muon and AdamW as one optimiser: the same weights as two, one state, one schedule."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from linsight.models.sequence import SequenceConfig, TokenModelConfig
from linsight.models.vision import (
    DenseConfig,
    DetectorConfig,
    FPNConfig,
    KeypointNetConfig,
    PyramidConfig,
    UNetConfig,
)
from linsight.optim import MuonConfig, Rule, WarmupCosineConfig, describe, implementation, param_groups
from linsight.optim.orthogonal import OrthogonalSteps, orthogonal


def network():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 32), nn.LayerNorm(32), nn.Linear(32, 9))
    model[3].weight._output = True  # pyright: ignore[reportAttributeAccessIssue]
    return model


def test_matrices_that_fsdp_has_sharded_are_refused_by_name():
    """torch's Muon would make a shard orthogonal and say nothing."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        model = fully_shard(network(), mesh=init_device_mesh("cpu", (1,)))
        with pytest.raises(NotImplementedError, match=r"parameter '1\.weight' is sharded by FSDP2"):
            MuonConfig().build(model)
    finally:
        dist.destroy_process_group()


def train(model, optimizers, steps):
    for step in steps:
        tokens = torch.randint(0, 9, (16,), generator=torch.Generator().manual_seed(step))
        loss = nn.functional.cross_entropy(model(tokens), (tokens + 1) % 9)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


def test_five_steps_are_those_of_two_optimisers():
    """Torch's own, to the bit, where the iterations are in its precision."""
    one, two = network(), network()
    train(one, [MuonConfig(lr=0.02, iterate_in="bfloat16").build(one)], range(5))
    matrix = [two[1].weight]
    decayed, spared = [two[3].weight], [two[0].weight, two[1].bias, *two[2].parameters(), two[3].bias]
    muon = torch.optim.Muon(matrix, lr=0.02, adjust_lr_fn="match_rms_adamw")
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": spared, "weight_decay": 0.0}]
    train(two, [muon, torch.optim.AdamW(groups, lr=0.02, fused=True)], range(5))
    before = network()
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, two.get_parameter(name)), name
        assert not torch.equal(parameter, before.get_parameter(name)), name


@pytest.mark.parametrize("distributed", [False, True])
def test_a_saved_run_goes_on_to_the_same_bits(distributed):
    """By its own state dict, and by the helpers of torch's distributed checkpoints."""
    whole = network()
    optimizer = MuonConfig(lr=0.02).build(whole)
    train(whole, [optimizer], range(3))
    again = network()
    again.load_state_dict(whole.state_dict())
    resumed = MuonConfig(lr=0.02).build(again)
    if distributed:
        saved = copy.deepcopy(get_optimizer_state_dict(whole, optimizer))  # loading would share its tensors
        set_optimizer_state_dict(again, resumed, saved)
    else:
        resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(whole, [optimizer], range(3, 6))
    train(again, [resumed], range(3, 6))
    for one, two in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    assert len(resumed.state) == 7


def test_a_schedule_moves_both_halves():
    model = network()
    optimizer = MuonConfig(lr=0.02).build(model)
    schedule = WarmupCosineConfig(warmup_steps=4).build(optimizer, 20)
    rates = []
    for step in range(4):
        rates.append([group["lr"] for half in optimizer.halves for group in half.param_groups])
        train(model, [optimizer], [step])
        schedule.step()
    assert rates == [pytest.approx([0.02 * (step + 1) / 4] * 3) for step in range(4)]


@pytest.mark.parametrize("shape", [(5, 12), (12, 5), (7, 7), (1, 4)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_iterations_move_singular_values_alone_by_their_polynomial(shape, dtype):
    """U p(p(...p(S / |S|))) V^T from a decomposition in float64, p(s) = a s + b s^3 + c s^5."""
    coefficients = a, b, c = 3.4445, -4.775, 2.0315
    matrix = torch.randn(shape, dtype=torch.float64)
    kept = matrix.clone()
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.norm()
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    found = orthogonal(matrix, coefficients, 5, 1e-7, dtype)
    assert found.dtype == dtype
    error = (found.double() - u @ torch.diag(s) @ v).abs().max()
    # The polynomial magnifies small values, and their errors, 3.4445 times in each iteration: 485 times.
    assert error <= 485 * torch.finfo(dtype).eps
    assert torch.equal(matrix, kept)


@pytest.mark.parametrize("shape", [(8, 8), (8, 40), (40, 8)])
def test_autocast_does_not_reach_the_iterations(shape):
    """A step where the loss is computed is the same to the bit: eight bits would lose all but the largest."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    options = (3.4445, -4.775, 2.0315), 5, 1e-7, torch.float32
    expected = orthogonal(matrix, *options)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(orthogonal(matrix, *options), expected)


def test_a_matrix_of_zeros_does_not_move():
    model = network()
    optimizer = MuonConfig(lr=0.1, weight_decay=0.0).build(model)
    before = model[1].weight.detach().clone()
    model[1].weight.grad = torch.zeros(32, 8)
    optimizer.step()
    assert torch.equal(model[1].weight, before)


@pytest.mark.parametrize("adjustment", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_every_choice_is_torchs(adjustment, nesterov):
    """Scale and momentum, on a wide matrix and a tall one, to the bit; a parameter without gradient stays."""
    start = [torch.randn(shape) for shape in ((3, 8), (8, 3), (2, 2))]
    matrices = [[nn.Parameter(matrix.clone()) for matrix in start] for _ in range(2)]
    options = {"lr": 0.1, "weight_decay": 0.2, "nesterov": nesterov, "adjust_lr_fn": adjustment}
    ours = OrthogonalSteps(matrices[0], dtype=torch.bfloat16, **options)
    torchs = torch.optim.Muon(matrices[1], **options)
    for _ in range(3):
        for one, two in zip(matrices[0][:2], matrices[1][:2], strict=True):
            one.grad = two.grad = torch.randn(one.shape)
        ours.step()
        torchs.step()
    for one, two in zip(*matrices, strict=True):
        assert torch.equal(one, two)


def test_the_step_of_a_matrix_has_singular_values_near_one():
    """A 128 x 32 Gaussian gradient; by match_rms_adamw the step is lr 0.2 sqrt 128 times it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 128))
    before = model[0].weight.detach().clone()
    optimizer = MuonConfig(lr=0.1, weight_decay=0.0, rules=(Rule("0.weight", muon=True),)).build(model)
    model[0].weight.grad, model[0].bias.grad = torch.randn(128, 32), torch.zeros(128)
    optimizer.step()
    values = torch.linalg.svdvals((before - model[0].weight) / (0.1 * 0.2 * 128**0.5))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_the_groups_name_what_is_whose():
    model = network()
    groups = param_groups(model, lr=0.02, weight_decay=0.1, muon=True)
    assert {group["name"]: (group["use_muon"], group["param_names"]) for group in groups} == {
        "muon_decay": (True, ["1.weight"]),
        "decay": (False, ["3.weight"]),
        "no_decay": (False, ["0.weight", "1.bias", "2.weight", "2.bias", "3.bias"]),
    }
    assert describe(groups, model).splitlines()[1].startswith("muon_decay")
    assert not any(group["use_muon"] for group in param_groups(model, lr=0.02, weight_decay=0.1))


def test_embeddings_and_heads_of_our_models_are_not_muons():
    model = TokenModelConfig(sequence=SequenceConfig(dim=16, layers=1, mlp_dim=32)).build()
    (muon,) = [g for g in param_groups(model, lr=1e-3, weight_decay=0.1, muon=True) if g["use_muon"]]
    assert muon["param_names"]
    assert not [name for name in muon["param_names"] if "head" in name or "embedding" in name]


def test_a_rule_gives_a_matrix_to_muon_or_takes_it():
    model = network()

    def muons(*rules):
        groups = param_groups(model, lr=1e-3, weight_decay=0.1, rules=rules, muon=True)
        return [name for group in groups if group["use_muon"] for name in group["param_names"]]

    assert muons(Rule("3.weight", muon=True)) == ["1.weight", "3.weight"]
    assert muons(Rule("1.weight", muon=False)) == []
    assert muons(Rule("1.weight", weight_decay=0.3)) == ["1.weight"]


def test_the_header_says_what_runs():
    for dtype in ("float32", "bfloat16"):
        said = implementation(MuonConfig(iterate_in=dtype).build(network()))
        assert said == f"muon: match_rms_adamw, {dtype} iterations; adamw: fused"


def test_the_step_of_a_kernel_is_that_of_its_matrix():
    """A convolution is a matrix on patches: the same numbers as a linear layer move it the same way."""
    torch.manual_seed(5)
    conv, linear = nn.Conv2d(3, 8, 5), nn.Linear(75, 8)
    linear.weight.data.copy_(conv.weight.data.flatten(1))
    linear.bias.data.copy_(conv.bias.data)
    patches = torch.randn(20, 3, 5, 5)
    for module, x in ((conv, patches), (linear, patches.flatten(1))):
        optimizer = MuonConfig(lr=0.02).build(module)
        for _ in range(3):
            optimizer.zero_grad()
            (module(x) - 1).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(conv.weight.flatten(1), linear.weight, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(conv.bias, linear.bias)


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Conv1d(3, 8, 4)
        self.plane = nn.Conv2d(3, 8, 1, bias=False)
        self.channelwise = nn.Conv2d(8, 8, 3, groups=8, bias=False)
        self.transposed = nn.ConvTranspose2d(3, 8, 4, bias=False)


def test_kernels_are_muons_where_every_output_sees_every_input():
    groups = param_groups(Convolutions(), lr=1e-3, weight_decay=0.1, muon=True)
    assert [g["param_names"] for g in groups if g["use_muon"]] == [["line.weight", "plane.weight"]]


@pytest.mark.parametrize(
    ("config", "outputs"),
    [
        (DenseConfig(decoder=UNetConfig(last="subpixel")), {"decoder.last.conv.weight"}),
        (DenseConfig(decoder=FPNConfig()), {"decoder.classifier.weight"}),
        (
            DenseConfig(backbone=PyramidConfig(stages=2 * (SequenceConfig(dim=8),)), coarse_logits=True),
            {"classifiers.0.weight", "decoder.last.project.weight"},
        ),
        (DetectorConfig(), {"heat.1.weight", "box.1.weight"}),
        (KeypointNetConfig(), {"head.last.weight"}),
    ],
    ids=["unet", "fpn", "coarse", "detector", "keypoints"],
)
def test_only_what_makes_the_outputs_of_a_network_on_images_is_not_muons(config, outputs):
    """Of the kernels that a step of Muon is defined for."""
    model = config.build()
    groups = param_groups(model, lr=1e-3, weight_decay=0.1, muon=True)
    muons = {name for group in groups if group["use_muon"] for name in group["param_names"]}
    kernels = {
        f"{path}.weight"
        for path, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.groups == 1
    }
    assert kernels - muons == outputs


class Filter(nn.Module):
    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(2, 3, 4))
        self.modes = nn.Parameter(torch.ones(2, 3, dtype=torch.complex64))
        self.mix = nn.Linear(3, 3)


def test_kernels_and_complex_matrices_are_adamws():
    groups = param_groups(Filter(), lr=1e-3, weight_decay=0.1, muon=True)
    assert [g["param_names"] for g in groups if g["use_muon"]] == [["mix.weight"]]


@pytest.mark.parametrize("name", ["kernel", "modes"])
def test_a_rule_cannot_make_them_muons(name):
    with pytest.raises(ValueError, match=rf"muon: expected real matrices and .* got parameter '{name}'"):
        param_groups(Filter(), lr=1e-3, weight_decay=0.1, rules=(Rule(name, muon=True),), muon=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, "momentum: expected a number in"),
        ({"iterations": 0}, "iterations: expected at least 1"),
        ({"betas": (0.9, 1.0)}, "betas: expected two numbers"),
        ({"lr": 1.0, "weight_decay": 1.0}, "weight_decay: expected a decay below 1"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MuonConfig(**options)


def test_a_model_of_one_kind_is_refused():
    with pytest.raises(ValueError, match="Embedding has no hidden matrix"):
        MuonConfig().build(nn.Embedding(3, 3))
    with pytest.raises(ValueError, match="Linear has no parameter beside hidden matrices"):
        MuonConfig().build(nn.Linear(3, 3, bias=False))


def test_a_group_cannot_be_added_later():
    optimizer = MuonConfig().build(network())
    with pytest.raises(RuntimeError, match="takes no further group"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]})
