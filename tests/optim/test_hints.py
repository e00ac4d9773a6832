"""What modules ask of the optimiser outlives the tensors that it is asked for."""

import copy
import io

import pytest
import torch
from torch import nn

from linsight import densities, mixers
from linsight.models.sequence import RWKVModelConfig, SequenceConfig, TokenModelConfig
from linsight.nn import Hinted
from linsight.optim import param_groups

KINDS = [kind for kind in mixers.kinds() if kind != "bidirectional"]


def groups(model: nn.Module) -> dict[str, tuple[float, list[str]]]:
    found = param_groups(model, lr=4e-3, weight_decay=0.1, muon=True)
    return {group["name"]: (group["lr"], group["param_names"]) for group in found}


def built(kind: str) -> nn.Module:
    causal = True in mixers.config(kind).directions
    return mixers.build(kind, dim=16, causal=causal)


def assigned(model: nn.Module) -> nn.Module:
    values = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(values, assign=True)
    return model


def unpickled(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


RENEWALS = {
    "deepcopy": copy.deepcopy,
    "assign": assigned,
    "float64": lambda model: model.to(torch.float64),
    "pickle": unpickled,
    "to_empty": lambda model: model.to("meta").to_empty(device="cpu"),
}


@pytest.mark.parametrize("renew", RENEWALS.values(), ids=RENEWALS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_mixers_groups_outlive_its_tensors(kind, renew):
    assert groups(renew(built(kind))) == groups(built(kind))


@pytest.mark.parametrize("renew", RENEWALS.values(), ids=RENEWALS)
@pytest.mark.parametrize("kind", densities.kinds())
def test_a_densitys_groups_outlive_its_tensors(kind, renew):
    assert groups(renew(densities.build(kind))) == groups(densities.build(kind))


def token_model():
    return TokenModelConfig(vocabulary=7, sequence=SequenceConfig(dim=16, layers=1)).build()


def rwkv():
    return RWKVModelConfig(vocabulary=7, dim=8, layers=2, heads=2, hidden=16).build()


@pytest.mark.parametrize("renew", RENEWALS.values(), ids=RENEWALS)
@pytest.mark.parametrize("make", [token_model, rwkv])
def test_a_models_groups_outlive_its_tensors_and_muon_never_takes_its_head(make, renew):
    found = groups(renew(make()))
    assert found == groups(make())
    assert "head.weight" in found["decay"][1]


def test_a_subclass_and_a_wrapper_keep_what_is_asked():
    class Own(type(built("s4d"))):
        pass

    slow = {"log_dt", "log_A_real", "A_imag", "B"}
    assert set(groups(Own(16))["no_decay_lr_x0.25"][1]) == slow
    both = mixers.build("bidirectional", dim=16, causal=False, mixer=mixers.config("s4d"))
    asked = set(groups(copy.deepcopy(both))["no_decay_lr_x0.25"][1])
    assert asked >= {f"ahead.{name}" for name in slow}


class Scan(Hinted):
    def __init__(self) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.zeros(4, 4))
        self.B = nn.Parameter(torch.zeros(4, 4))


def test_calls_add_to_each_other_and_no_instance_hears_of_anothers():
    scan, other = Scan(), Scan()
    scan.hint("A", "B", decay=False)
    scan.hint("B", lr_scale=2.0)
    assert groups(scan) == {"no_decay": (4e-3, ["A"]), "no_decay_lr_x2": (8e-3, ["B"])}
    copied = copy.copy(scan)
    copied.hint("A", lr_max=1e-3)
    assert scan.lr_caps() == {}
    assert groups(other) == {"decay": (4e-3, ["A", "B"])}


def test_a_hint_for_what_is_no_parameter_is_refused():
    with pytest.raises(ValueError, match=r"a parameter of Scan, which has A, B; got 'a'"):
        Scan().hint("a", decay=False)


SPARED = {
    "flash": {"gamma", "beta", "bias.weight"},
    "gated_delta": {"A_log", "dt_bias"},
    "gau": {"gamma", "beta", "bias.weight"},
    "lru": {"nu_log", "theta_log", "gamma_log"},
    "mamba": {"A_log", "D", "dt_proj.bias"},
    "mamba2": {"A_log", "D", "dt_bias"},
    "s4": {"log_dt", "log_A_real", "A_imag", "P", "B"},
    "s4d": {"log_dt", "log_A_real", "A_imag", "B"},
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("rwkv")])
def test_what_each_mixer_spares_from_decay_is_exactly_this(kind):
    asked = {
        f"{path}.{name}".lstrip(".")
        for path, module in built(kind).named_modules()
        if isinstance(module, Hinted)
        for name in module.no_weight_decay()
    }
    assert asked == SPARED.get(kind, set())


@pytest.mark.parametrize("version", ["rwkv6", "rwkv7"])
def test_of_an_rwkv_model_exactly_the_linear_maps_are_decayed(version):
    sizes = {"vocabulary": 7, "dim": 8, "layers": 2, "heads": 2, "hidden": 16}
    model = RWKVModelConfig(version=version, **sizes).build()
    found = param_groups(model, lr=4e-3, weight_decay=0.1)
    decayed = {name for group in found if group["weight_decay"] for name in group["param_names"]}
    linear = {f"{path}.weight" for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert decayed == linear
