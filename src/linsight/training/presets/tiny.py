"""The training of every preset that asks whether everything runs."""

from linsight.optim import AdamWConfig
from linsight.training.config import Precision, TrainingConfig

__all__ = ["tiny_training"]


def tiny_training(batch_size: int = 16, precision: Precision = "float32") -> TrainingConfig:
    """20 steps, with every row, look and checkpoint on the way. Untuned."""
    return TrainingConfig(
        steps=20,
        batch_size=batch_size,
        optimizer=AdamWConfig(lr=3e-3),
        precision=precision,
        log_every=5,
        validate_every=10,
        checkpoint_every=10,
    )
