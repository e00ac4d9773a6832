"""Presets of `segment`."""

from linsight.mixers import config as mixer
from linsight.models.sequence import SequenceConfig
from linsight.models.vision import DenseConfig, PyramidConfig, UNetConfig
from linsight.optim import MuonConfig, WarmupCosineConfig
from linsight.tasks.segment import SegmentConfig
from linsight.training.config import RunConfig, TrainingConfig
from linsight.training.hardware import best_precision
from linsight.training.presets.tiny import tiny_training

__all__ = ["segment_default", "segment_tiny"]


def segment_default() -> RunConfig:
    """Scenes of 96 x 96 by a U-Net over linear attention, in 5 minutes of two cores; LOG.md has more."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=SegmentConfig(model=_model((32, 64, 128), (1, 1, 1)), background_weight=0.2, coarse_weight=0.5),
        training=TrainingConfig(
            steps=3750,
            batch_size=8,
            optimizer=MuonConfig(lr=1.2e-2, betas=(0.9, 0.99), weight_decay=0.05, iterations=4),
            schedule=WarmupCosineConfig(warmup_steps=50, final=0.02),
            precision=best_precision(),
            validate_every=625,
            checkpoint_every=625,
        ),
    )


def segment_tiny() -> RunConfig:
    """A small network for 20 steps: does everything run? Untuned."""
    model = _model((8, 16), (1, 1))
    return RunConfig(
        version=RunConfig.VERSION,
        task=SegmentConfig(model=model, coarse_weight=0.5, validate_scenes=4, test_scenes=10),
        training=tiny_training(batch_size=4),
    )


def _model(widths: tuple[int, ...], layers: tuple[int, ...]) -> DenseConfig:
    stages = tuple(
        SequenceConfig(dim=dim, layers=depth, mlp_dim=2 * dim, mixers=(mixer("linear", heads=4),))
        for dim, depth in zip(widths, layers, strict=True)
    )
    return DenseConfig(
        classes=11,
        backbone=PyramidConfig(stages=stages, convolutions=1),
        decoder=UNetConfig(last="deconv2", join="add"),
        coarse_logits=True,
    )
