"""Presets of `language`."""

from linsight.mixers import config as mixer
from linsight.models.sequence import SequenceConfig, TokenModelConfig
from linsight.optim import AdamWConfig, WarmupCosineConfig
from linsight.tasks.language import LanguageConfig
from linsight.training.config import RunConfig, TrainingConfig
from linsight.training.hardware import best_precision
from linsight.training.presets.tiny import tiny_training

__all__ = ["language_default", "language_mamba", "language_tiny"]


def language_default() -> RunConfig:
    """Shakespeare by bytes, in about 5 minutes; LOG.md has what was tried."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=LanguageConfig(
            model=TokenModelConfig(previous=3, sequence=SequenceConfig(dim=128, layers=4, mlp_dim=256))
        ),
        training=TrainingConfig(
            steps=900,
            batch_size=16,
            optimizer=AdamWConfig(lr=3e-3, betas=(0.9, 0.99), weight_decay=0.1),
            schedule=WarmupCosineConfig(warmup_steps=100, final=0.05),
            precision=best_precision(),
            validate_every=500,
            checkpoint_every=250,
        ),
    )


def language_mamba() -> RunConfig:
    """Shakespeare by bytes with Mamba in the place of attention and MLP, in about 5 minutes; untuned."""
    sequence = SequenceConfig(dim=128, layers=2, mixers=(mixer("mamba"),))
    return RunConfig(
        version=RunConfig.VERSION,
        task=LanguageConfig(model=TokenModelConfig(previous=3, sequence=sequence)),
        training=TrainingConfig(
            steps=700,
            batch_size=8,
            optimizer=AdamWConfig(lr=3e-3, betas=(0.9, 0.99), weight_decay=0.1),
            schedule=WarmupCosineConfig(warmup_steps=50, final=0.05),
            validate_every=350,
            checkpoint_every=100,
        ),
    )


def language_tiny() -> RunConfig:
    """A small model for 20 steps: does everything run? Untuned."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=LanguageConfig(
            model=TokenModelConfig(sequence=SequenceConfig(dim=32, layers=1, mlp_dim=64)),
            length=64,
            validate_bytes=1000,
            sample_bytes=100,
        ),
        training=tiny_training(batch_size=8, precision=best_precision()),
    )
