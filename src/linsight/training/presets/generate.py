"""Presets of `generate`."""

from linsight.densities import FVSBNConfig
from linsight.optim import AdamWConfig, WarmupCosineConfig
from linsight.tasks.generate import GenerateConfig
from linsight.training.config import RunConfig, TrainingConfig
from linsight.training.hardware import best_precision
from linsight.training.presets.tiny import tiny_training

__all__ = ["generate_default", "generate_fvsbn", "generate_tiny"]


def generate_default() -> RunConfig:
    """p(x, y) of MNIST in about 5 minutes of two cores; LOG.md has the runs behind its values."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=GenerateConfig(label_weight=5.0),
        training=TrainingConfig(
            steps=2300,
            batch_size=32,
            optimizer=AdamWConfig(lr=3e-3, betas=(0.9, 0.99), weight_decay=0.05),
            schedule=WarmupCosineConfig(warmup_steps=40, final=0.02),
            precision=best_precision(),
            validate_every=575,
            checkpoint_every=230,
        ),
    )


def generate_fvsbn() -> RunConfig:
    """FVSBN: a logistic regression for each pixel; untuned."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=GenerateConfig(model=FVSBNConfig(), label_weight=5.0),
        training=TrainingConfig(
            steps=8000,
            batch_size=100,
            optimizer=AdamWConfig(lr=1e-2, betas=(0.9, 0.99), weight_decay=0.0),
            schedule=WarmupCosineConfig(warmup_steps=40, final=0.01),
            validate_every=1000,
            checkpoint_every=1000,
        ),
    )


def generate_tiny() -> RunConfig:
    """The default's model and data for 20 steps: does everything run? Untuned."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=GenerateConfig(validate_images=100, bayes_images=100),
        training=tiny_training(precision=best_precision()),
    )
