"""JSON holds a configuration exactly, and every misunderstanding is one line that names the key."""

import dataclasses
import json

import pytest
from toy_training import EluConfig, ModelConfig, ReluConfig, ToyConfig, ToyRun, toy_run

from linsight.config import Config
from linsight.optim import AdamWConfig, ConstantConfig, InverseSqrtConfig, Rule, WarmupCosineConfig, WSDConfig
from linsight.training import PRESETS, RunConfig, from_json, to_json
from linsight.training.codec import first_difference

MIXED = ModelConfig(act=ReluConfig(), layers=(EluConfig(0.1), ReluConfig(), EluConfig(1 / 3)))
SCHEDULES = [ConstantConfig(), WarmupCosineConfig(1, 0.3), WSDConfig(1, 0.5), InverseSqrtConfig(1)]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.kind)
def test_the_round_trip_is_exact(schedule):
    """Equal afterwards, of the same types all the way down, floats to the bit."""
    optimizer = AdamWConfig(lr=0.1 + 0.2, fused=False, rules=(Rule("head.*", lr_scale=0.1),))
    config = dataclasses.replace(
        toy_run(schedule=schedule, optimizer=optimizer, clip_norm=None), task=ToyConfig(model=MIXED)
    )
    back = from_json(ToyRun, to_json(config))
    assert back == config
    assert repr(back) == repr(config)
    assert [type(layer) for layer in back.task.model.layers] == [EluConfig, ReluConfig, EluConfig]
    assert type(back.training.schedule) is type(schedule)
    assert type(back.training.optimizer.rules[0]) is Rule


@pytest.mark.parametrize(("task", "name"), [(t, n) for t, presets in PRESETS.items() for n in presets])
def test_every_preset_survives(task, name):
    """What a preset returns is what the run folder will hold."""
    config = PRESETS[task][name]()
    assert repr(from_json(RunConfig, to_json(config))) == repr(config)


def changed(path: str, value: object) -> str:
    """The JSON of a run with one value put in, or taken out (`...`)."""
    data = json.loads(to_json(dataclasses.replace(toy_run(), task=ToyConfig(model=MIXED))))
    *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    inner = data
    for part in way:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(data)


REFUSED = [
    ("trainig", 1, "run.json: trainig: unknown key; did you mean 'training'?"),
    ("training/step", 1, "run.json: training.step: unknown key; did you mean 'steps'?"),
    ("training/zz", 1, "run.json: training.zz: unknown key; known: steps, batch_size,"),
    ("training/schedule/final_", 1, "run.json: training.schedule.final_: unknown key; did you mean 'final'?"),
    (
        "task/model/layers/2/alfa",
        1,
        "run.json: task.model.layers[2].alfa: unknown key; did you mean 'alpha'?",
    ),
    ("training/steps", ..., "run.json: training.steps: missing"),
    ("training", ..., "run.json: training: missing"),
    ("task/model/act/kind", ..., "run.json: task.model.act: missing key 'kind'"),
    ("training/schedule/kind", ..., "run.json: training.schedule: missing key 'kind'"),
    ("training/steps", "12", 'run.json: training.steps: expected a valid integer, got "12"'),
    ("training/steps", True, "run.json: training.steps: expected a valid integer, got true"),
    ("training/steps", 1.5, "run.json: training.steps: expected a valid integer"),
    ("training/clip_norm", "1", 'run.json: training.clip_norm: expected a valid number, got "1"'),
    (
        "training/precision",
        "fp16",
        "run.json: training.precision: expected 'float32' or 'bfloat16', got \"fp16\"",
    ),
    ("training/optimizer/betas", [0.9], "run.json: training.optimizer.betas[1]: missing"),
    ("training/schedule", 3, "run.json: training.schedule: expected an object, got 3"),
    ("task/model/act/kind", "gelu", "run.json: task.model.act.kind: expected 'relu' or 'elu', got \"gelu\""),
    (
        "task/model/layers/0/alpha",
        "a",
        'run.json: task.model.layers[0].alpha: expected a valid number, got "a"',
    ),
    ("training/steps", 0, "run.json: training: steps: expected an integer >= 1, got 0"),
    ("training/schedule/final", 7, "run.json: training.schedule: final: expected a number in [0, 1], got 7"),
    ("training/schedule/warmup_steps", 99, "run.json: training: warmup_steps: 99 warm-up steps do not fit"),
    ("version", 2, "run.json: version 2 is of a newer linsight, this one reads 1: upgrade linsight"),
    ("version", ..., "run.json: version: expected 1, got null"),
    ("version", "1", 'run.json: version: expected 1, got "1"'),
    ("version", True, "run.json: version: expected 1, got true"),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED, ids=[f"{p}={v}" for p, v, _ in REFUSED])
def test_what_is_not_understood_is_refused(path, value, message):
    """One line: the file, the path of the key, what was expected, what came."""
    with pytest.raises(ValueError, match=r"run\.json") as refused:
        from_json(ToyRun, changed(path, value), where="run.json")
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"version": 1,', "run.json: not valid JSON at line 1, column 15"),
        ('{\n  "version": 1\n  "task"}', "run.json: not valid JSON at line 3, column 3"),
        ("", "run.json: not valid JSON at line 1, column 1"),
        ("[1]", "run.json: expected an object with keys, got [1]"),
    ],
)
def test_bad_json_is_refused_with_its_place(text, message):
    """Line and column, as an editor shows them."""
    with pytest.raises(ValueError, match=r"run\.json") as refused:
        from_json(ToyRun, text, where="run.json")
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ModelConfig(layers=[ReluConfig()]),
            r"ModelConfig: layers: \[ReluConfig\(.*comes back from JSON as \(",
        ),
        (EluConfig(float("nan")), "EluConfig: alpha: expected a valid number, got null"),
        (EluConfig(float("inf")), "EluConfig: alpha: expected a valid number, got null"),
        (ModelConfig(act=AdamWConfig()), "ModelConfig: act"),
        (ModelConfig(dim="8"), "ModelConfig: dim: expected a valid integer"),
    ],
    ids=str,
)
def test_what_would_not_come_back_is_not_written(config, message):
    """A wrong value set in Python is found when it is saved, not when it is read a month later."""
    with pytest.raises(ValueError, match=message):
        to_json(config)


def test_an_integer_where_a_number_belongs_is_fine():
    """`lr=1` in Python is the number 1.0 in the file; it is no difference."""
    assert from_json(EluConfig, to_json(EluConfig(alpha=1))).alpha == 1.0
    assert first_difference(EluConfig(1), EluConfig(1.0)) is None
    assert first_difference(EluConfig(True), EluConfig(1.0)) == ("alpha", True, 1.0)


def test_the_first_difference_is_named():
    """Path and both values; another member of a union is another `kind`."""
    assert first_difference(toy_run(), toy_run()) is None
    assert first_difference(toy_run(12), toy_run(13)) == ("training.steps", 12, 13)
    assert first_difference(MIXED, ModelConfig(layers=MIXED.layers)) == ("act.kind", "relu", "elu")
    other = dataclasses.replace(MIXED, layers=(*MIXED.layers[:2], EluConfig(2.0)))
    assert first_difference(MIXED, other) == ("layers[2].alpha", 1 / 3, 2.0)


def test_every_config_of_ours_refuses_unknown_keys():
    """pydantic alone would let a misspelt option pass; every configuration we have forbids it."""
    classes = [cls for cls in _subclasses(Config) if dataclasses.is_dataclass(cls)]
    assert len(classes) > 10
    for cls in classes:
        with pytest.raises(ValueError, match="widht"):
            from_json(cls, json.dumps({"widht": 1} | ({"version": 1} if hasattr(cls, "VERSION") else {})))


def _subclasses(cls: type) -> list[type]:
    return [inner for sub in cls.__subclasses__() for inner in (sub, *_subclasses(sub))]
