"""Presets of `recall`."""

from linsight.optim import AdamWConfig, WarmupCosineConfig
from linsight.tasks.recall import RecallConfig
from linsight.training.config import RunConfig, TrainingConfig
from linsight.training.presets.tiny import tiny_training

__all__ = ["recall_default", "recall_tiny"]


def recall_default() -> RunConfig:
    """Associative recall of 8 pairs in 64 tokens, in 3 minutes; untuned: LOG.md says how far it comes."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=RecallConfig(),
        training=TrainingConfig(
            steps=3000,
            batch_size=64,
            optimizer=AdamWConfig(lr=3e-3, weight_decay=0.1),
            schedule=WarmupCosineConfig(warmup_steps=200, final=0.05),
            validate_every=500,
            checkpoint_every=500,
        ),
    )


def recall_tiny() -> RunConfig:
    """The default's model and data for 20 steps: does everything run? Untuned."""
    return RunConfig(
        version=RunConfig.VERSION,
        task=RecallConfig(validate_sequences=20, test_sequences=50),
        training=tiny_training(),
    )
