"""A trained model is two files: the same model comes out, typed configuration included, or one clear line."""

import dataclasses
import json

import pytest
import safetensors.torch
import torch
from toy_training import EluConfig, ModelConfig, ReluConfig, ToyConfig, ToyModel, ToyRun, toy_run

from linsight.mixers import config as mixer_config
from linsight.training import (
    PRESETS,
    fit,
    from_pretrained,
    identity,
    pretrained_config,
    push_to_hub,
    save_pretrained,
)
from linsight.training.files import digest_tensors
from linsight.training.weights import collect_weights, restore_weights

CONFIG = dataclasses.replace(
    toy_run(), task=ToyConfig(model=ModelConfig(act=ReluConfig(), layers=(EluConfig(0.5),)))
)


def saved(folder) -> ToyModel:
    model = CONFIG.task.model.build()
    assert save_pretrained(model, CONFIG, folder) == identity(model)
    return model


def load(folder) -> ToyModel:
    return from_pretrained(folder, config_type=ToyRun)


def test_the_round_trip(tmp_path):
    """Weights to the bit, eval mode, the types of nested configurations, tied weights still tied."""
    model, back = saved(tmp_path), load(tmp_path)
    assert identity(back) == identity(model)
    assert not back.training
    assert type(back.config.act) is ReluConfig
    assert type(back.config.layers[0]) is EluConfig
    assert back.first.weight is back.second.weight
    assert pretrained_config(tmp_path, ToyRun) == CONFIG
    x = torch.randn(4, 8)
    assert torch.equal(back(x), model.eval()(x))


def test_loading_leaves_the_random_state(tmp_path):
    """The values a fresh model draws are thrown away; the caller's seed is not disturbed."""
    saved(tmp_path)
    before = torch.get_rng_state()
    load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_real_task_keeps_the_type_of_its_mixer(tmp_path):
    """The trap of the Hub's own mixin: a nested union comes back as a bare dict. Ours does not."""
    preset = PRESETS["generate"]["tiny"]()
    network = dataclasses.replace(preset.task.model.sequence, dim=8, layers=2, mlp_dim=8)
    mixers = (mixer_config("linear", heads=2), mixer_config("softmax", heads=2))
    network = dataclasses.replace(network, mixers=mixers)
    task = dataclasses.replace(preset.task, model=dataclasses.replace(preset.task.model, sequence=network))
    config = dataclasses.replace(preset, task=task)
    model = task.model.build()
    save_pretrained(model, config, tmp_path)
    back = from_pretrained(tmp_path)
    assert [type(mixer) for mixer in back.config.sequence.mixers] == [type(mixer) for mixer in mixers]
    assert identity(back) == identity(model)


def test_tied_weights_are_saved_once(tmp_path):
    """safetensors refuses shared storage; the second name is left out and tied anew."""
    saved(tmp_path)
    names = safetensors.torch.load_file(tmp_path / "model.safetensors").keys()
    assert "first.weight" in names
    assert "second.weight" not in names


def test_equal_models_are_equal_files(tmp_path):
    """Byte for byte, so that files can be compared and cached."""
    model = saved(tmp_path / "a")
    for _ in range(5):
        save_pretrained(model, CONFIG, tmp_path / "b")
        files = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
        assert files[0] == files[1]


def test_the_engine_writes_such_a_folder(tmp_path):
    """`model/` of a run is a pretrained model."""
    outcome = fit(toy_run(2), tmp_path, progress="none")
    assert isinstance(load(outcome.run.model), ToyModel)
    assert pretrained_config(outcome.run.model, ToyRun) == toy_run(2)


def test_a_damaged_file_is_refused(tmp_path):
    """Any flipped byte, a truncated file, text: one line that begins with the path."""
    saved(tmp_path)
    file = tmp_path / "model.safetensors"
    content = file.read_bytes()
    flipped = [
        content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :] for at in range(0, len(content), 37)
    ]
    for bad in [*flipped, content[:-1], content + b"x", b"", b"text"]:
        file.write_bytes(bad)
        with pytest.raises(
            RuntimeError, match=r"^\S*model.safetensors: .*(damaged|of another model)"
        ) as refused:
            load(tmp_path)
        assert "\n" not in str(refused.value)


def _replaced(folder, change) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    change(weights)
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"sha256": digest_tensors(weights)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("head.bias"), "tensor 'head.bias' missing: the file is of another model"),
        (
            lambda w: w.update(x=torch.zeros(1), y=torch.zeros(1), z=torch.zeros(1)),
            "tensors 'x', 'y' and 1 more not",
        ),
        (
            lambda w: w.update({"head.bias": torch.zeros(3)}),
            r"tensor 'head.bias': expected \(2,\), got \(3,\)",
        ),
        (lambda w: w.update({"head.bias": torch.zeros(2).double()}), "torch.float64 loses precision"),
    ],
    ids=["missing", "unexpected", "shape", "type"],
)
def test_weights_of_another_model_are_refused(change, message, tmp_path):
    """By name, before anything is copied."""
    saved(tmp_path)
    _replaced(tmp_path, change)
    with pytest.raises(RuntimeError, match=rf"model.safetensors: .*{message}"):
        load(tmp_path)


def test_a_refused_restore_changes_nothing():
    """All tensors are checked before the first is copied."""
    model = ToyModel(ModelConfig())
    before = identity(model)
    weights = {name: tensor + 1 for name, tensor in collect_weights(model).items()}
    weights["norm.running_var"] = torch.zeros(3)
    with pytest.raises(RuntimeError, match=r"file: tensor 'norm.running_var'"):
        restore_weights(model, weights, where="file")
    assert identity(model) == before


def test_lower_precision_is_accepted(tmp_path):
    """A file in bfloat16 loads into a float32 model without loss."""
    saved(tmp_path)
    _replaced(tmp_path, lambda w: w.update({"head.bias": w["head.bias"].bfloat16()}))
    assert load(tmp_path).head.bias.dtype == torch.float32


def test_missing_models_and_bad_configurations_are_named(tmp_path):
    """No folder, no model in it, an unknown key: exit code 2, not a traceback."""
    with pytest.raises(FileNotFoundError, match="someone/model: no such folder; pass hub=True to download"):
        from_pretrained("someone/model")
    with pytest.raises(FileNotFoundError, match="no model is here"):
        from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="revision: a folder has none"):
        from_pretrained(tmp_path, revision="v1")
    saved(tmp_path)
    data = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(data | {"extra": 1}))
    with pytest.raises(ValueError, match=r"config.json: extra: unknown key"):
        load(tmp_path)


class FakeHub:
    """Stands in for `huggingface_hub.HfApi`."""

    def __init__(self) -> None:
        self.calls = []

    def create_repo(self, repository, *, private, exist_ok):
        self.calls.append((repository, private, exist_ok))

    def upload_folder(self, *, repo_id, folder_path, allow_patterns):
        self.calls.append((repo_id, folder_path, allow_patterns))
        return "https://hub/commit/1"


def test_push_to_hub_uploads_the_two_files_after_checking_them(tmp_path):
    """Nothing else of the folder leaves the machine, and nothing damaged does."""
    saved(tmp_path)
    hub = FakeHub()
    address = push_to_hub(tmp_path, "me/model", private=True, api=hub, config_type=ToyRun)
    assert address == "https://hub/commit/1"
    assert hub.calls == [
        ("me/model", True, True),
        ("me/model", str(tmp_path), ["model.safetensors", "config.json"]),
    ]
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(RuntimeError, match="damaged"):
        push_to_hub(tmp_path, "me/model", api=hub, config_type=ToyRun)
    assert len(hub.calls) == 2
