"""What training computes: precision, accumulation, seeds, modes, rows; and how little importing it loads."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from toy_training import ToyTask, toy_run

from linsight.optim import ConstantConfig
from linsight.training import PRESETS, TrainingConfig, fit, from_pretrained, open_run, read_metrics
from linsight.training.checkpoint import read_checkpoint
from linsight.training.hardware import best_precision, describe_precision


def final(folder) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(sorted((folder / "checkpoints").iterdir())[-1]).tensors)


def losses(folder) -> list[float]:
    return read_metrics(folder / "metrics.csv")["train/loss"][1]


class NoDropout(ToyTask):
    """A model whose gradient is a mean over examples: no dropout, no batch statistics."""

    def build_model(self):
        model = super().build_model()
        model.dropout, model.norm = torch.nn.Identity(), torch.nn.Identity()
        return model


def test_training_lowers_the_loss(tmp_path):
    """The engine trains."""
    outcome = fit(toy_run(150, log_every=10), tmp_path, progress="none")
    assert losses(tmp_path)[-1] < 0.5 * losses(tmp_path)[0]
    assert outcome.metrics["valid/accuracy"] > 0.85
    assert outcome.seconds > 0


def test_bfloat16_computes_so_and_keeps_float32_weights(tmp_path):
    """Autocast reaches training and validation; weights and optimiser state stay in float32."""
    seen = []

    class Watching(ToyTask):
        def loss(self, model, batch):
            seen.append(model.head(model.norm(batch["x"])).dtype)
            return super().loss(model, batch)

        def validate(self, model):
            seen.append(model(torch.from_numpy(self.x)).dtype)
            return super().validate(model)

    config = toy_run(4, precision="bfloat16")
    fit(config, tmp_path / "bf16", task=Watching(config.task), progress="none")
    assert set(seen) == {torch.bfloat16}
    assert len(seen) == 4 + 2
    dtypes = {t.dtype for name, t in final(tmp_path / "bf16").items() if "num_batches" not in name}
    assert dtypes == {torch.float32, torch.uint8}  # uint8: the random state
    fit(toy_run(4), tmp_path / "fp32", progress="none")
    assert losses(tmp_path / "bf16") != losses(tmp_path / "fp32")
    assert losses(tmp_path / "bf16") == pytest.approx(losses(tmp_path / "fp32"), rel=0.05)


def test_bfloat16_ends_with_the_loss(tmp_path):
    """Backward and optimiser compute in the types of what they are given: Muon's products need the digits."""
    seen = []

    class Watching(ToyTask):
        def loss(self, model, batch):
            loss, logs = super().loss(model, batch)
            seen.append(("loss", torch.is_autocast_enabled("cpu")))
            loss.register_hook(lambda _: seen.append(("backward", torch.is_autocast_enabled("cpu"))))
            return loss, logs

    def step(*_):
        seen.append(("step", torch.is_autocast_enabled("cpu")))

    config = toy_run(2, precision="bfloat16")
    hook = register_optimizer_step_pre_hook(step)
    try:
        fit(config, tmp_path, task=Watching(config.task), progress="none")
    finally:
        hook.remove()
    assert seen == 2 * [("loss", True), ("backward", False), ("step", False)]


def test_accumulation_changes_memory_not_the_gradient(tmp_path):
    """One, two or eight parts: the same batches, the same losses and weights up to rounding."""
    results = []
    for parts in (1, 2, 8):
        config = toy_run(12, accumulate=parts)
        fit(config, tmp_path / str(parts), task=NoDropout(config.task), progress="none")
        results.append(final(tmp_path / str(parts)))
        assert losses(tmp_path / str(parts)) == pytest.approx(losses(tmp_path / "1"), rel=1e-4)
    for name in results[0]:
        if name.startswith("model/"):
            torch.testing.assert_close(results[1][name], results[0][name], rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(results[2][name], results[0][name], rtol=1e-3, atol=1e-4)


def test_the_gradient_is_clipped_and_its_own_norm_reported(tmp_path):
    """With a tiny limit the reported norm is still that of the whole gradient, at step 1 the same for any."""
    norms = {}
    for limit in (None, 1.0, 1e-3):
        config = toy_run(2, log_every=1, clip_norm=limit, schedule=ConstantConfig())
        fit(config, tmp_path / str(limit), progress="none")
        norms[limit] = read_metrics(tmp_path / str(limit) / "metrics.csv")["gradient_norm"][1]
    assert norms[None][0] == norms[1.0][0] == norms[1e-3][0] > 1e-2
    first = {limit: final(tmp_path / str(limit))["optimizer/0/exp_avg"].norm().item() for limit in norms}
    assert first[1e-3] < 1e-2 * first[None]


def test_the_seed_decides_everything(tmp_path):
    """Same seed, same run, whatever the caller's random state; another seed, another run."""
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.manual_seed(ord(name))
        before = torch.get_rng_state()
        fit(toy_run(4, seed=seed), tmp_path / name, progress="none")
        assert torch.equal(torch.get_rng_state(), before)
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "c")


def test_validation_is_in_eval_mode_without_gradients_and_training_goes_on(tmp_path):
    """Modes and gradients are as each side expects them."""
    modes = []

    class Watching(ToyTask):
        def loss(self, model, batch):
            modes.append(("train", model.training, torch.is_grad_enabled()))
            return super().loss(model, batch)

        def validate(self, model):
            modes.append(("valid", model.training, torch.is_grad_enabled()))
            return super().validate(model)

    config = toy_run(4)
    fit(config, tmp_path, task=Watching(config.task), progress="none")
    train, valid = ("train", True, True), ("valid", False, False)
    assert modes == [train, train, train, valid, train, valid]


def test_rows_are_means_since_the_last_row(tmp_path):
    """log_every=4 gives the means of the rows that log_every=1 gives; the last step always has a row."""
    fit(toy_run(10, log_every=1), tmp_path / "one", progress="none")
    fit(toy_run(10, log_every=4), tmp_path / "four", progress="none")
    one = losses(tmp_path / "one")
    steps, four = read_metrics(tmp_path / "four" / "metrics.csv")["train/loss"]
    assert steps == [4, 8, 10]
    assert four == pytest.approx([sum(one[:4]) / 4, sum(one[4:8]) / 4, sum(one[8:]) / 2], rel=1e-6)
    columns = read_metrics(tmp_path / "one" / "metrics.csv")
    assert list(columns) == [
        "train/loss",
        "train/accuracy",
        "learning_rate",
        "gradient_norm",
        "skipped_steps",
        "examples_per_second",
        "seconds",
        "valid/accuracy",
    ]
    assert columns["valid/accuracy"][0] == [3, 6, 9, 10]


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    """`keep` files at most, the newest, and the last step is always one of them."""
    fit(toy_run(11, checkpoint_every=2, keep=3), tmp_path, progress="none")
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == [f"step-{step:09d}.safetensors" for step in (8, 10, 11)]


def test_an_opened_run_must_be_of_this_configuration(tmp_path):
    """A run is opened with a configuration and trained with the same."""
    run = open_run(tmp_path, toy_run(3))
    with pytest.raises(ValueError, match="was opened with another configuration"):
        fit(toy_run(4), run, progress="none")
    assert fit(toy_run(3), run, progress="none").run is run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps: expected an integer >= 1, got 0"),
        ({"batch_size": 0}, "batch_size: expected an integer >= 1, got 0"),
        ({"keep": 0}, "keep: expected an integer >= 1, got 0"),
        ({"log_every": -1}, "log_every: expected an integer >= 1, got -1"),
        ({"seed": -1}, r"seed: expected an integer in \[0, 2\*\*63\), got -1"),
        ({"accumulate": 3}, "accumulate: expected a divisor of batch_size 8, got 3"),
        ({"clip_norm": 0.0}, "clip_norm: expected a finite number > 0, or None, got 0.0"),
        ({"clip_norm": float("nan")}, "clip_norm: expected a finite number > 0"),
        ({"steps": 1, "schedule": toy_run().training.schedule}, "warmup_steps: 2 warm-up steps do not fit"),
    ],
)
def test_bad_values_are_refused_when_the_configuration_is_made(options, message):
    """Before a folder is made or data are read."""
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**({"steps": 10, "batch_size": 8} | options))


def test_presets_are_resolved_for_this_machine():
    """Nothing is derived later: the precision is one of the two, and the header says why."""
    cpu = torch.device("cpu")
    assert PRESETS["generate"]["default"]().training.precision == best_precision()
    has_unit = torch.cpu._is_avx512_bf16_supported()
    assert best_precision(cpu) == ("bfloat16" if has_unit else "float32")
    assert ("AVX512-BF16 is there" in describe_precision("bfloat16", cpu)) == has_unit
    assert ("would be faster" in describe_precision("float32", cpu)) == has_unit


def test_loading_the_package_does_not_load_lightning():
    """A finished run, a report and a sample need none of its seconds."""
    code = "import sys, linsight.training; print(sys.modules.keys() & {'lightning', 'tensorboard', 'rich'})"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_a_real_task_trains_and_resumes(tmp_path):
    """The generate task, tiny, through the same engine: its model can be loaded and asked."""
    preset = PRESETS["generate"]["tiny"]()
    network = dataclasses.replace(preset.task.model.sequence, dim=16, layers=1, mlp_dim=16)
    task = dataclasses.replace(
        preset.task, model=dataclasses.replace(preset.task.model, sequence=network), validate_images=8
    )
    training = dataclasses.replace(preset.training, steps=4, batch_size=4, validate_every=4, log_every=2)
    outcome = fit(dataclasses.replace(preset, task=task, training=training), tmp_path, progress="none")
    assert outcome.status == "trained"
    assert from_pretrained(tmp_path / "model").config == task.model
