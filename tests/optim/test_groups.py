"""Parameter groups: every trainable tensor once, decayed or not for a stated reason, loud when in doubt."""

import copy

import pytest
import torch
from torch import Tensor, nn

from linsight.optim import Rule, param_groups


class Scan(nn.Module):
    """Declares what cannot be seen from names and shapes, as a mixer does."""

    def __init__(self) -> None:
        super().__init__()
        self.A_log = nn.Parameter(torch.zeros(4, 2))
        self.dt_bias = nn.Parameter(torch.zeros(4, 2))
        self.project = nn.Linear(4, 4)

    def no_weight_decay(self) -> set[str]:
        return {"A_log"}

    def lr_scales(self) -> dict[str, float]:
        return {"A_log": 0.1, "dt_bias": 0.1}


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.position = nn.Parameter(torch.zeros(5, 4))
        self.position._no_weight_decay = True  # pyright: ignore[reportAttributeAccessIssue]
        self.conv = nn.Conv1d(4, 4, 3)
        self.norm = nn.LayerNorm((5, 4))
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)
        self.scan = Scan()
        self.head = nn.Linear(4, 7)


def names(groups: list[dict]) -> dict[str, list[str]]:
    return {group["name"]: group["param_names"] for group in groups}


def build(model: nn.Module, **options) -> dict[str, list[str]]:
    return names(param_groups(model, lr=0.01, weight_decay=0.1, **options))


def test_the_decayed_and_the_spared_are_exactly_these():
    assert build(Model()) == {
        "decay": [
            "conv.weight",
            "attention.in_proj_weight",
            "attention.out_proj.weight",
            "scan.project.weight",
            "head.weight",
        ],
        "no_decay": [
            "position",
            "embed.weight",
            "conv.bias",
            "norm.weight",
            "norm.bias",
            "attention.in_proj_bias",
            "attention.bias_k",
            "attention.bias_v",
            "attention.out_proj.bias",
            "scan.project.bias",
            "head.bias",
        ],
        "no_decay_lr_x0.1": ["scan.A_log", "scan.dt_bias"],
    }


def test_every_trainable_tensor_is_in_exactly_one_group():
    model = Model()
    model.head.bias.requires_grad_(False)
    groups = param_groups(model, lr=0.01, weight_decay=0.1)
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    for group in groups:
        by_name = dict(model.named_parameters())
        assert all(by_name[n] is p for n, p in zip(group["param_names"], group["params"], strict=True))


def test_renaming_modules_does_not_change_who_is_decayed():
    plain, renamed = Model(), Model()
    for old, new in (("norm", "ln_f"), ("embed", "wte"), ("head", "bias"), ("scan", "x")):
        module = getattr(renamed, old)
        delattr(renamed, old)
        renamed.add_module(new, module)

    def classes(model: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
        groups = param_groups(model, lr=0.01, weight_decay=0.1)
        return sorted((g["name"], tuple(p.shape)) for g in groups for p in g["params"])

    assert classes(renamed) == classes(plain)


def test_after_a_step_with_zero_gradients_exactly_the_decayed_tensors_moved():
    model = Model()
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    groups = param_groups(model, lr=0.01, weight_decay=0.1)
    optimizer = torch.optim.AdamW(groups)
    before = copy.deepcopy(dict(model.named_parameters()))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == set(names(groups)["decay"])


def test_group_order_and_names_do_not_depend_on_the_order_of_modules():
    model = Model()
    turned = nn.Module()
    for name, child in reversed(list(model.named_children())):
        turned.add_module(name, child)
    turned.register_parameter("position", model.position)
    one, other = build(model), build(turned)
    assert list(one) == list(other)
    assert {k: sorted(v) for k, v in one.items()} == {k: sorted(v) for k, v in other.items()}


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 7, bias=False)
        self.embed = nn.Embedding(7, 4)
        self.embed.weight = self.head.weight


def test_a_tied_tensor_appears_once_under_all_its_names_and_its_embedding_spares_it():
    (group,) = param_groups(Tied(), lr=0.01, weight_decay=0.1)
    assert (group["name"], group["param_names"]) == ("no_decay", ["head.weight"])
    assert group["tied"] == ["head.weight = embed.weight"]
    assert build(Tied(), rules=(Rule("embed.*", weight_decay=0.1),)) == {"decay": ["head.weight"]}


def test_a_users_rule_comes_before_declarations_and_sets_only_what_it_names():
    rules = (Rule("*.A_log", weight_decay=0.2), Rule("head.weight", lr_scale=0.5))
    groups = {g["name"]: g for g in param_groups(Model(), lr=0.01, weight_decay=0.1, rules=rules)}
    assert groups["decay_0.2_lr_x0.1"]["param_names"] == ["scan.A_log"]
    assert groups["decay_lr_x0.5"]["param_names"] == ["head.weight"]
    assert groups["decay_lr_x0.5"]["lr"] == 0.005
    assert groups["decay_lr_x0.5"]["lr_scale"] == 0.5
    assert groups["decay_lr_x0.5"]["weight_decay"] == 0.1


def test_two_rules_that_agree_or_speak_of_different_things_are_merged():
    rules = (
        Rule("head.*", weight_decay=0.2),
        Rule("*.weight", lr_max_absolute=0.001),
        Rule("head.w*", weight_decay=0.2),
    )
    assert build(Model(), rules=rules)["decay_0.2_lr_x0.1"] == ["head.weight"]


def attributed(**attributes) -> nn.Module:
    layer = nn.Linear(3, 3, bias=False)
    for name, value in attributes.items():
        setattr(layer.weight, name, value)
    return layer


@pytest.mark.parametrize(
    ("attributes", "lr", "weight_decay"),
    [
        ({}, 0.01, 0.1),
        ({"_no_weight_decay": True}, 0.01, 0.0),
        ({"_no_weight_decay": False}, 0.01, 0.1),
        ({"_lr_scale": 0.25}, 0.0025, 0.1),
        ({"_lr_max_absolute": 0.001}, 0.001, 0.1),
        ({"_lr_max_absolute": 0.1}, 0.01, 0.1),
        ({"_lr_scale": 4.0, "_lr_max_absolute": 0.02}, 0.02, 0.1),
        ({"_optim": {"lr": 0.003, "weight_decay": 0.0}}, 0.003, 0.0),
        ({"_optim": {"weight_decay": 0.3}}, 0.01, 0.3),
    ],
)
def test_hints_on_a_parameter_are_honoured(attributes: dict, lr: float, weight_decay: float):
    (group,) = param_groups(attributed(**attributes), lr=0.01, weight_decay=0.1)
    assert (group["lr"], group["weight_decay"]) == (lr, weight_decay)
    assert group["lr_scale"] == pytest.approx(lr / 0.01, rel=1e-12)


def test_compiled_models_keep_their_names_and_declarations():
    compiled = torch.compile(Model(), backend="eager")
    assert isinstance(compiled, nn.Module)
    assert build(compiled) == build(Model())
    assert build(nn.ModuleDict({"net": compiled}))["no_decay_lr_x0.1"] == [
        "net.scan.A_log",
        "net.scan.dt_bias",
    ]


def test_a_wrapper_that_passes_attributes_on_does_not_declare_for_the_module_inside():
    class Wrapper(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def __getattr__(self, name: str):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(super().__getattr__("inner"), name)

    wrapper = Wrapper(Scan())
    assert wrapper.no_weight_decay() == {"A_log"}
    assert build(wrapper)["no_decay_lr_x0.1"] == ["inner.A_log", "inner.dt_bias"]


def test_in_paper_mode_every_group_has_the_same_decay_at_factor_1():
    groups = param_groups(
        Model(), lr=0.01, weight_decay=3e-4, wd_mode="paper", rules=(Rule("head.weight", lr_scale=0.2),)
    )
    decays = [group["lr"] * group["weight_decay"] for group in groups if group["weight_decay"]]
    assert len(decays) == 2
    assert decays == pytest.approx([3e-4, 3e-4], rel=1e-15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -0.1}, r"lr: expected a finite number >= 0, got -0\.1"),
        ({"lr": float("nan")}, "lr: expected a finite number >= 0, got nan"),
        ({"weight_decay": -0.1}, r"weight_decay: expected a finite number >= 0, got -0\.1"),
        ({"weight_decay": float("inf")}, "weight_decay: expected a finite number >= 0, got inf"),
        ({"lr": 0.0, "wd_mode": "paper"}, "lr: expected > 0 in wd_mode 'paper'"),
        ({"lr": 0.5, "weight_decay": 2.0}, "decay below 1 a step, got 1 "),
        ({"weight_decay": 1.0, "wd_mode": "paper"}, "decay below 1 a step, got 1 "),
        ({"rules": (Rule("head.weight", lr_scale=2000.0),)}, "in group 'decay_lr_x2000'"),
        (
            {"rules": (Rule("haed.weight", lr_scale=2.0),)},
            r"matches no parameter; the nearest names are head\.w",
        ),
        (
            {"rules": (Rule("head.*", lr_scale=2.0), Rule("*.weight", lr_scale=3.0))},
            r"'head\.weight': lr_scale is asked for twice, by rule 'head\.\*' for 2 and rule '\*",
        ),
    ],
)
def test_bad_numbers_and_bad_rules_are_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        param_groups(Model(), **{"lr": 0.01, "weight_decay": 0.1, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "rule 'x' sets nothing"),
        ({"lr_scale": 0.0}, "rule 'x': lr_scale: expected a finite number > 0, got 0"),
        ({"lr_max_absolute": -1.0}, "rule 'x': lr_max_absolute: expected a finite number > 0"),
        ({"weight_decay": -1.0}, "rule 'x': weight_decay: expected a finite number >= 0"),
    ],
)
def test_a_rule_without_sense_is_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Rule("x", **options)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"_lr_scale": -1.0}, "attributes of parameter 'weight': lr_scale"),
        ({"_lr_scale": 1.0, "_optim": {"lr": 0.1}}, "both _lr_scale and _optim"),
        ({"_optim": {"wd": 0.1}}, r"'weight': _optim has \['wd'\]"),
    ],
)
def test_hints_without_sense_are_refused(attributes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        param_groups(attributed(**attributes), lr=0.01, weight_decay=0.1)


def test_a_declared_name_that_does_not_exist_is_refused():
    class Wrong(Scan):
        def no_weight_decay(self) -> set[str]:
            return {"A"}

    model = nn.Sequential(Wrong())
    with pytest.raises(ValueError, match=r"Wrong\.no_weight_decay\(\) of module '0' names 'A'.*it has A_log"):
        param_groups(model, lr=0.01, weight_decay=0.1)


def test_declarations_that_contradict_each_other_are_refused():
    class Outer(nn.Sequential):
        def lr_scales(self) -> dict[str, float]:
            return {"0.A_log": 0.5}

    with pytest.raises(
        ValueError, match=r"'0\.A_log': lr_scale is asked for twice, by Outer\.lr_scales\(\) for 0\.5"
    ):
        param_groups(Outer(Scan()), lr=0.01, weight_decay=0.1)


def test_rules_for_frozen_parameters_only_are_refused():
    model = Model()
    model.head.requires_grad_(False)
    with pytest.raises(ValueError, match=r"'head\.\*' matches frozen parameters only \(as head\.weight\)"):
        param_groups(model, lr=0.01, weight_decay=0.1, rules=(Rule("head.*", lr_scale=2.0),))


@pytest.mark.parametrize("model", [nn.ReLU(), nn.Linear(2, 2).requires_grad_(False)])
def test_a_model_without_trainable_parameters_is_refused(model: nn.Module):
    with pytest.raises(ValueError, match="has no trainable parameter"):
        param_groups(model, lr=0.01, weight_decay=0.1)


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_a_lazy_parameter_is_refused():
    with pytest.raises(ValueError, match=r"parameter '0\.weight' is lazy"):
        param_groups(nn.Sequential(nn.LazyLinear(3)), lr=0.01, weight_decay=0.1)


def test_an_absolute_learning_rate_has_no_meaning_at_learning_rate_0():
    with pytest.raises(ValueError, match="asks for an absolute learning rate; got 0"):
        param_groups(attributed(_optim={"lr": 0.003}), lr=0.0, weight_decay=0.1)


def paper_step(
    p: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, eta: float, alpha: float, lam: float
) -> Tensor:
    """Algorithm 2 of Loshchilov & Hutter 2017: lambda is not multiplied by alpha."""
    m.mul_(0.9).add_(g, alpha=0.1)
    v.mul_(0.999).add_(g * g, alpha=0.001)
    step = alpha * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return p - eta * (step + lam * p)


def test_paper_mode_equals_the_papers_algorithm_under_a_schedule_and_with_a_scaled_group():
    """300 steps, cosine, float64: rounding alone, with and without a scaled learning rate."""
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False)).double()
    alpha, lam, total = 0.02, 0.003, 300
    groups = param_groups(
        model, lr=alpha, weight_decay=lam, wd_mode="paper", rules=(Rule("1.weight", lr_scale=0.1),)
    )
    optimizer = torch.optim.AdamW(groups)
    eta = [
        0.5 * (1 + torch.cos(torch.tensor(torch.pi * t / total, dtype=torch.float64)).item())
        for t in range(total)
    ]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: eta[min(done, total - 1)])
    scales = {"0.weight": 1.0, "1.weight": 0.1}
    mine = {n: p.detach().clone() for n, p in model.named_parameters()}
    moments = {n: (torch.zeros_like(p), torch.zeros_like(p)) for n, p in mine.items()}
    for t in range(total):
        for name, parameter in model.named_parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            mine[name] = paper_step(
                mine[name], parameter.grad, *moments[name], t + 1, eta[t], alpha * scales[name], lam
            )
        optimizer.step()
        schedule.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), mine[name], rtol=0, atol=1e-13)
