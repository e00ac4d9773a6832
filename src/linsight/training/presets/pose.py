"""Presets of `pose`."""

from dataclasses import replace

from linsight.data.noise_laws import Skew
from linsight.mixers import config as mixer
from linsight.models.sequence import SequenceConfig
from linsight.models.vision import KeypointNetConfig, PyramidConfig
from linsight.optim import MuonConfig, WarmupCosineConfig
from linsight.tasks.pose import PoseConfig
from linsight.training.config import RunConfig, TrainingConfig
from linsight.training.presets.tiny import tiny_training

__all__ = ["pose_default", "pose_noisy", "pose_tiny"]


def pose_default() -> RunConfig:
    """Heatmaps of people in crops of 64 x 48, in 4 minutes; LOG.md has what was tried."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=PoseConfig(model=_model((32, 64, 128), (1, 1, 2))),
        training=TrainingConfig(
            steps=1500,
            batch_size=32,
            optimizer=MuonConfig(lr=1e-2, betas=(0.9, 0.99), weight_decay=0.05),
            schedule=WarmupCosineConfig(warmup_steps=50, final=0.02),
            validate_every=500,
            checkpoint_every=250,
        ),
    )


def pose_noisy() -> RunConfig:
    """The default with labels of skewed noise, and RLE to learn its law; untuned."""
    config = pose_default()
    assert isinstance(config.task, PoseConfig)  # of this preset
    model = replace(config.task.model, codec="rle_exact")
    return replace(config, task=replace(config.task, model=model, label_noise=Skew()))


def pose_tiny() -> RunConfig:
    """A small network for 20 steps: does everything run? Untuned."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=PoseConfig(model=_model((8, 16), (1, 1)), num_people=160, validate_people=10, test_people=20),
        training=tiny_training(batch_size=8),
    )


def _model(widths: tuple[int, ...], layers: tuple[int, ...]) -> KeypointNetConfig:
    stages = tuple(
        SequenceConfig(dim=dim, layers=depth, mlp_dim=2 * dim, mixers=(mixer("linear", heads=4),))
        for dim, depth in zip(widths, layers, strict=True)
    )
    return KeypointNetConfig(codec="heatmap sigma=1.0", backbone=PyramidConfig(stages=stages))
