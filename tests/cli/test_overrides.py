"""Changes to a complete configuration: the pattern of mixers, the optimiser, and the tags inside."""

import re
import shutil
from dataclasses import dataclass, field, replace

import pytest
import torch
from safetensors.torch import load_file

from linsight.cli.main import main
from linsight.cli.overrides import (
    kinds_in,
    with_decoder,
    with_head,
    with_mixers,
    with_noise,
    with_optimizer,
    with_upsampler,
)
from linsight.data.keypoint_noise import Swap
from linsight.data.noise_laws import Skew
from linsight.training import PRESETS


def test_the_pattern_of_mixers_is_replaced_wherever_it_stands() -> None:
    config = with_mixers(PRESETS["generate"]["default"](), ["softmax", " linear"])
    assert [mixer.kind for mixer in config.task.model.sequence.mixers] == ["softmax", "linear"]


def test_nothing_else_changes() -> None:
    before = PRESETS["generate"]["default"]()
    after = with_mixers(before, ["linear"])
    assert after == before


def test_an_unknown_mixer_is_named() -> None:
    with pytest.raises(ValueError, match="mixer 'foo' is not known; choose one of"):
        with_mixers(PRESETS["generate"]["default"](), ["foo"])


def test_a_configuration_without_mixers_is_refused() -> None:
    @dataclass(frozen=True)
    class Plain:
        sizes: tuple[int, ...] = field(default=(1,))

    with pytest.raises(ValueError, match="--mixer: Plain has no mixers to replace"):
        with_mixers(Plain(), ["linear"])


def test_kinds_are_found_at_every_depth_and_in_tuples() -> None:
    assert {"generate", "image_density", "linear", "adamw"} <= kinds_in(PRESETS["generate"]["default"]())


def test_a_published_stack_is_named_like_a_mixer():
    config = with_mixers(PRESETS["generate"]["default"](), ["transnormer-t1"])
    stack = config.task.model.sequence
    assert [mixer.kind for mixer in stack.mixers] == ["diag_attention", "norm_attention"]
    assert {mixer.variant for mixer in stack.mixers} == {"t1"}
    assert stack.arrangement == "runs"


def test_options_stand_after_the_kind() -> None:
    config = with_mixers(PRESETS["generate"]["default"](), ["linear heads=1 normalise=False", "softmax"])
    first, second = config.task.model.sequence.mixers
    assert (first.kind, first.heads, first.normalise, second.kind) == ("linear", 1, False, "softmax")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("linear causal", "mixer 'linear': expected OPTION=VALUE after the kind, got 'causal'"),
        ("linear heads=two", "heads: expected a valid integer, got 'two'"),
        ("linear dim=8", "mixer 'linear' has no option 'dim'; it has heads, feature_map, normalise, form"),
        ("linear kind=softmax", "mixer 'linear': expected OPTION=VALUE after the kind, got 'kind=softmax'"),
    ],
)
def test_words_that_are_no_options_are_refused(words, message) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        with_mixers(PRESETS["generate"]["default"](), [words])


def test_another_optimiser_keeps_what_it_shares_with_the_presets() -> None:
    """The rate, the decay and the moments of AdamW are Muon's too; SGD has no moments."""
    before = PRESETS["recall"]["tiny"]()
    muon = with_optimizer(before, "muon").training.optimizer
    old = before.training.optimizer
    assert (muon.kind, muon.lr, muon.betas, muon.weight_decay) == (
        "muon",
        old.lr,
        old.betas,
        old.weight_decay,
    )
    assert with_optimizer(before, "sgd").training.optimizer.lr == old.lr
    assert with_optimizer(before, "adamw") == before


def test_an_unknown_optimiser_is_named() -> None:
    with pytest.raises(ValueError, match="--optimizer: expected one of adamw, adam, sgd, muon, got 'lion'"):
        with_optimizer(PRESETS["recall"]["tiny"](), "lion")


def test_a_run_by_muon_goes_on_where_it_stopped(tmp_path) -> None:
    """The two halves come back from a checkpoint: 20 steps in one go and in two have the same weights."""
    words = [
        "train",
        "recall",
        "--preset",
        "tiny",
        "--optimizer",
        "muon",
        "--training.checkpoint-every",
        "10",
    ]
    assert main([*words, "--run", str(tmp_path / "whole")]) == 0
    kept = tmp_path / "part" / "checkpoints"
    assert main([*words, "--run", str(tmp_path / "part")]) == 0
    max(kept.iterdir()).unlink()
    shutil.rmtree(tmp_path / "part" / "model")
    assert main([*words, "--run", str(tmp_path / "part")]) == 0
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "part")]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_a_decoder_has_options_of_its_own_and_nothing_else_changes() -> None:
    before = PRESETS["segment"]["tiny"]()
    after = with_decoder(with_upsampler(before, "dysample"), "fpn")
    assert (after.task.model.decoder.kind, after.task.model.decoder.upsampler) == ("fpn", "bilinear")
    model = replace(after.task.model, decoder=before.task.model.decoder)
    assert replace(after, task=replace(after.task, model=model)) == before


def test_a_head_of_a_video_is_that_of_its_eye() -> None:
    before = PRESETS["gaze_video"]["tiny"]()
    after = with_head(before, "nll_laplace isotropic=True")
    assert after.task.model.eye.codec == "nll_laplace isotropic=True"
    assert replace(after.task.model.eye, codec=before.task.model.eye.codec) == before.task.model.eye
    assert after.task.model.over_time == before.task.model.over_time


def test_a_head_and_a_law_of_noise_are_replaced_and_nothing_else() -> None:
    before = PRESETS["pose"]["tiny"]()
    after = with_noise(with_head(before, "rle score=nll"), "skew scale=0.02")
    assert after.task.model.codec == "rle score=nll"
    assert after.task.label_noise == Skew(scale=0.02)
    assert with_noise(before, "swap").task.label_noise == Swap()
    assert with_head(with_noise(after, "none"), before.task.model.codec) == before


def test_an_upsampler_is_replaced_and_unpooling_gets_a_backbone_that_pools() -> None:
    before = PRESETS["segment"]["tiny"]()
    after = with_upsampler(before, "carafe")
    assert after.task.model.decoder.upsampler == "carafe"
    assert with_upsampler(after, "bilinear") == before
    model = with_upsampler(before, "unpool").task.model
    assert (model.decoder.upsampler, model.backbone.downsample) == ("unpool", "pool")
    model.build()


@pytest.mark.parametrize(
    ("change", "preset", "value", "message"),
    [
        (with_decoder, "recall", "unet", "--decoder: the models of task 'recall' have no decoder"),
        (with_upsampler, "recall", "nearest", "--upsampler: the models of task 'recall' have no decoder"),
        (with_decoder, "segment", "unnet", "decoder 'unnet' is not known; choose one of fcn, unet, fpn"),
        (with_upsampler, "segment", "nearst", "upsampler: expected one of nearest, .* got 'nearst'"),
        (with_head, "recall", "rle", "--head: the models of task 'recall' have no codec"),
        (with_head, "pose", "rel", "codec 'rel' is not known; choose one of"),
        (with_noise, "recall", "skew", "--noise: the labels of task 'recall' have no noise of a known law"),
        (with_noise, "pose", "swop", "label noise 'swop' is not known; choose one of none, gauss, .* swap"),
        (with_noise, "pose", "skew scale=big", "scale: expected a valid number, got 'big'"),
        (with_noise, "pose", "skew scale", "label noise 'skew': expected OPTION=VALUE after the kind, got"),
        (with_noise, "pose", "skew scale=0", "noise law 'skew': scale: expected a number above 0, got 0.0"),
    ],
)
def test_what_has_no_such_part_is_refused(change, preset, value, message) -> None:
    with pytest.raises(ValueError, match=message):
        change(PRESETS[preset]["tiny"](), value)
