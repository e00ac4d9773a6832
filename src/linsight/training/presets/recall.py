"""Presets of `recall`."""

from linsight.data import RecallData
from linsight.optim import AdamWConfig, WarmupCosineConfig
from linsight.tasks.recall import RecallConfig
from linsight.training.config import RunConfig, TrainingConfig
from linsight.training.presets.tiny import tiny_training

__all__ = ["recall_default", "recall_tiny"]


def recall_default() -> RunConfig:
    """Associative recall of 16 pairs in 64 tokens, all of them used, in about 2 minutes.

    Tuned for softmax and linear attention 16 and 32 wide, on training sequences: LOG.md.
    """
    return RunConfig(
        version=RunConfig.VERSION,
        task=RecallConfig(data=RecallData(num_pairs=16)),
        training=TrainingConfig(
            steps=1500,
            batch_size=64,
            optimizer=AdamWConfig(lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1),
            schedule=WarmupCosineConfig(warmup_steps=100),
            validate_every=250,
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
