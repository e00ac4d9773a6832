"""Presets of `detect`."""

from linsight.mixers import config as mixer
from linsight.models.sequence import SequenceConfig
from linsight.models.vision import DetectorConfig, PyramidConfig, UNetConfig
from linsight.optim import MuonConfig, WarmupCosineConfig
from linsight.tasks.detect import DetectConfig
from linsight.training.config import RunConfig, TrainingConfig
from linsight.training.presets.tiny import tiny_training

__all__ = ["detect_default", "detect_tiny"]


def detect_default() -> RunConfig:
    """Digits in scenes of 96 x 96 by a detector of centres, in 5 minutes; LOG.md has what was tried."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=DetectConfig(model=_model()),
        training=TrainingConfig(
            steps=3000,
            batch_size=8,
            optimizer=MuonConfig(lr=1.2e-2, betas=(0.9, 0.99), weight_decay=0.05),
            schedule=WarmupCosineConfig(warmup_steps=100, final=0.02),
            validate_every=500,
            checkpoint_every=250,
        ),
    )


def detect_tiny() -> RunConfig:
    """The default's model and data for 20 steps: does everything run? Untuned."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=DetectConfig(model=_model(), validate_scenes=20, test_scenes=50),
        training=tiny_training(batch_size=8),
    )


def _model() -> DetectorConfig:
    stages = tuple(
        SequenceConfig(dim=dim, layers=1, mlp_dim=2 * dim, mixers=(mixer("linear", heads=4),))
        for dim in (32, 64, 128)
    )
    return DetectorConfig(
        backbone=PyramidConfig(stages=stages, convolutions=1), decoder=UNetConfig(), dim=32, side=24.0
    )
